//! What every launcher offers to the agent's driver.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use rustix::process::Signal;
use tepui_cgroup::Leaf;
use tepui_types::ContainerId;

use crate::confinement::Ceiling;
use crate::protocol::CheckReply;
use crate::record::{ExitStatus, ProcessMark, RecordError};
use crate::session::{Session, SessionSpec};
use crate::spec::{CheckSpec, LaunchSpec, SignalScope};

pub use crate::protocol::CheckOutcome;

/// A future that an object-safe trait can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Starts runs, finds them again, signals and measures them.
///
/// Decides nothing: grace periods, retries and what an exit means belong to the caller. Every run
/// that was started or recovered as running, or became ready, ends with exactly one [`RunEvent`] on the channel that
/// the launcher was made with, after its last process is gone.
pub trait Launcher: Send + Sync + std::fmt::Debug {
    /// Starts a run; it outlives this process. Completes even when the future is dropped.
    fn start(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Started, LaunchError>>;

    /// Finds out what became of runs that an earlier process started, and follows those that still
    /// run. Afterwards none of the runs can start any more that had not started yet.
    fn recover(&self, runs: Vec<KnownRun>) -> BoxFuture<'_, Vec<Recovered>>;

    /// Waits until a run that was found to be [`RunState::Starting`] says that it is ready.
    ///
    /// # Errors
    ///
    /// How it ended before that.
    fn await_ready<'a>(&'a self, run: &'a ContainerId) -> BoxFuture<'a, Result<(), RunOutcome>>;

    /// Sends a signal; does not wait.
    ///
    /// # Errors
    ///
    /// [`SignalError`] when the run is unknown, or over, or cannot be reached.
    fn signal(
        &self,
        run: &ContainerId,
        signal: Signal,
        scope: SignalScope,
    ) -> Result<(), SignalError>;

    /// Kills every process of the run until none is left; does not wait. The end is a [`RunEvent`].
    ///
    /// # Errors
    ///
    /// [`SignalError`] when the run is unknown, or over, or cannot be reached.
    fn kill_tree(&self, run: &ContainerId) -> Result<(), SignalError>;

    /// The control group of a live run, where it has one of its own.
    fn group(&self, run: &ContainerId) -> Option<Leaf>;

    /// Changes what a live run may use. Memory that it may have is never taken away again, or what
    /// it has in use would be its end; it is only taken back sooner.
    fn limit<'a>(
        &'a self,
        run: &'a ContainerId,
        ceiling: &'a Ceiling,
    ) -> BoxFuture<'a, Result<(), LimitError>>;

    /// What a live run uses now.
    ///
    /// # Errors
    ///
    /// [`UsageError`] when the run is unknown or over.
    fn usage(&self, run: &ContainerId) -> Result<Usage, UsageError>;

    /// TCP ports on which processes of these runs listen, by run; runs that are over are left out.
    ///
    /// Reads the host's socket table once for all runs that share a network namespace.
    fn listening_ports(&self, runs: &[ContainerId]) -> HashMap<ContainerId, BTreeSet<u16>>;

    /// Runs a short command to its end. Dropping the future kills it.
    fn exec_check(&self, spec: CheckSpec) -> BoxFuture<'_, Result<CheckReply, LaunchError>>;

    /// Opens a session beside a run: a command that is talked to while it runs. Dropping the future
    /// or the session ends it.
    fn open_session(&self, spec: SessionSpec) -> BoxFuture<'_, Result<Session, LaunchError>>;

    /// Removes the records of a run that is over, once its end was taken note of durably.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    fn forget(&self, run: &KnownRun) -> io::Result<()>;
}

/// A run by name and place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KnownRun {
    /// The run.
    pub run_id: ContainerId,
    /// Directory of its records.
    pub run_dir: PathBuf,
}

/// A run whose command has been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// First process of the command; also its session.
    pub main: ProcessMark,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The run.
    pub run_id: ContainerId,
    /// Its state.
    pub state: RunState,
}

