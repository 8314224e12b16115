//! `GET /state`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};
use tepui_cluster::Cluster;

use super::agent::{self, AgentView};
use super::framework::{FrameworkView, Frameworks};
use crate::plane::Facts;
use crate::version;

/// Everything (`spec/mesos-http.md` 4.3).
#[derive(Clone, Debug, Serialize)]
pub(super) struct State<'a> {
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
    frameworks: Vec<FrameworkView<'a>>,
    completed_frameworks: Vec<FrameworkView<'a>>,
    orphan_tasks: [(); 0],
    unregistered_frameworks: [(); 0],
}

impl<'a> State<'a> {
    pub(super) fn of(
        cluster: &'a Cluster,
        facts: &'a Facts,
        capabilities: &'a [&'static str],
    ) -> Self {
        let leader = cluster.leader();
        let pid = leader.pid();
        let build = version::info();
        let active = cluster.agents().filter(|agent| agent.is_active()).count();
        let all = Frameworks::of(cluster, None);
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
            slaves: cluster.agents().map(|agent| AgentView::of(agent, capabilities)).collect(),
            recovered_slaves: cluster.recovered_agents().map(agent::recovered).collect(),
            frameworks: all.frameworks,
            completed_frameworks: all.completed_frameworks,
            orphan_tasks: [],
            unregistered_frameworks: [],
        }
    }
}
