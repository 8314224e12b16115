use tepui_types::{AgentId, ExecutorId, FrameworkId, Role, Span, TaskId, Term, UpdateId};
use tepui_wire::v1;

/// One numbered order to an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Directive {
    /// The leader's term. An agent refuses directives of a lower term than it has seen and keeps
    /// the highest one durably (invariant I-15).
    pub term: Term,
    /// Counts the directives on this link from 1, without gaps: an agent that sees a gap drops
    /// the link and registers again, so nothing is lost silently; a number already seen is
    /// ignored (invariant I-46).
    pub generation: u64,
    /// What to do.
    pub order: Order,
}

/// What an agent is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// The answer to a registration; always the first directive on a link.
    Registered {
        /// The agent's id from now on.
        agent: AgentId,
        /// How often the control plane wants to hear from the agent.
        heartbeat: Span,
        /// How long the control plane waits before it declares the agent unreachable.
        patience: Span,
        /// The bound of the random pause before the agent connects again when this link breaks:
        /// so long that all agents together do not come at once, and zero for the agent's own.
        pace: Span,
    },
    /// Start tasks. A task that the agent knows already, running or ended, is not started again
    /// (invariant I-5).
    Launch(Box<LaunchOrder>),
    /// End a task.
    Kill {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        task: TaskId,
        /// Overrides the task's own kill policy.
        kill_policy: Option<v1::KillPolicy>,
    },
    /// The framework has taken a status update.
    Acknowledge {
        /// Whose.
        framework: FrameworkId,
        /// Which task's.
        task: TaskId,
        /// Which update.
        update: UpdateId,
    },
    /// End an executor and its tasks.
    ShutdownExecutor {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
    },
    /// The framework is gone: end everything of it, send no updates.
    ShutdownFramework {
        /// Which.
        framework: FrameworkId,
    },
    /// Bytes from the framework to an executor, best effort.
    Message {
        /// Whose.
        framework: FrameworkId,
        /// To which executor.
        executor: ExecutorId,
        /// What.
        data: Vec<u8>,
    },
    /// Tasks that the control plane believes to be here and that were not in the registration:
    /// the agent answers each that it does not know with a terminal update (reason
    /// RECONCILIATION).
    Reconcile {
        /// Which: framework, task, and whether the framework is partition aware.
        tasks: Vec<(FrameworkId, TaskId, bool)>,
    },
    /// A framework's description changed.
    UpdateFramework {
        /// The new description, with its id.
        framework: Box<v1::FrameworkInfo>,
    },
    /// The agent is not wanted: end everything and do not come back under this id.
    Shutdown {
        /// Why, for the log.
        reason: String,
    },
}

/// Tasks to start together for one framework.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchOrder {
    /// Whose, with its id.
    pub framework: v1::FrameworkInfo,
    /// The role that the resources are allocated to.
    pub role: Role,
    /// The group's executor, for a LAUNCH_GROUP; else each task carries its own or none.
    pub group_executor: Option<v1::ExecutorInfo>,
    /// What to start; resources carry their allocation.
    pub tasks: Vec<v1::TaskInfo>,
}
