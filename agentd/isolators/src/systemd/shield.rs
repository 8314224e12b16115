//! `systemd/shield`: the host is out of reach of a run that is no container. It keeps its files and its
//! network, and nothing else of the host's: no settings, no control groups, no sockets of the service
//! managers, no namespaces, no raw packets.

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator, Runs};

#[derive(Debug)]
pub(crate) struct Shield;

impl Isolator for Shield {
    fn name(&self) -> &str {
        tepui_agent::limits::SHIELD
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        match host.runs {
            Runs::Units => Ok(()),
            Runs::Processes => Err("systemd holds it up, and tasks are no units here".to_owned()),
        }
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.rights.shield = wanted.rights.shield;
    }
}
