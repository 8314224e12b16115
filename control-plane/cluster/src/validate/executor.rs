//! Executors that tasks and task groups bring.

use tepui_types::{ExecutorId, Resources, Role, Scalar};
use tepui_wire::v1::{self, container_info, executor_info};

use super::command::{check_command, check_container, refuses_shared_cgroups};
use super::task::read_resources;
use super::{Fault, refuse_if};
use crate::state::{Agent, Framework};

/// The least that a group's executor may have.
const MIN_CPUS: Scalar = Scalar::from_milli(10);
const MIN_MEM: Scalar = Scalar::from_units(32);

/// What a valid executor means.
#[derive(Clone, Debug)]
pub(crate) struct ExecutorTerms {
    pub(crate) id: ExecutorId,
    pub(crate) resources: Resources,
    /// It runs already, so its resources are held already.
    pub(crate) runs: bool,
}

impl ExecutorTerms {
    /// What launching it takes.
    pub(crate) fn needed(&self) -> Resources {
        if self.runs { Resources::new() } else { self.resources.clone() }
    }
}

fn read_executor(
    executor: &v1::ExecutorInfo,
    framework: &Framework,
    agent: &Agent,
    role: &Role,
) -> Result<ExecutorTerms, Fault> {
    let id = ExecutorId::parse(&executor.executor_id.value)
        .map_err(|error| format!("Executor uses an invalid ID: {error}"))?;
    let owner = executor.framework_id.as_ref().ok_or("'ExecutorInfo.framework_id' must be set")?;
    if owner.value != framework.id.as_str() {
        return Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {})",
            owner.value, framework.id
        ));
    }
    refuse_if(
        executor.shutdown_grace_period.is_some_and(|grace| grace.nanoseconds < 0),
        "ExecutorInfo's 'shutdown_grace_period' must be non-negative",
    )?;
    let resources = read_resources(&executor.resources, role, "Executor")?;
    if let Some(command) = &executor.command {
        check_command(command)
            .map_err(|fault| format!("Executor's `CommandInfo` is invalid: {fault}"))?;
    }
    if let Some(container) = &executor.container {
        check_container(container)
            .map_err(|fault| format!("Executor's `ContainerInfo` is invalid: {fault}"))?;
    }
    let known = agent.executor(&framework.id, &id);
    if let Some(known) = known
        && !is_same_executor(&known.info, executor)
    {
        return Err(format!(
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID '{id}'"
        ));
    }
    Ok(ExecutorTerms { id, resources, runs: known.is_some() })
}

/// Equal but for the allocation, which the control plane fills in.
fn is_same_executor(known: &v1::ExecutorInfo, given: &v1::ExecutorInfo) -> bool {
    let bare = |info: &v1::ExecutorInfo| {
        let mut info = info.clone();
        info.resources.iter_mut().for_each(|resource| resource.allocation_info = None);
        info
    };
    known == given || bare(known) == bare(given)
}

/// The executor of a task in a LAUNCH.
pub(crate) fn check_task_executor(
    executor: &v1::ExecutorInfo,
    framework: &Framework,
    agent: &Agent,
    role: &Role,
) -> Result<ExecutorTerms, Fault> {
    refuse_if(
        executor.r#type.is_some_and(|kind| kind != i32::from(executor_info::Type::Custom)),
        "'ExecutorInfo.type' must be 'CUSTOM'",
    )?;
    refuse_if(executor.command.is_none(), "'ExecutorInfo.command' must be set")?;
    refuse_if(
        executor
            .container
            .as_ref()
            .and_then(|container| container.linux_info.as_ref())
            .is_some_and(|linux| linux.share_cgroups == Some(true)),
        "The 'share_cgroups' field cannot be set on executor containers",
    )?;
    read_executor(executor, framework, agent, role)
}

/// The executor of a LAUNCH_GROUP.
pub(crate) fn check_group_executor(
    executor: &v1::ExecutorInfo,
    framework: &Framework,
    agent: &Agent,
    role: &Role,
) -> Result<ExecutorTerms, Fault> {
    match executor.r#type() {
        executor_info::Type::Unknown => {
            return Err("'ExecutorInfo.type' must be set".into());
        }
        executor_info::Type::Default => {
            refuse_if(
                executor.command.is_some(),
                "'ExecutorInfo.command' must not be set for 'DEFAULT' executor",
            )?;
            if let Some(container) = &executor.container {
                refuse_if(
                    container.r#type() != container_info::Type::Mesos,
                    "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor",
                )?;
                refuse_if(
                    container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()),
                    "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor",
                )?;
            }
        }
        executor_info::Type::Custom => refuse_if(
            executor.command.is_none(),
            "'ExecutorInfo.command' must be set for 'CUSTOM' executor",
        )?,
    }
    refuse_if(
        executor
            .container
            .as_ref()
            .is_some_and(|container| container.r#type() == container_info::Type::Docker),
        "Docker ContainerInfo is not supported on the executor",
    )?;
    refuse_if(
        refuses_shared_cgroups(executor.container.as_deref()),
        "The 'share_cgroups' field cannot be set on executor containers",
    )?;
    let terms = read_executor(executor, framework, agent, role)?;
    let (cpus, mem) = (terms.resources.cpus(), terms.resources.mem());
    if cpus < MIN_CPUS {
        return Err(format!(
            "Executor '{}' uses less CPUs ({cpus}) than the minimum required ({MIN_CPUS})",
            terms.id
        ));
    }
    if mem < MIN_MEM {
        return Err(format!(
            "Executor '{}' uses less memory ({mem}MB) than the minimum required ({MIN_MEM}MB)",
            terms.id
        ));
    }
    if terms.resources.disk().is_zero() {
        return Err(format!("Executor '{}' uses no disk", terms.id));
    }
    Ok(terms)
}
