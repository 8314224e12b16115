//! A task's way through the states, and out of the lists.

use std::sync::Arc;

use tepui_types::{AgentId, ExecutorId, FrameworkId, Now, TaskId, TaskState, Wall};
use tepui_wire::v1::{self, scheduler, task_status};

use crate::Cluster;
use crate::counters::TaskOutcome;
use crate::machine::Batch;
use crate::state::{Framework, Task};
use crate::told::Told;
use crate::view::{wire_agent, wire_executor, wire_task, wire_time};

/// A status that the control plane itself makes: without an id, so it is not acknowledged.
pub(crate) struct Verdict {
    pub(crate) state: TaskState,
    pub(crate) reason: task_status::Reason,
    pub(crate) message: Option<String>,
}

impl Verdict {
    pub(crate) fn new(state: TaskState, reason: task_status::Reason, message: &str) -> Self {
        Self { state, reason, message: Some(message.to_owned()) }
    }

    /// The status as the framework gets it.
    pub(crate) fn status(
        self,
        task: v1::TaskId,
        agent: Option<v1::AgentId>,
        executor: Option<v1::ExecutorId>,
        now: Now,
    ) -> v1::TaskStatus {
        v1::TaskStatus {
            task_id: task,
            state: tepui_link::codec::wire_state(self.state).into(),
            message: self.message,
            source: Some(task_status::Source::Master.into()),
            reason: Some(self.reason.into()),
            agent_id: agent,
            executor_id: executor,
            timestamp: Some(now.wall.as_secs_f64()),
            ..v1::TaskStatus::default()
        }
    }
}

/// The event that carries a status.
pub(crate) fn update_event(status: v1::TaskStatus) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(scheduler::event::Type::Update.into()),
        update: Some(scheduler::event::Update { status }),
        ..scheduler::Event::default()
    }
}

impl Task {
    /// Keeps a status: a run of equal states is one entry, and data is not kept.
    pub(crate) fn remember(&mut self, status: &v1::TaskStatus) {
        let kept = Told::keep(self, status.clone());
        match self.statuses.last_mut() {
            Some(last) if last.state() == kept.state() => *last = kept,
            _ => {
                // Most tasks have one or two.
                self.statuses.reserve_exact(1);
                self.statuses.push(kept);
            }
        }
    }

    /// The task's place as wire ids.
    pub(crate) fn wire_place(&self) -> (v1::TaskId, Option<v1::AgentId>, Option<v1::ExecutorId>) {
        let executor: Option<&ExecutorId> = self.executor.as_ref();
        (wire_task(&self.id), Some(wire_agent(&self.agent)), executor.map(wire_executor))
    }

    /// The status that the control plane gives this task.
    pub(crate) fn judged(&self, verdict: Verdict, now: Now) -> v1::TaskStatus {
        let (task, agent, executor) = self.wire_place();
        verdict.status(task, agent, executor, now)
    }
}

impl Framework {
    /// Puts an ended task into the ring of completed ones.
    pub(crate) fn complete(&mut self, task: Arc<Task>, ring: usize) {
        self.completed.push_back(task);
        while self.completed.len() > ring {
            self.completed.pop_front();
        }
    }

    /// Puts a task into the list of those on unreachable agents.
    pub(crate) fn set_unreachable(&mut self, task: Arc<Task>, ring: usize) {
        self.unreachable_order.retain(|id| *id != task.id);
        self.unreachable_order.push_back(task.id.clone());
        self.unreachable.insert(task.id.clone(), task);
        while self.unreachable_order.len() > ring {
            if let Some(oldest) = self.unreachable_order.pop_front() {
                self.unreachable.remove(&oldest);
            }
        }
    }

    /// Takes a task out of the list of those on unreachable agents.
    pub(crate) fn take_unreachable(&mut self, task: &TaskId) -> Option<Arc<Task>> {
        let found = self.unreachable.remove(task)?;
        self.unreachable_order.retain(|id| id != task);
        Some(found)
    }
}

