//! What each task uses, as far as the host tells; a task's series end with its run
//! (`conventions.md`, `tepui_task_…`).

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};
use tepui_agent::{Agent, Place};
use tepui_types::{ContainerId, ResourceName, TaskState};
use tepui_wire::v1;

use super::exposition::Outcome;
use crate::legacy::{Container, Owner};
use crate::show;
use crate::usage::RunPlace;

/// Labels of what is measured: tasks of one custom executor share a process tree, so `task` is
/// the executor's id, which a command task's executor has from its task.
/// `app` is the app of Marathon's API, empty for tasks of other frameworks.
pub(super) const MEASURED: [&str; 5] = ["framework", "app", "task", "role", "agent"];
const DESCRIBED: [&str; 9] =
    ["framework", "app", "task", "role", "agent", "executor", "name", "container", "image"];
/// What `tepui_task_info` has besides: where the task's container is, empty for one that is over.
const PLACED: [&str; 3] = ["runtime", "unit", "cgroup_id"];
const STATED: [&str; 6] = ["framework", "app", "task", "role", "agent", "state"];

/// What the agent's state says of the tasks that are with their executors.
#[derive(Debug)]
pub(super) struct Known {
    agent: String,
    tasks: Vec<Task>,
}

#[derive(Debug)]
struct Task {
    /// The values of [`DESCRIBED`].
    labels: [String; DESCRIBED.len()],
    run: ContainerId,
    /// When its executor was made, in seconds since 1970.
    created: f64,
    state: TaskState,
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
                tasks.push(Task {
                    labels,
                    run: executor.run.clone(),
                    created: executor.created.as_secs_f64(),
                    state: task.state,
                });
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
    described(&registry, known, containers)?;
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

/// The values of [`PLACED`].
fn placed(place: Option<&RunPlace>) -> [String; PLACED.len()] {
    let Some(place) = place else { return Default::default() };
    let group = place.cgroup_id.map(|id| id.to_string());
    [
        place.runtime.word().to_owned(),
        place.unit.clone().unwrap_or_default(),
        group.unwrap_or_default(),
    ]
}

fn described(registry: &Registry, known: &Known, containers: &[Container]) -> Outcome<()> {
    let opts = Opts::new("tepui_task_info", "Tasks that are with their executors");
    let info = register(registry, IntGaugeVec::new(opts, &[&DESCRIBED[..], &PLACED].concat())?)?;
    let started = gauges(
        registry,
        "tepui_task_start_timestamp_seconds",
        "When the executor of the task was made",
    )?;
    let opts = Opts::new("tepui_task_state", "1 for the newest state of the task");
    let states = register(registry, IntGaugeVec::new(opts, &STATED)?)?;
    let places: BTreeMap<_, _> = containers
        .iter()
        .filter_map(|container| Some((&container.run, container.place.as_ref()?)))
        .collect();
    for Task { labels, run, created, state } in &known.tasks {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let placed = placed(places.get(run).copied());
        let all = labels.iter().copied().chain(placed.iter().map(String::as_str));
        info.with_label_values(&all.collect::<Vec<_>>()).set(1);
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
