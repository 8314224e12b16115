//! All processes of one run, and how signals reach them.

use std::collections::HashSet;

use rustix::process::{Pid, Signal, kill_process};
use tepui_cgroup::Leaf;

use crate::procfs;

/// The processes below a shim: its descendants (it is their subreaper, so whoever loses his parent
/// becomes its child) and the members of the run's control group.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    /// The shim; never signalled.
    pub root: Pid,
    /// Group of the run, where the host has one.
    pub group: Option<Leaf>,
}

impl ProcessTree {
    /// Every process, each once.
    #[must_use]
    pub fn pids(&self) -> Vec<Pid> {
        let mut pids = procfs::descendants(self.root);
        let known: HashSet<Pid> = pids.iter().copied().collect();
        if let Some(group) = &self.group {
            let members = group.pids().unwrap_or_default();
            pids.extend(members.into_iter().filter(|pid| !known.contains(pid)));
        }
        pids.retain(|pid| *pid != self.root);
        pids
    }

    /// Sends a signal to every process once.
    pub fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            // A process that ended meanwhile needs no signal.
            let _ = kill_process(pid, signal);
        }
    }

    /// Sends SIGKILL to every process. Call again until [`Self::pids`] is empty: without a control
    /// group a process may fork while the tree is walked.
    pub fn kill(&self) {
        if let Some(group) = &self.group {
            // The walk below reaches the same processes, only later.
            let _ = group.kill();
        }
        self.signal(Signal::KILL);
    }
}

/// Kills what a dead shim left behind when its host has no control groups: the session of its
/// command and everything below that. Returns how many processes were found.
pub(crate) fn kill_session(main: Pid) -> usize {
    let members: Vec<Pid> = procfs::processes()
        .into_iter()
        .filter(|pid| {
            procfs::stat(*pid).is_some_and(|stat| {
                stat.session == main.as_raw_nonzero().get() && stat.state != b'Z'
            })
        })
        .collect();
    let below: Vec<Pid> = members.iter().flat_map(|pid| procfs::descendants(*pid)).collect();
    let all: HashSet<Pid> = members.into_iter().chain(below).collect();
    for pid in &all {
        let _ = kill_process(*pid, Signal::KILL);
    }
    all.len()
}
