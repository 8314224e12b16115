//! `cgroups/pids`: processes and threads.

use tepui_agent::Limits;
use tepui_cgroup::Controller;
use tepui_launch::Confinement;

use super::has;
use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Pids;

impl Isolator for Pids {
    fn name(&self) -> &str {
        tepui_agent::limits::PIDS
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        has(host, Controller::Pids)
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.ceiling.processes = wanted.processes;
    }
}
