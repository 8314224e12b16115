//! What files of processes add up to. Those of ended ones are gone: what they told last stays counted.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tepui_cgroup::{CgroupError, Leaf};

use super::text;
use crate::host::HostFormer;
use crate::sample::{Figure, Sample, Source, Switches};

/// Threads that are looked at; a task with more gets figures that are too low.
const MOST_THREADS: usize = 4096;

/// What the processes of a group had used when they were looked at last. Kept from one look to the
/// next, counters do not fall when a process ends.
#[derive(Debug, Default)]
pub struct Former {
    live: HashMap<Process, Sum>,
    ended: Sum,
    pub(crate) host: HostFormer,
}

/// A process by its id and its start: ids are used again.
type Process = (i32, u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    switches: Switches,
    wait: Duration,
    faults: (u64, u64),
}

/// Adds what the group's processes tell and the group's own files do not.
pub(super) fn read(
    leaf: &Leaf,
    former: &mut Former,
    sample: &mut Sample,
) -> Result<(), CgroupError> {
    let pids: Vec<i32> = leaf.pids()?.iter().map(|pid| pid.as_raw_nonzero().get()).collect();
    let (mut now, mut threads, mut seen) = (HashMap::new(), 0, 0);
    for pid in &pids {
        if let Some((started, sum)) = Sum::of(&folder(*pid), &mut threads) {
            now.insert((*pid, started), sum);
        }
        seen += 1;
        if threads >= MOST_THREADS {
            break;
        }
    }
    let sum = former.settle(now, &pids[seen..]);
    sample.switches = Some(Figure::of(Source::ProcessFiles)(sum.switches));
    sample.wait = Some(Figure::of(Source::ProcessFiles)(sum.wait));
    sample.threads = Some(Figure::of(Source::ProcessFiles)(threads as u64));
    let (minor, major) = sum.faults;
    let faults = || Figure::of(Source::ProcessFiles)(minor.saturating_add(major));
    sample.page_faults = sample.page_faults.take().or_else(|| Some(faults()));
    let faults = || Figure::of(Source::ProcessFiles)(major);
    sample.major_faults = sample.major_faults.take().or_else(|| Some(faults()));
    if let Some(pid) = pids.first() {
        read_network(&folder(*pid), sample);
    }
    Ok(())
}

fn folder(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

impl Former {
    /// Takes what processes tell now; `unseen` are there too and were not looked at. The sum of all
    /// that there ever were.
    fn settle(&mut self, mut now: HashMap<Process, Sum>, unseen: &[i32]) -> Sum {
        for (process, last) in self.live.drain() {
            if let Some(sum) = now.get_mut(&process) {
                // Threads that ended took theirs along.
                *sum = sum.at_least(&last);
            } else if unseen.contains(&process.0) {
                now.insert(process, last);
            } else {
                self.ended = self.ended.and(&last);
            }
        }
        self.live = now;
        self.live.values().fold(self.ended, |sum, one| sum.and(one))
    }
}

/// Whether a group's processes have this process's network; none where that is not to be seen.
pub(crate) fn is_on_this_network(leaf: &Leaf) -> Option<bool> {
    shares_network(&folder(leaf.pids().ok()?.first()?.as_raw_nonzero().get()))
}

fn shares_network(process: &Path) -> Option<bool> {
    let namespace = |folder: &Path| fs::read_link(folder.join("ns/net")).ok();
    Some(namespace(process)? == namespace(Path::new("/proc/self"))?)
}

/// Network figures exist in files only for a task with a network namespace of its own.
fn read_network(process: &Path, sample: &mut Sample) {
    if shares_network(process) != Some(false) {
        return;
    }
    let file = |name: &str| fs::read_to_string(process.join("net").join(name)).ok();
    if let Some(lines) = file("dev") {
        sample.network = Some(Figure::of(Source::ProcessFiles)(text::interfaces(&lines)));
        sample.drops = Some(Figure::of(Source::ProcessFiles)(text::drops(&lines)));
    }
    let tcp = file("snmp").and_then(|lines| text::tcp(&lines));
    sample.tcp = tcp.map(Figure::of(Source::ProcessFiles));
}

impl Sum {
    /// When a process started and what it used so far; adds the number of its threads.
    fn of(folder: &Path, threads: &mut usize) -> Option<(u64, Self)> {
        let file = |path: PathBuf| fs::read_to_string(path).ok();
        let stat = file(folder.join("stat"))?;
        let (started, faults) = (text::started(&stat)?, text::faults(&stat).unwrap_or_default());
        let mut sum = Self { faults, ..Self::default() };
        for thread in fs::read_dir(folder.join("task")).ok()?.flatten() {
            *threads += 1;
            let status = file(thread.path().join("status"));
            let wait = file(thread.path().join("schedstat")).and_then(|line| text::wait(&line));
            sum = sum.and(&Self {
                switches: status.and_then(|lines| text::switches(&lines)).unwrap_or_default(),
                wait: wait.unwrap_or_default(),
                faults: (0, 0),
            });
        }
        Some((started, sum))
    }

    fn and(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add, Duration::saturating_add)
    }

    fn at_least(&self, other: &Self) -> Self {
        self.with(other, u64::max, Duration::max)
    }

    fn with(
        &self,
        other: &Self,
        count: fn(u64, u64) -> u64,
        time: fn(Duration, Duration) -> Duration,
    ) -> Self {
        Self {
            switches: Switches {
                voluntary: count(self.switches.voluntary, other.switches.voluntary),
                involuntary: count(self.switches.involuntary, other.switches.involuntary),
            },
            wait: time(self.wait, other.wait),
            faults: (count(self.faults.0, other.faults.0), count(self.faults.1, other.faults.1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(seconds: u64) -> Sum {
        let faults = (seconds, 1);
        Sum { wait: Duration::from_secs(seconds), faults, ..Sum::default() }
    }

    #[test]
    fn what_ended_processes_have_used_stays_counted_once() {
        let mut former = Former::default();
        let mut look = |now: &[(Process, u64)], unseen: &[i32]| {
            let now = now.iter().map(|(process, seconds)| (*process, waited(*seconds)));
            former.settle(now.collect(), unseen).wait.as_secs()
        };
        assert_eq!(look(&[((5, 1), 10), ((6, 1), 1)], &[]), 11);
        assert_eq!(look(&[((6, 1), 2)], &[]), 12, "5 ended");
        assert_eq!(look(&[((6, 1), 2), ((5, 9), 3)], &[]), 15, "its id has another one now");
        assert_eq!(look(&[((5, 9), 1)], &[6]), 15, "a thread of 5 ended, 6 was not looked at");
        assert_eq!(look(&[((5, 9), 4), ((6, 1), 2)], &[]), 16);
        assert_eq!(look(&[], &[]), 16);
        assert_eq!(former.ended.faults.1, 3);
    }
}
