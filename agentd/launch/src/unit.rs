//! The systemd launcher: one transient service per run, which systemd supervises. Nothing of it is
//! a child of the agent, and nothing of it notices when the agent is away.

mod describe;
mod holder;
mod recover;
mod start;
mod watch;

pub use holder::group_for_processes;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tepui_cgroup::{Leaf, Mount};
use tepui_systemd::{Manager, SystemdError, UnitName};
use tepui_types::ContainerId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::admission::Admission;
use crate::confinement::Ceiling;
use crate::launcher::{
    BoxFuture, KnownRun, LaunchError, Launcher, LimitError, Recovered, RunEvent, RunOutcome,
    SignalError, Started, Usage, UsageError,
};
use crate::plain::{Beside, PlainLauncher, never_less_memory};
use crate::ports::SocketTables;
use crate::procfs;
use crate::protocol::CheckReply;
use crate::reserve::processes_of_all_tasks;
use crate::session::{Session, SessionSpec};
use crate::spec::{CheckSpec, LaunchSpec, SignalScope};
use crate::verdict;

/// Rounds in which the processes of a unit are killed before its log process goes with the rest.
const KILL_ROUNDS: usize = 40;
const KILL_PAUSE: Duration = Duration::from_millis(10);
/// How long the log process may take to write what is left.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Name of our processes in the process table.
const SHIM_NAME: &str = "tepui-shim";

/// Launcher of systemd units. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UnitLauncher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    manager: Manager,
    shim: PathBuf,
    default_path: String,
    start_timeout: Duration,
    groups: PathBuf,
    runtime: Handle,
    runs: Mutex<HashMap<ContainerId, UnitRun>>,
    admission: Option<Arc<dyn Admission>>,
    events: mpsc::UnboundedSender<RunEvent>,
    checks: PlainLauncher,
}

/// Control groups between that of all units and a unit's own, at most: the slices of its role.
pub const MOST_SLICES: usize = tepui_systemd::SliceName::MOST_LEVELS;

/// What is known of a run while it lasts.
#[derive(Clone, Debug)]
struct UnitRun {
    unit: UnitName,
    run_dir: PathBuf,
    /// Its control group, once it runs.
    group: Option<Leaf>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    /// It was heard to be over before its start was answered.
    OverWhileStarting,
    Running,
}

impl UnitLauncher {
    /// Connects to systemd. Checks run as the plain launcher runs them, beside the unit; ends arrive
    /// on its channel.
    ///
    /// # Errors
    ///
    /// [`SystemdError::Unreachable`] on a host without systemd; the text of a failure to find the
    /// control groups of units.
    pub async fn new(checks: PlainLauncher) -> Result<Self, UnitError> {
        let (manager, news) = Manager::connect().await?;
        let mount = Mount::probe()?;
        leave_a_reserve(&manager).await;
        let inner = Arc::new(Inner {
            manager,
            shim: checks.shim().to_owned(),
            default_path: checks.default_path().to_owned(),
            start_timeout: checks.start_timeout(),
            groups: mount.root().to_owned(),
            runtime: Handle::current(),
            runs: Mutex::default(),
            admission: checks.admission(),
            events: checks.events(),
            checks,
        });
        tokio::spawn(watch::listen(Arc::downgrade(&inner), news));
        Ok(Self { inner })
    }

    /// systemd's version, as it says itself.
    ///
    /// # Errors
    ///
    /// [`SystemdError`].
    pub async fn version(&self) -> Result<String, SystemdError> {
        self.inner.manager.version().await
    }

    /// Whether the run is one of this launcher's.
    #[must_use]
    pub fn knows(&self, run: &ContainerId) -> bool {
        self.inner.runs.lock().contains_key(run)
    }

    fn run(&self, run: &ContainerId) -> Option<UnitRun> {
        self.inner.runs.lock().get(run).cloned()
    }
}

