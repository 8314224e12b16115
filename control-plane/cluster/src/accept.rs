//! ACCEPT: offers become launches, the rest goes back (`spec/mesos-http.md` 1.5).

use tepui_allocator::Refusal;
use tepui_types::{AgentId, FrameworkId, Resources, Role, TaskState};
use tepui_wire::v1::offer::Operation;
use tepui_wire::v1::offer::operation::Type;
use tepui_wire::v1::{self, scheduler, task_status::Reason};

use crate::Cluster;
use crate::machine::Batch;
use crate::offers::{Ending, refusal};
use crate::tasks::Verdict;
use crate::validate::offers::check_offers;

/// Accepted offers while their operations run.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) framework: FrameworkId,
    pub(crate) agent: AgentId,
    pub(crate) role: Role,
    /// All that was accepted.
    offered: Resources,
    /// What no operation has taken yet.
    pub(crate) remaining: Resources,
}

impl Cluster {
    pub(crate) fn accept(
        &mut self,
        framework_id: &FrameworkId,
        call: scheduler::call::Accept,
        batch: &mut Batch<'_>,
    ) {
        let refusal = refusal(call.filters.as_ref());
        self.count_accept(framework_id, &call);
        match check_offers(self, framework_id, &call.offer_ids) {
            Err(fault) => {
                for id in &call.offer_ids {
                    if let Some(number) = self.own_offer(framework_id, &id.value) {
                        self.end_offer(number, None, Ending::Silent, batch);
                    }
                }
                for operation in call.operations {
                    self.drop_operation(framework_id, operation, &fault, batch);
                }
            }
            Ok(numbers) => {
                let mut claim: Option<Claim> = None;
                for number in numbers {
                    let Some(offer) = self.take_offer(number) else { continue };
                    if let Some(agent) = self.agents.get_mut(&offer.agent) {
                        agent.unbook_offer(&offer.resources);
                    }
                    let claim = claim.get_or_insert_with(|| Claim {
                        framework: offer.framework.clone(),
                        agent: offer.agent.clone(),
                        role: offer.role.clone(),
                        offered: Resources::new(),
                        remaining: Resources::new(),
                    });
                    claim.offered.add_all(&offer.resources);
                    claim.remaining.add_all(&offer.resources);
                }
                if let Some(claim) = claim {
                    self.run_operations(claim, call.operations, refusal, batch);
                }
            }
        }
    }

    fn count_accept(&mut self, framework_id: &FrameworkId, call: &scheduler::call::Accept) {
        if call.operations.is_empty() {
            self.counters.messages.decline_offers += 1;
        }
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        framework.counters.offers_accepted += call.offer_ids.len() as u64;
        for operation in &call.operations {
            framework.counters.operation(operation.r#type());
            if let Some(launch) = &operation.launch {
                if launch.task_infos.is_empty() {
                    self.counters.messages.decline_offers += 1;
                } else {
                    self.counters.messages.launch_tasks += 1;
                }
            }
        }
    }

    fn run_operations(
        &mut self,
        mut claim: Claim,
        operations: Vec<Operation>,
        refusal: Option<Refusal>,
        batch: &mut Batch<'_>,
    ) {
        for operation in operations {
            match operation.r#type() {
                Type::Launch => {
                    let tasks = operation.launch.unwrap_or_default().task_infos;
                    self.launch(&mut claim, operation.id.as_ref(), tasks, batch);
                }
                Type::LaunchGroup => {
                    if let Some(group) = operation.launch_group {
                        self.launch_group(&mut claim, operation.id.as_ref(), group, batch);
                    }
                }
                kind => {
                    let fault = format!(
                        "{} is not supported by this control plane yet: reservations, volumes and \
                         disks cannot be changed",
                        kind.as_str_name()
                    );
                    self.refuse_operation(&claim.framework, operation, &fault, batch);
                }
            }
        }
        let Claim { framework, agent: agent_id, role, offered, remaining } = claim;
        if let Some(agent) = self.agents.get_mut(&agent_id) {
            if agent.overbooked {
                self.rebook(&agent_id);
            } else {
                agent.book_free(&remaining);
            }
        }
        let used = offered.minus(&remaining);
        self.tell_offer_ended(&agent_id, &framework, &role, offered, used, batch);
        self.tell_released(&agent_id, &framework, &role, remaining, refusal, batch);
    }

    /// What an operation gets whose offers are not valid: a state for every task, and an error
    /// for an operation that has an id.
    fn drop_operation(
        &mut self,
        framework_id: &FrameworkId,
        operation: Operation,
        fault: &str,
        batch: &mut Batch<'_>,
    ) {
        let tasks = match operation.r#type() {
            Type::Launch => operation.launch.unwrap_or_default().task_infos,
            Type::LaunchGroup => {
                operation.launch_group.map(|group| group.task_group.tasks).unwrap_or_default()
            }
            _ => {
                let fault = format!("Operation attempted with invalid offers: {fault}");
                self.refuse_operation(framework_id, operation, &fault, batch);
                return;
            }
        };
        let aware = self.frameworks.get(framework_id).is_some_and(|f| f.abilities.partition_aware);
        let state = if aware { TaskState::Dropped } else { TaskState::Lost };
        let message = format!("Task launched with invalid offers: {fault}");
        for task in tasks {
            self.refuse_task(framework_id, task, state, Reason::InvalidOffers, &message, batch);
        }
    }

    /// Tells a framework that a task of it never starts. The task is not tracked.
    pub(crate) fn refuse_task(
        &mut self,
        framework_id: &FrameworkId,
        task: v1::TaskInfo,
        state: TaskState,
        reason: Reason,
        message: &str,
        batch: &mut Batch<'_>,
    ) {
        let executor = task.executor.map(|executor| executor.executor_id);
        let verdict = Verdict::new(state, reason, message);
        let status = verdict.status(task.task_id, Some(task.agent_id), executor, batch.now);
        *self.counters.ended_tasks.entry(state).or_default() += 1;
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            *framework.counters.ended_tasks.entry(state).or_default() += 1;
        }
        self.count_outcome(&status);
        self.tell_status(framework_id, status, batch);
    }
}
