//! `linux/…` and `namespaces/…`: what a run may do.

mod capabilities;
mod ipc;
mod pid;
mod seccomp;

pub(crate) use capabilities::Capabilities;
pub(crate) use ipc::Ipc;
pub(crate) use pid::Pid;
pub(crate) use seccomp::Seccomp;
