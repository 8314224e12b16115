//! The plain-process launcher: one shim per run, no image, no namespaces.

mod beside;
mod check;
mod limits;
mod recover;
mod session;
mod spares;
mod spawn;
mod watch;

pub(crate) use beside::{Beside, short};
pub(crate) use limits::never_less_memory;
pub(crate) use spawn::make_run_dir;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};
use tepui_cgroup::{Controller, GroupLimits, Leaf, Mount, Subtree};
use tepui_types::ContainerId;
use tokio::sync::{Semaphore, mpsc};

use crate::admission::Admission;
use crate::confinement::{Ceiling, Rights};
use crate::launcher::{
    BoxFuture, KnownRun, LaunchError, Launcher, LimitError, Recovered, RunEvent, RunOutcome,
    SignalError, Started, Usage, UsageError,
};
use crate::ports::SocketTables;
use crate::procfs;
use crate::protocol::{CONTROL, CheckReply, Order, load_rights};
use crate::record::{ProcessMark, StartMark};
use crate::reserve::processes_of_all_tasks;
use crate::session::{Session, SessionSpec};
use crate::spec::{CheckSpec, LaunchSpec, SignalScope};
use crate::tree::ProcessTree;
use crate::verdict;

use spares::Spares;

/// Shims that are being spawned at the same time. Spawning is CPU work: more only make each slower.
const PARALLEL_SPAWNS: u32 = 8;

/// `PATH` of commands whose environment has none: what Debian and NixOS hosts need.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:\
                            /run/current-system/sw/bin";

/// How the launcher is set up.
#[derive(Clone, Debug)]
pub struct PlainConfig {
    /// The `tepui-shim` binary.
    pub shim: PathBuf,
    /// Name of the control group under which runs get theirs; `None` does without groups.
    pub group: Option<String>,
    /// Group that was left to us, below which that one is; `None` is the agent's own.
    pub group_parent: Option<PathBuf>,
    /// Whether the agent may leave its own group so that runs can be limited: only where nobody
    /// starts its successor there.
    pub may_step_aside: bool,
    /// `PATH` of commands whose environment has none.
    pub default_path: String,
    /// Shims that are started before a run needs them; 0 for none.
    pub spares: usize,
    /// Time a command may take to be executed, and a shim to say so.
    pub start_timeout: Duration,
    /// Who is asked before a command is executed in a control group.
    pub admission: Option<Arc<dyn Admission>>,
}

impl PlainConfig {
    /// The usual set-up with this shim.
    #[must_use]
    pub fn new(shim: PathBuf) -> Self {
        Self {
            shim,
            group: Some("tepui-tasks".to_owned()),
            group_parent: None,
            may_step_aside: false,
            default_path: DEFAULT_PATH.to_owned(),
            spares: 0,
            start_timeout: Duration::from_secs(30),
            admission: None,
        }
    }
}

/// Whether runs get control groups, found out by trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupSupport {
    /// They do, below this group.
    Groups(PathBuf),
    /// They do not, for this reason; trees are then followed through their parents.
    Without(String),
}

/// Launcher of plain processes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PlainLauncher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: PlainConfig,
    groups: Result<Subtree, String>,
    controllers: Vec<Controller>,
    runs: Mutex<HashMap<ContainerId, Run>>,
    spawns: Semaphore,
    spares: Spares,
    events: mpsc::UnboundedSender<RunEvent>,
}

/// What is known of a run while it lasts.
#[derive(Clone, Debug)]
struct Run {
    run_dir: PathBuf,
    /// `None` until the command was executed.
    processes: Option<Processes>,
}

#[derive(Clone, Debug)]
struct Processes {
    shim: Pid,
    main: ProcessMark,
    group: Option<Leaf>,
}

impl PlainLauncher {
    /// Probes the host and makes a launcher; its runs' ends arrive on the channel.
    ///
    /// Blocks for a few milliseconds while a trial process shows whether control groups work.
    #[must_use]
    pub fn new(config: PlainConfig) -> (Self, mpsc::UnboundedReceiver<RunEvent>) {
        let groups = match &config.group {
            Some(name) => probe_groups(&config, name),
            None => Err("control groups are switched off".to_owned()),
        };
        let controllers = match &groups {
            Ok(subtree) => enable_controllers(subtree, config.may_step_aside),
            Err(_) => Vec::new(),
        };
        let (events, receiver) = mpsc::unbounded_channel();
        let inner = Inner {
            config,
            groups,
            controllers,
            runs: Mutex::default(),
            spawns: Semaphore::new(PARALLEL_SPAWNS as usize),
            spares: Spares::default(),
            events,
        };
        (Self { inner: Arc::new(inner) }, receiver)
    }

    /// What the probe of control groups found.
    #[must_use]
    pub fn group_support(&self) -> GroupSupport {
        match &self.inner.groups {
            Ok(subtree) => GroupSupport::Groups(subtree.path().to_owned()),
            Err(reason) => GroupSupport::Without(reason.clone()),
        }
    }

