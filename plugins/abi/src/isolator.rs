//! What is said to an isolator and what it answers.

use prost::Message;

/// Method: finds out whether this [`Host`] can do it; refuses with the reason, answers nothing.
pub const PROBE: u32 = 1;
/// Method: what is set for a run, of [`Wanted`]; answers [`Setting`].
pub const PREPARE: u32 = 2;
/// Method: a run of this name is gone ([`Wanted::run`]); answers nothing.
pub const CLEAN_UP: u32 = 3;

/// What a host is like.
#[derive(Clone, PartialEq, Message)]
pub struct Host {
    /// Runs are units of systemd, not processes with a shim.
    #[prost(bool, tag = "1")]
    pub units: bool,
    /// Controllers in force for the groups of runs.
    #[prost(string, repeated, tag = "2")]
    pub controllers: Vec<String>,
    /// The agent is root.
    #[prost(bool, tag = "3")]
    pub root: bool,
}

/// What a run is to be held to; what is missing is not limited.
#[derive(Clone, PartialEq, Message)]
pub struct Wanted {
    /// Its name, for as long as it lasts.
    #[prost(string, tag = "1")]
    pub run: String,
    /// Processors in thousandths: its share.
    #[prost(uint64, optional, tag = "2")]
    pub cpu_milli: Option<u64>,
    /// Processors in thousandths that it may not exceed.
    #[prost(uint64, optional, tag = "3")]
    pub cpu_quota_milli: Option<u64>,
    /// Processors it may run on, as `0-3,5`, when it asks for them.
    #[prost(string, optional, tag = "4")]
    pub processors: Option<String>,
    /// Bytes of memory that it may not exceed.
    #[prost(uint64, optional, tag = "5")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[prost(uint64, optional, tag = "6")]
    pub processes: Option<u64>,
    /// Share of the disks, 1 to 10,000.
    #[prost(uint64, optional, tag = "7")]
    pub io_weight: Option<u64>,
}

/// What a launcher sets for a run; what is missing is left as others set it.
#[derive(Clone, PartialEq, Message)]
pub struct Setting {
    /// Processors in thousandths: its share.
    #[prost(uint64, optional, tag = "2")]
    pub cpu_milli: Option<u64>,
    /// Processors in thousandths that it may not exceed.
    #[prost(uint64, optional, tag = "3")]
    pub cpu_quota_milli: Option<u64>,
    /// Processors it may run on, as `0-3,5`.
    #[prost(string, optional, tag = "4")]
    pub processors: Option<String>,
    /// Bytes of memory that it may not exceed.
    #[prost(uint64, optional, tag = "5")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[prost(uint64, optional, tag = "6")]
    pub processes: Option<u64>,
    /// Share of the disks, 1 to 10,000.
    #[prost(uint64, optional, tag = "7")]
    pub io_weight: Option<u64>,
}
