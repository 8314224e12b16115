//! `linux/capabilities`: a bounding set, and capabilities for users that are not root.

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Capabilities;

impl Isolator for Capabilities {
    fn name(&self) -> &str {
        tepui_agent::limits::CAPABILITIES
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        if host.is_root { Ok(()) } else { Err("the agent is not root".to_owned()) }
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.rights.bounding = wanted.rights.bounding;
        into.rights.ambient = wanted.rights.ambient;
        into.rights.no_new_privileges = wanted.rights.no_new_privileges;
    }
}
