//! `slave` objects, and `GET /slaves`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use tepui_cluster::Cluster;
use tepui_cluster::state::{Agent, RecoveredAgent};
use tepui_types::{AgentId, Resources};
use tepui_wire::resources::{Format, encode};

use super::amounts::{Reserved, Shown, resources, unreserved};
use super::text::{self, AttributesView};
use tepui_wire::version::MESOS_VERSION;

/// A registered agent (`spec/mesos-http.md` 4.3).
#[derive(Clone, Debug, Serialize)]
pub(super) struct AgentView<'a> {
    id: &'a str,
    hostname: &'a str,
    port: i32,
    attributes: AttributesView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<Box<RawValue>>,
    pid: String,
    registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    resources: Shown<'a>,
    used_resources: Shown<'a>,
    offered_resources: Shown<'a>,
    reserved_resources: Reserved<'a>,
    unreserved_resources: Shown<'a>,
    active: bool,
    deactivated: bool,
    version: &'static str,
    capabilities: &'a [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_info: Option<Box<RawValue>>,
}

/// Names of what every agent can do.
pub(super) fn capabilities() -> Vec<&'static str> {
    let all = tepui_cluster::agent_capabilities();
    all.iter().map(|capability| capability.r#type().as_str_name()).collect()
}

impl<'a> AgentView<'a> {
    /// An agent; all have the same capabilities.
    pub(super) fn of(
        cluster: &Cluster,
        agent: &'a Agent,
        capabilities: &'a [&'static str],
    ) -> Self {
        let (hostname, port) = agent.address();
        Self {
            id: agent.id.as_str(),
            hostname,
            port,
            attributes: AttributesView(&agent.info.attributes),
            domain: agent.info.domain.as_ref().map(text::message),
            pid: format!("slave(1)@{hostname}:{port}"),
            registered_time: agent.registered.as_secs_f64(),
            reregistered_time: agent.reregistered.map(|at| at.as_secs_f64()),
            resources: resources(&agent.total),
            used_resources: resources(&agent.used),
            offered_resources: resources(&agent.offered),
            reserved_resources: Reserved(&agent.total),
            unreserved_resources: unreserved(&agent.total),
            active: agent.is_active(),
            deactivated: agent.deactivated,
            // Clients compare it with Mesos's releases.
            version: MESOS_VERSION,
            capabilities,
            drain_info: cluster.drain_of(&agent.id).map(|drain| text::message(&drain.to_wire())),
        }
    }
}

/// An agent of the registry that has not come back yet.
pub(super) fn recovered((id, agent): (&AgentId, &RecoveredAgent)) -> Json {
    let mut view = json!({
        "id": id.as_str(),
        "hostname": agent.info.hostname,
        "port": agent.info.port(),
        "attributes": AttributesView(&agent.info.attributes),
    });
    if let Some(domain) = &agent.info.domain {
        view["domain"] = json!(text::message(domain));
    }
    view
}

/// A registered agent with its resources in full.
#[derive(Clone, Debug, Serialize)]
struct FullAgentView<'a> {
    #[serde(flatten)]
    agent: AgentView<'a>,
    reserved_resources_full: BTreeMap<&'a str, Vec<Box<RawValue>>>,
    unreserved_resources_full: Vec<Box<RawValue>>,
    used_resources_full: Vec<Box<RawValue>>,
    offered_resources_full: Vec<Box<RawValue>>,
}

fn full(bundle: &Resources) -> Vec<Box<RawValue>> {
    encode(bundle, Format::Endpoint, None).iter().map(text::message).collect()
}

fn reserved_full(bundle: &Resources) -> BTreeMap<&str, Vec<Box<RawValue>>> {
    let mut by_role = BTreeMap::new();
    for resource in bundle {
        let Some(role) = resource.identity.reserved_to() else { continue };
        let of_role = bundle.filter(|other| other.identity.reserved_to() == Some(role));
        by_role.entry(role.as_str()).or_insert_with(|| full(&of_role));
    }
    by_role
}

/// The answer of `GET /slaves`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Agents<'a> {
    slaves: Vec<FullAgentView<'a>>,
    recovered_slaves: Vec<Json>,
}

impl<'a> Agents<'a> {
    pub(super) fn of(
        cluster: &'a Cluster,
        wanted: Option<&str>,
        capabilities: &'a [&'static str],
    ) -> Self {
        let matches = |id: &AgentId| wanted.is_none_or(|wanted| id.as_str() == wanted);
        let slaves = cluster
            .agents()
            .filter(|agent| matches(&agent.id))
            .map(|agent| FullAgentView {
                agent: AgentView::of(cluster, agent, capabilities),
                reserved_resources_full: reserved_full(&agent.total),
                unreserved_resources_full: full(
                    &agent.total.filter(|r| r.identity.reserved_to().is_none()),
                ),
                used_resources_full: full(&agent.used),
                offered_resources_full: full(&agent.offered),
            })
            .collect();
        let recovered_slaves =
            cluster.recovered_agents().filter(|(id, _)| matches(id)).map(recovered).collect();
        Self { slaves, recovered_slaves }
    }
}
