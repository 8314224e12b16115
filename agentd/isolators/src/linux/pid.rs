//! `namespaces/pid`: processes that see only themselves. Containers have them, and a task is one as
//! soon as it has a `container.linux_info`, with or without an image. Other tasks see the host's:
//! the first process of a namespace has to wait for orphans and gets no signal that it does not
//! handle, which no shell is written for, and systemd does that for units only from version 257 on
//! (`PrivatePIDs`).

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Pid;

impl Isolator for Pid {
    fn name(&self) -> &str {
        tepui_agent::limits::PID
    }

    fn probe(&self, _host: &Host) -> Result<(), String> {
        Err("only containers have processes of their own; container.linux_info makes one"
            .to_owned())
    }

    fn prepare(&self, _wanted: &Limits, _into: &mut Confinement) {}
}
