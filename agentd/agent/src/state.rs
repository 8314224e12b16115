//! Frameworks, executors, runs and tasks as plain data. What survives a restart is changed only by
//! [`crate::book`]; the crate-private fields are of this life of the daemon only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use tepui_link::Leftover;
use tepui_types::{
    ContainerId, ExecutorId, FrameworkId, Mono, Ranges, RequestId, Role, Span, StreamId, TaskId,
    TaskState, UpdateId, Wall,
};
use tepui_wire::v1::{self, framework_info::capability};

use crate::checks::Checker;
use crate::timers::TimerKey;
use crate::{ContainerLaunch, Exit, PortDenial, Verdict};

/// A framework that has, or had, something here.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Its id.
    pub id: FrameworkId,
    /// Its newest description. User and name are empty when only the id is known.
    pub info: Box<v1::FrameworkInfo>,
    /// Executors whose run goes on, or whose tasks have unacknowledged updates; command tasks
    /// have one each, without a description.
    pub executors: BTreeMap<ExecutorId, Executor>,
    /// Every task that is not both terminal and acknowledged.
    pub tasks: BTreeMap<TaskId, Task>,
    /// The newest of the executors that are over, oldest first.
    pub completed: VecDeque<Executor>,
}

impl Framework {
    pub(crate) fn new(id: FrameworkId, info: Box<v1::FrameworkInfo>) -> Self {
        Self {
            id,
            info,
            executors: BTreeMap::new(),
            tasks: BTreeMap::new(),
            completed: VecDeque::new(),
        }
    }

    /// Whether it has anything here that is not over.
    pub fn is_active(&self) -> bool {
        !self.executors.is_empty() || !self.tasks.is_empty()
    }

    /// Whether its description is known; else only its id is, from an order about a task that is
    /// not here.
    pub fn is_described(&self) -> bool {
        !self.info.name.is_empty() || !self.info.user.is_empty()
    }

    pub(crate) fn has(&self, capability: capability::Type) -> bool {
        self.info.capabilities.iter().any(|one| one.r#type() == capability)
    }

    /// Whether it tells apart why a task is not there (capability PARTITION_AWARE).
    pub fn is_partition_aware(&self) -> bool {
        self.has(capability::Type::PartitionAware)
    }
}

/// An executor: a custom one, or the implicit one of a command task.
#[derive(Clone, Debug)]
pub struct Executor {
    /// Its id; a command task's is the task's.
    pub id: ExecutorId,
    /// Its description; `None` for a command task's.
    pub info: Option<Box<v1::ExecutorInfo>>,
    /// Its run; [`crate::Agent::run`] tells more while the sandbox exists.
    pub run: ContainerId,
    /// The sandbox, relative to the work directory.
    pub sandbox: Arc<str>,
    /// When it was made.
    pub created: Wall,
    /// The role of its first task.
    pub role: Option<Role>,
    /// Its tasks in [`Framework::tasks`].
    pub tasks: BTreeSet<TaskId>,
    /// Its tasks that are terminal and acknowledged, oldest first; the newest 200.
    pub completed_tasks: VecDeque<Task>,
    /// Tasks that go together: undelivered ones, or those of a pod while any of them lives.
    pub(crate) groups: Vec<Vec<TaskId>>,
    /// Whether a task was ever sent to it.
    pub(crate) ever_delivered: bool,
}

impl Executor {
    /// Whether this is a command task's implicit executor.
    pub fn is_command(&self) -> bool {
        self.info.is_none()
    }

    /// Whether this is a pod: an executor of type DEFAULT, which is the agent itself.
    pub fn is_pod(&self) -> bool {
        self.info.as_ref().is_some_and(|info| is_pod(info))
    }

