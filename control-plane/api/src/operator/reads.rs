//! Calls that only look.

use std::collections::BTreeMap;

use tepui_cluster::state::Framework;
use tepui_cluster::{Cluster, Sums};
use tepui_types::FrameworkId;
use tepui_wire::resources::{self, Format};
use tepui_wire::v1::master::call::Type;
use tepui_wire::v1::master::response::{self, Type as Answer};
use tepui_wire::v1::{self, master::Response};
use tepui_wire::version;

use crate::plane::Facts;

/// Level 0 of Mesos's log: there is nothing below `info` that an operator can switch here.
const LOGGING_LEVEL: u32 = 0;

/// True for calls that [`look`] and its siblings answer.
pub(crate) fn is_read(kind: Type) -> bool {
    matches!(
        kind,
        Type::GetHealth
            | Type::GetFlags
            | Type::GetVersion
            | Type::GetMetrics
            | Type::GetLoggingLevel
            | Type::GetState
            | Type::GetAgents
            | Type::GetFrameworks
            | Type::GetExecutors
            | Type::GetOperations
            | Type::GetTasks
            | Type::GetRoles
            | Type::GetWeights
            | Type::GetMaster
            | Type::GetMaintenanceStatus
            | Type::GetMaintenanceSchedule
            | Type::GetQuota
    )
}

