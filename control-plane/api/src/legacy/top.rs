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
pub(super) struct State {
    version: &'static str,
    git_tag: Option<String>,
    build_date: Option<String>,
    build_time: f64,
    build_user: Option<String>,
    start_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elected_time: Option<f64>,
    id: String,
    pid: String,
    hostname: String,
    capabilities: [&'static str; 1],
    activated_slaves: usize,
    deactivated_slaves: usize,
    unreachable_slaves: usize,
    leader: String,
    leader_info: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    flags: BTreeMap<String, String>,
    slaves: Vec<AgentView>,
    recovered_slaves: Vec<Json>,
    frameworks: Vec<FrameworkView>,
    completed_frameworks: Vec<FrameworkView>,
    orphan_tasks: [(); 0],
    unregistered_frameworks: [(); 0],
}

impl State {
    pub(super) fn of(cluster: &Cluster, facts: &Facts) -> Self {
        let leader = cluster.leader();
        let pid = leader.pid().to_owned();
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
            id: leader.id.clone(),
            pid: pid.clone(),
            hostname: facts.hostname.clone(),
            capabilities: ["AGENT_UPDATE"],
            activated_slaves: active,
            deactivated_slaves: cluster.agents().len() - active,
            unreachable_slaves: cluster.unreachable_agents().len(),
            leader: pid.clone(),
            leader_info: json!({
                "id": leader.id,
                "pid": pid,
                "port": leader.port,
                "hostname": facts.hostname,
            }),
            cluster: facts.cluster.clone(),
            flags: facts.flags.iter().cloned().collect(),
            slaves: cluster.agents().map(AgentView::of).collect(),
            recovered_slaves: cluster.recovered_agents().map(agent::recovered).collect(),
            frameworks: all.frameworks,
            completed_frameworks: all.completed_frameworks,
            orphan_tasks: [],
            unregistered_frameworks: [],
        }
    }
}
