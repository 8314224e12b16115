//! The one place that touches the launcher's API.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;
use tepui_launch::record::StartMark;
use tepui_launch::{
    Ending, ExitStatus, KnownRun, LaunchError, LaunchSpec, Launcher, LogPolicy, PlainConfig,
    PlainLauncher, Program, RunEvent, RunOutcome, Started,
};
use tepui_types::ContainerId;
use tokio::sync::mpsc::UnboundedReceiver;

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_tepui-shim");

/// A work directory with a launcher at work in it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) launcher: PlainLauncher,
    pub(crate) events: UnboundedReceiver<RunEvent>,
}

pub(crate) fn config(groups: bool) -> PlainConfig {
    let group = groups.then(|| "tepui-test-launch".to_owned());
    PlainConfig { group, spares: 2, ..PlainConfig::new(PathBuf::from(SHIM)) }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(config(true))
    }

    pub(crate) fn without_groups() -> Self {
        Self::with(config(false))
    }

    pub(crate) fn with(config: PlainConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (launcher, events) = PlainLauncher::new(config);
        Self { dir, launcher, events }
    }

    /// The launcher goes away as with the agent; its runs stay.
    pub(crate) fn restart(self) -> Self {
        let Self { dir, launcher, events } = self;
        drop((launcher, events));
        let (launcher, events) = PlainLauncher::new(config(true));
        Self { dir, launcher, events }
    }

    pub(crate) fn known(&self, run: &str) -> KnownRun {
        known(self.dir.path(), run)
    }

    pub(crate) fn sandbox(&self, run: &str) -> PathBuf {
        self.dir.path().join("sandboxes").join(run)
    }

    pub(crate) fn spec(&self, run: &str, line: &str) -> LaunchSpec {
        spec(self.dir.path(), run, line)
    }

    pub(crate) async fn start(&self, run: &str, line: &str) -> Started {
        self.launcher.start(self.spec(run, line)).await.unwrap()
    }

    pub(crate) async fn refused(&self, spec: LaunchSpec) -> LaunchError {
        self.launcher.start(spec).await.unwrap_err()
    }

    /// Waits for the spares of a launcher that has just begun.
    pub(crate) async fn spares_after_recovery(&self, count: usize) -> Vec<Pid> {
        self.launcher.recover(Vec::new()).await;
        self.spares(count).await
    }

    /// Waits until as many shims wait for a run as are to.
    pub(crate) async fn spares(&self, count: usize) -> Vec<Pid> {
        let filled = async {
            while self.launcher.spares().len() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), filled).await.expect("spares in time");
        self.launcher.spares()
    }

    /// The next end of a run.
    pub(crate) async fn over(&mut self) -> (String, RunOutcome) {
        let next = tokio::time::timeout(Duration::from_secs(30), self.events.recv()).await;
        let event = next.expect("a run ends in time").expect("the launcher lives");
        (event.run_id.to_string(), event.outcome)
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        match self.over().await {
            (_, RunOutcome::Ended(status)) => status,
            (run, other) => panic!("{run} ended as {other:?}"),
        }
    }

    pub(crate) async fn ending(&mut self) -> Ending {
        self.ended().await.ending
    }

    pub(crate) fn read(&self, run: &str, file: &str) -> String {
        fs::read_to_string(self.sandbox(run).join(file)).unwrap_or_else(|e| format!("<{e}>"))
    }

    /// A pipe in the sandbox, into which the command says that it is as far as the test wants.
    pub(crate) fn gate(&self, run: &str) -> Gate {
        let sandbox = self.sandbox(run);
        fs::create_dir_all(&sandbox).unwrap();
        let path = sandbox.join("gate");
        mknodat(CWD, &path, FileType::Fifo, Mode::from_bits_truncate(0o666), 0).unwrap();
        Gate(path)
    }
}

pub(crate) struct Gate(PathBuf);

impl Gate {
    /// What the command wrote into the gate.
    pub(crate) async fn passed(self) -> String {
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            fs::File::open(self.0).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        let waited = tokio::time::timeout(Duration::from_secs(30), read).await;
        waited.expect("the command passes the gate").unwrap()
    }
}

/// The control group of a run that has started.
pub(crate) fn group_of(run: &KnownRun) -> Option<PathBuf> {
    match StartMark::load(&run.run_dir) {
        Ok(Some(StartMark::Started(record))) => record.group,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn id(run: &str) -> ContainerId {
    ContainerId::parse(run).unwrap()
}

pub(crate) fn known(dir: &Path, run: &str) -> KnownRun {
    KnownRun { run_id: id(run), run_dir: dir.join("runs").join(run) }
}

pub(crate) fn spec(dir: &Path, run: &str, line: &str) -> LaunchSpec {
    let sandbox = dir.join("sandboxes").join(run);
    fs::create_dir_all(&sandbox).unwrap();
    LaunchSpec {
        run_id: id(run),
        sandbox,
        run_dir: known(dir, run).run_dir,
        program: Program::Shell(line.to_owned()),
        env: Vec::new(),
        secret_variables: BTreeSet::new(),
        credentials: Vec::new(),
        user: None,
        rlimits: Vec::new(),
        log_policy: LogPolicy::default(),
        own_group: true,
        network: None,
        answers: false,
        label: tepui_launch::RunLabel::default(),
        confinement: tepui_launch::Confinement::default(),
    }
}

/// A handle on a process that may belong to anybody.
#[derive(Debug)]
pub(crate) struct Watched(Option<OwnedFd>);

pub(crate) fn watch(pid: &str) -> Watched {
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a pid");
    Watched(pidfd_open(pid, PidfdFlags::empty()).ok())
}

impl Watched {
    /// Waits until the process has ended.
    pub(crate) fn gone(&self) {
        let Some(pidfd) = &self.0 else { return };
        let mut waited = [PollFd::new(pidfd, PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
        assert_eq!(poll(&mut waited, Some(&limit)), Ok(1), "the process is still alive");
    }

    pub(crate) fn is_gone(&self) -> bool {
        let Some(pidfd) = &self.0 else { return true };
        let mut waited = [PollFd::new(pidfd, PollFlags::IN)];
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut waited, Some(&at_once)) == Ok(1)
    }
}

/// Whether this test may do what only root may; says so when not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}
