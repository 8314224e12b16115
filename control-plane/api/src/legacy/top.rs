//! `GET /state`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};
use tepui_cluster::Cluster;
use tepui_wire::version;

use super::agent::{self, AgentView};
use super::framework::write_both;
use super::task::write_task;
use crate::draft::Draft;
use crate::plane::Facts;

/// Everything (`spec/mesos-http.md` 4.3), up to the frameworks.
#[derive(Clone, Debug, Serialize)]
struct State<'a> {
    version: &'static str,
    git_tag: Option<String>,
    build_date: Option<String>,
    build_time: f64,
    build_user: Option<String>,
    start_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elected_time: Option<f64>,
    id: &'a str,
    pid: &'a str,
    hostname: &'a str,
    capabilities: [&'static str; 1],
    activated_slaves: usize,
    deactivated_slaves: usize,
    unreachable_slaves: usize,
    leader: &'a str,
    leader_info: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    flags: BTreeMap<&'a str, &'a str>,
    slaves: Vec<AgentView<'a>>,
    recovered_slaves: Vec<Json>,
}

/// The answer of `GET /state`.
pub(super) fn draft(cluster: &Cluster, facts: &Facts) -> Draft {
    let mut draft = Draft::new(write_task);
    draft.open(&State::of(cluster, facts, &agent::capabilities()));
    draft.raw(",");
    write_both(&mut draft, cluster, None);
    draft.raw(r#","orphan_tasks":[],"unregistered_frameworks":[]}"#);
    draft
}

impl<'a> State<'a> {
    fn of(cluster: &'a Cluster, facts: &'a Facts, capabilities: &'a [&'static str]) -> Self {
        let leader = cluster.leader();
        let pid = leader.pid();
        let build = version::info();
        let active = cluster.agents().filter(|agent| agent.is_active()).count();
        Self {
            version: version::MESOS_VERSION,
            git_tag: build.git_tag,
            build_date: build.build_date,
            build_time: build.build_time.unwrap_or_default(),
            build_user: build.build_user,
            start_time: facts.started.wall.as_secs_f64(),
            elected_time: cluster.elected().map(|now| now.wall.as_secs_f64()),
            id: &leader.id,
            pid,
            hostname: &facts.hostname,
            capabilities: ["AGENT_UPDATE"],
            activated_slaves: active,
            deactivated_slaves: cluster.agents().len() - active,
            unreachable_slaves: cluster.unreachable_agents().len(),
            leader: pid,
            leader_info: json!({
                "id": leader.id,
                "pid": pid,
                "port": leader.port,
                "hostname": facts.hostname,
            }),
            cluster: facts.cluster.as_deref(),
            flags: facts.flags.iter().map(|(name, value)| (&**name, &**value)).collect(),
            slaves: cluster
                .agents()
                .map(|agent| AgentView::of(cluster, agent, capabilities))
                .collect(),
            recovered_slaves: cluster.recovered_agents().map(agent::recovered).collect(),
        }
    }
}
