//! `slave` objects, and `GET /slaves`.

use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use tepui_cluster::Cluster;
use tepui_cluster::state::{Agent, RecoveredAgent};
use tepui_types::{AgentId, Resources};
use tepui_wire::resources::{self, Format};

use super::text;
use crate::version::MESOS_VERSION;

/// A registered agent (`spec/mesos-http.md` 4.3).
#[derive(Clone, Debug, Serialize)]
pub(super) struct AgentView {
    id: String,
    hostname: String,
    port: i32,
    attributes: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<Json>,
    pid: String,
    registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    resources: Json,
    used_resources: Json,
    offered_resources: Json,
    reserved_resources: Json,
    unreserved_resources: Json,
    active: bool,
    deactivated: bool,
    version: String,
    capabilities: Vec<&'static str>,
}

impl AgentView {
    pub(super) fn of(agent: &Agent) -> Self {
        let (hostname, port) = agent.address();
        Self {
            id: agent.id.to_string(),
            hostname: hostname.to_owned(),
            port,
            attributes: text::attributes(&agent.info.attributes),
            domain: agent.info.domain.as_ref().map(text::message),
            pid: format!("slave(1)@{hostname}:{port}"),
            registered_time: agent.registered.as_secs_f64(),
            reregistered_time: agent.reregistered.map(|at| at.as_secs_f64()),
            resources: text::resources(&agent.total),
            used_resources: text::resources(&agent.used),
            offered_resources: text::resources(&agent.offered),
            reserved_resources: text::reserved(&agent.total),
            unreserved_resources: text::unreserved(&agent.total),
            active: agent.is_active(),
            deactivated: agent.deactivated,
            // Clients compare it with Mesos's releases.
            version: MESOS_VERSION.to_owned(),
            capabilities: tepui_cluster::agent_capabilities()
                .iter()
                .map(|capability| capability.r#type().as_str_name())
                .collect(),
        }
    }
}

/// An agent of the registry that has not come back yet.
pub(super) fn recovered((id, agent): (&AgentId, &RecoveredAgent)) -> Json {
    let mut view = json!({
        "id": id.as_str(),
        "hostname": agent.info.hostname,
        "port": agent.info.port(),
        "attributes": text::attributes(&agent.info.attributes),
    });
    if let Some(domain) = &agent.info.domain {
        view["domain"] = text::message(domain);
    }
    view
}

/// A registered agent with its resources in full.
#[derive(Clone, Debug, Serialize)]
struct FullAgentView {
    #[serde(flatten)]
    agent: AgentView,
    reserved_resources_full: Json,
    unreserved_resources_full: Json,
    used_resources_full: Json,
    offered_resources_full: Json,
}

fn full(bundle: &Resources) -> Json {
    let wire = resources::encode(bundle, Format::Endpoint, None);
    Json::Array(wire.iter().map(text::message).collect())
}

fn reserved_full(bundle: &Resources) -> Json {
    let mut by_role: Map<String, Json> = Map::new();
    for resource in bundle {
        let Some(role) = resource.identity.reserved_to() else { continue };
        let of_role = bundle.filter(|other| other.identity.reserved_to() == Some(role));
        by_role.entry(role.to_string()).or_insert_with(|| full(&of_role));
    }
    Json::Object(by_role)
}

/// The answer of `GET /slaves`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Agents {
    slaves: Vec<FullAgentView>,
    recovered_slaves: Vec<Json>,
}

impl Agents {
    pub(super) fn of(cluster: &Cluster, wanted: Option<&str>) -> Self {
        let matches = |id: &AgentId| wanted.is_none_or(|wanted| id.as_str() == wanted);
        let slaves = cluster
            .agents()
            .filter(|agent| matches(&agent.id))
            .map(|agent| FullAgentView {
                agent: AgentView::of(agent),
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
