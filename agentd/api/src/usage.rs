//! What runs use, and what tells it, as this layer shows it.

/// What a live run uses; absent is what the host does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time since its start.
    pub cpu_seconds: f64,
    /// The same to the nanosecond, where programs count it.
    pub counted_cpu_seconds: Option<f64>,
    /// Of that, in user mode, where the host tells.
    pub user_cpu_seconds: Option<f64>,
    /// Of that, in the kernel, where the host tells.
    pub system_cpu_seconds: Option<f64>,
    /// Memory in use.
    pub memory_bytes: u64,
    /// Processes.
    pub processes: u64,
    /// Threads.
    pub threads: Option<u64>,
    /// Periods of its quota of processor time.
    pub periods: Option<u64>,
    /// Of those, periods in which it was throttled.
    pub throttled_periods: Option<u64>,
    /// Time that it was throttled.
    pub throttled_seconds: Option<f64>,
    /// Memory by what it is.
    pub memory: Option<Memory>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that read from a device.
    pub major_faults: Option<u64>,
    /// Processes that the kernel killed for lack of memory.
    pub oom_kills: Option<u64>,
    /// Processes that ended: well, with a failure of their own, by a signal.
    pub ends: Option<[u64; 3]>,
    /// Switches because there was nothing to do, and although there was.
    pub switches: Option<(u64, u64)>,
    /// Who ran instead: another task, the system, itself in another thread.
    pub preempted: Option<[u64; 3]>,
    /// Time waited for a processor.
    pub wait_seconds: Option<f64>,
    /// The single waits.
    pub waits: Option<Durations>,
    /// What came in and what went out.
    pub network: Option<[Traffic; 2]>,
    /// Packets thrown away on the way in and on the way out, each where it is told.
    pub drops: Option<[Option<u64>; 2]>,
    /// TCP connections.
    pub tcp: Option<Tcp>,
    /// Block devices.
    pub block: Option<Block>,
    /// Lack of a resource (`cpu`, `memory`, `io`): time in which some, and in which all, waited.
    pub pressure: Vec<(&'static str, f64, f64)>,
    /// How often memory was short: low, medium, critical, each with those after it.
    pub memory_levels: Option<[u64; 3]>,
    /// Refused ports by what was tried.
    pub denied: Option<Vec<(&'static str, u64)>>,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Memory {
    pub anonymous: u64,
    pub file: u64,
    pub inactive_file: u64,
    pub mapped: u64,
    pub kernel: u64,
    pub socket: u64,
    pub unevictable: u64,
    pub swap: Option<u64>,
}

/// Bytes and packets, or bytes and requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes.
    pub bytes: u64,
    /// How many they came in.
    pub count: u64,
}

/// What went one way, by protocol: `tcp`, `udp`, `other`; a source that does not tell them apart
/// has `all`.
pub type Traffic = Vec<(&'static str, Flow)>;

/// TCP connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tcp {
    /// Opened by the task.
    pub connected: u64,
    /// Opened by others.
    pub accepted: u64,
    /// Over.
    pub ended: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Round-trip times of connections that are over.
    pub round_trips: Option<Durations>,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Reads.
    pub read: Flow,
    /// Writes.
    pub written: Flow,
    /// What else there is.
    pub other: Flow,
    /// Time of each request.
    pub latencies: Option<Durations>,
}

/// How many of some durations are how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    /// All of them together.
    pub sum_seconds: f64,
    /// Upper bounds in seconds, rising, and how many are above the former bound and not above this.
    pub buckets: Vec<(f64, u64)>,
    /// How many are above the last bound.
    pub beyond: u64,
}

impl Durations {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(self.beyond, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The bound in seconds below which this share of them is; none without any.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let mut seen = 0;
        let bound = self.buckets.iter().find(|(_, count)| {
            seen += count;
            *count > 0 && seen as f64 >= wanted
        });
        let last = || self.buckets.last().filter(|_| self.beyond > 0);
        bound.or_else(last).map(|(bound, _)| *bound)
    }
}

/// What a run is to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// A process tree that the agent's shim looks after.
    Process,
    /// A transient unit of systemd.
    Systemd,
    /// An OCI container, in a unit or not.
    Oci,
}

impl Runtime {
    /// The word used in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Systemd => "systemd",
            Self::Oci => "oci",
        }
    }
}

/// Where a live run is on its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlace {
    /// What it is to the host.
    pub runtime: Runtime,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// The kernel's id of its control group, where it has one: what eBPF programs and tools of the
    /// host call it.
    pub cgroup_id: Option<u64>,
}

/// What of the kernel serves the agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KernelReport {
    /// What happens with foreign ports: `off`, `observe`, `deny`, `kill`.
    pub mode: String,
    /// Who holds tasks to their ports: `kernel` or `none`.
    pub enforcement: String,
    /// Why nobody does.
    pub reason: Option<String>,
    /// Who tells tasks from operators when they call: `kernel` or `none`.
    pub callers: String,
    /// Why nobody does, and what follows of that.
    pub callers_reason: Option<String>,
    /// Figures about tasks and their sources.
    pub sources: Vec<(String, String)>,
    /// Programs with the time spent in them in seconds, and how often they ran.
    pub programs: Vec<(String, f64, u64)>,
    /// Reports that found no room.
    pub events_lost: u64,
    /// Groups that the kernel knows as tasks'.
    pub groups: u64,
    /// Maps that have a record for each of them, with the records in each.
    pub maps: Vec<(String, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let durations = Durations {
            sum_seconds: 1.0,
            buckets: vec![(0.001, 90), (0.002, 0), (0.004, 9)],
            beyond: 1,
        };
        assert_eq!(durations.count(), 100);
        assert_eq!(durations.quantile(0.5), Some(0.001));
        assert_eq!(durations.quantile(0.95), Some(0.004));
        assert_eq!(durations.quantile(1.0), Some(0.004));
        assert_eq!(Durations::default().quantile(0.5), None);
    }
}
