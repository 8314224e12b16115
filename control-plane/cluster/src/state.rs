//! What the cluster knows, as plain data: read it through the accessors of [`crate::Cluster`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use tepui_allocator::{Epoch, Minimum};
use tepui_types::{
    AgentId, BootId, ExecutorId, FrameworkId, LinkId, Mono, OfferId, Resources, Role, Span,
    StreamId, TaskId, TaskState, UpdateId, Wall,
};
use tepui_wire::v1;

use crate::FrameworkCounters;
use crate::constraints::Constraints;
use crate::told::Told;

/// An agent that is part of the cluster in this term, connected or not.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Which.
    pub id: AgentId,
    /// What it said of itself, with its id.
    pub info: Arc<v1::AgentInfo>,
    /// Its version.
    pub version: String,
    /// The boot id of its host.
    pub boot: Option<BootId>,
    /// Everything it has.
    pub total: Resources,
    /// What is in offers that wait for an answer.
    pub offered: Resources,
    /// What its tasks and executors hold, and launches on their way to it.
    pub used: Resources,
    /// `total` without `offered` and `used`: what a new offer may hold.
    pub free: Resources,
    /// What its tasks and executors hold together is more than it has, or collides: it said so
    /// when it registered. Its books are then made anew at every change.
    pub overbooked: bool,
    /// The connection to it; `None` while it is disconnected.
    pub link: Option<Link>,
    /// The newest connection that it registered on.
    pub(crate) newest_link: LinkId,
    /// Taken out of the offers by an operator.
    pub deactivated: bool,
    /// When it was admitted first in this term.
    pub registered: Wall,
    /// When it last came back.
    pub reregistered: Option<Wall>,
    /// When it last said anything.
    pub last_heard: Mono,
    /// When its silence is looked at next.
    pub(crate) watched_until: Mono,
    /// When it is declared unreachable, once it was silent for too long and the bound on removals
    /// allows it.
    pub doomed: Option<Mono>,
    /// Rises whenever a plan for the agent becomes worthless.
    pub epoch: Epoch,
    /// The epoch in which the allocator was told of it anew.
    pub added_epoch: Epoch,
    /// The tasks there, ended ones included until that is acknowledged.
    pub tasks: BTreeMap<FrameworkId, BTreeSet<TaskId>>,
    /// The custom executors there.
    pub executors: BTreeMap<FrameworkId, BTreeMap<ExecutorId, Executor>>,
    /// What removed frameworks hold there until the agent says that their work has ended.
    pub departing: BTreeMap<FrameworkId, Departing>,
    /// The offers of its resources.
    pub offers: BTreeSet<OfferNumber>,
    /// Kills that wait for its return.
    pub pending_kills: BTreeMap<(FrameworkId, TaskId), Option<v1::KillPolicy>>,
}

impl Agent {
    /// True while there is a link to it.
    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// True while its resources may be offered.
    pub fn is_active(&self) -> bool {
        self.is_connected() && !self.deactivated
    }

    /// The executor of a framework there.
    pub fn executor(&self, framework: &FrameworkId, executor: &ExecutorId) -> Option<&Executor> {
        self.executors.get(framework)?.get(executor)
    }

    /// Host and port, which tell two agents apart before they have ids.
    pub fn address(&self) -> (&str, i32) {
        (&self.info.hostname, self.info.port())
    }
}

/// A connection to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub id: LinkId,
    /// How many directives were sent on it.
    pub sent: u64,
    /// A directive that the agent has not confirmed yet, and when that was noticed.
    pub unconfirmed: Option<(u64, Mono)>,
    /// Since when the agent, which has confirmed all directives, counts other executors than the
    /// books do.
    pub differs: Option<Mono>,
}

/// What a removed framework still holds on an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Departing {
    /// The directive that ends its work: what the agent says before it has seen that does not
    /// count.
    pub(crate) ordered: u64,
    /// What it holds, by the roles that it had it for.
    pub(crate) held: Vec<(Role, Resources)>,
}

