//! Events of the event stream with their exact keys (`marathon-api.md` section 9).

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tepui_types::{TaskState, Uuid};

use crate::app::App;
use crate::deployment::{Plan, Step};
use crate::health::HealthCheck;
use crate::ids::{InstanceId, TaskId};
use crate::number;
use crate::path::{AppId, GroupId};
use crate::task::IpAddress;
use crate::version::Version;

/// One event: what happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened.
    pub timestamp: Version,
    /// What happened.
    pub payload: EventPayload,
}

impl Event {
    /// The event's type, by which clients filter.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        self.payload.event_type()
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Flat<'a> {
            #[serde(flatten)]
            payload: &'a EventPayload,
            event_type: &'static str,
            timestamp: Version,
        }
        Flat { payload: &self.payload, event_type: self.event_type(), timestamp: self.timestamp }
            .serialize(serializer)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "the fields are the documented keys of the API")]
pub enum EventPayload {
    /// A client opened an event stream.
    StreamAttached { remote_address: String },
    /// A client's event stream ended.
    StreamDetached { remote_address: String },
    /// A single app was written.
    ApiPost { client_ip: String, uri: String, app_definition: Arc<App> },
    /// A group was changed.
    GroupChangeSuccess { group_id: GroupId, version: Version },
    /// A group could not be changed.
    GroupChangeFailed { group_id: GroupId, version: Version, reason: String },
    /// A step of a deployment begins.
    DeploymentInfo { plan: StepPlan, current_step: Step },
    /// A step of a deployment is done.
    DeploymentStepSuccess { plan: StepPlan, current_step: Step },
    /// A step of a deployment failed.
    DeploymentStepFailure { plan: StepPlan, current_step: Step },
    /// A deployment is done.
    DeploymentSuccess {
        #[serde(serialize_with = "number::display")]
        id: Uuid,
        plan: Plan,
    },
    /// A deployment was cancelled or failed.
    DeploymentFailed {
        #[serde(serialize_with = "number::display")]
        id: Uuid,
        plan: Plan,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// An app is gone.
    AppTerminated { app_id: AppId },
    /// Mesos reported a task's state.
    StatusUpdate {
        slave_id: String,
        task_id: TaskId,
        #[serde(serialize_with = "number::display")]
        task_status: TaskState,
        message: String,
        app_id: AppId,
        host: String,
        ip_addresses: Vec<IpAddress>,
        ports: Vec<u16>,
        version: Version,
    },
    /// An instance's condition changed.
    InstanceChanged {
        instance_id: InstanceId,
        condition: String,
        run_spec_id: AppId,
        agent_id: String,
        host: String,
        run_spec_version: Version,
    },
    /// An instance's overall health changed; absent means unknown.
    InstanceHealthChanged {
        instance_id: InstanceId,
        run_spec_id: AppId,
        #[serde(skip_serializing_if = "Option::is_none")]
        healthy: Option<bool>,
        run_spec_version: Version,
    },
    /// A task that belongs to no instance ended.
    UnknownInstanceTerminated { instance_id: InstanceId, run_spec_id: AppId, condition: String },
    /// One health check changed its verdict.
    HealthStatusChanged { app_id: AppId, instance_id: InstanceId, version: Version, alive: bool },
    /// A health check begins.
    AddHealthCheck { app_id: AppId, version: Version, health_check: HealthCheck },
    /// The health checks of an app end.
    RemoveHealthCheck { app_id: AppId },
    /// A counted failure of a health check; `task_id` carries the instance id.
    FailedHealthCheck { app_id: AppId, task_id: InstanceId, health_check: HealthCheck },
    /// An instance is killed because of its health.
    UnhealthyInstanceKill {
        app_id: AppId,
        task_id: TaskId,
        instance_id: InstanceId,
        version: Version,
        reason: String,
        host: String,
        slave_id: String,
    },
    /// An executor sent a message.
    FrameworkMessage { executor_id: String, slave_id: String, message: String },
    /// Registered with the cluster for the first time.
    SchedulerRegistered { framework_id: String, master: String },
    /// Registered with the cluster again.
    SchedulerReregistered { master: String },
    /// The connection to the cluster is lost.
    SchedulerDisconnected {},
}

impl EventPayload {
    /// The value of `eventType`.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::StreamAttached { .. } => "event_stream_attached",
            Self::StreamDetached { .. } => "event_stream_detached",
            Self::ApiPost { .. } => "api_post_event",
            Self::GroupChangeSuccess { .. } => "group_change_success",
            Self::GroupChangeFailed { .. } => "group_change_failed",
            Self::DeploymentInfo { .. } => "deployment_info",
            Self::DeploymentStepSuccess { .. } => "deployment_step_success",
            Self::DeploymentStepFailure { .. } => "deployment_step_failure",
            Self::DeploymentSuccess { .. } => "deployment_success",
            Self::DeploymentFailed { .. } => "deployment_failed",
            Self::AppTerminated { .. } => "app_terminated_event",
            Self::StatusUpdate { .. } => "status_update_event",
            Self::InstanceChanged { .. } => "instance_changed_event",
            Self::InstanceHealthChanged { .. } => "instance_health_changed_event",
            Self::UnknownInstanceTerminated { .. } => "unknown_instance_terminated_event",
            Self::HealthStatusChanged { .. } => "health_status_changed_event",
            Self::AddHealthCheck { .. } => "add_health_check_event",
            Self::RemoveHealthCheck { .. } => "remove_health_check_event",
            Self::FailedHealthCheck { .. } => "failed_health_check_event",
            Self::UnhealthyInstanceKill { .. } => "unhealthy_instance_kill_event",
            Self::FrameworkMessage { .. } => "framework_message_event",
            Self::SchedulerRegistered { .. } => "scheduler_registered_event",
            Self::SchedulerReregistered { .. } => "scheduler_reregistered_event",
            Self::SchedulerDisconnected {} => "scheduler_disconnected_event",
        }
    }

    /// Whether the event goes only to clients that name its type: older clients raise on types
    /// they do not know (`marathon-api.md` section 11).
    #[must_use]
    pub fn is_opt_in(&self) -> bool {
        matches!(
            self,
            Self::SchedulerRegistered { .. }
                | Self::SchedulerReregistered { .. }
                | Self::SchedulerDisconnected {}
        )
    }
}

/// A plan inside step events. It carries empty `original` and `target` objects, which one widely
/// used client insists on (`marathon-api.md` section 11).
#[derive(Clone, Debug, PartialEq)]
pub struct StepPlan(pub Plan);

impl Serialize for StepPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Empty {}
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("id", &self.0.id.to_string())?;
        map.serialize_entry("original", &Empty {})?;
        map.serialize_entry("target", &Empty {})?;
        map.serialize_entry("steps", &self.0.steps)?;
        map.serialize_entry("version", &self.0.version)?;
        map.end()
    }
}