fn answer(kind: Answer) -> Response {
    Response { r#type: Some(kind.into()), ..Response::default() }
}

pub(crate) fn health() -> Response {
    Response {
        get_health: Some(response::GetHealth { healthy: true }),
        ..answer(Answer::GetHealth)
    }
}

pub(crate) fn version() -> Response {
    Response {
        get_version: Some(response::GetVersion { version_info: version::info() }),
        ..answer(Answer::GetVersion)
    }
}

pub(crate) fn flags(facts: &Facts) -> Response {
    let flags = facts
        .flags
        .iter()
        .map(|(name, value)| v1::Flag { name: name.clone(), value: Some(value.clone()) })
        .collect();
    Response { get_flags: Some(response::GetFlags { flags }), ..answer(Answer::GetFlags) }
}

pub(crate) fn logging_level() -> Response {
    Response {
        get_logging_level: Some(response::GetLoggingLevel { level: LOGGING_LEVEL }),
        ..answer(Answer::GetLoggingLevel)
    }
}

pub(crate) fn metrics(all: BTreeMap<String, f64>) -> Response {
    let metrics =
        all.into_iter().map(|(name, value)| v1::Metric { name, value: Some(value) }).collect();
    Response { get_metrics: Some(response::GetMetrics { metrics }), ..answer(Answer::GetMetrics) }
}

/// What a call that looks at the cluster is answered.
pub(crate) fn look(kind: Type, cluster: &Cluster, facts: &Facts) -> Response {
    match kind {
        Type::GetState => Response { get_state: Some(state(cluster)), ..answer(Answer::GetState) },
        Type::GetAgents => {
            Response { get_agents: Some(agents(cluster)), ..answer(Answer::GetAgents) }
        }
        Type::GetFrameworks => {
            Response { get_frameworks: Some(frameworks(cluster)), ..answer(Answer::GetFrameworks) }
        }
        Type::GetExecutors => {
            Response { get_executors: Some(executors(cluster)), ..answer(Answer::GetExecutors) }
        }
        Type::GetOperations => Response {
            get_operations: Some(response::GetOperations::default()),
            ..answer(Answer::GetOperations)
        },
        Type::GetTasks => Response { get_tasks: Some(tasks(cluster)), ..answer(Answer::GetTasks) },
        Type::GetRoles => Response { get_roles: Some(roles(cluster)), ..answer(Answer::GetRoles) },
        Type::GetWeights => {
            Response { get_weights: Some(weights(cluster)), ..answer(Answer::GetWeights) }
        }
        Type::GetMaster => {
            Response { get_master: Some(leader(cluster, facts)), ..answer(Answer::GetMaster) }
        }
        // Nothing is ever in maintenance, and no quota is ever set: the calls that would do so
        // are refused.
        Type::GetMaintenanceStatus => Response {
            get_maintenance_status: Some(response::GetMaintenanceStatus::default()),
            ..answer(Answer::GetMaintenanceStatus)
        },
        Type::GetMaintenanceSchedule => Response {
            get_maintenance_schedule: Some(response::GetMaintenanceSchedule::default()),
            ..answer(Answer::GetMaintenanceSchedule)
        },
        Type::GetQuota => {
            Response { get_quota: Some(response::GetQuota::default()), ..answer(Answer::GetQuota) }
        }
        _ => answer(Answer::Unknown),
    }
}

/// Everything, as `GET_STATE` and the first event of an event stream show it.
pub(crate) fn state(cluster: &Cluster) -> response::GetState {
    response::GetState {
        get_tasks: Some(tasks(cluster)),
        get_executors: Some(executors(cluster)),
        get_frameworks: Some(frameworks(cluster)),
        get_agents: Some(agents(cluster)),
    }
}

fn tasks(cluster: &Cluster) -> response::GetTasks {
    let all = || cluster.frameworks().chain(cluster.completed_frameworks());
    response::GetTasks {
        tasks: all().flat_map(|f| f.tasks.values()).map(|t| t.to_wire()).collect(),
        unreachable_tasks: all()
            .flat_map(|f| f.unreachable.values())
            .map(|t| t.to_wire())
            .collect(),
        completed_tasks: all().flat_map(|f| f.completed.iter()).map(|t| t.to_wire()).collect(),
        ..response::GetTasks::default()
    }
}

fn executors(cluster: &Cluster) -> response::GetExecutors {
    let executors = cluster
        .executors()
        .map(|(agent, _, executor)| {
            let mut executor_info = (*executor.info).clone();
            tepui_wire::secrets::redact_executor(&mut executor_info);
            let agent_id = v1::AgentId { value: agent.id.to_string() };
            response::get_executors::Executor { executor_info, agent_id }
        })
        .collect();
    response::GetExecutors { executors, ..response::GetExecutors::default() }
}

fn agents(cluster: &Cluster) -> response::GetAgents {
    response::GetAgents {
        agents: cluster.agents().map(|agent| cluster.agent_to_wire(agent)).collect(),
        recovered_agents: cluster.recovered_agents().map(|(_, a)| (*a.info).clone()).collect(),
    }
}

fn frameworks(cluster: &Cluster) -> response::GetFrameworks {
    let sums: BTreeMap<FrameworkId, Sums> = cluster.sums_by_framework();
    let nothing = Sums::default();
    let show = |framework: &Framework| {
        cluster.framework_to_wire(framework, sums.get(&framework.id).unwrap_or(&nothing))
    };
    response::GetFrameworks {
        frameworks: cluster.frameworks().map(show).collect(),
        completed_frameworks: cluster
            .completed_frameworks()
            .map(|framework| cluster.framework_to_wire(framework, &nothing))
            .collect(),
        ..response::GetFrameworks::default()
    }
}

fn roles(cluster: &Cluster) -> response::GetRoles {
    let roles = cluster
        .roles()
        .into_iter()
        .map(|(name, view)| v1::Role {
            name: name.to_string(),
            weight: weight(view.weight),
            frameworks: view
                .frameworks
                .iter()
                .map(|id| v1::FrameworkId { value: id.to_string() })
                .collect(),
            resources: resources::encode(
                &view.sums.used.plus(&view.sums.offered),
                Format::PostRefinement,
                None,
            ),
        })
        .collect();
    response::GetRoles { roles }
}

fn weights(cluster: &Cluster) -> response::GetWeights {
    let weight_infos = cluster
        .weights()
        .iter()
        .map(|(role, thousandths)| v1::WeightInfo {
            role: Some(role.to_string()),
            weight: weight(*thousandths),
        })
        .collect();
    response::GetWeights { weight_infos }
}

/// Thousandths as the wire's number.
#[allow(clippy::cast_precision_loss)]
fn weight(thousandths: u64) -> f64 {
    thousandths as f64 / 1000.0
}

fn leader(cluster: &Cluster, facts: &Facts) -> response::GetMaster {
    response::GetMaster {
        master_info: Some(cluster.leader().clone()),
        start_time: Some(facts.started.wall.as_secs_f64()),
        elected_time: cluster.elected().map(|now| now.wall.as_secs_f64()),
    }
}
