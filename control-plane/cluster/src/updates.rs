//! Status updates on their way from agents to frameworks, and acknowledgements back.

use tepui_link::{Order, codec};
use tepui_types::{AgentId, FrameworkId, TaskId, TaskState, UpdateId};
use tepui_wire::v1::{self, scheduler};

use crate::Cluster;
use crate::counters::judge;
use crate::machine::Batch;
use crate::reclaims::explain_preemption;
use crate::state::Forwarded;
use crate::tasks::update_event;

impl Cluster {
    /// An agent tells of a task's next state: keep the newest state, forward this one.
    pub(crate) fn update(
        &mut self,
        agent_id: &AgentId,
        framework_id: &FrameworkId,
        mut status: v1::TaskStatus,
        latest: TaskState,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.status_update += 1;
        let parsed = TaskId::parse(&status.task_id.value).ok().zip(codec::task_state(status.state));
        let valid = parsed.as_ref().is_some_and(|(_, state)| may_report(*state))
            && may_report(latest)
            && self.frameworks.contains_key(framework_id);
        let Some((task_id, state)) = parsed.filter(|_| valid) else {
            judge(&mut self.counters.validity.status_updates, false);
            self.shut_down_if_completed(agent_id, framework_id, batch);
            return;
        };
        if status.agent_id.is_none() {
            status.agent_id = Some(v1::AgentId { value: agent_id.to_string() });
        }
        let state = self.explain_drain(agent_id, framework_id, state, &mut status);
        // An update never runs ahead of the newest state.
        let latest = if state.is_terminal() { state } else { latest };
        let update = status.uuid.as_deref().and_then(UpdateId::from_slice);
        let tracked = match self.task(framework_id, &task_id) {
            Some(task) if task.agent != *agent_id => {
                self.drain_stray_update(agent_id, framework_id, task_id, update, batch);
                return;
            }
            Some(task) => {
                explain_preemption(task, state, &mut status);
                self.note_update(framework_id, &task_id, &status, latest, batch);
                self.note_executor(framework_id, &task_id, &status, state, batch);
                true
            }
            None => false,
        };
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let connected = framework.is_connected();
        judge(&mut self.counters.validity.status_updates, connected && tracked);
        if !connected {
            return;
        }
        if let Some(task) = framework.task_mut(&task_id) {
            task.forwarded = Some(Forwarded { state, update });
        }
        batch.send(framework, update_event(status));
    }

    fn note_update(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        status: &v1::TaskStatus,
        latest: TaskState,
        batch: &mut Batch<'_>,
    ) {
        self.advance_task(framework_id, task_id, latest, batch);
        let repeated = self
            .task(framework_id, task_id)
            .and_then(|task| task.statuses.last())
            .is_some_and(|last| last.is_update(status.uuid.as_deref()));
        if !repeated {
            self.note_status(framework_id, task_id, status, batch);
        }
    }

    /// A task's update says something of its custom executor: that it runs, or that it never will
    /// because the agent refused its last task. In the latter case no exit is told, so what the
    /// executor would have held is free now (invariant I-4).
    fn note_executor(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        status: &v1::TaskStatus,
        state: TaskState,
        batch: &mut Batch<'_>,
    ) {
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let Some(task) = framework.tasks.get(task_id) else { return };
        let Some(executor_id) = task.executor.clone() else { return };
        let agent_id = task.agent.clone();
        let Some(agent) = self.agents.get_mut(&agent_id) else { return };
        let Some(executors) = agent.executors.get_mut(framework_id) else { return };
        let Some(executor) = executors.get_mut(&executor_id).filter(|one| !one.confirmed) else {
            return;
        };
        let by_agent = status.source == Some(v1::task_status::Source::Agent.into());
        let refused = by_agent && state.is_terminal() && state != TaskState::Killed;
        if !refused {
            executor.confirmed = !by_agent || !state.is_terminal();
            return;
        }
        let waits = agent.tasks.get(framework_id).into_iter().flatten().any(|task| {
            framework.tasks.get(task).is_some_and(|task| {
                task.executor.as_ref() == Some(&executor_id) && !task.state.is_terminal()
            })
        });
        if !waits {
            self.forget_executor(&agent_id, framework_id, &executor_id, batch);
        }
    }

    /// An agent runs a task whose id lives elsewhere: it was told to kill it, and its updates are
    /// nobody's, so they are acknowledged here and end.
    fn drain_stray_update(
        &mut self,
        agent_id: &AgentId,
        framework: &FrameworkId,
        task: TaskId,
        update: Option<UpdateId>,
        batch: &mut Batch<'_>,
    ) {
        judge(&mut self.counters.validity.status_updates, false);
        if let (Some(agent), Some(update)) = (self.agents.get_mut(agent_id), update) {
            let order = Order::Acknowledge { framework: framework.clone(), task, update };
            batch.direct(self.term, agent, order);
        }
    }

    /// Tells an agent that still works for a removed framework to stop.
    pub(crate) fn shut_down_if_completed(
        &mut self,
        agent_id: &AgentId,
        framework: &FrameworkId,
        batch: &mut Batch<'_>,
    ) {
        if self.removed.contains_key(framework) {
            self.order_shutdown(agent_id, framework, batch);
        }
    }

    /// ACKNOWLEDGE (`spec/mesos-http.md` 5.4).
    pub(crate) fn acknowledge(
        &mut self,
        framework_id: &FrameworkId,
        call: &scheduler::call::Acknowledge,
        update: UpdateId,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.status_update_acknowledgement += 1;
        let valid = self.accept_acknowledgement(framework_id, call, update, batch);
        judge(&mut self.counters.validity.status_update_acknowledgements, valid.is_some());
        if valid.is_none() {
            self.counters.messages.dropped += 1;
        }
    }

    fn accept_acknowledgement(
        &mut self,
        framework_id: &FrameworkId,
        call: &scheduler::call::Acknowledge,
        update: UpdateId,
        batch: &mut Batch<'_>,
    ) -> Option<()> {
        let task_id = TaskId::parse(&call.task_id.value).ok()?;
        let agent = self.agents.get(&*call.agent_id.value).filter(|agent| agent.is_connected())?;
        let agent_id = agent.id.clone();
        if let Some(task) = self.task(framework_id, &task_id) {
            let forwarded = task.forwarded.filter(|_| task.agent == agent_id)?;
            if forwarded.state.is_terminal() && forwarded.update == Some(update) {
                self.advance_task(framework_id, &task_id, forwarded.state, batch);
                self.complete_task(framework_id, &task_id);
            }
        }
        let agent = self.agents.get_mut(&agent_id)?;
        let framework = framework_id.clone();
        batch.direct(self.term, agent, Order::Acknowledge { framework, task: task_id, update });
        Some(())
    }
}

/// States that an agent may tell of; the others are the control plane's own.
fn may_report(state: TaskState) -> bool {
    !matches!(state, TaskState::Unreachable | TaskState::GoneByOperator | TaskState::Unknown)
}
