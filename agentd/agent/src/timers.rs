//! What happens by itself, and when.

use std::collections::BTreeMap;

use tepui_types::{ContainerId, FrameworkId, Mono, TaskId};

use crate::checks::Which;

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Tell the control plane that the agent lives.
    Heartbeat,
    /// The answer to the registration is overdue.
    RegistrationLimit,
    /// Executors had their time to subscribe again.
    ReconnectWindow,
    /// Send the task's oldest unacknowledged update again.
    Retry(FrameworkId, TaskId),
    /// The run's grace is over.
    Kill(ContainerId),
    /// The run's executor should have subscribed.
    ExecutorLimit(ContainerId),
    /// Show the executor that its stream lives.
    ExecutorBeat(ContainerId),
    /// The task ran as long as it may.
    Completion(FrameworkId, TaskId),
    /// Ask the task.
    Check(FrameworkId, TaskId, Which),
    /// The oldest sandbox may be due.
    Garbage,
}

/// Names a set timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Mono, u64);

/// All set timers; those of one moment fire in the order in which they were set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeMap<TimerKey, Timer>,
    made: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Mono, timer: Timer) -> TimerKey {
        self.made += 1;
        let key = TimerKey(at, self.made);
        self.queue.insert(key, timer);
        key
    }

    /// Does nothing when the timer fired already.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.queue.remove(&key);
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.queue.keys().next().map(|key| key.0)
    }

    pub(crate) fn take_due(&mut self, now: Mono) -> Option<Timer> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
