//! `cgroups/devices`: only devices without hardware behind them. Version 2 has no controller for
//! it: the agent puts a BPF program on each run's group, and systemd another on that of a unit.

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Devices;

impl Isolator for Devices {
    fn name(&self) -> &str {
        tepui_agent::limits::DEVICES
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        host.device_rules.clone()
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.rights.no_devices = wanted.rights.no_devices;
    }
}
