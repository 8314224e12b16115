//! `framework`, `offer` and `executor` objects, and `GET /frameworks`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use tepui_cluster::state::{Executor, Framework, Offer};
use tepui_cluster::{Cluster, Sums};
use tepui_types::{AgentId, FrameworkId};
use tepui_wire::v1;

use super::amounts::{Owned, Shown, resources};
use super::task::write_task;
use super::text;
use crate::draft::Draft;

/// A framework (`spec/mesos-http.md` 4.3), up to its tasks.
#[derive(Clone, Debug, Serialize)]
struct FrameworkView<'a> {
    id: &'a str,
    name: &'a str,
    used_resources: Owned,
    offered_resources: Owned,
    capabilities: Vec<&'static str>,
    hostname: &'a str,
    webui_url: &'a str,
    active: bool,
    connected: bool,
    recovered: bool,
    user: &'a str,
    failover_timeout: f64,
    checkpoint: bool,
    registered_time: f64,
    unregistered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    resources: Owned,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'a str>>,
}

/// A framework from its tasks on.
#[derive(Clone, Debug, Serialize)]
struct RestView<'a> {
    offers: Vec<OfferView<'a>>,
    executors: Vec<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Json>,
    offer_constraints: Box<RawValue>,
}

/// Everything that frameworks hold, looked up once for all of them.
pub(super) struct Holdings<'a> {
    cluster: &'a Cluster,
    sums: BTreeMap<FrameworkId, Sums>,
    executors: BTreeMap<FrameworkId, Vec<(&'a AgentId, &'a Executor)>>,
}

impl<'a> Holdings<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        let mut executors: BTreeMap<FrameworkId, Vec<_>> = BTreeMap::new();
        for (agent, framework, executor) in cluster.executors() {
            executors.entry(framework.clone()).or_default().push((&agent.id, executor));
        }
        Self { cluster, sums: cluster.sums_by_framework(), executors }
    }

    pub(super) fn sums(&self, framework: &FrameworkId) -> Sums {
        self.sums.get(framework).cloned().unwrap_or_default()
    }
}

