//! `GET /state` of an agent.

use serde_json::{Map, Value, json};
use tepui_agent::{Agent, Executor, Framework, Place, Task};
use tepui_types::TaskState;
use tepui_wire::{v1, version};

use crate::host::Facts;
use crate::show;

/// What this agent can, in Mesos's names.
const CAPABILITIES: [&str; 3] = ["MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"];

pub(super) fn state(agent: &Agent, facts: &Facts) -> Value {
    let Value::Object(mut out) = version::legacy() else { return Value::Null };
    let info = &agent.config().info;
    let total = show::decode(&info.resources);
    let used = show::used(agent);
    let wire = |resources: &[v1::Resource], reserved: bool| -> Vec<Value> {
        let wanted = resources.iter().filter(|one| one.reservations.is_empty() != reserved);
        wanted.map(show::wire_json).collect()
    };
    out.insert("start_time".into(), json!(facts.started.wall.as_secs_f64()));
    out.insert("id".into(), json!(agent.id().map(ToString::to_string).unwrap_or_default()));
    out.insert("pid".into(), json!(format!("slave(1)@{}:{}", facts.ip, facts.port)));
    out.insert("hostname".into(), json!(facts.hostname));
    out.insert("capabilities".into(), json!(CAPABILITIES));
    if let Some(domain) = &info.domain {
        out.insert("domain".into(), show::wire_json(domain));
    }
    out.insert("resources".into(), show::resources(&total));
    out.insert("reserved_resources".into(), show::reserved(&total));
    out.insert("unreserved_resources".into(), show::resources(&show::unreserved(&total)));
    let reserved_full: Map<String, Value> = reserved_by_role(&info.resources);
    out.insert("reserved_resources_full".into(), Value::Object(reserved_full));
    out.insert("unreserved_resources_full".into(), json!(wire(&info.resources, false)));
    out.insert("reserved_resources_allocated".into(), show::reserved(&used));
    let free_used = show::unreserved(&used);
    out.insert("unreserved_resources_allocated".into(), show::resources(&free_used));
    out.insert("resource_providers".into(), json!([]));
    out.insert("attributes".into(), show::attributes(&info.attributes));
    out.insert("flags".into(), Value::Object(super::flag_object(facts)));
    let id = agent.id().map(ToString::to_string).unwrap_or_default();
    let frameworks = |active: bool| -> Vec<Value> {
        let wanted =
            agent.frameworks().filter(|one| one.is_described() && one.is_active() == active);
        wanted.map(|one| framework(one, &id, facts)).collect()
    };
    out.insert("frameworks".into(), json!(frameworks(true)));
    out.insert("completed_frameworks".into(), json!(frameworks(false)));
    Value::Object(out)
}

fn reserved_by_role(resources: &[v1::Resource]) -> Map<String, Value> {
    let mut out = Map::new();
    for resource in resources {
        let Some(role) = resource.reservations.last().and_then(|one| one.role.clone()) else {
            continue;
        };
        let list = out.entry(role).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(show::wire_json(resource));
        }
    }
    out
}

fn framework(framework: &Framework, agent: &str, facts: &Facts) -> Value {
    let info = &framework.info;
    let mut out = Map::new();
    out.insert("id".into(), json!(framework.id.to_string()));
    out.insert("name".into(), json!(info.name));
    out.insert("user".into(), json!(info.user));
    out.insert("failover_timeout".into(), json!(info.failover_timeout()));
    out.insert("checkpoint".into(), json!(info.checkpoint()));
    out.insert("hostname".into(), json!(info.hostname()));
    if let Some(principal) = &info.principal {
        out.insert("principal".into(), json!(principal));
    }
    let (key, roles) = show::roles(info);
    out.insert(key.into(), roles);
    let live = framework.executors.values().map(|one| executor(framework, one, agent, facts));
    out.insert("executors".into(), live.collect());
    let over = framework.completed.iter().map(|one| executor(framework, one, agent, facts));
    out.insert("completed_executors".into(), over.collect());
    Value::Object(out)
}

