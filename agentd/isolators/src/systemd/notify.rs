//! `systemd/notify`: somebody hears a run say that it is ready, or well (sd_notify(3)).

use std::time::Duration;

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator, Runs};

#[derive(Debug)]
pub(crate) struct Notify;

impl Isolator for Notify {
    fn name(&self) -> &str {
        tepui_agent::limits::NOTIFY
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        match host.runs {
            Runs::Units => Ok(()),
            Runs::Processes => Err("systemd listens, and tasks are no units here".to_owned()),
        }
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.pace.notifies_within = wanted.notifies_within.map(Duration::from);
        into.pace.watchdog = wanted.watchdog.map(Duration::from);
    }
}
