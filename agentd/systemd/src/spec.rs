//! What a unit is like, in our words.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::name::{SliceName, UnitName};

/// A program with its arguments; the first argument is the name that it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// File, absolute.
    pub path: PathBuf,
    /// Arguments from number 0 on.
    pub argv: Vec<String>,
}

/// Standard input of a unit's process.
#[derive(Debug)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// This descriptor.
    Descriptor(OwnedFd),
}

/// What a task may use; `None` is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Share of the processors when they are scarce, 1 to 10,000 (`CPUWeight`).
    pub cpu_weight: Option<u64>,
    /// Processor time per second of wall time (`CPUQuota`).
    pub cpu_quota: Option<Duration>,
    /// Bytes of memory (`MemoryMax`).
    pub memory_max: Option<u64>,
    /// Bytes of memory above which the kernel reclaims (`MemoryHigh`).
    pub memory_high: Option<u64>,
    /// Bytes of swap (`MemorySwapMax`).
    pub swap_max: Option<u64>,
    /// Processes and threads (`TasksMax`).
    pub tasks_max: Option<u64>,
}

/// A transient service.
#[derive(Debug)]
pub struct UnitSpec {
    /// Its name.
    pub name: UnitName,
    /// Where it is in the tree.
    pub slice: SliceName,
    /// What `systemctl status` shows first.
    pub description: String,
    /// The main process.
    pub start: Command,
    /// Run with all privileges when the unit is over, however it ended.
    pub stop_post: Option<Command>,
    /// Its standard input.
    pub stdin: Stdin,
    /// User to switch to; `None` is root.
    pub user: Option<String>,
    /// Directory that it starts in.
    pub working_directory: PathBuf,
    /// The environment, besides what systemd adds.
    pub environment: Vec<(String, String)>,
    /// Soft and hard limits by systemd's names (`NOFILE`); `None` is infinity.
    pub rlimits: Vec<(&'static str, Option<u64>, Option<u64>)>,
    /// What it may use.
    pub ceiling: Ceiling,
    /// Time between SIGTERM and SIGKILL when systemd stops it.
    pub stop_timeout: Duration,
    /// Fields of every line that it writes to the journal.
    pub log_fields: Vec<(String, String)>,
    /// Name in front of its lines in the journal.
    pub syslog_identifier: String,
}
