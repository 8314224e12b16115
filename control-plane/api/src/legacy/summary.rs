//! `GET /state-summary` and `GET /roles`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Value as Json, json};
use tepui_cluster::Cluster;
use tepui_cluster::state::{Framework, Task};
use tepui_types::{AgentId, FrameworkId, Resources, Role, TaskState, Value};

use super::agent::AgentView;
use super::amounts::resources;
use super::framework::Holdings;
use super::text;
use crate::plane::Facts;

/// States that a summary counts, in its order.
const COUNTED: [TaskState; 10] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Killed,
    TaskState::Failed,
    TaskState::Lost,
    TaskState::Error,
    TaskState::Unreachable,
];

/// Tasks by state.
#[derive(Clone, Debug, Default)]
struct Counts(BTreeMap<TaskState, u64>);

impl Counts {
    fn add(&mut self, state: TaskState) {
        *self.0.entry(state).or_default() += 1;
    }

    fn fields(&self) -> BTreeMap<&'static str, u64> {
        COUNTED
            .iter()
            .map(|state| (state.wire_name(), self.0.get(state).copied().unwrap_or(0)))
            .collect()
    }
}

#[derive(Clone, Debug, Serialize)]
struct AgentSummary<'a> {
    #[serde(flatten)]
    agent: AgentView<'a>,
    #[serde(flatten)]
    tasks: BTreeMap<&'static str, u64>,
    framework_ids: BTreeSet<&'a str>,
}

/// The answer of `GET /state-summary`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary<'a> {
    hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    slaves: Vec<AgentSummary<'a>>,
    frameworks: Vec<Json>,
}

/// Every task of a framework that is remembered, with the state to count it under.
fn all_tasks(framework: &Framework) -> impl Iterator<Item = (&Task, TaskState)> {
    let known = framework.tasks.values().chain(&framework.completed).map(|t| (&**t, t.state));
    known.chain(framework.unreachable.values().map(|task| (&**task, TaskState::Unreachable)))
}

impl<'a> Summary<'a> {
    pub(super) fn of(
        cluster: &'a Cluster,
        facts: &'a Facts,
        capabilities: &'a [&'static str],
    ) -> Self {
        let mut by_agent: HashMap<&AgentId, (Counts, BTreeSet<&str>)> = HashMap::new();
        let mut by_framework: HashMap<&FrameworkId, (Counts, BTreeSet<&str>)> = HashMap::new();
        for framework in cluster.frameworks() {
            let (counts, agents) = by_framework.entry(&framework.id).or_default();
            for (task, state) in all_tasks(framework) {
                counts.add(state);
                agents.insert(task.agent.as_str());
                let (counts, frameworks) = by_agent.entry(&task.agent).or_default();
                counts.add(state);
                frameworks.insert(framework.id.as_str());
            }
        }
        let slaves = cluster
            .agents()
            .map(|agent| {
                let (counts, framework_ids) = by_agent.remove(&agent.id).unwrap_or_default();
                let tasks = counts.fields();
                AgentSummary {
                    agent: AgentView::of(cluster, agent, capabilities),
                    tasks,
                    framework_ids,
                }
            })
            .collect();
        let holdings = Holdings::of(cluster);
        let frameworks = cluster
            .frameworks()
            .map(|framework| {
                let (counts, agents) = by_framework.remove(&framework.id).unwrap_or_default();
                summary(framework, &holdings, &counts, &agents)
            })
            .collect();
        Self { hostname: &facts.hostname, cluster: facts.cluster.as_deref(), slaves, frameworks }
    }
}

fn summary(
    framework: &Framework,
    holdings: &Holdings<'_>,
    counts: &Counts,
    agents: &BTreeSet<&str>,
) -> Json {
    let info = &framework.info;
    let sums = holdings.sums(&framework.id);
    let mut view = json!({
        "id": framework.id.as_str(),
        "name": info.name,
        "used_resources": resources(&sums.used),
        "offered_resources": resources(&sums.offered),
        "capabilities":
            info.capabilities.iter().map(|c| c.r#type().as_str_name()).collect::<Vec<_>>(),
        "hostname": info.hostname(),
        "webui_url": info.webui_url(),
        "active": framework.is_connected(),
        "connected": framework.is_connected(),
        "recovered": framework.is_recovered(),
        "slave_ids": agents,
    });
    for (name, count) in counts.fields() {
        view[name] = count.into();
    }
    view
}

/// The rows of `GET /roles`.
pub(super) fn roles(cluster: &Cluster) -> Vec<Json> {
    let mut reserved: BTreeMap<&Role, Resources> = BTreeMap::new();
    for resource in cluster.agents().flat_map(|agent| &agent.total) {
        // Ports of different hosts do not add up.
        if let (Some(role), Value::Scalar(_)) = (resource.identity.reserved_to(), &resource.value) {
            reserved.entry(role).or_default().add(resource);
        }
    }
    cluster
        .roles()
        .into_iter()
        .map(|(role, view)| {
            let held = view.sums.used.plus(&view.sums.offered);
            let frameworks: Vec<&str> = view.frameworks.iter().map(FrameworkId::as_str).collect();
            json!({
                "name": role.as_str(),
                "weight": text::thousandths(view.weight),
                "quota": { "role": role.as_str(), "guarantee": {}, "limit": {}, "consumed": {} },
                "resources": resources(&held),
                "allocated": resources(&view.sums.used),
                "offered": resources(&view.sums.offered),
                "reserved": reserved.get(&role).map_or_else(|| json!({}), |r| json!(resources(r))),
                "frameworks": frameworks,
            })
        })
        .collect()
}