impl Departing {
    /// The pieces that are not free yet.
    pub fn held(&self) -> impl Iterator<Item = &Resources> {
        self.held.iter().map(|(_, resources)| resources)
    }
}

/// An agent of the registry that has not come back since the change of leader.
#[derive(Clone, Debug, PartialEq)]
pub struct RecoveredAgent {
    /// What it said of itself.
    pub info: Arc<v1::AgentInfo>,
    /// Taken out of the offers by an operator.
    pub deactivated: bool,
}

/// An agent of the registry that is unreachable or gone.
#[derive(Clone, Debug, PartialEq)]
pub struct DepartedAgent {
    /// What it said of itself.
    pub info: Arc<v1::AgentInfo>,
    /// Taken out of the offers by an operator.
    pub deactivated: bool,
    /// Since when.
    pub since: Wall,
}

/// An executor on an agent; not the implicit ones of command tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Executor {
    /// Which.
    pub id: ExecutorId,
    /// Its description.
    pub info: Arc<v1::ExecutorInfo>,
    /// The role that its resources are allocated to.
    pub role: Role,
    /// What it holds besides its tasks.
    pub resources: Resources,
    /// It was seen to run: the agent named it, or a task in it was heard of. Only then does the
    /// agent tell of its exit.
    pub confirmed: bool,
}

/// What a framework can do, from its capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Abilities {
    /// Takes revocable resources.
    pub revocable_resources: bool,
    /// Understands `TASK_KILLING`.
    pub task_killing_state: bool,
    /// Takes agents with gpus.
    pub gpu_resources: bool,
    /// Takes shared volumes.
    pub shared_resources: bool,
    /// Understands the finer states of tasks on lost agents.
    pub partition_aware: bool,
    /// Subscribes to several roles.
    pub multi_role: bool,
    /// Understands stacked reservations.
    pub reservation_refinement: bool,
    /// Takes agents of other regions.
    pub region_aware: bool,
}

/// How a framework is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Known from the registry or from agents only; it has not subscribed in this term.
    Recovered,
    /// It has a stream.
    Subscribed {
        /// Which.
        stream: StreamId,
    },
    /// Its stream ended.
    Disconnected {
        /// When.
        since: Wall,
    },
}

/// A framework.
#[derive(Clone, Debug)]
pub struct Framework {
    /// Which.
    pub id: FrameworkId,
    /// What it said of itself, with its id.
    pub info: Arc<v1::FrameworkInfo>,
    /// What it can do.
    pub abilities: Abilities,
    /// The roles it subscribes to.
    pub roles: BTreeSet<Role>,
    /// The roles for which it wants no offers now.
    pub suppressed: BTreeSet<Role>,
    /// The smallest offers it wants, where they differ from the cluster's.
    pub minimum: BTreeMap<Role, Minimum>,
    /// Which agents it wants to be offered.
    pub offer_constraints: Option<v1::scheduler::OfferConstraints>,
    /// The same, ready to be asked.
    pub(crate) constraints: Constraints,
    /// Whether it is there.
    pub attachment: Attachment,
    /// How long it may be away.
    pub failover_timeout: Span,
    /// When it is removed unless it subscribes before.
    pub removal_due: Option<Mono>,
    /// When it subscribed first.
    pub registered: Wall,
    /// When it last subscribed again.
    pub reregistered: Option<Wall>,
    /// When it was removed.
    pub unregistered: Option<Wall>,
    /// Its tasks, ended ones included until that is acknowledged.
    pub tasks: BTreeMap<TaskId, Arc<Task>>,
    /// Its tasks on unreachable agents.
    pub unreachable: BTreeMap<TaskId, Arc<Task>>,
    /// In which order they became unreachable.
    pub(crate) unreachable_order: VecDeque<TaskId>,
    /// Its ended and acknowledged tasks, oldest first.
    pub completed: VecDeque<Arc<Task>>,
    /// What the newest of its tasks holds; most others hold as much.
    pub(crate) shape: Resources,
    /// The offers it holds.
    pub offers: BTreeSet<OfferNumber>,
    /// What it did and what it was told.
    pub counters: FrameworkCounters,
}

