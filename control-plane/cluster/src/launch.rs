//! LAUNCH and LAUNCH_GROUP: tasks that pass every check enter the books and go to their agent.

use std::sync::Arc;

use tepui_link::{LaunchOrder, Order};
use tepui_types::{ExecutorId, Resources, Role, TaskId, TaskState};
use tepui_wire::v1::{self, offer::operation, task_status::Reason};

use crate::Cluster;
use crate::accept::Claim;
use crate::convert::allocated_to;
use crate::machine::Batch;
use crate::state::{Executor, Task, TaskDetails};
use crate::validate::executor::ExecutorTerms;
use crate::validate::task::{Site, check_group, check_task};

impl Cluster {
    /// Every task is judged alone.
    pub(crate) fn launch(
        &mut self,
        claim: &mut Claim,
        id: Option<&v1::OperationId>,
        tasks: Vec<v1::TaskInfo>,
        batch: &mut Batch<'_>,
    ) {
        let mut launched = Vec::with_capacity(tasks.len());
        for mut task in tasks {
            let verdict = match (id, self.site(claim)) {
                (Some(_), _) => Err("Operation 'id' must not be set for LAUNCH".to_owned()),
                (None, Some(site)) => check_task(&mut task, site),
                // The offers were of an agent and a framework that are known.
                (None, None) => Err("Agent or framework is gone".to_owned()),
            };
            match verdict {
                Err(fault) => {
                    let (state, reason) = (TaskState::Error, Reason::TaskInvalid);
                    self.refuse_task(&claim.framework, task, state, reason, &fault, batch);
                }
                Ok(terms) => {
                    allocate(&mut task.resources, &claim.role);
                    if let Some(executor) = &mut task.executor {
                        allocate(&mut executor.resources, &claim.role);
                    }
                    let executor_id = terms.executor.as_ref().map(|executor| executor.id.clone());
                    if let (Some(terms), Some(info)) = (terms.executor, &task.executor) {
                        self.book_executor(claim, terms, info);
                    }
                    self.book_task(claim, terms.id, terms.resources, executor_id, &task, batch);
                    launched.push(task);
                }
            }
        }
        self.order_launch(claim, None, launched, batch);
    }

    /// All or nothing.
    pub(crate) fn launch_group(
        &mut self,
        claim: &mut Claim,
        id: Option<&v1::OperationId>,
        group: operation::LaunchGroup,
        batch: &mut Batch<'_>,
    ) {
        let operation::LaunchGroup { mut executor, task_group } = group;
        let mut tasks = task_group.tasks;
        let verdict = match (id, self.site(claim)) {
            (Some(_), _) => Err("Operation 'id' must not be set for LAUNCH_GROUP".to_owned()),
            (None, Some(site)) => check_group(&executor, &mut tasks, site),
            (None, None) => Err("Agent or framework is gone".to_owned()),
        };
        match verdict {
            Err(fault) => {
                let (state, reason) = (TaskState::Error, Reason::TaskGroupInvalid);
                for task in tasks {
                    self.refuse_task(&claim.framework, task, state, reason, &fault, batch);
                }
            }
            Ok((terms, tasks_terms)) => {
                allocate(&mut executor.resources, &claim.role);
                let executor_id = terms.id.clone();
                self.book_executor(claim, terms, &executor);
                for (task, (id, resources)) in tasks.iter_mut().zip(tasks_terms) {
                    allocate(&mut task.resources, &claim.role);
                    if let Some(own) = &mut task.executor {
                        allocate(&mut own.resources, &claim.role);
                    }
                    let executor = Some(executor_id.clone());
                    self.book_task(claim, id, resources, executor, task, batch);
                }
                self.order_launch(claim, Some(executor), tasks, batch);
            }
        }
    }

    fn site<'a>(&'a self, claim: &'a Claim) -> Option<Site<'a>> {
        Some(Site {
            framework: self.frameworks.get(&claim.framework)?,
            agent: self.agents.get(&claim.agent)?,
            role: &claim.role,
            remaining: &claim.remaining,
        })
    }

