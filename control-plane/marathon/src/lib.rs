//! Marathon's public formats: ids, app definitions, groups, deployments, queue, events, errors.
//!
//! Reading goes in one direction: JSON text → structural check → translation of deprecated fields →
//! defaults → semantic validation (`marathon-api.md` 1.3 to 1.5, `marathon-behaviour.md` 20).
//! Writing is `serde::Serialize` of the canonical types and follows `marathon-api.md` 1.6. This
//! crate is pure: no clock, no I/O, no randomness.

mod app;
mod complete;
mod constraint;
mod container;
mod deployment;
mod embed;
mod event;
mod group;
mod health;
mod ids;
mod normalise;
mod number;
mod path;
mod queue;
mod read;
mod reject;
mod selector;
mod settings;
mod task;
mod update;
mod validate;
mod version;

pub use app::{
    App, ExecutorResources, KillSelection, Limit, ResourceLimits, SINGLE_INSTANCE_LABEL,
    UnreachableStrategy, UpgradeStrategy, VersionInfo,
};
pub use constraint::{Constraint, Operator};
pub use container::{
    Container, ContainerEngine, Docker, EnvValue, Fetch, Labels, Network, Parameter,
    PortDefinition, PortMapping, Protocol, PullConfig, SecretSource, Volume, VolumeMode,
};
pub use deployment::{
    Action, ActionKind, CurrentAction, Deployment, DeploymentResult, DryRun, HttpResponse, Plan,
    ReadinessCheckResult, Step,
};
pub use embed::{AppEmbeds, GroupEmbeds};
pub use event::{Event, EventPayload, StepPlan};
pub use group::{Group, GroupInfo, GroupUpdate};
pub use health::{
    Check, CheckProbe, HealthCheck, HealthProtocol, IpProtocol, ReadinessCheck, ReadinessProtocol,
};
pub use ids::{InstanceId, InvalidId, TaskId, time_uuid};
pub use number::Ratio;
pub use path::{
    AppId, GroupId, InvalidPathId, MAX_ID_BYTES, PathId, RESERVED_SEGMENTS, is_segment,
};
pub use queue::{
    NumberRange, OfferView, OfferedAttribute, OfferedResource, ProcessedOffersSummary, Queue,
    QueueDelay, QueueItem, RejectCount, RejectReason, UnusedOffer,
};
pub use read::{
    decode_app, decode_app_updates, decode_enforce_role, decode_group_update, decode_stored_app,
    decode_task_ids,
};
pub use reject::{Details, Message, Rejection, Violation, Violations};
pub use selector::{InvalidSelector, LabelSelector};
pub use settings::Settings;
pub use task::{
    AppInfo, CheckResult, DeploymentRef, Health, IpAddress, LifeTime, LocalVolume, Task,
    TaskCounts, TaskFailure, TaskStats, TaskStatsByVersion,
};
pub use update::AppUpdate;
pub use validate::MAX_APP_ID_BYTES;
pub use version::{InvalidVersion, Version};
