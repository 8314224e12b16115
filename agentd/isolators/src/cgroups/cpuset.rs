//! `cgroups/cpuset`: on which processors.

use tepui_agent::Limits;
use tepui_cgroup::Controller;
use tepui_launch::Confinement;

use super::has;
use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Cpuset;

impl Isolator for Cpuset {
    fn name(&self) -> &str {
        tepui_agent::limits::CPUSET
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        has(host, Controller::Cpuset)
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.ceiling.processors.clone_from(&wanted.processors);
    }
}