    /// Whether it is a process of its own that speaks the executor API.
    pub fn is_custom(&self) -> bool {
        !self.is_command() && !self.is_pod()
    }
}

/// Whether the agent itself is this executor.
pub(crate) fn is_pod(info: &v1::ExecutorInfo) -> bool {
    info.r#type() == v1::executor_info::Type::Default
}

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its sandbox is made and filled.
    Preparing,
    /// Its main process is being started.
    Launching,
    /// A custom executor that runs and has not subscribed in this life of the daemon.
    Registering,
    /// It runs.
    Running,
    /// It was told to end.
    Terminating,
    /// It is over.
    Over,
}

/// One run of an executor or task: a sandbox and, in time, a process tree. The run of a pod has no
/// process: those of its tasks, which are below it, have.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whose it is; `None` when the framework was shut down, or nobody knows it.
    pub owner: Option<(FrameworkId, ExecutorId)>,
    /// The sandbox, relative to the work directory; empty for runs that nobody knows.
    pub sandbox: Arc<str>,
    /// The task of a pod that it is of.
    pub task: Option<TaskId>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its main process, once known.
    pub pid: Option<u32>,
    /// How it ended, and when that was noticed.
    pub exit: Option<(Exit, Wall)>,
    /// Ports on which it listens though they are not its own.
    pub foreign_ports: Ranges,
    /// Whether it is a pod's, which has no process and is over with the last run below it.
    pub(crate) is_pod: bool,
    /// Its sandbox is filled, and the rest of its group is not yet.
    pub(crate) is_ready: bool,
    /// Its sandbox is being filled.
    pub(crate) is_fetching: bool,
    /// What somebody asked the agent's API for, when it is that.
    pub asked: Option<Box<ContainerLaunch>>,
    /// Why an asked run ended, where that is more than how.
    pub(crate) verdict: Option<Box<Verdict>>,
    /// Who waits for the beginning of an asked run.
    pub(crate) opener: Option<RequestId>,
    /// Its addresses, where it has a network of its own.
    pub addresses: Option<Vec<IpAddr>>,
    /// Bytes in its sandbox when they were last counted.
    pub disk_used: Option<u64>,
    pub(crate) started: bool,
    /// When its sandbox, or its start, was ordered in this life of the daemon; taken when that is done.
    pub(crate) ordered: Option<Mono>,
    /// What it still holds after its framework was shut down.
    pub(crate) leftover: Option<Leftover>,
    pub(crate) ports: Ranges,
    /// What the kernel refused it.
    pub(crate) denials: Vec<PortDenial>,
    /// Who waits for its end.
    pub(crate) waiters: Vec<RequestId>,
    pub(crate) stream: Option<StreamId>,
    pub(crate) ending: Option<Ending>,
    pub(crate) fate: Option<Fate>,
    pub(crate) limit: Option<TimerKey>,
    pub(crate) beat: Option<TimerKey>,
}

impl Run {
    pub(crate) fn new(owner: Option<(FrameworkId, ExecutorId)>, sandbox: Arc<str>) -> Self {
        Self {
            owner,
            sandbox,
            task: None,
            phase: Phase::Preparing,
            pid: None,
            exit: None,
            foreign_ports: Ranges::new(),
            is_pod: false,
            is_ready: false,
            is_fetching: false,
            asked: None,
            verdict: None,
            opener: None,
            addresses: None,
            started: false,
            ordered: None,
            leftover: None,
            ports: Ranges::new(),
            denials: Vec::new(),
            disk_used: None,
            waiters: Vec::new(),
            stream: None,
            ending: None,
            fate: None,
            limit: None,
            beat: None,
        }
    }
}

impl Run {
    /// Whether it was asked to end, or has ended.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some() || matches!(self.phase, Phase::Terminating | Phase::Over)
    }
}

/// A run that was asked to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) since: Mono,
    /// When it is killed; a later request may only bring this forward.
    pub(crate) deadline: Mono,
    pub(crate) timer: TimerKey,
    /// The pause to the next kill when the run survives one.
    pub(crate) pause: Span,
}

