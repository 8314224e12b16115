//! What others see of executors, tasks, resources and attributes.

use serde_json::{Map, Value, json};
use tepui_agent::{Agent, Executor, Framework, Task};
use tepui_types::{AttributeValue, ResourceName, Resources, Scalar, Value as Amount};
use tepui_wire::v1::{self, executor_info};
use tepui_wire::{WireMessage, encode_json};

/// What is added to a command task's executor, whose name says what it runs.
const COMMAND_TEXT_BYTES: usize = 60;

/// A message in the protobuf mapping of JSON.
pub(crate) fn wire_json<M: WireMessage>(message: &M) -> Value {
    serde_json::from_slice(&encode_json(message)).unwrap_or(Value::Null)
}

/// Resources of a message; invalid ones, which nothing here has accepted, count as none.
pub(crate) fn decode(list: &[v1::Resource]) -> Resources {
    tepui_wire::resources::decode(list).map(|decoded| decoded.resources).unwrap_or_default()
}

/// `{cpus, gpus, mem, disk, ports…}`: numbers, and texts for what is no number (4.3).
pub(crate) fn resources(resources: &Resources) -> Value {
    let mut out = Map::new();
    for name in ["cpus", "gpus", "mem", "disk"] {
        out.insert(name.into(), json!(0.0));
    }
    let mut sums: Vec<(String, Resources)> = Vec::new();
    for resource in resources.iter() {
        let suffix = if resource.identity.revocable { "_revocable" } else { "" };
        let key = format!("{}{suffix}", resource.identity.name);
        let plain = Resources::from_iter([tepui_types::Resource {
            identity: tepui_types::Identity::unreserved(resource.identity.name.clone()),
            value: resource.value.clone(),
        }]);
        match sums.iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => sum.add_all(&plain),
            None => sums.push((key, plain)),
        }
    }
    for (key, sum) in sums {
        if let Some(resource) = sum.iter().next() {
            out.insert(key, amount(&resource.value));
        }
    }
    Value::Object(out)
}

fn amount(value: &Amount) -> Value {
    match value {
        Amount::Scalar(number) => json!(number.as_f64()),
        Amount::Ranges(ranges) => json!(ranges.to_string()),
        Amount::Set(items) => {
            let items: Vec<&str> = items.iter().map(|item| &**item).collect();
            json!(format!("{{{}}}", items.join(", ")))
        }
    }
}

/// Reserved resources by role, in the form of [`resources`].
pub(crate) fn reserved(all: &Resources) -> Value {
    let mut out = Map::new();
    for resource in all.iter() {
        let Some(role) = resource.identity.reserved_to() else { continue };
        let of_role = all.filter(|other| other.identity.reserved_to() == Some(role));
        out.insert(role.to_string(), resources(&of_role));
    }
    Value::Object(out)
}

/// What is reserved to nobody.
pub(crate) fn unreserved(all: &Resources) -> Resources {
    all.filter(|resource| resource.identity.reserved_to().is_none())
}

/// `{name: number or text}`.
pub(crate) fn attributes(list: &[v1::Attribute]) -> Value {
    let attributes = tepui_wire::attributes::decode(list).unwrap_or_default();
    let mut out = Map::new();
    for attribute in attributes.iter() {
        let value = match &attribute.value {
            AttributeValue::Scalar(number) => json!(number.as_f64()),
            other => json!(other.to_string()),
        };
        out.insert(attribute.name.to_string(), value);
    }
    Value::Object(out)
}

/// `[{key, value?}]`.
pub(crate) fn labels(labels: &v1::Labels) -> Value {
    labels
        .labels
        .iter()
        .map(|label| match &label.value {
            Some(value) => json!({"key": label.key, "value": value}),
            None => json!({"key": label.key}),
        })
        .collect()
}

