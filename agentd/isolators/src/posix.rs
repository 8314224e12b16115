//! `posix/…`: what every host can do.

use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator};

/// `posix/cpu` and `posix/mem`: use is counted, and nobody is held to anything, as in Mesos.
#[derive(Debug)]
pub(crate) struct Counting(pub(crate) &'static str);

impl Isolator for Counting {
    fn name(&self) -> &str {
        self.0
    }

    fn probe(&self, _host: &Host) -> Result<(), String> {
        Ok(())
    }

    fn prepare(&self, _wanted: &Limits, _into: &mut Confinement) {}
}

/// `posix/rlimits`: `setrlimit` before the command; both launchers set what a container names.
#[derive(Debug)]
pub(crate) struct Rlimits;

impl Isolator for Rlimits {
    fn name(&self) -> &str {
        tepui_agent::limits::RLIMITS
    }

    fn probe(&self, _host: &Host) -> Result<(), String> {
        Ok(())
    }

    fn prepare(&self, _wanted: &Limits, _into: &mut Confinement) {}
}