/// Why the agent ended a run, for the states of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Somebody asked for the task's end.
    Killed,
    /// Its health check failed too often.
    Unhealthy,
    /// It ran longer than it may.
    CompletionTime,
    /// It asked for a port that it was not given, on a host that ends tasks for it.
    ForeignPort,
    /// Its sandbox holds more than it may.
    DiskExceeded {
        /// Bytes in it.
        used: u64,
        /// Bytes that may be in it.
        limit: u64,
    },
    /// Its executor was told to end.
    Shutdown,
    /// It did not subscribe in time after its start.
    NeverRegistered,
    /// It did not subscribe in time after the agent's restart.
    NeverReregistered,
}

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its description.
    pub info: Box<v1::TaskInfo>,
    /// Under which executor.
    pub executor: ExecutorId,
    /// Allocated to which role.
    pub role: Role,
    /// Whether it came in a group.
    pub grouped: bool,
    /// Its own run, when it is of a pod.
    pub run: Option<ContainerId>,
    /// Its newest state.
    pub state: TaskState,
    /// One status per consecutive state, without data, oldest first.
    pub statuses: Vec<v1::TaskStatus>,
    /// Whether a custom executor was sent it.
    pub delivered: bool,
    /// Whether somebody asked for its end.
    pub kill_asked: bool,
    /// Status updates that the framework has not acknowledged, oldest first.
    pub pending: VecDeque<Box<v1::TaskStatus>>,
    /// Ids of the newest acknowledged updates.
    pub(crate) acknowledged: VecDeque<UpdateId>,
    /// It is never started here, and belongs to no executor.
    pub(crate) refused: bool,
    /// When it was first said to run.
    pub(crate) running_since: Option<Wall>,
    pub(crate) retry: Option<Retry>,
    pub(crate) completion: Option<TimerKey>,
    pub(crate) check: Option<Box<Checker>>,
    pub(crate) health: Option<Box<Checker>>,
}

/// When the oldest unacknowledged update is sent again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) timer: TimerKey,
    pub(crate) pause: Span,
}

impl Task {
    pub(crate) fn new(
        info: Box<v1::TaskInfo>,
        executor: ExecutorId,
        role: Role,
        grouped: bool,
    ) -> Self {
        Self {
            info,
            executor,
            role,
            grouped,
            run: None,
            state: TaskState::Staging,
            statuses: Vec::new(),
            delivered: false,
            kill_asked: false,
            pending: VecDeque::new(),
            acknowledged: VecDeque::new(),
            refused: false,
            running_since: None,
            retry: None,
            completion: None,
            check: None,
            health: None,
        }
    }

    /// Whether it is terminal.
    pub fn is_terminal(&self) -> bool {
        self.state.is_terminal()
    }

    /// The newest status.
    pub fn newest(&self) -> Option<&v1::TaskStatus> {
        self.statuses.last()
    }

    /// The task as Mesos describes it to others; its `state` is the newest, its
    /// `status_update_…` the oldest unacknowledged update's.
    pub fn to_wire(&self, framework: &FrameworkId, agent: &str) -> v1::Task {
        let info = &self.info;
        // Mesos leaves the executor's id out for command tasks.
        let custom = info.executor.is_some() || self.grouped;
        let oldest = self.pending.front();
        v1::Task {
            name: info.name.clone(),
            task_id: info.task_id.clone(),
            framework_id: v1::FrameworkId { value: framework.to_string() },
            executor_id: custom.then(|| v1::ExecutorId { value: self.executor.to_string() }),
            agent_id: v1::AgentId { value: agent.to_owned() },
            state: tepui_link::codec::wire_state(self.state).into(),
            resources: info.resources.clone(),
            statuses: self.statuses.clone(),
            status_update_state: oldest.map(|status| status.state),
            status_update_uuid: oldest.and_then(|status| status.uuid.clone()),
            labels: info.labels.clone(),
            discovery: info.discovery.clone(),
            // Only ever shown.
            container: info.container.as_deref().map(tepui_wire::secrets::redacted).map(Box::new),
            health_check: info.health_check.clone(),
            kill_policy: info.kill_policy,
            user: info.command.as_ref().and_then(|command| command.user.clone()),
            limits: info.limits.clone(),
        }
    }
}
