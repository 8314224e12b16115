//! `cgroups/cpu`: a share of the processors, and a limit where there is one.

use tepui_agent::Limits;
use tepui_cgroup::Controller;
use tepui_launch::Confinement;

use super::has;
use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Cpu;

impl Isolator for Cpu {
    fn name(&self) -> &str {
        tepui_agent::limits::CPU
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        has(host, Controller::Cpu)
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.ceiling.cpu_milli = wanted.cpu_milli;
        into.ceiling.cpu_quota_milli = wanted.cpu_quota_milli;
    }
}
