//! Every isolator that is built in.

use crate::Isolator;
use crate::cgroups::{Blkio, Cpu, Cpuset, Devices, Mem, Pids};
use crate::disk::{Du, Quota};
use crate::linux::{Capabilities, Ipc, Pid, Seccomp};
use crate::posix::{Counting, Rlimits};
use crate::systemd::{Notify, Shield};

/// All, in the order in which they are asked.
pub(crate) fn all() -> Vec<Box<dyn Isolator>> {
    vec![
        Box::new(Counting("posix/cpu")),
        Box::new(Counting("posix/mem")),
        Box::new(Rlimits),
        Box::new(Cpu),
        Box::new(Mem),
        Box::new(Pids),
        Box::new(Blkio),
        Box::new(Cpuset),
        Box::new(Devices),
        Box::new(Capabilities),
        Box::new(Seccomp),
        Box::new(Ipc),
        Box::new(Pid),
        // Before whoever would have to look at every file.
        Box::new(Quota::xfs()),
        Box::new(Quota::ext4()),
        Box::new(Du::default()),
        Box::new(Notify),
        Box::new(Shield),
    ]
}