/// The framework's roles, in the word that its kind uses.
pub(crate) fn roles(info: &v1::FrameworkInfo) -> (&'static str, Value) {
    use v1::framework_info::capability::Type::MultiRole;
    if info.capabilities.iter().any(|capability| capability.r#type() == MultiRole) {
        ("roles", json!(info.roles))
    } else {
        ("role", json!(info.role()))
    }
}

/// Where an executor says that it comes from; clients still read it.
#[allow(deprecated)]
pub(crate) fn source(info: &v1::ExecutorInfo) -> String {
    info.source.clone().unwrap_or_default()
}

/// The description of an executor; a command task's is made up as Mesos does.
#[allow(deprecated)]
///
/// Whoever reads it learns no secrets.
/// The app of Marathon's API that a command is of, empty for another framework's.
pub(crate) fn app_of(command: Option<&v1::CommandInfo>) -> String {
    let environment = command.and_then(|command| command.environment.as_ref());
    let mut variables = environment.into_iter().flat_map(|all| &all.variables);
    let app = variables.find(|variable| variable.name == "MARATHON_APP_ID");
    app.map(|variable| variable.value().to_owned()).unwrap_or_default()
}

pub(crate) fn executor_info(framework: &Framework, executor: &Executor) -> v1::ExecutorInfo {
    let mut info = whole_executor_info(framework, executor);
    tepui_wire::secrets::redact_executor(&mut info);
    info
}

#[allow(deprecated)]
fn whole_executor_info(framework: &Framework, executor: &Executor) -> v1::ExecutorInfo {
    let framework_id = Some(v1::FrameworkId { value: framework.id.to_string() });
    if let Some(info) = &executor.info {
        return v1::ExecutorInfo { framework_id, ..(**info).clone() };
    }
    let task = tasks_of(framework, executor).next();
    let command = task.and_then(|task| task.info.command.clone());
    let line = command.as_ref().map(|command| command.value()).unwrap_or_default();
    let id = executor.id.as_str();
    v1::ExecutorInfo {
        r#type: Some(executor_info::Type::Default.into()),
        executor_id: v1::ExecutorId { value: id.to_owned() },
        framework_id,
        name: Some(format!("Command Executor (Task: {id}) (Command: {})", shortened(line))),
        source: Some(id.to_owned()),
        command,
        ..v1::ExecutorInfo::default()
    }
}

fn shortened(line: &str) -> String {
    if line.len() <= COMMAND_TEXT_BYTES {
        return format!("sh -c '{line}'");
    }
    let mut end = COMMAND_TEXT_BYTES;
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("sh -c '{}...'", &line[..end])
}

/// Tasks of an executor that are remembered, those that are over too.
pub(crate) fn tasks_of<'a>(
    framework: &'a Framework,
    executor: &'a Executor,
) -> impl Iterator<Item = &'a Task> {
    let present = executor.tasks.iter().filter_map(|id| framework.tasks.get(id));
    present.chain(&executor.completed_tasks)
}

/// What an executor holds: its own, and that of its tasks that are not over.
pub(crate) fn executor_resources(framework: &Framework, executor: &Executor) -> Resources {
    let mut sum = executor.info.as_ref().map(|info| decode(&info.resources)).unwrap_or_default();
    let tasks = executor.tasks.iter().filter_map(|id| framework.tasks.get(id));
    for task in tasks.filter(|task| !task.is_terminal()) {
        sum.add_all(&decode(&task.info.resources));
    }
    sum
}

/// What all executors of the agent hold.
pub(crate) fn used(agent: &Agent) -> Resources {
    let mut sum = Resources::new();
    for framework in agent.frameworks() {
        for executor in framework.executors.values() {
            sum.add_all(&executor_resources(framework, executor));
        }
    }
    sum
}

/// Total and used amounts of one kind, revocable or not.
pub(crate) fn scalar(resources: &Resources, name: &ResourceName, revocable: bool) -> f64 {
    resources
        .scalars()
        .filter(|(identity, _)| identity.name == *name && identity.revocable == revocable)
        .fold(Scalar::ZERO, |sum, (_, amount)| sum.saturating_add(amount))
        .as_f64()
}
