//! `namespaces/ipc`: System V and POSIX inter-process communication of a run's own.

use std::path::Path;

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Ipc;

impl Isolator for Ipc {
    fn name(&self) -> &str {
        tepui_agent::limits::IPC
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        if !Path::new("/proc/self/ns/ipc").exists() {
            return Err("this kernel has no IPC namespaces".to_owned());
        }
        if host.is_root { Ok(()) } else { Err("the agent is not root".to_owned()) }
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.rights.own_ipc = wanted.rights.own_ipc;
    }
}
