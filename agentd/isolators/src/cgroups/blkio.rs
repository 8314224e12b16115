//! `cgroups/blkio`: a share of the disks, and the speed on that of the sandbox.

use tepui_agent::Limits;
use tepui_cgroup::Controller;
use tepui_launch::Confinement;

use super::has;
use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Blkio;

impl Isolator for Blkio {
    fn name(&self) -> &str {
        tepui_agent::limits::BLKIO
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        has(host, Controller::Io)
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.ceiling.io_weight = wanted.io_weight;
        into.ceiling.io_read_bytes = wanted.io_read;
        into.ceiling.io_write_bytes = wanted.io_write;
    }
}
