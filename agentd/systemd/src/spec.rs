//! What a unit is like, in our words.

use std::collections::BTreeSet;
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Share of the processors when they are scarce, 1 to 10,000 (`CPUWeight`).
    pub cpu_weight: Option<u64>,
    /// Processor time per second of wall time (`CPUQuota`).
    pub cpu_quota: Option<Duration>,
    /// Numbers of the processors that it may run on (`AllowedCPUs`).
    pub allowed_cpus: Option<BTreeSet<u16>>,
    /// Bytes of memory (`MemoryMax`).
    pub memory_max: Option<u64>,
    /// Bytes of memory above which the kernel reclaims (`MemoryHigh`).
    pub memory_high: Option<u64>,
    /// Bytes of memory that are reclaimed last (`MemoryLow`).
    pub memory_low: Option<u64>,
    /// Bytes of swap (`MemorySwapMax`).
    pub swap_max: Option<u64>,
    /// Processes and threads (`TasksMax`).
    pub tasks_max: Option<u64>,
    /// Share of the disks when they are scarce, 1 to 10,000 (`IOWeight`).
    pub io_weight: Option<u64>,
    /// Bytes per second read from the disk that holds this path (`IOReadBandwidthMax`).
    pub io_read: Option<(PathBuf, u64)>,
    /// Bytes per second written to the disk that holds this path (`IOWriteBandwidthMax`).
    pub io_write: Option<(PathBuf, u64)>,
}

/// What a task may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Capabilities that it can ever have, one bit each (`CapabilityBoundingSet`).
    pub bounding: Option<u64>,
    /// Capabilities that it has whoever its user is (`AmbientCapabilities`).
    pub ambient: u64,
    /// Executed files give it no rights (`NoNewPrivileges`).
    pub no_new_privileges: bool,
    /// Sets of system calls by systemd's names: it may make these, and of them not those
    /// (`SystemCallFilter`). Others answer EPERM.
    pub system_calls: Option<(&'static [&'static str], &'static [&'static str])>,
    /// Inter-process communication of its own (`PrivateIPC`).
    pub private_ipc: bool,
    /// Only devices without hardware behind them (`DevicePolicy=closed`).
    pub closed_devices: bool,
    /// The host's settings, control groups, manager sockets and namespaces are out of reach
    /// (`ProtectControlGroups`, `ProtectKernelTunables`, `RestrictNamespaces` and others).
    pub shield: bool,
}

/// How long a task may take for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Time between SIGTERM and SIGKILL when systemd stops it (`TimeoutStopSec`).
    pub stop: Duration,
    /// It is stopped after this time (`RuntimeMaxSec`).
    pub run: Option<Duration>,
    /// It says that it is ready, within this time (`Type=notify`, `TimeoutStartSec`).
    pub notifies_within: Option<Duration>,
    /// It says so often that it is well (`WatchdogSec`).
    pub watchdog: Option<Duration>,
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
    /// Files that it gets copies of, by names, in a folder that only its user may read
    /// (`LoadCredential`, `$CREDENTIALS_DIRECTORY`).
    pub credentials: Vec<(String, PathBuf)>,
    /// Soft and hard limits by systemd's names (`NOFILE`); `None` is infinity.
    pub rlimits: Vec<(&'static str, Option<u64>, Option<u64>)>,
    /// What it may use.
    pub ceiling: Ceiling,
    /// Its control group is left to it (`Delegate`).
    pub delegate: bool,
    /// The network namespace that it is in (`NetworkNamespacePath`); `None` is the host's.
    pub network: Option<PathBuf>,
    /// What it may do.
    pub rights: Rights,
    /// How long it may take for what.
    pub pace: Pace,
    /// Fields of every line that it writes to the journal.
    pub log_fields: Vec<(String, String)>,
    /// Name in front of its lines in the journal.
    pub syslog_identifier: String,
}
