//! What `/proc` says about processes. Every answer is `None` or empty when the process is gone.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::Pid;

/// The part of `/proc/<pid>/stat` that the launcher reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// One letter, `Z` for a process that ended and was not waited for.
    pub state: u8,
    /// Parent.
    pub parent: i32,
    /// Session.
    pub session: i32,
    /// CPU time of the process itself.
    pub own_cpu: Duration,
    /// CPU time of the children it has waited for.
    pub children_cpu: Duration,
    /// Start in clock ticks since boot: together with the pid it names the process for ever.
    pub start_time: u64,
}

/// Reads `/proc/<pid>/stat`.
#[must_use]
pub fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    parse_stat(&text)
}

/// The command name in the second field may hold blanks and parentheses, so count from the last.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse().ok().map(duration_of_ticks);
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        own_cpu: ticks(11)? + ticks(12)?,
        children_cpu: ticks(13)? + ticks(14)?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

fn duration_of_ticks(ticks: u64) -> Duration {
    let per_second = clock_ticks_per_second().max(1);
    Duration::from_secs(ticks / per_second)
        + Duration::from_nanos(ticks % per_second * 1_000_000_000 / per_second)
}

/// Resident memory in bytes, shared pages included.
#[must_use]
pub fn resident_bytes(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_nonzero())).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// The kernel's boot id: another one means that every former process is gone.
///
/// # Errors
///
/// When `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// All descendants of a process, parents before children; the process itself is not among them.
///
/// Walks `children` files, so the cost grows with the tree and not with the host; where the
/// kernel lacks them, all of `/proc` is read once.
#[must_use]
pub fn descendants(of: Pid) -> Vec<Pid> {
    if fs::exists("/proc/thread-self/children").unwrap_or(false) {
        descendants_by(of, children)
    } else {
        let by_parent = processes_by_parent();
        descendants_by(of, |pid| by_parent.get(&pid).cloned().unwrap_or_default())
    }
}

fn descendants_by(of: Pid, children: impl Fn(Pid) -> Vec<Pid>) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([of]);
    let mut pending = vec![of];
    while let Some(pid) = pending.pop() {
        for child in children(pid) {
            if seen.insert(child) {
                found.push(child);
                pending.push(child);
            }
        }
    }
    found
}

/// Children of all threads of a process.
fn children(of: Pid) -> Vec<Pid> {
    let threads = format!("/proc/{}/task", of.as_raw_nonzero());
    let Ok(threads) = fs::read_dir(threads) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        let Ok(text) = fs::read_to_string(thread.path().join("children")) else { continue };
        found.extend(
            text.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)),
        );
    }
    found
}

fn processes_by_parent() -> HashMap<Pid, Vec<Pid>> {
    let mut by_parent: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for pid in processes() {
        if let Some(parent) = stat(pid).and_then(|stat| Pid::from_raw(stat.parent)) {
            by_parent.entry(parent).or_default().push(pid);
        }
    }
    by_parent
}

/// Every process of the host that this process may see.
#[must_use]
pub fn processes() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let text = "42 (a ) (b) S 7 42 42 0 -1 4194560 1 2 3 4 100 50 25 25 20 0 1 0 12345 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.session), (b'S', 7, 42));
        assert_eq!(stat.start_time, 12345);
        assert_eq!(stat.own_cpu, duration_of_ticks(150));
        assert_eq!(stat.children_cpu, duration_of_ticks(50));
    }

    #[test]
    fn a_cut_line_is_no_process() {
        assert_eq!(parse_stat("42 (x) S 7 42"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_has_a_start_time_and_memory() {
        let me = rustix::process::getpid();
        assert!(stat(me).unwrap().start_time > 0);
        assert!(resident_bytes(me).unwrap() > 0);
        assert!(processes().contains(&me));
    }

    #[test]
    fn a_child_is_a_descendant_by_either_way_of_looking() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let me = rustix::process::getpid();
        assert!(descendants(me).contains(&pid));
        let by_parent = processes_by_parent();
        let found = descendants_by(me, |pid| by_parent.get(&pid).cloned().unwrap_or_default());
        assert!(found.contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