impl<'a> FrameworkView<'a> {
    fn of(framework: &'a Framework, holdings: &Holdings<'_>) -> Self {
        let info = &framework.info;
        let sums = holdings.sums(&framework.id);
        let multi_role = framework.abilities.multi_role;
        Self {
            id: framework.id.as_str(),
            name: &info.name,
            resources: Owned(sums.used.plus(&sums.offered)),
            used_resources: Owned(sums.used),
            offered_resources: Owned(sums.offered),
            capabilities: info.capabilities.iter().map(|c| c.r#type().as_str_name()).collect(),
            hostname: info.hostname(),
            webui_url: info.webui_url(),
            active: framework.is_connected(),
            connected: framework.is_connected(),
            recovered: framework.is_recovered(),
            user: &info.user,
            failover_timeout: info.failover_timeout(),
            checkpoint: info.checkpoint(),
            registered_time: framework.registered.as_secs_f64(),
            unregistered_time: framework.unregistered.map_or(0.0, |at| at.as_secs_f64()),
            principal: info.principal.as_deref(),
            reregistered_time: framework
                .reregistered
                .filter(|at| *at != framework.registered)
                .map(|at| at.as_secs_f64()),
            role: (!multi_role).then(|| framework.roles.first().map_or("*", |role| role.as_str())),
            roles: multi_role.then(|| framework.roles.iter().map(|role| role.as_str()).collect()),
        }
    }
}

impl<'a> RestView<'a> {
    fn of(framework: &'a Framework, holdings: &Holdings<'a>) -> Self {
        let info = &framework.info;
        let offers = framework
            .offers
            .iter()
            .filter_map(|number| holdings.cluster.offer(*number))
            .map(OfferView::of)
            .collect();
        let executors = holdings.executors.get(&framework.id).into_iter().flatten();
        Self {
            offers,
            executors: executors
                .map(|(agent, executor)| show(agent, framework, executor))
                .collect(),
            labels: info.labels.as_ref().map(text::labels),
            offer_constraints: framework
                .offer_constraints
                .as_ref()
                .map_or_else(text::nothing, text::message),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct OfferView<'a> {
    id: &'a str,
    framework_id: &'a str,
    allocation_info: Allocation<'a>,
    slave_id: &'a str,
    resources: Shown<'a>,
}

#[derive(Clone, Debug, Serialize)]
struct Allocation<'a> {
    role: &'a str,
}

impl<'a> OfferView<'a> {
    fn of(offer: &'a Offer) -> Self {
        Self {
            id: offer.id.as_str(),
            framework_id: offer.framework.as_str(),
            allocation_info: Allocation { role: offer.role.as_str() },
            slave_id: offer.agent.as_str(),
            resources: resources(&offer.resources),
        }
    }
}

fn show(agent: &AgentId, framework: &Framework, executor: &Executor) -> Json {
    let info = &executor.info;
    let mut view = json!({
        "executor_id": executor.id.as_str(),
        "name": info.name(),
        "framework_id": framework.id.as_str(),
        "command": info.command.as_ref().map_or_else(|| json!({}), command),
        "resources": resources(&executor.resources),
        "role": executor.role.as_str(),
        "slave_id": agent.as_str(),
    });
    if let Some(labels) = &info.labels {
        view["labels"] = text::labels(labels);
    }
    if info.r#type.is_some() {
        view["type"] = info.r#type().as_str_name().into();
    }
    view
}

/// A command (`spec/mesos-http.md` 4.3, "executor").
fn command(command: &v1::CommandInfo) -> Json {
    let mut command = command.clone();
    tepui_wire::secrets::redact_command(&mut command);
    let uris: Vec<Json> = command
        .uris
        .iter()
        .map(|uri| json!({ "value": uri.value, "executable": uri.executable() }))
        .collect();
    let mut view = json!({
        "shell": command.shell(),
        "argv": command.arguments,
        "uris": uris,
    });
    if let Some(value) = &command.value {
        view["value"] = value.as_str().into();
    }
    if let Some(environment) = &command.environment {
        view["environment"] = json!(text::message(environment));
    }
    view
}

fn write(draft: &mut Draft, framework: &Framework, holdings: &Holdings<'_>) {
    draft.open(&FrameworkView::of(framework, holdings));
    draft.raw(r#","tasks":"#);
    draft.tasks(framework.tasks.values());
    draft.raw(r#","unreachable_tasks":"#);
    draft.tasks(framework.unreachable.values());
    draft.raw(r#","completed_tasks":"#);
    draft.tasks(framework.completed.iter());
    draft.more(&RestView::of(framework, holdings));
    draft.raw("}");
}

fn write_all<'a>(
    draft: &mut Draft,
    all: impl Iterator<Item = &'a Framework>,
    holdings: &Holdings<'_>,
) {
    draft.raw("[");
    for (position, framework) in all.enumerate() {
        if position > 0 {
            draft.raw(",");
        }
        write(draft, framework, holdings);
    }
    draft.raw("]");
}

/// Two fields: the frameworks, and the removed ones; all of them, or the wanted one.
pub(super) fn write_both(draft: &mut Draft, cluster: &Cluster, wanted: Option<&str>) {
    let holdings = Holdings::of(cluster);
    let matches = |framework: &&Framework| wanted.is_none_or(|id| framework.id.as_str() == id);
    draft.raw(r#""frameworks":"#);
    write_all(draft, cluster.frameworks().filter(matches), &holdings);
    draft.raw(r#","completed_frameworks":"#);
    write_all(draft, cluster.completed_frameworks().filter(matches), &holdings);
}

/// The answer of `GET /frameworks`.
pub(super) fn draft(cluster: &Cluster, wanted: Option<&str>) -> Draft {
    let mut draft = Draft::new(write_task);
    draft.raw("{");
    write_both(&mut draft, cluster, wanted);
    draft.raw(r#","unregistered_frameworks":[]}"#);
    draft
}
