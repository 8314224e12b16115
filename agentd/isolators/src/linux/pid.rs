//! `namespaces/pid`: processes that see only themselves. Absent on purpose: a command that is to be
//! the first process of a namespace would have to wait for orphans, which no shell does. Containers
//! have their own.

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator};

#[derive(Debug)]
pub(crate) struct Pid;

impl Isolator for Pid {
    fn name(&self) -> &'static str {
        tepui_agent::limits::PID
    }

    fn probe(&self, _host: &Host) -> Result<(), String> {
        Err("only containers with an image have processes of their own".to_owned())
    }

    fn prepare(&self, _wanted: &Limits, _into: &mut Confinement) {}
}
