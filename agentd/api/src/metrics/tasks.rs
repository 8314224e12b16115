//! What each task uses, as far as the host tells; a task's series end with its run
//! (`conventions.md`, `tepui_task_…`).

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};
use tepui_agent::{Agent, Place};
use tepui_types::{ResourceName, TaskState};
use tepui_wire::v1;

use super::exposition::Outcome;
use crate::legacy::{Container, Owner};
use crate::show;

/// Labels of what is measured: tasks of one custom executor share a process tree, so `task` is
/// the executor's id, which a command task's executor has from its task.
/// `app` is the app of Marathon's API, empty for tasks of other frameworks.
pub(super) const MEASURED: [&str; 5] = ["framework", "app", "task", "role", "agent"];
const DESCRIBED: [&str; 9] =
    ["framework", "app", "task", "role", "agent", "executor", "name", "container", "image"];
const STATED: [&str; 6] = ["framework", "app", "task", "role", "agent", "state"];

/// What the agent's state says of the tasks that are with their executors.
#[derive(Debug)]
pub(super) struct Known {
    agent: String,
    /// Per task, the values of [`DESCRIBED`], when its executor was made, and its state.
    tasks: Vec<([String; DESCRIBED.len()], f64, TaskState)>,
}

impl Known {
    pub(super) fn of(agent: &Agent) -> Self {
        let id = agent.id().map(ToString::to_string).unwrap_or_default();
        let mut tasks = Vec::new();
        for framework in agent.frameworks() {
            let launched = framework.tasks.iter();
            for (task_id, task) in
                launched.filter(|(_, task)| framework.place(task) == Place::Launched)
            {
                let Some(executor) = framework.executors.get(&task.executor) else { continue };
                let labels = [
                    framework.id.to_string(),
                    show::app_of(task.info.command.as_ref()),
                    task_id.to_string(),
                    task.role.to_string(),
                    id.clone(),
                    executor.id.to_string(),
                    task.info.name.clone(),
                    executor.run.to_string(),
                    image_of(&task.info),
                ];
                tasks.push((labels, executor.created.as_secs_f64(), task.state));
            }
        }
        Self { agent: id, tasks }
    }
}

/// The image that a task runs in, empty without one.
fn image_of(info: &v1::TaskInfo) -> String {
    let container = info.container.as_ref();
    let docker = container.and_then(|one| Some(one.docker.as_ref()?.image.clone()));
    let image = || container?.mesos.as_ref()?.image.as_ref()?.docker.as_ref();
    docker.or_else(|| Some(image()?.name.clone())).unwrap_or_default()
}

/// The families of the tasks.
pub(super) fn families(known: &Known, containers: &[Container]) -> Outcome<Vec<MetricFamily>> {
    let registry = Registry::new();
    described(&registry, known)?;
    allocated(&registry, known, containers)?;
    Ok(registry.gather())
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> Outcome<C> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauges(registry: &Registry, name: &str, help: &str) -> Outcome<GaugeVec> {
    register(registry, GaugeVec::new(Opts::new(name, help), &MEASURED)?)
}

fn described(registry: &Registry, known: &Known) -> Outcome<()> {
    let opts = Opts::new("tepui_task_info", "Tasks that are with their executors");
    let info = register(registry, IntGaugeVec::new(opts, &DESCRIBED)?)?;
    let started = gauges(
        registry,
        "tepui_task_start_timestamp_seconds",
        "When the executor of the task was made",
    )?;
    let opts = Opts::new("tepui_task_state", "1 for the newest state of the task");
    let states = register(registry, IntGaugeVec::new(opts, &STATED)?)?;
    for (labels, created, state) in &known.tasks {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        info.with_label_values(&labels).set(1);
        let measured = &labels[..MEASURED.len()];
        started.with_label_values(measured).set(*created);
        let state = state.wire_name().trim_start_matches("TASK_").to_lowercase();
        states.with_label_values(&[measured, &[state.as_str()]].concat()).set(1);
    }
    Ok(())
}

/// The values of [`MEASURED`].
pub(super) fn labels(known: &Known, container: &Container) -> [String; MEASURED.len()] {
    let of = |part: fn(&Owner) -> String| container.owner.as_ref().map(part).unwrap_or_default();
    [
        of(|owner| owner.framework.to_string()),
        of(|owner| owner.app.clone()),
        of(|owner| owner.executor.to_string()),
        of(|owner| owner.role.as_ref().map(ToString::to_string).unwrap_or_default()),
        known.agent.clone(),
    ]
}

#[allow(clippy::cast_precision_loss)]
fn allocated(registry: &Registry, known: &Known, containers: &[Container]) -> Outcome<()> {
    let cpus = gauges(registry, "tepui_task_cpu_limit_cores", "Processors that it holds")?;
    let memory = gauges(registry, "tepui_task_memory_limit_bytes", "Memory that it holds")?;
    for container in containers {
        let labels = labels(known, container);
        cpus.with_label_values(&labels).set(show::scalar(
            &container.limits,
            &ResourceName::Cpus,
            false,
        ));
        let bytes = container.limits.mem().megabytes_as_bytes();
        memory.with_label_values(&labels).set(bytes as f64);
    }
    Ok(())
}
