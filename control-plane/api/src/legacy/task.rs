//! `task` and `status` objects, and `GET /tasks`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use tepui_cluster::Cluster;
use tepui_cluster::state::{Framework, Task};
use tepui_cluster::told::Told;
use tepui_wire::v1;

use super::amounts::{Shown, resources};
use super::container::ContainerView;
use super::{text, usual};
use crate::answer::ApiError;
use crate::draft::write_json;

/// Tasks that one answer of `GET /tasks` holds unless asked otherwise.
const DEFAULT_LIMIT: usize = 100;

/// A task (`spec/mesos-http.md` 4.3).
#[derive(Clone, Debug, Serialize)]
pub(super) struct TaskView<'a> {
    id: &'a str,
    name: &'a str,
    framework_id: &'a str,
    executor_id: &'a str,
    slave_id: &'a str,
    state: &'static str,
    resources: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Json>,
    role: &'a str,
    statuses: Vec<StatusView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<Box<RawValue>>,
}

impl<'a> TaskView<'a> {
    pub(super) fn of(task: &'a Task) -> Self {
        let details = task.details.as_deref();
        let limits = details.map(|d| &d.limits).filter(|limits| !limits.is_empty());
        Self {
            id: task.id.as_str(),
            name: &task.name,
            framework_id: task.framework.as_str(),
            executor_id: task.executor.as_ref().map_or("", |id| id.as_str()),
            slave_id: task.agent.as_str(),
            state: task.state.wire_name(),
            resources: resources(&task.resources),
            limits: limits.map(|limits| {
                Json::Object(limits.iter().map(|(n, v)| (n.clone(), json!(v.value))).collect())
            }),
            role: task.role.as_str(),
            statuses: task.statuses.iter().map(StatusView::of).collect(),
            user: details.and_then(|d| d.user.as_deref()),
            labels: details.and_then(|d| d.labels.as_ref()).map(text::labels),
            discovery: details.and_then(|d| d.discovery.as_ref()).map(text::message),
            container: details.and_then(|d| d.container.as_deref()).map(text::message),
            health_check: details.and_then(|d| d.health_check.as_deref()).map(text::message),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct StatusView<'a> {
    state: &'static str,
    timestamp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_status: Option<ContainerView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
}

impl<'a> StatusView<'a> {
    fn of(status: &'a Told) -> Self {
        Self {
            state: state_of(status),
            timestamp: status.timestamp().unwrap_or_default(),
            labels: status.labels().map(text::labels),
            container_status: status.container().map(ContainerView::of),
            healthy: status.healthy(),
        }
    }
}

/// Appends a task.
pub(super) fn write_task(text: &mut Vec<u8>, task: &Task) {
    if !usual::write(text, task) {
        write_json(text, &TaskView::of(task));
    }
}

/// A status's state, as the wire reads a number that is no state.
pub(super) fn state_of(status: &Told) -> &'static str {
    v1::TaskState::try_from(status.state()).unwrap_or_default().as_str_name()
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
    pub(super) fn select<'a>(&self, cluster: &'a Cluster) -> Vec<TaskView<'a>> {
        let wanted = |framework: &&Framework| {
            self.framework_id.as_deref().is_none_or(|id| framework.id.as_str() == id)
        };
        let mut tasks: Vec<&Task> = cluster
            .frameworks()
            .chain(cluster.completed_frameworks())
            .filter(wanted)
            .flat_map(|f| f.tasks.values().chain(f.unreachable.values()).chain(&f.completed))
            .map(AsRef::as_ref)
            .filter(|task| self.task_id.as_deref().is_none_or(|id| task.id.as_str() == id))
            .collect();
        let first = |task: &Task| task.statuses.first().and_then(Told::timestamp).unwrap_or(0.0);
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
