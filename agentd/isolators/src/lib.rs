//! Who holds runs to their limits: one file per isolator, named as Mesos names them in
//! `--isolation`.
//!
//! Each isolator is probed when the agent starts. Those that the host can do are in force: they
//! turn what a run is held to ([`tepui_agent::Limits`]) into what its launcher sets
//! ([`tepui_launch::Confinement`]). Those that it cannot are named with the reason, and the agent
//! refuses tasks that need them. Nothing is ever asked of an isolator that is not in force.

mod auto;
mod cgroups;
mod disk;
mod isolator;
mod linux;
mod mesos;
mod plugin;
mod posix;
mod set;
mod systemd;

pub use isolator::{DiskQuota, Host, Isolator, Runs, SHAPE};
pub use plugin::Plugged;
pub use set::{Isolators, NotHere, Wish};
