//! `linux/seccomp`: filters of system calls. systemd keeps the lists of calls.

use std::path::Path;

use tepui_agent::Limits;
use tepui_agent::limits::SeccompProfile;
use tepui_launch::{Confinement, SystemCalls};

use crate::{Host, Isolator, Runs};

/// Exists where the kernel can filter.
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

#[derive(Debug)]
pub(crate) struct Seccomp;

impl Isolator for Seccomp {
    fn name(&self) -> &str {
        tepui_agent::limits::SECCOMP
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        if host.runs == Runs::Processes {
            return Err("systemd sets it, and tasks are no units here".to_owned());
        }
        if !Path::new(ACTIONS).exists() {
            return Err("this kernel has no seccomp".to_owned());
        }
        Ok(())
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        into.rights.system_calls = wanted.rights.seccomp.map(|profile| match profile {
            SeccompProfile::Default => SystemCalls::Service,
            SeccompProfile::Strict => SystemCalls::Unprivileged,
        });
    }
}
