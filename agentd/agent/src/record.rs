//! What must survive the daemon: a journal of facts, replayed in order at the start.

use std::sync::Arc;

use tepui_link::Leftover;
use tepui_types::{
    AgentId, BootId, ContainerId, ExecutorId, FrameworkId, Role, TaskId, Term, UpdateId, Wall,
};
use tepui_wire::v1;

use crate::{ContainerLaunch, Exit, Verdict};

/// One durable fact. The journal is the list of them; [`crate::Agent::snapshot`] gives a shorter
/// list that means the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The agent's id and what it said of itself when it got it.
    Identity {
        /// The id.
        agent: AgentId,
        /// The description that the id stands for.
        info: Box<v1::AgentInfo>,
    },
    /// The host's boot id under which the following runs were started.
    Boot(BootId),
    /// The highest term seen.
    Term(Term),
    /// A framework that has something here.
    Framework(Box<v1::FrameworkInfo>),
    /// The framework is gone from here.
    FrameworkGone(FrameworkId),
    /// An executor: a custom one, or the implicit one of a command task.
    Executor {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// Its description; `None` for a command task's implicit executor.
        info: Option<Box<v1::ExecutorInfo>>,
        /// Its run.
        run: ContainerId,
        /// The sandbox, relative to the work directory.
        sandbox: Arc<str>,
        /// When it was made.
        created: Wall,
    },
    /// A task was accepted here and will get a definite state.
    Task {
        /// Whose.
        framework: FrameworkId,
        /// Under which executor.
        executor: ExecutorId,
        /// Allocated to which role.
        role: Role,
        /// Its description.
        task: Box<v1::TaskInfo>,
        /// Whether it came in a group: one failure ends all.
        grouped: bool,
    },
    /// A task that is not started here, and gets a definite state all the same.
    Refused {
        /// Whose.
        framework: FrameworkId,
        /// Under which executor it would have been.
        executor: ExecutorId,
        /// Allocated to which role.
        role: Role,
        /// Its description; only its id when nothing else is known.
        task: Box<v1::TaskInfo>,
    },
    /// A task of a pod has a run of its own, below the pod's.
    TaskRun {
        /// Whose.
        framework: FrameworkId,
        /// Of which pod.
        executor: ExecutorId,
        /// Which task; its [`Record::Task`] stands before this.
        task: TaskId,
        /// Its run.
        run: ContainerId,
        /// The sandbox, relative to the work directory.
        sandbox: Arc<str>,
    },
    /// The run's main process was started, or is about to be: after this it is never started
    /// again (invariant I-5).
    Starting {
        /// Which run.
        run: ContainerId,
    },
    /// A custom executor was sent the task.
    Delivered {
        /// Whose.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
    },
    /// Somebody asked for the task's end.
    KillAsked {
        /// Whose.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
    },
    /// A status update that must reach the framework.
    Update {
        /// Whose.
        framework: FrameworkId,
        /// The status with its uuid.
        status: Box<v1::TaskStatus>,
    },
    /// The task runs since then; follows from its updates unless those were compacted away.
    RunningSince {
        /// Whose.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Since when.
        since: Wall,
    },
    /// The framework has taken the update.
    Acknowledged {
        /// Whose.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which update.
        update: UpdateId,
    },
    /// The run ended.
    Exited {
        /// Which run.
        run: ContainerId,
        /// How.
        exit: Exit,
        /// When it was noticed.
        at: Wall,
    },
    /// A run whose executor and framework are not known any more; its sandbox is still there.
    Ownerless {
        /// Which run.
        run: ContainerId,
        /// The sandbox, relative to the work directory.
        sandbox: Arc<str>,
        /// What it holds until it has ended.
        leftover: Option<Leftover>,
        /// Whether it is a pod: it has no process, and is over with the last run below it.
        is_pod: bool,
    },
    /// Tasks that go together: a custom executor gets them in one piece or not at all; those of a
    /// pod end when one of them fails.
    Group {
        /// Whose.
        framework: FrameworkId,
        /// For which executor.
        executor: ExecutorId,
        /// Which tasks; their [`Record::Task`]s stand before this.
        tasks: Vec<TaskId>,
    },
    /// A task with this id ended here, and nothing else of it is kept: it is never started again.
    Ended {
        /// Whose.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
    },
    /// The agent's id is given up (the host was restarted with an incompatible description); it
    /// registers as a new agent. What stands before this belongs to the old one.
    IdentityGone,
    /// A container that somebody asked the agent's API for.
    Asked {
        /// What was asked for; its run is named as the container.
        launch: Box<ContainerLaunch>,
        /// The sandbox, relative to the work directory.
        sandbox: Arc<str>,
    },
    /// Why the run of an asked container ended; before its end.
    Verdict {
        /// Which run.
        run: ContainerId,
        /// Why.
        verdict: Box<Verdict>,
    },
    /// The sandbox was removed; nothing of the run is left.
    SandboxRemoved {
        /// Which run.
        run: ContainerId,
    },
}