fn executor(framework: &Framework, executor: &Executor, agent: &str, facts: &Facts) -> Value {
    let info = show::executor_info(framework, executor);
    let mut out = Map::new();
    out.insert("id".into(), json!(executor.id.to_string()));
    out.insert("name".into(), json!(info.name()));
    out.insert("source".into(), json!(show::source(&info)));
    out.insert("container".into(), json!(executor.run.to_string()));
    let directory = facts.work_dir.join(&*executor.sandbox);
    out.insert("directory".into(), json!(directory.display().to_string()));
    let held = show::executor_resources(framework, executor);
    out.insert("resources".into(), show::resources(&held));
    if let Some(role) = &executor.role {
        out.insert("role".into(), json!(role.to_string()));
    }
    if let Some(labels) = &info.labels {
        out.insert("labels".into(), show::labels(labels));
    }
    if executor.info.is_some() && info.r#type.is_some() {
        out.insert("type".into(), json!(info.r#type().as_str_name()));
    }
    let (mut tasks, mut queued, mut completed) = (Vec::new(), Vec::new(), Vec::new());
    for task in executor.tasks.iter().filter_map(|id| framework.tasks.get(id)) {
        match framework.place(task) {
            Place::Queued => queued.push(queued_task(framework, task, agent)),
            Place::Launched => tasks.push(self::task(framework, task, agent)),
            Place::Terminated | Place::Completed => {
                completed.push(self::task(framework, task, agent));
            }
        }
    }
    completed.extend(executor.completed_tasks.iter().map(|one| task(framework, one, agent)));
    out.insert("tasks".into(), json!(tasks));
    out.insert("queued_tasks".into(), json!(queued));
    out.insert("completed_tasks".into(), json!(completed));
    Value::Object(out)
}

fn queued_task(framework: &Framework, task: &Task, agent: &str) -> Value {
    let wire = task.to_wire(&framework.id, agent);
    let mut out = Map::new();
    out.insert("id".into(), json!(wire.task_id.value));
    out.insert("name".into(), json!(wire.name));
    out.insert("slave_id".into(), json!(agent));
    out.insert("resources".into(), show::resources(&show::decode(&wire.resources)));
    out.insert("role".into(), json!(task.role.to_string()));
    if let Some(command) = &task.info.command {
        let mut command = command.clone();
        tepui_wire::secrets::redact_command(&mut command);
        out.insert("command".into(), show::wire_json(&command));
    }
    if let Some(executor) = &wire.executor_id {
        out.insert("executor_id".into(), json!(executor.value));
    }
    if let Some(discovery) = &wire.discovery {
        out.insert("discovery".into(), show::wire_json(discovery));
    }
    Value::Object(out)
}

fn task(framework: &Framework, task: &Task, agent: &str) -> Value {
    let wire = task.to_wire(&framework.id, agent);
    let mut out = Map::new();
    out.insert("id".into(), json!(wire.task_id.value));
    out.insert("name".into(), json!(wire.name));
    out.insert("framework_id".into(), json!(wire.framework_id.value));
    let executor = wire.executor_id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
    out.insert("executor_id".into(), json!(executor));
    out.insert("slave_id".into(), json!(agent));
    out.insert("state".into(), json!(task.state.wire_name()));
    out.insert("resources".into(), show::resources(&show::decode(&wire.resources)));
    out.insert("role".into(), json!(task.role.to_string()));
    out.insert("statuses".into(), wire.statuses.iter().map(status).collect());
    if !wire.limits.is_empty() {
        let limits: Map<String, Value> = wire
            .limits
            .iter()
            .map(|(name, limit)| (name.clone(), limit_json(limit.value)))
            .collect();
        out.insert("limits".into(), Value::Object(limits));
    }
    if let Some(user) = &wire.user {
        out.insert("user".into(), json!(user));
    }
    if let Some(labels) = &wire.labels {
        out.insert("labels".into(), show::labels(labels));
    }
    if let Some(discovery) = &wire.discovery {
        out.insert("discovery".into(), show::wire_json(discovery));
    }
    if let Some(container) = wire.container.as_deref() {
        out.insert("container".into(), show::wire_json(container));
    }
    if let Some(check) = wire.health_check.as_deref() {
        out.insert("health_check".into(), show::wire_json(check));
    }
    Value::Object(out)
}

/// JSON has no infinity; Mesos writes the word.
fn limit_json(limit: f64) -> Value {
    if limit.is_finite() { json!(limit) } else { json!("Infinity") }
}

fn status(status: &v1::TaskStatus) -> Value {
    let state = TaskState::ALL
        .into_iter()
        .find(|one| i32::from(tepui_link::codec::wire_state(*one)) == status.state)
        .map(TaskState::wire_name)
        .unwrap_or_default();
    let mut out = Map::new();
    out.insert("state".into(), json!(state));
    out.insert("timestamp".into(), json!(status.timestamp()));
    if let Some(labels) = &status.labels {
        out.insert("labels".into(), show::labels(labels));
    }
    if let Some(container) = &status.container_status {
        out.insert("container_status".into(), show::wire_json(container));
    }
    if let Some(healthy) = status.healthy {
        out.insert("healthy".into(), json!(healthy));
    }
    Value::Object(out)
}
