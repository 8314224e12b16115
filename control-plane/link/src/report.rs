use tepui_types::{AgentId, BootId, ExecutorId, FrameworkId, TaskState, Term};
use tepui_wire::v1;

/// What an agent tells the control plane.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Always the first report on a link.
    Register(Box<Registration>),
    /// The agent lives.
    Heartbeat {
        /// The highest directive generation handled on this link: tells the control plane
        /// whether its last directives arrived.
        seen: u64,
        /// How many custom executors it has: tells the control plane whether the news of an exit,
        /// or of a launch that came to nothing, got lost.
        executors: u64,
        /// Frameworks that were shut down here and whose processes have not all ended: what they
        /// hold is not free yet (invariant I-1).
        leftovers: Vec<FrameworkId>,
    },
    /// A task's next unacknowledged status update, sent again until it is acknowledged.
    Update {
        /// Whose.
        framework: FrameworkId,
        /// The status; `uuid` set, so it must be acknowledged.
        status: Box<v1::TaskStatus>,
        /// The newest state of the task, which may be ahead of `status`: resources are accounted
        /// by this one (`spec/mesos-http.md` 5.1).
        latest_state: TaskState,
    },
    /// Bytes from an executor to its framework, best effort.
    ExecutorMessage {
        /// Whose.
        framework: FrameworkId,
        /// From which executor.
        executor: ExecutorId,
        /// What.
        data: Vec<u8>,
    },
    /// A custom executor ended.
    ExecutorExited {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// Raw wait status; -1 when unknown.
        status: i32,
    },
    /// The agent leaves for good, on purpose.
    Unregister,
}

/// An agent with everything that it runs (invariant I-2).
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The id from an earlier registration, kept on the agent's disk.
    pub agent: Option<AgentId>,
    /// Hostname, port, resources, attributes.
    pub info: v1::AgentInfo,
    /// Tells a reboot.
    pub boot: Option<BootId>,
    /// The agent's version.
    pub version: String,
    /// The highest term that the agent has seen.
    pub term: Term,
    /// The frameworks that have anything here, with their ids.
    pub frameworks: Vec<v1::FrameworkInfo>,
    /// The executors that run here, custom ones only, with their framework ids.
    pub executors: Vec<v1::ExecutorInfo>,
    /// Every task that is not both terminal and acknowledged; `state` is the newest state,
    /// `status_update_state` and `status_update_uuid` the oldest unacknowledged update.
    pub tasks: Vec<v1::Task>,
    /// What frameworks that were shut down here still hold.
    pub leftovers: Vec<Leftover>,
}

/// What one process tree of a framework that was shut down still holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Leftover {
    /// Whose it was.
    pub framework: FrameworkId,
    /// What it holds, with its allocation.
    pub resources: Vec<v1::Resource>,
}
