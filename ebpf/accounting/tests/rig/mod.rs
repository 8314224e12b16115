//! A root group, a folder of pins and processes in groups, for one test.

// Each test file uses a part of it.
#![allow(dead_code, unreachable_pub, missing_debug_implementations, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tepui_accounting::{
    Driver, Feature, GroupId, Mode, Place, Plan, Policy, PortSet, Sample, plan, probe,
};
use tepui_cgroup::{Leaf, Mount, Subtree};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Everything of one test; what it made goes when it is dropped.
pub struct Rig {
    pub subtree: Subtree,
    pub place: Place,
    pub plan: Plan,
}

impl Rig {
    /// `None`, with the reason printed, where the host cannot do what the test is about.
    pub fn new(name: &str, features: &[Feature]) -> Option<Self> {
        if interpreter().is_none() {
            eprintln!("skipped: no python3 here to try from");
            return None;
        }
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{name}-{}-{number}-{nanos:x}", std::process::id());
        let subtree = Mount::probe()
            .and_then(|mount| Subtree::ensure(&mount, &format!("tepui-test-{tag}")))
            .map_err(|error| eprintln!("skipped: {error}"))
            .ok()?;
        let pins = PathBuf::from(format!("/sys/fs/bpf/tepui-test-{tag}"));
        let place = Place { root: subtree.path().to_owned(), others: Vec::new(), depth: 1, pins };
        let wishes: BTreeSet<Feature> = features.iter().copied().collect();
        let plan = plan(&probe(&place.pins), &wishes);
        let rig = Self { subtree, place, plan };
        for left in rig.plan.left_out.iter().filter(|left| wishes.contains(&left.feature)) {
            eprintln!("left out: {} ({}): {}", left.program, left.feature, left.reason);
        }
        if let Some(missing) = features.iter().find(|feature| !rig.plan.has(**feature)) {
            eprintln!("skipped: this host cannot do {missing}");
            return None;
        }
        Some(rig)
    }

    /// The pin of a program at the root group.
    pub fn link(&self, program: &str) -> PathBuf {
        let group = GroupId::of(&self.place.root).unwrap();
        self.place.pins.join(format!("link-{program}-{group}"))
    }

    pub fn load(&self, policy: Policy) -> Driver {
        let driver = Driver::load(self.place.clone(), &self.plan, policy)
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
        assert!(driver.failures().is_empty(), "{}", driver.failures()[0].1);
        driver
    }

    pub fn start(&self, policy: Policy) -> Driver {
        let mut driver = self.load(policy);
        driver.attach().unwrap();
        driver
    }

    pub fn leaf(&self, name: &str) -> (Leaf, GroupId) {
        let leaf = self.subtree.leaf(name).unwrap();
        leaf.ensure().unwrap();
        let group = GroupId::of(leaf.path()).unwrap();
        (leaf, group)
    }

    pub fn task(&self, driver: &mut Driver, name: &str, ports: &[u16]) -> (Leaf, GroupId) {
        let (leaf, group) = self.leaf(name);
        driver.register_task(group, &set(ports), None::<Mode>).unwrap();
        (leaf, group)
    }

    /// What is counted of a group whose processes have ended, and its processor time by its file.
    pub fn settled(driver: &Driver, leaf: &Leaf) -> (Sample, Duration) {
        let group = GroupId::of(leaf.path()).unwrap();
        let by_file = || leaf.cpu().unwrap().total;
        // Who waited for a process may read before the kernel has charged it with its last moments.
        for _ in 0..1_000 {
            let (before, sample, after) = (by_file(), driver.read(group).unwrap(), by_file());
            if before == after {
                return (sample, after);
            }
        }
        panic!("processes of {} still run", leaf.path().display());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Ok(pins) = std::fs::read_dir(&self.place.pins) {
            for pin in pins.flatten() {
                let _ = std::fs::remove_file(pin.path());
            }
            let _ = std::fs::remove_dir(&self.place.pins);
        }
        let root = Leaf::at(self.subtree.path().to_owned());
        let _ = root.kill();
        for _ in 0..100 {
            if root.remove().is_ok() {
                break;
            }
            std::thread::yield_now();
        }
    }
}

pub fn set(ports: &[u16]) -> PortSet {
    PortSet::from_ranges(ports.iter().map(|port| *port..=*port)).unwrap()
}

/// A command whose process is in the group before its program starts.
pub fn command_in(leaf: &Leaf, program: &str) -> Command {
    let procs = leaf.path().join("cgroup.procs");
    let mut command = Command::new(program);
    // SAFETY: opens and writes a file; the test process tolerates the allocation of the path.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || std::fs::write(&procs, "0"));
    }
    command
}

/// The interpreter itself: what is first in the path may be a script with children of its own.
fn interpreter() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let output =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        Some(String::from_utf8(output.ok()?.stdout).ok()?.trim().to_owned())
    };
    FOUND.get_or_init(ask).as_deref()
}

/// Runs a Python script in the group to its end and returns what it printed.
pub fn python(leaf: &Leaf, script: &str) -> String {
    let output = python_output(leaf, script);
    assert!(
        output.status.success(),
        "script failed: {}\n{}",
        String::from_utf8_lossy(&output.stderr),
        script
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn python_output(leaf: &Leaf, script: &str) -> Output {
    let mut child = spawn_python(leaf, script);
    drop(child.stdin.take());
    child.wait_with_output().unwrap()
}

/// Starts a Python script in the group; it may read lines that the test writes.
pub fn spawn_python(leaf: &Leaf, script: &str) -> Child {
    command_in(leaf, interpreter().unwrap())
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Ports nobody has at this moment.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held: [std::net::TcpListener; N] =
        std::array::from_fn(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

pub fn say(child: &mut Child, line: &str) {
    writeln!(child.stdin.as_mut().unwrap(), "{line}").unwrap();
}
