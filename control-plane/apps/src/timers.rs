//! What is due when. Entries are not removed when they lose their meaning: whoever handles a due
//! timer checks first whether it still applies.

use std::collections::BTreeSet;

use tepui_marathon::{AppId, InstanceId, TaskId};
use tepui_types::Mono;

/// One thing that becomes due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Subscribe again after the stream broke.
    Subscribe,
    /// A postponed REVIVE may go out.
    Revive,
    /// Launch tokens are filled up.
    Tokens,
    /// Ask the cluster about every task.
    Reconcile,
    /// Compare wanted and actual instances.
    ScaleCheck,
    /// Look for launches that take too long.
    Overdue,
    /// Forget delays of apps that have behaved.
    DelaySweep,
    /// Repeat unanswered kills.
    Kills,
    /// The delay of an app may have passed.
    Delay(AppId),
    /// Probe a health check of a task.
    Check(TaskId, usize),
    /// Probe the readiness of a task.
    Readiness(TaskId),
    /// The replacement or the end of an unreachable instance may be due.
    Unreachable(InstanceId),
}

/// All timers in the order they become due.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Mono, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Mono, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The earliest timer that is due, taken out.
    pub(crate) fn take_due(&mut self, now: Mono) -> Option<Timer> {
        let due = self.0.first().is_some_and(|(at, _)| *at <= now);
        due.then(|| self.0.pop_first()).flatten().map(|(_, timer)| timer)
    }
}