/// All tasks together leave processes to the host, where it can count them.
async fn leave_a_reserve(manager: &Manager) {
    let tasks_max = processes_of_all_tasks();
    let most = tepui_systemd::Ceiling { tasks_max, ..tepui_systemd::Ceiling::default() };
    if let Err(error) = manager.limit_all_tasks(&most).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "tasks together are not kept from the host's last processes");
    }
}

/// Why there is no systemd launcher on a host.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// systemd does not answer.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// Its units have no control groups that we can read.
    #[error(transparent)]
    Groups(#[from] tepui_cgroup::CgroupError),
}

impl Launcher for UnitLauncher {
    fn start(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Started, LaunchError>> {
        Box::pin(start::start(self.inner.clone(), spec))
    }

    fn recover(&self, runs: Vec<KnownRun>) -> BoxFuture<'_, Vec<Recovered>> {
        Box::pin(recover::recover(self.inner.clone(), runs))
    }

    fn await_ready<'a>(&'a self, run: &'a ContainerId) -> BoxFuture<'a, Result<(), RunOutcome>> {
        Box::pin(recover::await_ready(&self.inner, run))
    }

    fn signal(
        &self,
        run: &ContainerId,
        signal: Signal,
        scope: SignalScope,
    ) -> Result<(), SignalError> {
        let known = self.run(run).ok_or_else(|| SignalError::NotRunning(run.clone()))?;
        let (inner, run) = (self.inner.clone(), run.clone());
        self.inner.runtime.spawn(async move {
            let main_only = scope == SignalScope::Main;
            let sent = inner.manager.kill(&known.unit, signal.as_raw(), main_only).await;
            if let Err(error) = sent {
                // Most often it is over; its event is on the way.
                tracing::debug!(%run, error = &error as &dyn std::error::Error, "not signalled");
            }
        });
        Ok(())
    }

    fn kill_tree(&self, run: &ContainerId) -> Result<(), SignalError> {
        let known = self.run(run).ok_or_else(|| SignalError::NotRunning(run.clone()))?;
        self.inner.runtime.spawn(kill(self.inner.clone(), run.clone(), known));
        Ok(())
    }

    fn group(&self, run: &ContainerId) -> Option<Leaf> {
        self.run(run)?.group
    }

    fn limit<'a>(
        &'a self,
        run: &'a ContainerId,
        ceiling: &'a Ceiling,
    ) -> BoxFuture<'a, Result<(), LimitError>> {
        Box::pin(async move {
            let known = self.run(run).ok_or_else(|| LimitError::NotRunning(run.clone()))?;
            let ceiling = match &known.group {
                Some(group) => never_less_memory(group, ceiling),
                None => ceiling.clone(),
            };
            let limits = describe::ceiling(&ceiling, &known.run_dir);
            self.inner.manager.limit(&known.unit, &limits).await.map_err(LimitError::Systemd)
        })
    }

    fn usage(&self, run: &ContainerId) -> Result<Usage, UsageError> {
        let known = self.run(run).ok_or_else(|| UsageError::NotRunning(run.clone()))?;
        let group = known.group.ok_or_else(|| UsageError::NotRunning(run.clone()))?;
        let pids = group.pids().unwrap_or_default();
        let cpu = group.cpu().ok();
        let resident = || pids.iter().filter_map(|pid| procfs::resident_bytes(*pid)).sum();
        Ok(Usage {
            cpu: cpu.map(|cpu| cpu.total).unwrap_or_default(),
            user_cpu: cpu.map(|cpu| cpu.user),
            system_cpu: cpu.map(|cpu| cpu.system),
            memory_bytes: match group.memory() {
                Ok(Some(memory)) => memory.current,
                _ => resident(),
            },
            processes: pids.len(),
        })
    }

    fn listening_ports(&self, runs: &[ContainerId]) -> HashMap<ContainerId, BTreeSet<u16>> {
        let mut tables = SocketTables::default();
        let groups = runs.iter().filter_map(|run| Some((run, self.run(run)?.group?)));
        groups
            .map(|(run, group)| {
                let pids = group.pids().unwrap_or_default();
                (run.clone(), tables.ports_of(&pids))
            })
            .collect()
    }

    fn exec_check(&self, spec: CheckSpec) -> BoxFuture<'_, Result<CheckReply, LaunchError>> {
        let run = spec.beside.as_ref().and_then(|run| self.run(run));
        let beside = beside(run);
        Box::pin(self.inner.checks.exec_check_in(spec, beside))
    }

    fn open_session(&self, spec: SessionSpec) -> BoxFuture<'_, Result<Session, LaunchError>> {
        let run = self.run(&spec.beside);
        Box::pin(self.inner.checks.open_session_in(spec, beside(run)))
    }

    fn forget(&self, run: &KnownRun) -> io::Result<()> {
        self.inner.runs.lock().remove(&run.run_id);
        verdict::forget(&run.run_dir)
    }
}

