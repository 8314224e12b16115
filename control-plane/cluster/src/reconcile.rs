//! RECONCILE and RECONCILE_OPERATIONS (`spec/mesos-http.md` 1.7). Answers are updates without an
//! id.

use tepui_types::{AgentId, FrameworkId, Now, TaskId, TaskState, Wall};
use tepui_wire::v1::{self, scheduler, task_status};

use crate::Cluster;
use crate::machine::Batch;
use crate::state::Task;
use crate::tasks::{Verdict, update_event};
use crate::view::wire_time;

impl Cluster {
    pub(crate) fn reconcile(
        &mut self,
        framework_id: &FrameworkId,
        call: &scheduler::call::Reconcile,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.reconcile_tasks += 1;
        if !call.tasks.is_empty() {
            for task in &call.tasks {
                self.reconcile_one(framework_id, task, batch);
            }
            return;
        }
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let answers: Vec<_> =
            framework.tasks.values().map(|task| known_status(task, batch.now)).collect();
        for status in answers {
            batch.send(framework, update_event(status));
        }
    }

    /// Answers one entry of an explicit reconciliation; no answer while an agent that might know
    /// the task has not come back since the change of leader (invariant I-40).
    pub(crate) fn reconcile_one(
        &mut self,
        framework_id: &FrameworkId,
        asked: &scheduler::call::reconcile::Task,
        batch: &mut Batch<'_>,
    ) {
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let task = TaskId::parse(&asked.task_id.value).ok();
        let tracked = task.as_ref().and_then(|task| framework.tasks.get(task));
        let status = match tracked {
            Some(task) => known_status(task, batch.now),
            None => {
                let agent = asked.agent_id.as_ref();
                let parked = task.as_ref().and_then(|task| framework.unreachable.get(task));
                let named = agent
                    .map(|agent| agent.value.as_str())
                    .or_else(|| parked.map(|task| task.agent.as_str()));
                let Some((state, since)) = self.presumed_state(named) else { return };
                let state = fit_state(state, framework.abilities.partition_aware);
                let verdict = Verdict::new(
                    state,
                    task_status::Reason::Reconciliation,
                    "Reconciliation: task is not known",
                );
                let agent = named.map(|value| v1::AgentId { value: value.to_owned() });
                let mut status = verdict.status(asked.task_id.clone(), agent, None, batch.now);
                status.unreachable_time = since.map(wire_time);
                status
            }
        };
        self.tell_status(framework_id, status, batch);
    }

    /// What a task that is not tracked must be, from the agent it is said to be on; `None` when
    /// that cannot be said yet.
    fn presumed_state(&self, agent: Option<&str>) -> Option<(TaskState, Option<Wall>)> {
        let Some(agent) = agent else {
            return self.recovered.is_empty().then_some((TaskState::Unknown, None));
        };
        if self.recovered.contains_key(agent) {
            return None;
        }
        if self.agents.contains_key(agent) {
            return Some((TaskState::Gone, None));
        }
        if let Some(departed) = self.unreachable.get(agent) {
            return Some((TaskState::Unreachable, Some(departed.since)));
        }
        if self.gone.contains_key(agent) {
            return Some((TaskState::GoneByOperator, None));
        }
        Some((TaskState::Unknown, None))
    }

    /// No operation is ever known here, so the answer follows from the agent alone.
    pub(crate) fn reconcile_operations(
        &mut self,
        framework_id: &FrameworkId,
        call: &scheduler::call::ReconcileOperations,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.reconcile_operations += 1;
        for asked in &call.operations {
            let state = self.presumed_operation(asked.agent_id.as_ref());
            let status = v1::OperationStatus {
                operation_id: Some(asked.operation_id.clone()),
                state: state.into(),
                agent_id: asked.agent_id.clone(),
                resource_provider_id: asked.resource_provider_id.clone(),
                ..v1::OperationStatus::default()
            };
            self.tell_operation(framework_id, status, batch);
        }
    }

    fn presumed_operation(&self, agent: Option<&v1::AgentId>) -> v1::OperationState {
        let Some(agent) = agent.and_then(|agent| AgentId::parse(&agent.value).ok()) else {
            return v1::OperationState::OperationUnknown;
        };
        if self.recovered.contains_key(&agent) {
            v1::OperationState::OperationRecovering
        } else if self.unreachable.contains_key(&agent) {
            v1::OperationState::OperationUnreachable
        } else if self.gone.contains_key(&agent) {
            v1::OperationState::OperationGoneByOperator
        } else {
            v1::OperationState::OperationUnknown
        }
    }
}

/// Frameworks that are not partition aware know one word for all of these.
fn fit_state(state: TaskState, partition_aware: bool) -> TaskState {
    if partition_aware { state } else { TaskState::Lost }
}

/// The answer for a tracked task: the state of the last update that the framework was sent, with
/// the current health and container, without what belongs to one update alone.
fn known_status(task: &Task, now: Now) -> v1::TaskStatus {
    let state = task.forwarded.map_or(task.state, |forwarded| forwarded.state);
    let mut status = task.judged(
        Verdict::new(
            state,
            task_status::Reason::Reconciliation,
            "Reconciliation: Latest task state",
        ),
        now,
    );
    if let Some(last) = task.statuses.last() {
        let last = last.to_wire(task);
        status.healthy = last.healthy;
        status.check_status = last.check_status;
        status.container_status = last.container_status;
    }
    status
}
