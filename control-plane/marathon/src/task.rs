//! Tasks, failures and statistics as clients see them (`marathon-app.tsv`, Task to
//! TaskStatsByVersion).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tepui_types::TaskState;

use crate::app::App;
use crate::ids::{InstanceId, TaskId};
use crate::number;
use crate::path::AppId;
use crate::version::Version;

/// One task of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Task id.
    pub id: TaskId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// Hostname of its agent.
    pub host: String,
    /// Id of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
    /// Host ports in the order of the definitions.
    pub ports: Vec<u16>,
    /// Service ports of the app.
    pub service_ports: Vec<u16>,
    /// Addresses of the container or host.
    pub ip_addresses: Vec<IpAddress>,
    /// Mesos state.
    #[serde(serialize_with = "task_state")]
    pub state: TaskState,
    /// When it was handed to Mesos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<Version>,
    /// When it got running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Version>,
    /// Version of the app it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// One entry per health check that has reported.
    pub health_check_results: Vec<Health>,
    /// Result of the general check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_result: Option<CheckResult>,
    /// Local volumes; none in this release.
    pub local_volumes: Vec<LocalVolume>,
    /// Region of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Zone of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Role whose resources it uses.
    #[serde(serialize_with = "number::display")]
    pub role: tepui_types::Role,
}

fn task_state<S: Serializer>(state: &TaskState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(state)
}

/// One address of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IpAddress {
    /// The address.
    pub ip_address: String,
    /// `IPv4` or `IPv6`.
    pub protocol: crate::health::IpProtocol,
}

/// A persistent volume of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalVolume {
    /// The app.
    pub run_spec_id: AppId,
    /// Where the task sees it.
    pub container_path: String,
    /// Its uuid.
    pub uuid: String,
    /// `app#path#uuid`.
    pub persistence_id: String,
}

/// What one health check says of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Last verdict.
    pub alive: bool,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// The instance probed.
    pub instance_id: InstanceId,
    /// First success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_success: Option<Version>,
    /// Last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Version>,
    /// Last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Version>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_cause: Option<String>,
}

/// Result of a general check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CheckResult {
    /// HTTP check.
    Http {
        /// Status of the answer.
        status_code: u32,
    },
    /// TCP check.
    Tcp {
        /// Whether the connection was made.
        succeeded: bool,
    },
    /// Command check.
    Command {
        /// Exit status.
        exit_code: i32,
    },
}

/// The most recent failure of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// The app.
    pub app_id: AppId,
    /// Hostname of the agent.
    pub host: String,
    /// What Mesos or a health check said.
    pub message: String,
    /// Final Mesos state.
    #[serde(serialize_with = "task_state")]
    pub state: TaskState,
    /// The task.
    pub task_id: TaskId,
    /// When.
    pub timestamp: Version,
    /// Version of the app it ran.
    pub version: Version,
    /// Id of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
}

/// How many tasks of an app are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskCounts {
    /// Staging or starting.
    pub tasks_staged: u32,
    /// Running.
    pub tasks_running: u32,
    /// Running, and every health check passes.
    pub tasks_healthy: u32,
    /// Running, and at least one health check fails and none is pending.
    pub tasks_unhealthy: u32,
}

/// Statistics by version (`embed=taskStats`); groups without tasks are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatsByVersion {
    /// Tasks started after the last scaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_after_last_scaling: Option<TaskStats>,
    /// Tasks with the latest configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_latest_config: Option<TaskStats>,
    /// Tasks with an older configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with_outdated_config: Option<TaskStats>,
    /// All tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_summary: Option<TaskStats>,
}

/// Counts and ages of some tasks of an app.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TaskStats {
    /// How many are in which state.
    pub counts: TaskCounts,
    /// Ages of those that started.
    pub life_time: Option<LifeTime>,
}

/// Ages of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LifeTime {
    /// Mean age.
    pub average_seconds: f64,
    /// Median age.
    pub median_seconds: f64,
}

impl Serialize for TaskStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Counts {
            staged: u32,
            running: u32,
            healthy: u32,
            unhealthy: u32,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Stats {
            counts: Counts,
            #[serde(skip_serializing_if = "Option::is_none")]
            life_time: Option<LifeTime>,
        }
        let counts = Counts {
            staged: self.counts.tasks_staged,
            running: self.counts.tasks_running,
            healthy: self.counts.tasks_healthy,
            unhealthy: self.counts.tasks_unhealthy,
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("stats", &Stats { counts, life_time: self.life_time })?;
        map.end()
    }
}

/// A reference to a running deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeploymentRef {
    /// Its id.
    #[serde(serialize_with = "number::display")]
    pub id: tepui_types::Uuid,
}

/// An app with everything that was asked to be embedded (`marathon-api.md` section 2, AppInfo).
/// Parts that are `None` are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct AppInfo {
    /// The definition.
    pub app: std::sync::Arc<App>,
    /// Task counts.
    pub counts: Option<TaskCounts>,
    /// Running deployments that touch the app.
    pub deployments: Option<Vec<DeploymentRef>>,
    /// Its tasks.
    pub tasks: Option<Vec<Task>>,
    /// Its most recent failure.
    pub last_task_failure: Option<TaskFailure>,
    /// Results of readiness checks.
    pub readiness_check_results: Option<Vec<crate::deployment::ReadinessCheckResult>>,
    /// Statistics.
    pub task_stats: Option<TaskStatsByVersion>,
}

impl AppInfo {
    /// Just the definition.
    #[must_use]
    pub fn new(app: std::sync::Arc<App>) -> Self {
        Self {
            app,
            counts: None,
            deployments: None,
            tasks: None,
            last_task_failure: None,
            readiness_check_results: None,
            task_stats: None,
        }
    }
}

impl Serialize for AppInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.app.write_entries(&mut map)?;
        if let Some(counts) = &self.counts {
            map.serialize_entry("tasksStaged", &counts.tasks_staged)?;
            map.serialize_entry("tasksRunning", &counts.tasks_running)?;
            map.serialize_entry("tasksHealthy", &counts.tasks_healthy)?;
            map.serialize_entry("tasksUnhealthy", &counts.tasks_unhealthy)?;
        }
        if let Some(deployments) = &self.deployments {
            map.serialize_entry("deployments", deployments)?;
        }
        if let Some(results) = &self.readiness_check_results {
            map.serialize_entry("readinessCheckResults", results)?;
        }
        if let Some(tasks) = &self.tasks {
            map.serialize_entry("tasks", tasks)?;
        }
        if let Some(failure) = &self.last_task_failure {
            map.serialize_entry("lastTaskFailure", failure)?;
        }
        if let Some(stats) = &self.task_stats {
            map.serialize_entry("taskStats", stats)?;
        }
        map.end()
    }
}