/// Whether a run is still going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It is; a [`RunEvent`] will follow.
    Running(Started),
    /// It is, and has not said yet that it is ready; [`Launcher::await_ready`] tells when it has. Only
    /// if it gets so far, a [`RunEvent`] will follow.
    Starting(Started),
    /// It is over; no event follows.
    Over(RunOutcome),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// The command ended with this status.
    Ended(ExitStatus),
    /// The command could not be executed, with the reason.
    NotStarted(String),
    /// Nobody knows how.
    Lost(LostReason),
}

/// Why the status of a run is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostReason {
    /// Its host was restarted meanwhile.
    #[error("the host was restarted while the command ran")]
    HostRestarted,
    /// Its shim was killed; the command was killed with it.
    #[error("the process that supervised the command died before it could record the exit status")]
    ShimDied,
    /// The agent died before the run began, and it never will.
    #[error("the agent died before the command was started")]
    NeverStarted,
    /// Its unit is gone and left no word.
    #[error("systemd has removed the unit of the command and nobody recorded how it ended")]
    UnitGone,
    /// Its records cannot be read.
    #[error("the records of the command are damaged or gone")]
    Damaged,
}

/// What a launcher reports by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEvent {
    /// The run.
    pub run_id: ContainerId,
    /// How it ended; its processes are all gone.
    pub outcome: RunOutcome,
}

/// Consumption of a live run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the start, ended processes included.
    pub cpu: Duration,
    /// CPU time in user mode, where it is known apart.
    pub user_cpu: Option<Duration>,
    /// CPU time in the kernel, where it is known apart.
    pub system_cpu: Option<Duration>,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// Processes.
    pub processes: usize,
}

/// A run that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The host refused something before the command's own process existed.
    #[error("failed to {verb} '{path}'")]
    Prepare {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The run's control group could not be made.
    #[error("failed to prepare a control group")]
    Group(#[source] tepui_cgroup::CgroupError),
    /// systemd could not start the unit.
    #[error("failed to start a unit")]
    Systemd(#[source] tepui_systemd::SystemdError),
    /// The run's first record could not be written.
    #[error("failed to prepare the run")]
    Record(#[source] RecordError),
    /// The command could not be executed; the text names the step and what it met.
    #[error("{0}")]
    NotStarted(String),
    /// The shim went away, or said nothing in time.
    #[error("the supervising process of the command {0}")]
    Shim(&'static str),
    /// The specification is larger than the kernel could ever take.
    #[error("the command and its environment are larger than {limit} bytes")]
    TooLarge {
        /// Limit in bytes.
        limit: usize,
    },
    /// The command was executed, and ended before it said that it is ready.
    #[error("the command ended before it said that it is ready")]
    NotReady(Box<ExitStatus>),
    /// The run is to be held to something that only systemd can.
    #[error("the run needs {0}, which only systemd can give it")]
    NeedsSystemd(&'static str),
    /// The run names a limit that would be none on this host; which, and why.
    #[error("the run cannot be held to what it names: {0}")]
    Impossible(String),
    /// The run is known already.
    #[error("run {0} exists already")]
    Exists(ContainerId),
    /// The run's control group was not admitted, for this reason.
    #[error("{0}")]
    NotAdmitted(String),
}

/// A signal that could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The run is not known, or is over.
    #[error("run {0} is not running")]
    NotRunning(ContainerId),
    /// The shim does not take orders.
    #[error("failed to reach the supervising process of run {run}")]
    Unreachable {
        /// Run.
        run: ContainerId,
        /// Cause.
        source: io::Error,
    },
}

/// Limits that could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// The run is not known, or is over.
    #[error("run {0} is not running")]
    NotRunning(ContainerId),
    /// systemd refused.
    #[error("failed to change the limits of a unit")]
    Systemd(#[source] tepui_systemd::SystemdError),
    /// The kernel refused.
    #[error("failed to change the limits of a control group")]
    Group(#[source] tepui_cgroup::CgroupError),
}

/// A measurement that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The run is not known, or is over.
    #[error("run {0} is not running")]
    NotRunning(ContainerId),
}

/// Records that cannot be read are as good as none.
impl From<RecordError> for LostReason {
    fn from(_: RecordError) -> Self {
        Self::Damaged
    }
}
