//! What limits did to a run, and what ended it: read at its end, while its group is still there.

use std::time::Duration;

use tepui_cgroup::Leaf;

use super::{field, line};

/// What ended a run, where that was not the command itself or a signal from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// Its own exit, or a signal.
    #[default]
    Itself,
    /// It needed more memory than it may have.
    OutOfMemory,
    /// It took longer than it may.
    RunTime,
    /// It did not say in time that it is well.
    Watchdog,
    /// It did not say in time that it is ready, or ended without having said so.
    NotReady,
}

impl Cause {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::OutOfMemory, "memory"),
        (Self::RunTime, "run-time"),
        (Self::Watchdog, "watchdog"),
        (Self::NotReady, "not-ready"),
    ];

    fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(cause, _)| *cause == self).map(|(_, name)| *name)
    }

    fn by_name(name: &str) -> Self {
        let known = Self::NAMES.iter().find(|(_, known)| *known == name);
        known.map(|(cause, _)| *cause).unwrap_or_default()
    }

    pub(super) fn put(self, body: &mut String) {
        if let Some(name) = self.name() {
            line(body, "cause", name);
        }
    }

    /// A cause of a later version is as good as none.
    pub(super) fn take(body: &str) -> Self {
        field(body, "cause").map(Self::by_name).unwrap_or_default()
    }
}

/// What limits did to a run in all its life; zeros where the host does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hardship {
    /// Bytes of memory that it could have, where it was limited.
    pub memory_limit: Option<u64>,
    /// Most bytes of memory that it had at a time, where that is counted.
    pub memory_peak: Option<u64>,
    /// Processes that were killed for want of memory.
    pub oom_kills: u64,
    /// Periods in which its processor time was counted.
    pub periods: u64,
    /// Periods of these in which it had to wait because it had used up its time.
    pub throttled_periods: u64,
    /// How long it waited then, all its threads together.
    pub throttled: Duration,
    /// Processes that it could not start because it had as many as it may.
    pub forks_refused: u64,
}

impl Hardship {
    /// What the kernel has counted for a group.
    #[must_use]
    pub fn of_group(group: &Leaf) -> Self {
        let memory = group.memory().ok().flatten();
        let events = group.memory_events().ok().flatten().unwrap_or_default();
        let cpu = group.cpu().unwrap_or_default();
        Self {
            memory_limit: group.memory_limit().ok().flatten(),
            memory_peak: memory.and_then(|memory| memory.peak),
            oom_kills: events.oom_kill,
            periods: cpu.periods.unwrap_or_default(),
            throttled_periods: cpu.throttled_periods.unwrap_or_default(),
            throttled: cpu.throttled.unwrap_or_default(),
            forks_refused: group.forks_refused().ok().flatten().unwrap_or_default(),
        }
    }

    fn numbers(&self) -> [(&'static str, Option<u64>); 7] {
        let counted = |number: u64| (number != 0).then_some(number);
        let throttled = u64::try_from(self.throttled.as_micros()).unwrap_or(u64::MAX);
        [
            ("memory-limit", self.memory_limit),
            ("memory-peak", self.memory_peak),
            ("oom-kills", counted(self.oom_kills)),
            ("periods", counted(self.periods)),
            ("throttled-periods", counted(self.throttled_periods)),
            ("throttled-micros", counted(throttled)),
            ("forks-refused", counted(self.forks_refused)),
        ]
    }

    pub(super) fn put(&self, body: &mut String) {
        for (key, number) in self.numbers() {
            if let Some(number) = number {
                line(body, key, &number.to_string());
            }
        }
    }

    pub(super) fn take(body: &str) -> Self {
        let number = |key| field(body, key).and_then(|text| text.parse().ok());
        let count = |key| number(key).unwrap_or_default();
        Self {
            memory_limit: number("memory-limit"),
            memory_peak: number("memory-peak"),
            oom_kills: count("oom-kills"),
            periods: count("periods"),
            throttled_periods: count("throttled-periods"),
            throttled: Duration::from_micros(count("throttled-micros")),
            forks_refused: count("forks-refused"),
        }
    }
}
