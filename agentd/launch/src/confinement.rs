//! What a run may use and do. Each launcher applies what it can; whether a host can do what a task
//! needs is found out before (`tepui-isolators`), so that nothing runs unprotected.

use std::collections::BTreeSet;
use std::time::Duration;

/// Everything that a run is held to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// What it may use.
    pub ceiling: Ceiling,
    /// What it may do.
    pub rights: Rights,
    /// How long it may take for what.
    pub pace: Pace,
}

/// What a run may use; `None` is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Processors in thousandths: its share when they are scarce.
    pub cpu_milli: Option<u64>,
    /// Processors in thousandths that it may not exceed.
    pub cpu_quota_milli: Option<u64>,
    /// Processors it may run on, as `0-3,5`.
    pub processors: Option<String>,
    /// Bytes of memory that it may not exceed; it then has no swap.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory above which the kernel takes pages back and slows it down.
    pub memory_high_bytes: Option<u64>,
    /// Bytes of memory that the kernel takes back last.
    pub memory_low_bytes: Option<u64>,
    /// Processes and threads that it may not exceed.
    pub processes: Option<u64>,
    /// Its share of the disks when they are scarce, 1 to 10,000.
    pub io_weight: Option<u64>,
    /// Bytes per second that it may read from the disk of its sandbox.
    pub io_read_bytes: Option<u64>,
    /// Bytes per second that it may write to the disk of its sandbox.
    pub io_write_bytes: Option<u64>,
}

/// Weight of one processor; the kernel's default of 100 is a hundredth of its highest.
const WEIGHT_PER_CPU: u64 = 100;
const WEIGHTS: (u64, u64) = (1, 10_000);

impl Ceiling {
    /// The share of its processors as a weight of the kernel's, 1 to 10,000.
    #[must_use]
    pub fn cpu_weight(&self) -> Option<u64> {
        let weight = |milli: u64| milli.saturating_mul(WEIGHT_PER_CPU) / 1000;
        self.cpu_milli.map(|milli| weight(milli).clamp(WEIGHTS.0, WEIGHTS.1))
    }

    /// Processor time per second.
    #[must_use]
    pub fn cpu_quota(&self) -> Option<Duration> {
        self.cpu_quota_milli.map(Duration::from_millis)
    }

    /// Bytes of swap: none for whoever has a limit, or the limit would be none.
    #[must_use]
    pub fn swap_bytes(&self) -> Option<u64> {
        self.memory_bytes.map(|_| 0)
    }
}

/// What a run may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Capabilities that it can ever have, one bit each by the kernel's numbers; `None` leaves all
    /// that its user has.
    pub bounding: Option<u64>,
    /// Capabilities that it has whoever its user is.
    pub ambient: u64,
    /// Executed files give it no rights: not setuid, not file capabilities.
    pub no_new_privileges: bool,
    /// System calls that it may make; `None` is all.
    pub system_calls: Option<SystemCalls>,
    /// System V and POSIX inter-process communication of its own.
    pub own_ipc: bool,
    /// Only devices without hardware behind them (`null`, `zero`, `urandom`, terminals …).
    pub no_devices: bool,
    /// The host's own settings, sockets and namespaces are out of reach.
    pub shield: bool,
}

/// A set of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemCalls {
    /// What services need: no clock setting, mounting, modules, debugging, reboot, raw i/o …
    Service,
    /// The same without those that need rights, and without changing limits and priorities.
    Unprivileged,
}

/// How long a run may take for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Ended after this time, whether or not an agent is there.
    pub run_time: Option<Duration>,
    /// Between SIGTERM and SIGKILL when the host is shut down; `None` is the launcher's.
    pub stop_grace: Option<Duration>,
    /// It says itself when it is ready (`READY=1`, sd_notify(3)), at the latest after this time.
    pub notifies_within: Option<Duration>,
    /// It says at least so often that it is well (`WATCHDOG=1`), or is ended.
    pub watchdog: Option<Duration>,
}

/// Most processors that a list may name.
const MAX_PROCESSOR: u16 = 8191;

/// Reads a list such as `0-3,5`; `None` for what is no such list.
#[must_use]
pub fn parse_processors(list: &str) -> Option<BTreeSet<u16>> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number <= MAX_PROCESSOR);
    let mut all = BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_processors_is_read_or_refused() {
        assert_eq!(parse_processors("0-2,5"), Some([0, 1, 2, 5].into()));
        for bad in ["", "a", "3-1", "1,", "-1", "99999"] {
            assert_eq!(parse_processors(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_weight_stays_within_what_the_kernel_takes() {
        let of = |milli| Ceiling { cpu_milli: Some(milli), ..Ceiling::default() }.cpu_weight();
        assert_eq!([of(1), of(500), of(1_000_000)], [Some(1), Some(50), Some(10_000)]);
    }
}
