//! Tasks of LAUNCH and LAUNCH_GROUP, in the order of `spec/mesos-http.md` 1.5.

use tepui_types::{InvalidId, ResourceName, Resources, Role, Scalar, TaskId};
use tepui_wire::v1::{self, container_info, health_check};

use super::command::{check_command, check_container, refuses_shared_cgroups};
use super::executor::{ExecutorTerms, check_group_executor, check_task_executor};
use super::health::{check_check, check_health_check};
use super::{Fault, refuse_if};
use crate::convert;
use crate::state::{Agent, Framework};

/// What a valid task means.
#[derive(Clone, Debug)]
pub(crate) struct TaskTerms {
    pub(crate) id: TaskId,
    pub(crate) resources: Resources,
    pub(crate) executor: Option<ExecutorTerms>,
}

/// Where and for whom a task is to start.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) framework: &'a Framework,
    pub(crate) agent: &'a Agent,
    pub(crate) role: &'a Role,
    /// What is left of the accepted offers.
    pub(crate) remaining: &'a Resources,
}

/// Reads resources that are, or will be, allocated to `role`; `user` is who they are for.
pub(crate) fn read_resources(
    list: &[v1::Resource],
    role: &Role,
    user: &str,
) -> Result<Resources, Fault> {
    let decoded =
        convert::read(list).map_err(|error| format!("{user} uses invalid resources: {error}"))?;
    if let Some(other) = decoded.allocated_to.filter(|other| other != role) {
        return Err(format!(
            "{user} uses invalid resources: They are allocated to role '{other}' while the offer \
             is allocated to role '{role}'"
        ));
    }
    let resources = decoded.resources;
    if resources.iter().any(|one| one.identity.revocable) {
        check_revocable(&resources, user)?;
    }
    Ok(resources)
}

fn check_revocable(resources: &Resources, user: &str) -> Result<(), Fault> {
    let firm: Vec<&ResourceName> = resources
        .iter()
        .filter(|one| !one.identity.revocable)
        .map(|one| &one.identity.name)
        .collect();
    let mixed =
        resources.iter().find(|one| one.identity.revocable && firm.contains(&&one.identity.name));
    match mixed {
        Some(one) => Err(format!(
            "{user} mixes revocable and non-revocable resources: Cannot use both revocable and \
             non-revocable '{}' at the same time",
            one.identity.name
        )),
        None => Ok(()),
    }
}

/// What holds for every task, however it is launched.
fn check_common(task: &mut v1::TaskInfo, site: Site<'_>) -> Result<(TaskId, Resources), Fault> {
    let id = TaskId::parse(&task.task_id.value).map_err(|error| match error {
        InvalidId::Character(_) => format!("TaskID {error}"),
        _ => format!("Task uses an invalid ID: {error}"),
    })?;
    if site.framework.tasks.contains_key(&id) {
        return Err(format!("Task has duplicate ID: {id}"));
    }
    if site.framework.unreachable.contains_key(&id) {
        return Err(format!("Task reuses the ID of an unreachable task: {id}"));
    }
    if task.agent_id.value != site.agent.id.as_str() {
        return Err(format!(
            "Task uses invalid agent {} while agent {} is expected",
            task.agent_id.value, site.agent.id
        ));
    }
    let grace = task.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
    refuse_if(
        grace.is_some_and(|grace| grace.nanoseconds < 0),
        "Task's 'kill_policy.grace_period' must be non-negative",
    )?;
    refuse_if(
        task.max_completion_time.as_ref().is_some_and(|time| time.nanoseconds < 0),
        "Task's `max_completion_time` must be non-negative",
    )?;
    if let Some(check) = &task.check {
        check_check(check).map_err(|fault| format!("Task uses invalid check: {fault}"))?;
    }
    if let Some(check) = &mut task.health_check {
        check_health_check(check)
            .map_err(|fault| format!("Task uses invalid health check: {fault}"))?;
    }
    refuse_if(task.resources.is_empty(), "Task uses no resources")?;
    let resources = read_resources(&task.resources, site.role, "Task")?;
    refuse_if(resources.is_empty(), "Task uses no resources")?;
    if let Some(command) = &task.command {
        check_command(command)
            .map_err(|fault| format!("Task's `CommandInfo` is invalid: {fault}"))?;
    }
    if let Some(container) = &task.container {
        check_container(container)
            .map_err(|fault| format!("Task's `ContainerInfo` is invalid: {fault}"))?;
    }
    check_limits(task, &resources)?;
    Ok((id, resources))
}