impl Framework {
    /// The stream to it, if it is subscribed.
    pub fn stream(&self) -> Option<StreamId> {
        match self.attachment {
            Attachment::Subscribed { stream } => Some(stream),
            Attachment::Recovered | Attachment::Disconnected { .. } => None,
        }
    }

    /// True while it has a stream.
    pub fn is_connected(&self) -> bool {
        self.stream().is_some()
    }

    /// The same resources, kept once for tasks of one shape that come after each other.
    pub(crate) fn like_others(&mut self, resources: Resources) -> Resources {
        like(&mut self.shape, resources)
    }

    /// A task to change; whoever looks at it meanwhile sees it as it was.
    pub(crate) fn task_mut(&mut self, task: &TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(task).map(Arc::make_mut)
    }

    /// True when it is only known from the registry or from agents.
    pub fn is_recovered(&self) -> bool {
        self.attachment == Attachment::Recovered
    }

    /// Its tasks survive a restart of the agent.
    pub fn is_checkpointing(&self) -> bool {
        self.info.checkpoint()
    }
}

/// The same resources as `shape`, kept once, which they become if they are not.
pub(crate) fn like(shape: &mut Resources, resources: Resources) -> Resources {
    if *shape != resources {
        *shape = resources;
    }
    shape.clone()
}

/// A task. It is kept shared, so that a reader takes all tasks along as they are at one moment
/// without a copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Which.
    pub id: TaskId,
    /// Whose.
    pub framework: FrameworkId,
    /// Where.
    pub agent: AgentId,
    /// In which custom executor; `None` for a command task.
    pub executor: Option<ExecutorId>,
    /// Its name.
    pub name: String,
    /// The role that its resources are allocated to.
    pub role: Role,
    /// What it holds until it ends.
    pub resources: Resources,
    /// The newest state known; it decides whether the resources are held.
    pub state: TaskState,
    /// The newest update that was sent to the framework and waits for its acknowledgement, or had
    /// it already.
    pub forwarded: Option<Forwarded>,
    /// Its statuses, one per run of equal states, without data.
    pub statuses: Vec<Told>,
    /// When this leader accepted its launch; `None` once it runs, or when another one did.
    pub launched: Option<Mono>,
    /// What most tasks do not have.
    pub details: Option<Box<TaskDetails>>,
}

/// An update sent to a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The state in it.
    pub state: TaskState,
    /// Its id; `None` for updates that are not acknowledged.
    pub update: Option<UpdateId>,
}

/// Parts of a task's description that most tasks do not have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskDetails {
    /// Labels.
    pub labels: Option<v1::Labels>,
    /// How it wants to be found.
    pub discovery: Option<v1::DiscoveryInfo>,
    /// Its container.
    pub container: Option<Box<v1::ContainerInfo>>,
    /// Its health check.
    pub health_check: Option<Box<v1::HealthCheck>>,
    /// How it wants to be killed.
    pub kill_policy: Option<v1::KillPolicy>,
    /// As whom it runs.
    pub user: Option<String>,
    /// Its resource limits.
    pub limits: BTreeMap<String, v1::value::Scalar>,
    /// It is killed so that this role gets its revocable resources.
    pub preempted_for: Option<Role>,
}

/// The number in an offer's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OfferNumber(pub u64);

impl fmt::Display for OfferNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "O{}", self.0)
    }
}

/// Resources of one agent that wait for a framework's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Which.
    pub id: OfferId,
    /// Its number.
    pub number: OfferNumber,
    /// To whom.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// Where.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
    /// When it was made.
    pub made: Mono,
}
