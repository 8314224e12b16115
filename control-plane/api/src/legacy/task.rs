//! `task` and `status` objects, and `GET /tasks`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tepui_cluster::Cluster;
use tepui_cluster::state::{Framework, Task};
use tepui_wire::v1;

use super::text;
use crate::answer::ApiError;

/// Tasks that one answer of `GET /tasks` holds unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

/// A task (`spec/mesos-http.md` 4.3).
#[derive(Clone, Debug, Serialize)]
pub(super) struct TaskView {
    id: String,
    name: String,
    framework_id: String,
    executor_id: String,
    slave_id: String,
    state: &'static str,
    resources: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Json>,
    role: String,
    statuses: Vec<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<Json>,
}

impl TaskView {
    pub(super) fn of(task: &Task) -> Self {
        let details = task.details.as_deref();
        let limits = details.map(|d| &d.limits).filter(|limits| !limits.is_empty());
        Self {
            id: task.id.to_string(),
            name: task.name.clone(),
            framework_id: task.framework.to_string(),
            executor_id: task.executor.as_ref().map(ToString::to_string).unwrap_or_default(),
            slave_id: task.agent.to_string(),
            state: task.state.wire_name(),
            resources: text::resources(&task.resources),
            limits: limits.map(|limits| {
                Json::Object(limits.iter().map(|(n, v)| (n.clone(), json!(v.value))).collect())
            }),
            role: task.role.to_string(),
            statuses: task.statuses.iter().map(status).collect(),
            user: details.and_then(|d| d.user.clone()),
            labels: details.and_then(|d| d.labels.as_ref()).map(text::labels),
            discovery: details.and_then(|d| d.discovery.as_ref()).map(text::message),
            container: details.and_then(|d| d.container.as_ref()).map(text::message),
            health_check: details.and_then(|d| d.health_check.as_ref()).map(text::message),
        }
    }
}

fn status(status: &v1::TaskStatus) -> Json {
    let mut view = serde_json::Map::new();
    view.insert("state".into(), status.state().as_str_name().into());
    view.insert("timestamp".into(), json!(status.timestamp.unwrap_or_default()));
    if let Some(labels) = &status.labels {
        view.insert("labels".into(), text::labels(labels));
    }
    if let Some(container) = &status.container_status {
        view.insert("container_status".into(), text::message(container));
    }
    if let Some(healthy) = status.healthy {
        view.insert("healthy".into(), healthy.into());
    }
    Json::Object(view)
}

/// What `GET /tasks` is asked for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Filter {
    framework_id: Option<String>,
    task_id: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
    order: Option<String>,
    pub(super) jsonp: Option<String>,
}

impl Filter {
    /// Refuses an order that is none.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        match self.order.as_deref() {
            None | Some("asc" | "des") => Ok(()),
            Some(other) => {
                Err(ApiError::bad_request(format!("'order' is '{other}', expecting asc or des")))
            }
        }
    }

    /// The tasks asked for, of active and removed frameworks, with unreachable and ended ones.
    pub(super) fn select(&self, cluster: &Cluster) -> Vec<TaskView> {
        let wanted = |framework: &&Framework| {
            self.framework_id.as_deref().is_none_or(|id| framework.id.as_str() == id)
        };
        let mut tasks: Vec<&Task> = cluster
            .frameworks()
            .chain(cluster.completed_frameworks())
            .filter(wanted)
            .flat_map(|f| f.tasks.values().chain(f.unreachable.values()).chain(&f.completed))
            .filter(|task| self.task_id.as_deref().is_none_or(|id| task.id.as_str() == id))
            .collect();
        let first = |task: &Task| task.statuses.first().and_then(|s| s.timestamp).unwrap_or(0.0);
        tasks.sort_by(|a, b| first(a).partial_cmp(&first(b)).unwrap_or(Ordering::Equal));
        if self.order.as_deref() != Some("asc") {
            tasks.reverse();
        }
        tasks
            .into_iter()
            .skip(self.offset.unwrap_or(0))
            .take(self.limit.unwrap_or(DEFAULT_LIMIT))
            .map(TaskView::of)
            .collect()
    }
}