fn check_limits(task: &v1::TaskInfo, resources: &Resources) -> Result<(), Fault> {
    for (name, limit) in &task.limits {
        let request = match name.as_str() {
            "cpus" => resources.cpus(),
            "mem" => resources.mem(),
            other => {
                return Err(format!(
                    "Resource limit for '{other}' is not allowed: only 'cpus' and 'mem' may be \
                     limited"
                ));
            }
        };
        if request.is_zero() {
            return Err(format!(
                "Limits have been set for '{name}', but no corresponding resource request has \
                 been made"
            ));
        }
        if limit.value == f64::INFINITY {
            continue;
        }
        let amount = Scalar::parse(limit.value)
            .map_err(|error| format!("The limit of '{name}' is invalid: {error}"))?;
        if amount < request {
            return Err(format!(
                "The limit of '{name}' ({amount}) is less than its request ({request})"
            ));
        }
    }
    Ok(())
}

/// A task of a LAUNCH.
pub(crate) fn check_task(task: &mut v1::TaskInfo, site: Site<'_>) -> Result<TaskTerms, Fault> {
    let (id, resources) = check_common(task, site)?;
    refuse_if(
        task.executor.is_some() == task.command.is_some(),
        "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present",
    )?;
    refuse_if(
        refuses_shared_cgroups(task.container.as_deref()),
        "Only tasks in a task group may have 'share_cgroups' set to 'false'",
    )?;
    let Some(info) = &mut task.executor else {
        if !site.remaining.contains(&resources) {
            return Err(too_much(&resources, site.remaining));
        }
        return Ok(TaskTerms { id, resources, executor: None });
    };
    if info.framework_id.is_none() {
        info.framework_id = Some(v1::FrameworkId { value: site.framework.id.to_string() });
    }
    let executor = check_task_executor(info, site.framework, site.agent, site.role)?;
    refuse_if(
        resources.overlaps(&executor.resources),
        "Task and its executor use invalid resources: they have ports or names in common",
    )?;
    let total = resources.plus(&executor.needed());
    check_revocable(&total, "Task with its executor")?;
    if !site.remaining.contains(&total) {
        return Err(too_much(&total, site.remaining));
    }
    Ok(TaskTerms { id, resources, executor: Some(executor) })
}

fn too_much(total: &Resources, remaining: &Resources) -> Fault {
    format!(
        "Total resources {total} required by task and its executor is more than available \
         {remaining}"
    )
}

/// The tasks and the executor of a LAUNCH_GROUP: all or nothing.
pub(crate) fn check_group(
    executor: &v1::ExecutorInfo,
    tasks: &mut [v1::TaskInfo],
    site: Site<'_>,
) -> Result<(ExecutorTerms, Vec<(TaskId, Resources)>), Fault> {
    refuse_if(tasks.is_empty(), "Task group must contain at least one task")?;
    let mut terms: Vec<(TaskId, Resources)> = Vec::with_capacity(tasks.len());
    for task in tasks.iter_mut() {
        let name = task.task_id.value.clone();
        let invalid = |fault| format!("Task '{name}' is invalid: {fault}");
        let (id, resources) = check_common(task, site).map_err(invalid)?;
        check_group_task(task, executor).map_err(invalid)?;
        if terms.iter().any(|(other, _)| *other == id) {
            return Err(invalid(format!("Task has duplicate ID: {id}")));
        }
        terms.push((id, resources));
    }
    let shares = |task: &v1::TaskInfo| !refuses_shared_cgroups(task.container.as_deref());
    refuse_if(
        tasks.iter().any(|task| shares(task) != shares(&tasks[0])),
        "Task group contains tasks with different values of 'share_cgroups'",
    )?;
    let executor = check_group_executor(executor, site.framework, site.agent, site.role)?;
    let mut total = executor.needed();
    for (_, resources) in &terms {
        refuse_if(
            total.overlaps(resources) || executor.resources.overlaps(resources),
            "Task group and executor use invalid resources: they have ports or names in common",
        )?;
        total.add_all(resources);
    }
    check_revocable(&total, "Task group with its executor")?;
    if !site.remaining.contains(&total) {
        return Err(format!(
            "Total resources {total} required by task group and its executor are more than \
             available {}",
            site.remaining
        ));
    }
    Ok((executor, terms))
}

fn check_group_task(task: &v1::TaskInfo, executor: &v1::ExecutorInfo) -> Result<(), Fault> {
    if let Some(own) = &task.executor
        && **own != *executor
    {
        return Err(format!(
            "The `ExecutorInfo` of task '{}' is different from executor '{}'",
            task.task_id.value, executor.executor_id.value
        ));
    }
    let container = task.container.as_deref();
    refuse_if(
        container.is_some_and(|container| container.r#type() == container_info::Type::Docker),
        "Docker ContainerInfo is not supported on the task",
    )?;
    let networks = container.is_some_and(|container| !container.network_infos.is_empty());
    let probes = task.health_check.as_ref().is_some_and(|check| {
        matches!(check.r#type(), health_check::Type::Http | health_check::Type::Tcp)
    });
    refuse_if(
        networks && probes,
        "HTTP and TCP health checks are not supported for nested containers joining CNI networks",
    )?;
    refuse_if(
        !task.limits.is_empty() && !refuses_shared_cgroups(container),
        "Resource limits may only be set for tasks within a task group when the field \
         'share_cgroups' is set to 'false'",
    )
}
