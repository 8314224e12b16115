//! What a task has used so far, each figure with where it is from.

use std::time::Duration;

use tepui_cgroup::MemoryEvents;

use crate::decode::{BlockUse, Denials, Drops, Endings, Histogram, NetUse, Preempted, TcpUse};

/// Where a figure is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A BPF program: everything that ever happened in the group, since it was registered.
    Bpf,
    /// A file of the control group: everything that ever happened in it.
    GroupFiles,
    /// Files of processes: what ended ones used is missing as far as nobody looked before their end.
    ProcessFiles,
    /// Rules of nftables that count by group, and sockets: of ended sockets (retransmits, drops, round
    /// trips) what happened after the last look at them is missing.
    Netlink,
}

impl Source {
    /// The word used in logs and attributes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bpf => "bpf",
            Self::GroupFiles => "cgroup",
            Self::ProcessFiles => "proc",
            Self::Netlink => "netlink",
        }
    }
}

/// Memory of a group in bytes, by what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Heaps, stacks and the like.
    pub anonymous: u64,
    /// The page cache.
    pub file: u64,
    /// Of it, not used lately: taken back first.
    pub inactive_file: u64,
    /// Of it, mapped.
    pub mapped: u64,
    /// The kernel's own, for the group.
    pub kernel: u64,
    /// Of it, for sockets.
    pub socket: u64,
    /// What cannot be reclaimed.
    pub unevictable: u64,
    /// On swap devices; none where it is not known.
    pub swap: Option<u64>,
}

/// How often a group came close to its memory's end: each level counts what the next ones count too,
/// as with the notifications of control groups version 1 (`memory.pressure_level`).
///
/// Version 2 has no such notifications. What it counts in `memory.events` says the same of a group's
/// own limits: its memory was taken back or it was slowed down (`high`, `max`), it stood at its
/// limit (`max`), there was nothing left to take back (`oom`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLevels {
    /// Memory was taken back at a bound or a limit.
    pub low: u64,
    /// It stood at its limit.
    pub medium: u64,
    /// An allocation was about to fail.
    pub critical: u64,
}

impl MemoryLevels {
    /// The levels of the kernel's counts.
    #[must_use]
    pub fn of(events: &MemoryEvents) -> Self {
        let MemoryEvents { high, max, oom, .. } = *events;
        let medium = max.max(oom);
        Self { low: high.saturating_add(medium), medium, critical: oom }
    }
}

/// A value and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure<T> {
    /// The value.
    pub value: T,
    /// Its source.
    pub source: Source,
}

impl<T> Figure<T> {
    pub(crate) fn of(source: Source) -> impl Fn(T) -> Self {
        move |value| Self { value, source }
    }
}

/// Switches away from a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// There was nothing to do.
    pub voluntary: u64,
    /// Someone else's turn came.
    pub involuntary: u64,
}

/// Time in which processes stood still for lack of something (`*.pressure`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// At least one stood still.
    pub some: Duration,
    /// All did.
    pub full: Duration,
}

/// What a task has used so far; absent is what nothing on this host can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Time on processors.
    pub cpu: Option<Figure<Duration>>,
    /// Of it, in user mode.
    pub cpu_user: Option<Figure<Duration>>,
    /// Of it, in the kernel.
    pub cpu_system: Option<Figure<Duration>>,
    /// Periods of the quota so far.
    pub periods: Option<Figure<u64>>,
    /// Periods of the quota in which the task was throttled.
    pub throttled_periods: Option<Figure<u64>>,
    /// Time it was throttled.
    pub throttled: Option<Figure<Duration>>,
    /// Switches.
    pub switches: Option<Figure<Switches>>,
    /// Who ran instead.
    pub preempted: Option<Figure<Preempted>>,
    /// Time waited for a processor.
    pub wait: Option<Figure<Duration>>,
    /// The single waits.
    pub waits: Option<Figure<Histogram>>,
    /// Memory, by what it is.
    pub memory: Option<Figure<Memory>>,
    /// Threads that exist now.
    pub threads: Option<Figure<u64>>,
    /// Page faults.
    pub page_faults: Option<Figure<u64>>,
    /// Page faults that read from a device.
    pub major_faults: Option<Figure<u64>>,
    /// The network.
    pub network: Option<Figure<NetUse>>,
    /// Packets that were thrown away.
    pub drops: Option<Figure<Drops>>,
    /// TCP connections.
    pub tcp: Option<Figure<TcpUse>>,
    /// Block devices; from files without latencies.
    pub block: Option<Figure<BlockUse>>,
    /// Ends of processes.
    pub endings: Option<Figure<Endings>>,
    /// Processes chosen by the out-of-memory killer.
    pub oom_kills: Option<Figure<u64>>,
    /// How often memory was short.
    pub memory_levels: Option<Figure<MemoryLevels>>,
    /// Lack of processors.
    pub cpu_pressure: Option<Figure<Pressure>>,
    /// Lack of memory.
    pub memory_pressure: Option<Figure<Pressure>>,
    /// Lack of block i/o.
    pub io_pressure: Option<Figure<Pressure>>,
    /// Refused ports.
    pub denials: Option<Figure<Denials>>,
}

impl Sample {
    /// Takes from `other` what is absent here.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.or(other.cpu),
            cpu_user: self.cpu_user.or(other.cpu_user),
            cpu_system: self.cpu_system.or(other.cpu_system),
            periods: self.periods.or(other.periods),
            memory: self.memory.or(other.memory),
            threads: self.threads.or(other.threads),
            throttled_periods: self.throttled_periods.or(other.throttled_periods),
            throttled: self.throttled.or(other.throttled),
            switches: self.switches.or(other.switches),
            preempted: self.preempted.or(other.preempted),
            wait: self.wait.or(other.wait),
            waits: self.waits.or(other.waits),
            page_faults: self.page_faults.or(other.page_faults),
            major_faults: self.major_faults.or(other.major_faults),
            network: self.network.or(other.network),
            drops: self.drops.or(other.drops),
            tcp: self.tcp.or(other.tcp),
            block: self.block.or(other.block),
            endings: self.endings.or(other.endings),
            oom_kills: self.oom_kills.or(other.oom_kills),
            memory_levels: self.memory_levels.or(other.memory_levels),
            cpu_pressure: self.cpu_pressure.or(other.cpu_pressure),
            memory_pressure: self.memory_pressure.or(other.memory_pressure),
            io_pressure: self.io_pressure.or(other.io_pressure),
            denials: self.denials.or(other.denials),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_counts_what_the_worse_ones_count() {
        let events = MemoryEvents { high: 5, max: 3, oom: 1, oom_kill: 1 };
        let levels = MemoryLevels { low: 8, medium: 3, critical: 1 };
        assert_eq!(MemoryLevels::of(&events), levels);
        // A group below another one's limit can run out without ever having met its own.
        let foreign = MemoryEvents { oom: 2, ..MemoryEvents::default() };
        let levels = MemoryLevels { low: 2, medium: 2, critical: 2 };
        assert_eq!(MemoryLevels::of(&foreign), levels);
    }
}