fn beside(run: Option<UnitRun>) -> Beside {
    match run {
        Some(run) => Beside::of_unit(&run.run_dir, run.group),
        None => Beside::Anybody(None),
    }
}

/// Kills every process of a unit; its log process may first write what the others have said.
async fn kill(inner: Arc<Inner>, run: ContainerId, known: UnitRun) {
    let Some(group) = known.group else {
        // It is just starting.
        let killed = inner.manager.kill(&known.unit, Signal::KILL.as_raw(), false).await;
        if let Err(error) = killed {
            tracing::debug!(%run, error = &error as &dyn std::error::Error, "not killed");
        }
        return;
    };
    // What systemd has execute in the group at the end would stand still in a frozen one.
    if let Err(error) = group.thaw() {
        tracing::debug!(%run, error = &error as &dyn std::error::Error, "group not thawed");
    }
    for _ in 0..KILL_ROUNDS {
        let pids = group.pids().unwrap_or_default();
        let victims: Vec<Pid> = pids.into_iter().filter(|pid| !is_ours(*pid)).collect();
        if victims.is_empty() {
            break;
        }
        for pid in victims {
            // Gone meanwhile is what we want.
            let _ = kill_process(pid, Signal::KILL);
        }
        tokio::time::sleep(KILL_PAUSE).await;
    }
    tokio::time::sleep(LAST_LINES).await;
    if inner.runs.lock().get(&run).is_some_and(|now| now.unit == known.unit)
        && let Err(error) = group.kill()
    {
        tracing::warn!(%run, error = &error as &dyn std::error::Error, "group kill refused");
    }
}

fn is_ours(pid: Pid) -> bool {
    let comm = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    // The log process was executed as `/proc/self/exe`, and is called so.
    let shim = || {
        let file = fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).ok();
        let name = file.as_deref().and_then(|file| file.file_name()?.to_str());
        // One that was replaced meanwhile ends with "(deleted)".
        name.is_some_and(|name| name.split(' ').next() == Some(SHIM_NAME))
    };
    comm.is_ok_and(|comm| is_our_name(comm.trim_end()) || (comm.trim_end() == "exe" && shim()))
}

/// Whether a process of a unit is the shim, or one of systemd's that is about to become it: killed,
/// nobody would write down how the unit ended. A task that takes such a name lives until the whole
/// group is killed.
fn is_our_name(comm: &str) -> bool {
    // systemd calls its processes by the last eight letters of what they will execute.
    let (_, end) = SHIM_NAME.split_at(SHIM_NAME.len() - 8);
    let coming = comm.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    comm == SHIM_NAME
        || coming.is_some_and(|name| name == end || name.starts_with("sd-"))
        || comm.starts_with("systemd")
}

#[cfg(test)]
mod tests {
    use super::is_our_name;

    #[test]
    fn the_shim_is_spared_before_it_is_executed_too() {
        for ours in ["tepui-shim", "(pui-shim)", "systemd", "systemd-executo", "(sd-executor)"] {
            assert!(is_our_name(ours), "{ours}");
        }
        for other in ["sh", "(sh)", "pui-shim", "sleep", ""] {
            assert!(!is_our_name(other), "{other}");
        }
    }
}