    /// Ends what waits for runs, and removes the group of all runs where none is left in it. For an
    /// agent that stops; nothing may be started afterwards.
    pub async fn close(&self) {
        self.inner.end_spares().await;
        if let Ok(subtree) = &self.inner.groups {
            // The kernel refuses that while a run has its group below.
            let removed = Leaf::at(subtree.path().to_owned()).remove().is_ok();
            tracing::debug!(removed, path = %subtree.path().display(), "control group of all tasks");
        }
    }

    /// What the groups of runs can be limited in.
    #[must_use]
    pub fn controllers(&self) -> &[Controller] {
        &self.inner.controllers
    }

    /// Runs a check beside a run that may be another launcher's.
    pub(crate) fn exec_check_in(
        &self,
        spec: CheckSpec,
        beside: Beside,
    ) -> impl Future<Output = Result<CheckReply, LaunchError>> + Send + use<> {
        check::exec(self.inner.clone(), spec, beside)
    }

    /// Opens a session beside a run that may be another launcher's.
    pub(crate) fn open_session_in(
        &self,
        spec: SessionSpec,
        beside: Beside,
    ) -> impl Future<Output = Result<Session, LaunchError>> + Send + use<> {
        session::open(self.inner.clone(), spec, beside)
    }

    pub(crate) fn shim(&self) -> &Path {
        &self.inner.config.shim
    }

    pub(crate) fn default_path(&self) -> &str {
        &self.inner.config.default_path
    }

    pub(crate) fn start_timeout(&self) -> Duration {
        self.inner.config.start_timeout
    }

    pub(crate) fn admission(&self) -> Option<Arc<dyn Admission>> {
        self.inner.config.admission.clone()
    }

    pub(crate) fn events(&self) -> mpsc::UnboundedSender<RunEvent> {
        self.inner.events.clone()
    }

    /// Shims that wait for a run now.
    #[must_use]
    pub fn spares(&self) -> Vec<Pid> {
        self.inner.spare_pids()
    }

    fn processes(&self, run: &ContainerId) -> Option<(PathBuf, Processes)> {
        let runs = self.inner.runs.lock();
        let run = runs.get(run)?;
        Some((run.run_dir.clone(), run.processes.clone()?))
    }

    /// What runs beside a run: with its rights, as they were when it began.
    fn beside(&self, run: Option<&ContainerId>) -> Result<Beside, LaunchError> {
        let Some((run_dir, processes)) = run.and_then(|run| self.processes(run)) else {
            return Ok(Beside::Anybody(None));
        };
        let (group, main) = (processes.group, processes.main);
        let rights = load_rights(&run_dir).map_err(|source| LaunchError::Prepare {
            verb: "find out the rights of",
            path: run_dir,
            source,
        })?;
        Ok(match rights == Rights::default() {
            true => Beside::Anybody(group),
            false => Beside::Confined { group, rights, main },
        })
    }

    fn order(&self, run: &ContainerId, order: Order) -> Result<Processes, SignalError> {
        let (run_dir, processes) =
            self.processes(run).ok_or_else(|| SignalError::NotRunning(run.clone()))?;
        match write_order(&run_dir, order) {
            Ok(()) => Ok(processes),
            // Nobody reads: the shim has ended, and its event is on the way.
            Err(error) if is_unread(&error) => Err(SignalError::NotRunning(run.clone())),
            Err(source) => Err(SignalError::Unreachable { run: run.clone(), source }),
        }
    }
}

impl Launcher for PlainLauncher {
    fn start(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Started, LaunchError>> {
        Box::pin(spawn::start(self.inner.clone(), spec))
    }

    fn recover(&self, runs: Vec<KnownRun>) -> BoxFuture<'_, Vec<Recovered>> {
        Box::pin(recover::recover(self.inner.clone(), runs))
    }

    fn await_ready<'a>(&'a self, _run: &'a ContainerId) -> BoxFuture<'a, Result<(), RunOutcome>> {
        // Nobody hears a process say that it is ready: each is as soon as it runs.
        Box::pin(std::future::ready(Ok(())))
    }

    fn signal(
        &self,
        run: &ContainerId,
        signal: Signal,
        scope: SignalScope,
    ) -> Result<(), SignalError> {
        self.order(run, Order::Signal(signal.as_raw(), scope)).map(|_| ())
    }

    fn kill_tree(&self, run: &ContainerId) -> Result<(), SignalError> {
        let processes = self.order(run, Order::KillTree)?;
        if let Some(group) = &processes.group
            && let Err(error) = group.kill()
        {
            // The shim has the same order and walks the tree.
            tracing::debug!(%run, error = &error as &dyn std::error::Error, "group kill refused");
        }
        Ok(())
    }

    fn group(&self, run: &ContainerId) -> Option<Leaf> {
        self.processes(run)?.1.group
    }

