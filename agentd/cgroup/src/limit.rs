//! Limits of a group: one file of the kernel each (`Documentation/admin-guide/cgroup-v2.rst`).

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{CgroupError, Leaf};

/// Length of the period in which `cpu.max` counts; the kernel's own default.
const CPU_PERIOD: Duration = Duration::from_millis(100);
/// Shortest time per period that the kernel takes.
const CPU_QUOTA_MIN: Duration = Duration::from_millis(1);

/// Shares of disks as io.cost and as BFQ, which are parts that a kernel may lack, read them.
const DISK_WEIGHTS: [&str; 2] = ["io.weight", "io.bfq.weight"];

/// What the processes of a group may use together; `None` leaves the kernel's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Share of the processors when they are scarce, 1 to 10,000 (`cpu.weight`).
    pub cpu_weight: Option<u64>,
    /// Processor time per second of wall time (`cpu.max`).
    pub cpu_quota: Option<Duration>,
    /// Bytes of memory; who needs more is killed, with all of the group (`memory.max`).
    pub memory_max: Option<u64>,
    /// Bytes of memory above which the kernel reclaims and slows down (`memory.high`).
    pub memory_high: Option<u64>,
    /// Bytes of memory that are reclaimed last (`memory.low`).
    pub memory_low: Option<u64>,
    /// Bytes of swap (`memory.swap.max`).
    pub swap_max: Option<u64>,
    /// Processes and threads (`pids.max`).
    pub pids_max: Option<u64>,
    /// Share of the disks when they are scarce, 1 to 10,000 (`io.weight`, `io.bfq.weight`).
    pub io_weight: Option<u64>,
    /// Bytes per second of single disks (`io.max`).
    pub io_max: Vec<DiskLimit>,
    /// Processors it may run on, as `0-3,5` (`cpuset.cpus`).
    pub cpus: Option<String>,
}

/// How fast one disk may be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimit {
    /// Number of the whole disk: major, minor.
    pub disk: (u32, u32),
    /// Bytes per second.
    pub read: Option<u64>,
    /// Bytes per second.
    pub write: Option<u64>,
}

/// A controller of the kernel, by the name that `cgroup.controllers` has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Controller {
    /// Processors.
    Cpu,
    /// On which processors.
    Cpuset,
    /// Block devices.
    Io,
    /// Memory and swap.
    Memory,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// All that limits need.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cpuset, Self::Io, Self::Memory, Self::Pids];

    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Io => "io",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

impl GroupLimits {
    /// The files to write, with the controller that each belongs to.
    fn files(&self) -> Vec<(Controller, &'static str, String)> {
        let mut all = Vec::new();
        let mut add = |controller, file, value: Option<String>| {
            all.extend(value.map(|value| (controller, file, value)));
        };
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        add(Controller::Cpu, "cpu.weight", number(self.cpu_weight));
        add(Controller::Cpu, "cpu.max", self.cpu_quota.map(cpu_max));
        // Swap first: with it memory would not be exhausted where it should.
        add(Controller::Memory, "memory.swap.max", number(self.swap_max));
        add(Controller::Memory, "memory.low", number(self.memory_low));
        add(Controller::Memory, "memory.high", number(self.memory_high));
        add(Controller::Memory, "memory.max", number(self.memory_max));
        let whole = self.memory_max.map(|_| "1".to_owned());
        add(Controller::Memory, "memory.oom.group", whole);
        add(Controller::Pids, "pids.max", number(self.pids_max));
        let [cost, bfq] = DISK_WEIGHTS;
        add(Controller::Io, cost, self.io_weight.map(|weight| format!("default {weight}")));
        add(Controller::Io, bfq, number(self.io_weight.map(weight_for_bfq)));
        for limit in &self.io_max {
            add(Controller::Io, "io.max", Some(limit.line()));
        }
        add(Controller::Cpuset, "cpuset.cpus", self.cpus.clone());
        all
    }
}

impl DiskLimit {
    fn line(&self) -> String {
        let text =
            |limit: Option<u64>| limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
        let (major, minor) = self.disk;
        format!("{major}:{minor} rbps={} wbps={}", text(self.read), text(self.write))
    }
}

fn cpu_max(per_second: Duration) -> String {
    let share = per_second.as_micros() * CPU_PERIOD.as_micros() / 1_000_000;
    format!("{} {}", share.max(CPU_QUOTA_MIN.as_micros()), CPU_PERIOD.as_micros())
}

/// BFQ counts to 1,000. 100 is the usual share for both, as for systemd.
fn weight_for_bfq(weight: u64) -> u64 {
    if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9_900 }
}

