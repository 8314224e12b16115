//! `cgroups/devices`: only devices without hardware behind them. Version 2 has no controller for
//! it; systemd attaches a BPF program to the unit.

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator, Runs};

#[derive(Debug)]
pub(crate) struct Devices;

impl Isolator for Devices {
    fn name(&self) -> &str {
        tepui_agent::limits::DEVICES
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        match host.runs {
            Runs::Units => Ok(()),
            Runs::Processes => Err("systemd sets it, and tasks are no units here".to_owned()),
        }
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.rights.no_devices = wanted.rights.no_devices;
    }
}
