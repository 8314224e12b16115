//! What must survive the leader: definitions with their history, instances, running deployments,
//! the framework id. One record per object, so that the cost of a change follows its size.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_marathon::{
    App, AppId, GroupId, InstanceId, IpAddress, PathId, Step, TaskFailure, TaskId, Version,
};
use tepui_types::{FrameworkId, Role, TaskState, Uuid};

/// One durable fact. Records of the same key replace each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Under which id the apps are registered with the cluster. Once stored it is never changed;
    /// without it stored instances cannot be managed (invariant I-36).
    Framework(FrameworkId),
    /// A version of an app. The newest one is in force.
    App(AppRevision),
    /// A version of a group. The newest one is in force.
    Group(GroupRevision),
    /// An instance that was launched at least once.
    Instance(Box<InstanceRecord>),
    /// A deployment that runs.
    Deployment(Box<DeploymentRecord>),
    /// The most recent failure of an app.
    Failure(Box<TaskFailure>),
}

/// What a record is stored under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKey {
    /// Of [`Record::Framework`].
    Framework,
    /// Of [`Record::App`].
    App(AppId, Version),
    /// Of [`Record::Group`].
    Group(GroupId, Version),
    /// Of [`Record::Instance`].
    Instance(InstanceId),
    /// Of [`Record::Deployment`].
    Deployment(Uuid),
    /// Of [`Record::Failure`].
    Failure(AppId),
}

impl Record {
    /// What it is stored under.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Framework(_) => RecordKey::Framework,
            Self::App(revision) => RecordKey::App(revision.id.clone(), revision.version),
            Self::Group(revision) => RecordKey::Group(revision.id.clone(), revision.version),
            Self::Instance(instance) => RecordKey::Instance(instance.id.clone()),
            Self::Deployment(deployment) => RecordKey::Deployment(deployment.id),
            Self::Failure(failure) => RecordKey::Failure(failure.app_id.clone()),
        }
    }
}

/// An app as of a version of the root group.
#[derive(Clone, Debug, PartialEq)]
pub struct AppRevision {
    /// Which.
    pub id: AppId,
    /// The version of the root group that made it.
    pub version: Version,
    /// The definition; `None` when the app was deleted by that version.
    pub definition: Option<Arc<App>>,
}

/// A group as of a version of the root group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRevision {
    /// Which; the root has one too.
    pub id: GroupId,
    /// The version of the root group that made it.
    pub version: Version,
    /// What the group itself says; `None` when it was deleted by that version.
    pub definition: Option<GroupDefinition>,
}

/// What a group says beside its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupDefinition {
    /// Apps and groups that are deployed before the members.
    pub dependencies: Vec<PathId>,
    /// Role policy of a top-level group.
    pub enforce_role: Option<bool>,
}

/// What an instance is meant to do (`marathon-behaviour.md` section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Goal {
    /// Have a running task.
    Running,
    /// Keep what is reserved, have no task.
    Stopped,
    /// End and be forgotten.
    Decommissioned,
}

/// Where an instance is in its life (`marathon-behaviour.md` section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// Waits for an offer.
    Scheduled,
    /// An offer was accepted for it.
    Provisioned,
    /// The cluster has the task.
    Staging,
    /// The executor prepares it.
    Starting,
    /// It runs.
    Running,
    /// It was told to end.
    Killing,
    /// Its agent does not answer.
    Unreachable,
    /// Its agent has not answered for so long that it was replaced.
    UnreachableInactive,
    /// It ended with status 0.
    Finished,
    /// It ended badly.
    Failed,
    /// It was killed.
    Killed,
    /// It could not be started.
    Error,
    /// Its agent says that it is gone.
    Gone,
    /// It was never started.
    Dropped,
    /// The cluster does not know it.
    Unknown,
}

/// One instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceRecord {
    /// Which; names the app.
    pub id: InstanceId,
    /// Version of the app it runs (the definition is the app revision of that version).
    pub version: Version,
    /// What it is meant to do.
    pub goal: Goal,
    /// Where it is in its life.
    pub condition: Condition,
    /// Since when.
    pub since: Version,
    /// Launches so far.
    pub incarnation: u32,
    /// Role whose resources it uses.
    pub role: Role,
    /// The task of the last launch; `None` after it ended.
    pub task: Option<TaskRecord>,
}

/// One launched task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Id of the agent.
    pub agent_id: String,
    /// Hostname of the agent.
    pub hostname: String,
    /// Region of the agent.
    pub region: Option<String>,
    /// Zone of the agent.
    pub zone: Option<String>,
    /// Attributes of the agent as constraints compare them, first one of each name.
    pub attributes: BTreeMap<String, String>,
    /// Host ports in the order of the definitions.
    pub host_ports: Vec<u16>,
    /// Last state that the cluster reported.
    pub state: TaskState,
    /// When it was handed to the cluster.
    pub staged_at: Version,
    /// When it got running.
    pub started_at: Option<Version>,
    /// Addresses.
    pub ip_addresses: Vec<IpAddress>,
    /// Since when the agent does not answer.
    pub unreachable_since: Option<Version>,
}

/// A deployment that runs: what it changes, from what to what. Progress is not stored; a new leader
/// goes through the steps again and finds done what is done.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentRecord {
    /// Its id.
    pub id: Uuid,
    /// Version of the root group it leads to.
    pub version: Version,
    /// Its steps.
    pub steps: Vec<Step>,
    /// For each app it touches: the version before and after, `None` where the app does not exist.
    pub apps: BTreeMap<AppId, Change>,
    /// Groups it created, to be removed on cancellation unless they are used.
    pub created_groups: BTreeSet<GroupId>,
    /// Groups whose own definition it changed or deleted, with the version before.
    pub changed_groups: BTreeMap<GroupId, Version>,
    /// Instances that go first when their app is scaled down (kill and scale).
    pub marked: BTreeSet<InstanceId>,
}

/// The versions of an app before and after a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Before.
    pub from: Option<Version>,
    /// After.
    pub to: Option<Version>,
}