    fn book_executor(&mut self, claim: &mut Claim, terms: ExecutorTerms, info: &v1::ExecutorInfo) {
        let Some(agent) = self.agents.get_mut(&claim.agent).filter(|_| !terms.runs) else { return };
        claim.remaining.remove(&terms.resources);
        agent.book_use(&terms.resources);
        agent.executors.entry(claim.framework.clone()).or_default().insert(
            terms.id.clone(),
            Executor {
                id: terms.id,
                info: Arc::new(info.clone()),
                role: claim.role.clone(),
                resources: terms.resources,
                confirmed: false,
            },
        );
    }

    fn book_task(
        &mut self,
        claim: &mut Claim,
        id: TaskId,
        resources: Resources,
        executor: Option<ExecutorId>,
        info: &v1::TaskInfo,
        batch: &mut Batch<'_>,
    ) {
        let agent = self.agents.get_mut(&claim.agent);
        let (Some(agent), Some(framework)) = (agent, self.frameworks.get_mut(&claim.framework))
        else {
            return;
        };
        let resources = framework.like_others(resources);
        claim.remaining.remove(&resources);
        agent.book_use(&resources);
        match agent.tasks.get_mut(&claim.framework) {
            Some(tasks) => {
                tasks.insert(id.clone());
            }
            None => {
                agent.tasks.insert(claim.framework.clone(), [id.clone()].into());
            }
        }
        framework.tasks.insert(
            id.clone(),
            Arc::new(Task {
                id: id.clone(),
                framework: claim.framework.clone(),
                agent: claim.agent.clone(),
                executor,
                name: info.name.clone(),
                role: claim.role.clone(),
                resources,
                state: TaskState::Staging,
                forwarded: None,
                statuses: Vec::new(),
                launched: Some(batch.now.mono),
                details: details(info),
            }),
        );
        self.publish_task_added(&claim.framework, &id, batch);
    }

    fn order_launch(
        &mut self,
        claim: &Claim,
        group_executor: Option<v1::ExecutorInfo>,
        tasks: Vec<v1::TaskInfo>,
        batch: &mut Batch<'_>,
    ) {
        let agent = self.agents.get_mut(&claim.agent);
        let (Some(agent), Some(framework)) = (agent, self.frameworks.get(&claim.framework)) else {
            return;
        };
        if tasks.is_empty() {
            return;
        }
        let order = LaunchOrder {
            framework: (*framework.info).clone(),
            role: claim.role.clone(),
            group_executor,
            tasks,
        };
        batch.direct(self.term, agent, Order::Launch(Box::new(order)));
    }
}

/// Fills in the role that resources are allocated to.
fn allocate(resources: &mut [v1::Resource], role: &Role) {
    for resource in resources {
        let known = resource.allocation_info.as_ref().is_some_and(|info| info.role.is_some());
        if !known {
            resource.allocation_info = Some(allocated_to(role));
        }
    }
}

/// The rarer parts of a description; nothing when the task has none of them.
fn details(info: &v1::TaskInfo) -> Option<Box<TaskDetails>> {
    let of = |command: &Option<v1::CommandInfo>| command.as_ref().and_then(|c| c.user.clone());
    let user = of(&info.command).or_else(|| info.executor.as_ref().and_then(|e| of(&e.command)));
    let plain = info.labels.is_none()
        && info.discovery.is_none()
        && info.container.is_none()
        && info.health_check.is_none()
        && info.kill_policy.is_none()
        && info.limits.is_empty()
        && user.is_none();
    (!plain).then(|| {
        Box::new(TaskDetails {
            labels: info.labels.clone(),
            discovery: info.discovery.clone(),
            // Only ever shown.
            container: info.container.as_deref().map(tepui_wire::secrets::redacted).map(Box::new),
            health_check: info.health_check.clone(),
            kill_policy: info.kill_policy,
            user,
            limits: info.limits.clone(),
            preempted_for: None,
        })
    })
}
