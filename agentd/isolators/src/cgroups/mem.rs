//! `cgroups/mem`: memory; who needs more than it may have is killed with all of its run.

use tepui_agent::Limits;
use tepui_cgroup::Controller;
use tepui_launch::Confinement;

use super::has;
use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Mem;

impl Isolator for Mem {
    fn name(&self) -> &str {
        tepui_agent::limits::MEM
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        has(host, Controller::Memory)
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.ceiling.memory_bytes = wanted.memory_limit;
        into.ceiling.memory_high_bytes = wanted.memory_high;
        into.ceiling.memory_low_bytes = wanted.memory_request;
    }
}