    fn limit<'a>(
        &'a self,
        run: &'a ContainerId,
        ceiling: &'a Ceiling,
    ) -> BoxFuture<'a, Result<(), LimitError>> {
        Box::pin(async move {
            let (run_dir, processes) =
                self.processes(run).ok_or_else(|| LimitError::NotRunning(run.clone()))?;
            let Some(group) = processes.group else { return Ok(()) };
            let ceiling = limits::never_less_memory(&group, ceiling);
            group.limit(&limits::of(&ceiling, &run_dir)).map(drop).map_err(LimitError::Group)
        })
    }

    fn usage(&self, run: &ContainerId) -> Result<Usage, UsageError> {
        let (_, processes) =
            self.processes(run).ok_or_else(|| UsageError::NotRunning(run.clone()))?;
        Ok(processes.usage())
    }

    fn listening_ports(&self, runs: &[ContainerId]) -> HashMap<ContainerId, BTreeSet<u16>> {
        let mut tables = SocketTables::default();
        runs.iter()
            .filter_map(|run| {
                let (_, processes) = self.processes(run)?;
                let ports = tables.ports_of(&processes.tree().pids());
                Some((run.clone(), ports))
            })
            .collect()
    }

    fn exec_check(&self, spec: CheckSpec) -> BoxFuture<'_, Result<CheckReply, LaunchError>> {
        let beside = self.beside(spec.beside.as_ref());
        Box::pin(async move { self.exec_check_in(spec, beside?).await })
    }

    fn open_session(&self, spec: SessionSpec) -> BoxFuture<'_, Result<Session, LaunchError>> {
        let beside = self.beside(Some(&spec.beside));
        Box::pin(async move { self.open_session_in(spec, beside?).await })
    }

    fn forget(&self, run: &KnownRun) -> io::Result<()> {
        self.inner.runs.lock().remove(&run.run_id);
        verdict::forget(&run.run_dir)
    }
}

impl Processes {
    fn tree(&self) -> ProcessTree {
        ProcessTree { root: self.shim, group: self.group.clone() }
    }

    fn usage(&self) -> Usage {
        let pids = self.tree().pids();
        let stats: Vec<_> = pids.iter().filter_map(|pid| procfs::stat(*pid)).collect();
        let resident = pids.iter().filter_map(|pid| procfs::resident_bytes(*pid)).sum();
        let of_group = self.group.as_ref().and_then(|group| group.cpu().ok());
        let memory = self.group.as_ref().and_then(|group| group.memory().ok().flatten());
        let alive = stats.iter().map(|stat| stat.own_cpu + stat.children_cpu).sum::<Duration>();
        let reaped = procfs::stat(self.shim).map(|stat| stat.children_cpu).unwrap_or_default();
        Usage {
            cpu: of_group.map_or(alive + reaped, |cpu| cpu.total),
            user_cpu: of_group.map(|cpu| cpu.user),
            system_cpu: of_group.map(|cpu| cpu.system),
            memory_bytes: memory.map_or(resident, |memory| memory.current),
            processes: pids.len(),
        }
    }
}

/// Run directories below `root` whose names are run ids; anything else there is skipped.
///
/// # Errors
///
/// When `root` cannot be read; absence means no runs.
pub fn list_run_dirs(root: &Path) -> io::Result<Vec<KnownRun>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let run_dir = entry.path();
        let named = match StartMark::load(&run_dir) {
            Ok(Some(StartMark::Started(record))) => Some(record.run_id),
            _ => None,
        };
        let name = named.or_else(|| entry.file_name().into_string().ok());
        let Some(run_id) = name.and_then(|name| ContainerId::parse(&name).ok()) else { continue };
        if entry.file_type()?.is_dir() {
            found.push(KnownRun { run_id, run_dir });
        }
    }
    Ok(found)
}

fn write_order(run_dir: &Path, order: Order) -> io::Result<()> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let mut control = OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(run_dir.join(CONTROL))?;
    control.write_all(&order.encode())
}

fn is_unread(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
}

fn enable_controllers(subtree: &Subtree, may_step_aside: bool) -> Vec<Controller> {
    match subtree.enable(&Controller::ALL, may_step_aside) {
        Ok(controllers) => {
            let all = Leaf::at(subtree.path().to_owned());
            let most = GroupLimits { pids_max: processes_of_all_tasks(), ..GroupLimits::default() };
            if let Err(error) = all.limit(&most) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "tasks together are not kept from the host's last processes");
            }
            controllers
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "tasks cannot be limited");
            Vec::new()
        }
    }
}

/// Proves with a trial process that groups can be made, joined and killed. The text of a failure
/// names the step.
fn probe_groups(config: &PlainConfig, name: &str) -> Result<Subtree, String> {
    let describe = |error: tepui_cgroup::CgroupError| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let mount = Mount::probe().map_err(describe)?;
    let parent = config.group_parent.as_deref().unwrap_or_else(|| mount.own_group());
    let subtree = Subtree::ensure_below(parent, name).map_err(describe)?;
    spawn::prove_groups(&config.shim, &subtree)?;
    match subtree.sweep(config.start_timeout) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "empty control groups of former runs removed"),
        Err(error) => tracing::debug!(
            error = &error as &dyn std::error::Error,
            "control groups of former runs not looked at"
        ),
    }
    Ok(subtree)
}
