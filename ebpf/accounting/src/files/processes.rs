//! What files of the running processes add up to: ended ones are missing, so it may shrink.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tepui_cgroup::{CgroupError, Leaf};

use super::text;
use crate::sample::{Figure, Sample, Source, Switches};

/// Threads that are looked at; a task with more gets figures that are too low.
const MOST_THREADS: usize = 4096;

#[derive(Default)]
struct Sum {
    switches: Switches,
    wait: Duration,
    faults: (u64, u64),
    threads: usize,
}

/// Adds what the group's processes tell and the group's own files do not.
pub(super) fn read(leaf: &Leaf, sample: &mut Sample) -> Result<(), CgroupError> {
    let mut sum = Sum::default();
    let pids = leaf.pids()?;
    for pid in &pids {
        let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        sum.add_process(&folder);
        if sum.threads >= MOST_THREADS {
            break;
        }
    }
    sample.switches = Some(Figure::of(Source::ProcessFiles)(sum.switches));
    sample.wait = Some(Figure::of(Source::ProcessFiles)(sum.wait));
    sample.threads = Some(Figure::of(Source::ProcessFiles)(sum.threads as u64));
    let (minor, major) = sum.faults;
    let faults = || Figure::of(Source::ProcessFiles)(minor.saturating_add(major));
    sample.page_faults = sample.page_faults.take().or_else(|| Some(faults()));
    let faults = || Figure::of(Source::ProcessFiles)(major);
    sample.major_faults = sample.major_faults.take().or_else(|| Some(faults()));
    if let Some(pid) = pids.first() {
        read_network(&PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero())), sample);
    }
    Ok(())
}

/// Network figures exist in files only for a task with a network namespace of its own.
fn read_network(process: &Path, sample: &mut Sample) {
    let namespace = |folder: &Path| fs::read_link(folder.join("ns/net")).ok();
    let Some(theirs) = namespace(process) else { return };
    if namespace(Path::new("/proc/self")).is_none_or(|ours| ours == theirs) {
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
    fn add_process(&mut self, folder: &Path) {
        let file = |path: PathBuf| fs::read_to_string(path).ok();
        let faults = file(folder.join("stat")).and_then(|line| text::faults(&line));
        let (minor, major) = faults.unwrap_or_default();
        self.faults.0 = self.faults.0.saturating_add(minor);
        self.faults.1 = self.faults.1.saturating_add(major);
        let Ok(threads) = fs::read_dir(folder.join("task")) else { return };
        for thread in threads.flatten() {
            self.threads += 1;
            let status = file(thread.path().join("status"));
            let switches = status.and_then(|lines| text::switches(&lines)).unwrap_or_default();
            self.switches.voluntary = self.switches.voluntary.saturating_add(switches.voluntary);
            self.switches.involuntary =
                self.switches.involuntary.saturating_add(switches.involuntary);
            let wait = file(thread.path().join("schedstat")).and_then(|line| text::wait(&line));
            self.wait = self.wait.saturating_add(wait.unwrap_or_default());
        }
    }
}