/// Why this kernel gives no group a share of the disks; `None` where it does. `root` is that of the
/// hierarchy, `disks` the kernel's folder of them (`/sys/block`).
#[must_use]
pub fn no_disk_weights(root: &Path, disks: &Path) -> Option<&'static str> {
    // The root has files for all disks, which a container that sees a part of the hierarchy lacks.
    let files = DISK_WEIGHTS.into_iter().chain(["io.cost.qos"]);
    let has_bfq = |disk: fs::DirEntry| {
        let schedulers = fs::read_to_string(disk.path().join("queue/scheduler"));
        schedulers.is_ok_and(|all| {
            all.split_whitespace().any(|one| one.trim_matches(['[', ']']) == "bfq")
        })
    };
    let is_there = files.into_iter().any(|file| root.join(file).exists())
        || fs::read_dir(disks).is_ok_and(|mut all| all.any(|disk| disk.is_ok_and(has_bfq)));
    (!is_there).then_some("this kernel has neither io.cost nor BFQ")
}

impl Leaf {
    /// Sets the limits whose controllers are in force here, in an order in which each can work, and
    /// says for which controllers there was nothing to write to.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Write`] with the file and the value that the kernel refused.
    pub fn limit(&self, limits: &GroupLimits) -> Result<Vec<Controller>, CgroupError> {
        let mut missing = Vec::new();
        for (controller, file, value) in limits.files() {
            if self.path().join(file).exists() {
                self.write(file, &value)?;
            } else if !DISK_WEIGHTS.contains(&file) && !missing.contains(&controller) {
                // A kernel has either file, both, or neither, and then `no_disk_weights` says so.
                missing.push(controller);
            }
        }
        Ok(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let limits = GroupLimits {
            cpu_weight: Some(50),
            cpu_quota: Some(Duration::from_millis(1500)),
            memory_max: Some(40 << 20),
            swap_max: Some(0),
            pids_max: Some(64),
            io_max: vec![DiskLimit { disk: (8, 0), read: Some(7), write: None }],
            cpus: Some("0-1".to_owned()),
            ..GroupLimits::default()
        };
        let files: Vec<_> =
            limits.files().into_iter().map(|(_, file, value)| format!("{file}={value}")).collect();
        let expected = [
            "cpu.weight=50",
            "cpu.max=150000 100000",
            "memory.swap.max=0",
            "memory.max=41943040",
            "memory.oom.group=1",
            "pids.max=64",
            "io.max=8:0 rbps=7 wbps=max",
            "cpuset.cpus=0-1",
        ];
        assert_eq!(files, expected);
    }

    #[test]
    fn a_tiny_share_of_a_processor_is_the_least_that_the_kernel_takes() {
        assert_eq!(cpu_max(Duration::from_micros(1)), "1000 100000");
    }

    #[test]
    fn what_has_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pids.max"), "").unwrap();
        let leaf = Leaf::at(folder.path().to_owned());
        let limits = GroupLimits {
            pids_max: Some(7),
            memory_max: Some(1),
            io_weight: Some(1000),
            ..GroupLimits::default()
        };
        std::fs::write(folder.path().join("io.bfq.weight"), "").unwrap();
        assert_eq!(leaf.limit(&limits).unwrap(), vec![Controller::Memory]);
        assert_eq!(std::fs::read_to_string(folder.path().join("io.bfq.weight")).unwrap(), "181");
        assert_eq!(std::fs::read_to_string(folder.path().join("pids.max")).unwrap(), "7");
    }

    #[test]
    fn bfq_has_the_usual_share_the_least_and_the_most_where_others_have_them() {
        assert_eq!([1, 100, 10_000].map(weight_for_bfq), [1, 100, 1_000]);
    }

    #[test]
    fn a_kernel_that_gives_shares_of_disks_is_known_by_its_files() {
        let [groups, disks] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let queue = disks.path().join("vda/queue");
        std::fs::create_dir_all(&queue).unwrap();
        let answer = || no_disk_weights(groups.path(), disks.path());
        let schedulers = |text: &str| std::fs::write(queue.join("scheduler"), text).unwrap();
        assert!(answer().unwrap().contains("neither"));
        schedulers("[none] mq-deadline\n");
        assert!(answer().is_some());
        schedulers("none mq-deadline [bfq]\n");
        assert_eq!(answer(), None);
        schedulers("[none]\n");
        std::fs::write(groups.path().join("io.cost.qos"), "").unwrap();
        assert_eq!(answer(), None);
    }
}