impl Cluster {
    /// Moves a tracked task to a newer state. When that ends it, its resources are free. `false`
    /// when the step is not legal; a task that ended stays what it is (invariant I-10).
    pub(crate) fn advance_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        to: TaskState,
        batch: &mut Batch<'_>,
    ) -> bool {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return false };
        let known = framework.tasks.get_mut(task_id);
        let Some(task) = known.map(Arc::make_mut) else { return false };
        if task.state.is_terminal() || task.state.advance(to).is_err() {
            return false;
        }
        task.state = to;
        if to == TaskState::Running
            && let Some(launched) = task.launched.take()
        {
            self.counters.placements.record(batch.now.mono.since(launched));
        }
        if to.is_terminal() {
            *framework.counters.ended_tasks.entry(to).or_default() += 1;
            *self.counters.ended_tasks.entry(to).or_default() += 1;
            let (agent, role) = (task.agent.clone(), task.role.clone());
            let resources = task.resources.clone();
            self.release_used(&agent, framework_id, &role, &resources, batch);
        }
        true
    }

    /// Takes a task out of the tracked ones; its resources were given back when it ended.
    pub(crate) fn take_task(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
    ) -> Option<Arc<Task>> {
        let found = self.frameworks.get_mut(framework)?.tasks.remove(task)?;
        if let Some(agent) = self.agents.get_mut(&found.agent)
            && let Some(tasks) = agent.tasks.get_mut(framework)
        {
            tasks.remove(task);
            if tasks.is_empty() {
                agent.tasks.remove(framework);
            }
        }
        Some(found)
    }

    /// Takes an ended task out of the tracked ones and remembers it.
    pub(crate) fn complete_task(&mut self, framework: &FrameworkId, task: &TaskId) {
        let Some(found) = self.take_task(framework, task) else { return };
        let ring = self.config.max_completed_tasks;
        if let Some(framework) = self.frameworks.get_mut(framework) {
            framework.complete(found, ring);
        }
    }

    /// Counts that a task came to a state from a source for a reason.
    pub(crate) fn count_outcome(&mut self, status: &v1::TaskStatus) {
        let Some(state) = tepui_link::codec::task_state(status.state) else { return };
        let (Some(source), Some(reason)) = (status.source, status.reason) else { return };
        *self.counters.outcomes.entry(TaskOutcome { state, source, reason }).or_default() += 1;
    }

    /// Sends a status that the control plane made to a framework.
    pub(crate) fn tell_status(
        &mut self,
        framework: &FrameworkId,
        status: v1::TaskStatus,
        batch: &mut Batch<'_>,
    ) {
        if let Some(framework) = self.frameworks.get_mut(framework) {
            batch.send(framework, update_event(status));
        }
    }

    /// Ends a tracked task by the control plane's own decision: the framework is told, operators
    /// are told, and the task is remembered as completed.
    pub(crate) fn end_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        verdict: Verdict,
        batch: &mut Batch<'_>,
    ) {
        let state = verdict.state;
        let now = batch.now;
        let Some(task) = self.task(framework_id, task_id) else { return };
        if task.state.is_terminal() {
            self.complete_task(framework_id, task_id);
            return;
        }
        let status = task.judged(verdict, now);
        self.advance_task(framework_id, task_id, state, batch);
        self.note_status(framework_id, task_id, &status, batch);
        self.complete_task(framework_id, task_id);
        self.tell_status(framework_id, status, batch);
    }

    /// Keeps a status with its tracked task, counts it and shows it to operators.
    pub(crate) fn note_status(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        status: &v1::TaskStatus,
        batch: &mut Batch<'_>,
    ) {
        self.count_outcome(status);
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let known = framework.tasks.get_mut(task_id);
        let Some(task) = known.map(Arc::make_mut) else { return };
        let end =
            |state: i32| tepui_link::codec::task_state(state).filter(|state| state.is_terminal());
        let before = task.statuses.last().and_then(|last| end(last.state()));
        if let Some(state) = end(status.state).filter(|_| before.is_none()) {
            *self.counters.exits.entry((state, status.reason)).or_default() += 1;
        }
        task.remember(status);
        let state = task.state;
        self.publish_task_updated(framework_id, status, state, batch);
    }

    /// Ends or parks every task of an agent that leaves. With `unreachable` set the tasks may come
    /// back and go to their frameworks' lists of unreachable ones.
    pub(crate) fn lose_agent_tasks(
        &mut self,
        agent_id: &AgentId,
        loss: Loss,
        batch: &mut Batch<'_>,
    ) {
        let Some(agent) = self.agents.get(agent_id) else { return };
        for (framework_id, tasks) in agent.tasks.clone() {
            let aware =
                self.frameworks.get(&framework_id).is_some_and(|f| f.abilities.partition_aware);
            for task_id in tasks {
                match loss {
                    Loss::Unreachable { since } => {
                        self.park_task(&framework_id, &task_id, aware, since, batch);
                    }
                    Loss::Gone => {
                        self.end_task(&framework_id, &task_id, gone_verdict(aware), batch);
                    }
                    Loss::Removed(message) => {
                        let reason = task_status::Reason::AgentRemoved;
                        let verdict = Verdict::new(TaskState::Lost, reason, message);
                        self.end_task(&framework_id, &task_id, verdict, batch);
                    }
                }
            }
        }
    }

    fn park_task(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        partition_aware: bool,
        since: Wall,
        batch: &mut Batch<'_>,
    ) {
        let Some(task) = self.task(framework_id, task_id) else { return };
        if task.state.is_terminal() {
            self.complete_task(framework_id, task_id);
            return;
        }
        let state = if partition_aware { TaskState::Unreachable } else { TaskState::Lost };
        let (agent, role) = (task.agent.clone(), task.role.clone());
        let resources = task.resources.clone();
        let verdict = Verdict::new(
            state,
            task_status::Reason::AgentRemoved,
            &format!("Agent {} is unreachable", task.agent),
        );
        let mut status = task.judged(verdict, batch.now);
        status.unreachable_time = Some(wire_time(since));
        if let Some(framework) = self.frameworks.get_mut(framework_id)
            && let Some(task) = framework.tasks.get_mut(task_id).map(Arc::make_mut)
        {
            task.state = state;
            if state.is_terminal() {
                *framework.counters.ended_tasks.entry(state).or_default() += 1;
                *self.counters.ended_tasks.entry(state).or_default() += 1;
            }
        }
        self.note_status(framework_id, task_id, &status, batch);
        let ring = self.config.max_unreachable_tasks;
        if let Some(task) = self.take_task(framework_id, task_id)
            && let Some(framework) = self.frameworks.get_mut(framework_id)
        {
            framework.set_unreachable(task, ring);
        }
        self.release_used(&agent, framework_id, &role, &resources, batch);
        self.tell_status(framework_id, status, batch);
    }
}

/// How an agent leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It does not answer.
    Unreachable {
        /// Since when.
        since: Wall,
    },
    /// An operator declared it gone.
    Gone,
    /// It said goodbye, or another one took its place; the text says which.
    Removed(&'static str),
}

/// What becomes of a task whose agent an operator declared gone.
pub(crate) fn gone_verdict(partition_aware: bool) -> Verdict {
    let state = if partition_aware { TaskState::GoneByOperator } else { TaskState::Lost };
    Verdict::new(
        state,
        task_status::Reason::AgentRemovedByOperator,
        "Agent has been marked gone by an operator",
    )
}
