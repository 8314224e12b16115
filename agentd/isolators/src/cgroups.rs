//! `cgroups/…`: the kernel's controllers.

mod blkio;
mod cpu;
mod cpuset;
mod devices;
mod mem;
mod pids;

pub(crate) use blkio::Blkio;
pub(crate) use cpu::Cpu;
pub(crate) use cpuset::Cpuset;
pub(crate) use devices::Devices;
pub(crate) use mem::Mem;
pub(crate) use pids::Pids;

use tepui_agent::limits::{BLKIO, CPU, CPUSET, DEVICES, MEM, PIDS};
use tepui_cgroup::Controller;

use crate::Host;

/// All of these.
pub(crate) const NAMES: [&str; 6] = [CPU, MEM, PIDS, BLKIO, CPUSET, DEVICES];

/// Whether the groups of runs have a controller.
fn has(host: &Host, controller: Controller) -> Result<(), String> {
    if host.controllers.contains(&controller) {
        return Ok(());
    }
    let name = controller.name();
    Err(format!("control groups (version 2) of tasks have no controller '{name}' on this host"))
}
