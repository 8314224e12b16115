//! Reading a group's files of numbers.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::CgroupError;

/// CPU time a group and everything that ever ran in it has used (`cpu.stat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// User and system time together.
    pub total: Duration,
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// Periods in which a limit was counted; absent without the cpu controller.
    pub periods: Option<u64>,
    /// Periods in which the group was throttled; absent without the cpu controller.
    pub throttled_periods: Option<u64>,
    /// Time the group was throttled; absent without the cpu controller.
    pub throttled: Option<Duration>,
}

/// Memory of a group in bytes; only where the memory controller is in version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Bytes in use (`memory.current`).
    pub current: u64,
    /// Highest use so far (`memory.peak`, kernel 5.19 and newer).
    pub peak: Option<u64>,
}

/// Counts of memory events (`memory.events`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Times the group was slowed down at the bound that does not kill.
    pub high: u64,
    /// Times the group ran into its hard limit.
    pub max: u64,
    /// Times an allocation was about to fail for lack of memory.
    pub oom: u64,
    /// Processes killed for lack of memory.
    pub oom_kill: u64,
}

pub(crate) fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Read { path: path.to_owned(), source })
}

/// Reads a file that only exists where a controller is enabled.
pub(crate) fn read_optional(path: &Path) -> Result<Option<String>, CgroupError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CgroupError::Read { path: path.to_owned(), source }),
    }
}

pub(crate) fn parse_number(path: &Path, text: &str) -> Result<u64, CgroupError> {
    text.trim()
        .parse()
        .map_err(|_| CgroupError::Content { path: path.to_owned(), text: text.to_owned() })
}

pub(crate) fn parse_cpu(text: &str) -> CpuUsage {
    let micros = |key| field(text, key).map(Duration::from_micros);
    CpuUsage {
        total: micros("usage_usec").unwrap_or_default(),
        user: micros("user_usec").unwrap_or_default(),
        system: micros("system_usec").unwrap_or_default(),
        periods: field(text, "nr_periods"),
        throttled_periods: field(text, "nr_throttled"),
        throttled: micros("throttled_usec"),
    }
}

pub(crate) fn parse_memory_events(text: &str) -> MemoryEvents {
    let count = |key| field(text, key).unwrap_or_default();
    MemoryEvents {
        high: count("high"),
        max: count("max"),
        oom: count("oom"),
        oom_kill: count("oom_kill"),
    }
}

/// The number behind `key` in the kernel's "flat keyed" format.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_with_and_without_the_controller() {
        let bare = parse_cpu("usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n");
        assert_eq!(bare.total, Duration::from_millis(1500));
        assert_eq!(bare.throttled, None);
        let full = parse_cpu("usage_usec 3\nnr_throttled 7\nthrottled_usec 9\n");
        assert_eq!(full.throttled_periods, Some(7));
        assert_eq!(full.throttled, Some(Duration::from_micros(9)));
    }

    #[test]
    fn memory_events_are_read_by_their_whole_name() {
        let events = parse_memory_events("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n");
        assert_eq!(events, MemoryEvents { high: 2, max: 3, oom: 4, oom_kill: 5 });
    }

    #[test]
    fn a_number_that_is_none_is_refused_with_its_file() {
        let error = parse_number(Path::new("/x/memory.current"), "max\n").unwrap_err();
        assert!(error.to_string().contains("/x/memory.current"), "{error}");
    }
}
