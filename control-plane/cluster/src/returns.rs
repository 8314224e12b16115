//! What an agent brings along when it registers: frameworks, executors and tasks, brought together
//! with what is known of it (invariant I-2).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_link::{Order, codec};
use tepui_types::{AgentId, ExecutorId, FrameworkId, Role, TaskId, TaskState, UpdateId};
use tepui_wire::v1::{self, task_status::Reason};

use crate::Cluster;
use crate::admission::Former;
use crate::convert;
use crate::machine::Batch;
use crate::state::{Executor, Forwarded, Framework, Task, TaskDetails, like};
use crate::tasks::Verdict;
use crate::told::Told;
use crate::validate::framework::read_abilities;

impl Cluster {
    /// Frameworks that only agents know become recovered ones. Returns those that were removed.
    pub(crate) fn meet_frameworks(
        &mut self,
        frameworks: Vec<v1::FrameworkInfo>,
        batch: &mut Batch<'_>,
    ) -> BTreeSet<FrameworkId> {
        let mut completed = BTreeSet::new();
        for info in frameworks {
            let Some(id) = info.id.as_ref().and_then(|id| FrameworkId::parse(&id.value).ok())
            else {
                continue;
            };
            if self.removed.contains_key(&id) {
                completed.insert(id);
            } else if !self.frameworks.contains_key(&id) {
                self.add_recovered_framework(id, info, batch);
            }
        }
        completed
    }

    fn add_recovered_framework(
        &mut self,
        id: FrameworkId,
        info: v1::FrameworkInfo,
        batch: &mut Batch<'_>,
    ) {
        let abilities = read_abilities(&info.capabilities);
        let roles = described_roles(&info, abilities.multi_role);
        let mut framework = Framework::recovered(id.clone(), info, batch.wall());
        framework.abilities = abilities;
        framework.roles = roles;
        self.frameworks.insert(id.clone(), framework);
        self.tell_framework(&id, batch);
        self.publish_framework(&id, true, batch);
    }

    /// The agent's word on its executors replaces what was known.
    pub(crate) fn take_executors(
        &mut self,
        id: &AgentId,
        executors: Vec<v1::ExecutorInfo>,
        completed: &BTreeSet<FrameworkId>,
    ) {
        let mut all: BTreeMap<FrameworkId, BTreeMap<ExecutorId, Executor>> = BTreeMap::new();
        for info in executors {
            let Some(framework) =
                info.framework_id.as_ref().and_then(|id| FrameworkId::parse(&id.value).ok())
            else {
                continue;
            };
            let Ok(executor_id) = ExecutorId::parse(&info.executor_id.value) else { continue };
            let Ok(held) = convert::read(&info.resources) else { continue };
            let Some(known) = self.frameworks.get(&framework) else { continue };
            if completed.contains(&framework) {
                continue;
            }
            let role = role_of(known, held.allocated_to);
            let (id, resources) = (executor_id.clone(), held.resources);
            let executor = Executor { id, info: Arc::new(info), role, resources, confirmed: true };
            all.entry(framework).or_default().insert(executor_id, executor);
        }
        if let Some(agent) = self.agents.get_mut(id) {
            agent.executors = all;
        }
    }

    /// Brings the tracked tasks and the agent's together.
    pub(crate) fn take_tasks(
        &mut self,
        id: &AgentId,
        tasks: Vec<v1::Task>,
        completed: &BTreeSet<FrameworkId>,
        former: Former,
        batch: &mut Batch<'_>,
    ) {
        let mut reported: BTreeSet<(FrameworkId, TaskId)> = BTreeSet::new();
        for wire in tasks {
            let Some(task) = self.read_task(id, wire, completed) else { continue };
            let key = (task.framework.clone(), task.id.clone());
            if self.take_task_in(task, former, batch) {
                reported.insert(key);
            }
        }
        self.ask_for_missing(id, &reported, batch);
        self.give_up_parked(id, batch);
        self.send_pending_kills(id, batch);
    }

    fn read_task(
        &self,
        agent: &AgentId,
        wire: v1::Task,
        completed: &BTreeSet<FrameworkId>,
    ) -> Option<Task> {
        let framework_id = FrameworkId::parse(&wire.framework_id.value).ok()?;
        let framework = self.frameworks.get(&framework_id)?;
        if completed.contains(&framework_id) {
            return None;
        }
        let forwarded = wire.status_update_state.and_then(codec::task_state).map(|state| {
            let update = wire.status_update_uuid.as_deref().and_then(UpdateId::from_slice);
            Forwarded { state, update }
        });
        let details = TaskDetails {
            labels: wire.labels,
            discovery: wire.discovery,
            container: wire.container.as_deref().map(tepui_wire::secrets::redacted).map(Box::new),
            health_check: wire.health_check,
            kill_policy: wire.kill_policy,
            user: wire.user,
            limits: wire.limits,
            preempted_for: None,
        };
        let held = convert::read(&wire.resources).ok()?;
        let mut task = Task {
            id: TaskId::parse(&wire.task_id.value).ok()?,
            framework: framework.id.clone(),
            agent: agent.clone(),
            executor: wire.executor_id.and_then(|id| ExecutorId::parse(&id.value).ok()),
            name: wire.name,
            role: role_of(framework, held.allocated_to),
            resources: held.resources,
            state: codec::task_state(wire.state)?,
            forwarded,
            statuses: Vec::new(),
            launched: None,
            details: (details != TaskDetails::default()).then(|| Box::new(details)),
        };
        // Not collected from the wire's: that would go on in their room, which is far larger.
        let mut statuses = Vec::with_capacity(wire.statuses.len());
        statuses.extend(wire.statuses.into_iter().map(|status| Told::keep(&task, status)));
        task.statuses = statuses;
        Some(task)
    }

    /// Takes over one task that an agent has. `false` when the task's id lives on another agent:
    /// then this one is told to kill it.
    fn take_task_in(&mut self, task: Task, former: Former, batch: &mut Batch<'_>) -> bool {
        let (framework_id, task_id, agent_id) =
            (task.framework.clone(), task.id.clone(), task.agent.clone());
        let Some(framework) = self.frameworks.get_mut(&framework_id) else { return false };
        let parked = framework.take_unreachable(&task_id);
        // One look: there may be a hundred thousand.
        let place = match framework.tasks.entry(task_id.clone()) {
            Entry::Vacant(place) => place,
            Entry::Occupied(known) if known.get().agent != agent_id => {
                if let Some(agent) = self.agents.get_mut(&agent_id) {
                    batch.direct(
                        self.term,
                        agent,
                        Order::Kill { framework: framework_id, task: task_id, kill_policy: None },
                    );
                }
                return false;
            }
            Entry::Occupied(known) => {
                let known = Arc::make_mut(known.into_mut());
                // The books are made anew after this, so nothing is released here.
                if !known.state.is_terminal() && known.state.advance(task.state).is_ok() {
                    known.state = task.state;
                    if task.state.is_terminal() {
                        *framework.counters.ended_tasks.entry(task.state).or_default() += 1;
                        *self.counters.ended_tasks.entry(task.state).or_default() += 1;
                    }
                }
                known.forwarded = known.forwarded.or(task.forwarded);
                return true;
            }
        };
        let resources = like(&mut framework.shape, task.resources);
        place.insert(Arc::new(Task { resources, ..task }));
        if let Some(agent) = self.agents.get_mut(&agent_id) {
            agent.tasks.entry(framework_id.clone()).or_default().insert(task_id.clone());
        }
        self.publish_task_added(&framework_id, &task_id, batch);
        // After a change of leader every task is new here, and none was ever said to be lost.
        if former != Former::Recovered || parked.is_some() {
            self.tell_returned(&framework_id, &task_id, batch);
        }
        true
    }

    /// Tells a framework that a task it thought lost is back.
    fn tell_returned(
        &mut self,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        batch: &mut Batch<'_>,
    ) {
        let Some(task) = self.task(framework_id, task_id) else { return };
        let verdict = Verdict::new(task.state, Reason::AgentReregistered, "Agent reregistered");
        let status = task.judged(verdict, batch.now);
        self.count_outcome(&status);
        self.publish_task_updated(framework_id, &status, task_state(&status), batch);
        self.tell_status(framework_id, status, batch);
    }

    /// Tracked tasks that the agent did not name: ended ones had their acknowledgement, the
    /// others must be explained by the agent.
    fn ask_for_missing(
        &mut self,
        id: &AgentId,
        reported: &BTreeSet<(FrameworkId, TaskId)>,
        batch: &mut Batch<'_>,
    ) {
        let Some(agent) = self.agents.get(id) else { return };
        let mut missing = Vec::new();
        for (framework_id, tasks) in agent.tasks.clone() {
            let aware =
                self.frameworks.get(&framework_id).is_some_and(|f| f.abilities.partition_aware);
            for task_id in tasks {
                let key = (framework_id.clone(), task_id);
                if reported.contains(&key) {
                    continue;
                }
                let ended = self.task(&key.0, &key.1).is_some_and(|task| task.state.is_terminal());
                if ended {
                    self.complete_task(&key.0, &key.1);
                } else {
                    missing.push((key.0, key.1, aware));
                }
            }
        }
        if let Some(agent) = self.agents.get_mut(id).filter(|_| !missing.is_empty()) {
            batch.direct(self.term, agent, Order::Reconcile { tasks: missing });
        }
    }

    /// Tasks that waited for this agent and that it does not have any more: those of partition
    /// aware frameworks are gone, the others were lost from the start.
    fn give_up_parked(&mut self, agent_id: &AgentId, batch: &mut Batch<'_>) {
        let ring = self.config.max_completed_tasks;
        let mut gone = Vec::new();
        for framework in self.frameworks.values_mut() {
            let parked: Vec<TaskId> = framework
                .unreachable
                .values()
                .filter(|task| task.agent == *agent_id)
                .map(|task| task.id.clone())
                .collect();
            for id in parked {
                let Some(mut task) = framework.take_unreachable(&id) else { continue };
                if task.state == TaskState::Unreachable {
                    let verdict = Verdict::new(
                        TaskState::Gone,
                        Reason::Reconciliation,
                        "Agent returned without the task",
                    );
                    let status = task.judged(verdict, batch.now);
                    let task = Arc::make_mut(&mut task);
                    task.state = TaskState::Gone;
                    task.remember(&status);
                    *framework.counters.ended_tasks.entry(TaskState::Gone).or_default() += 1;
                    gone.push((framework.id.clone(), status));
                }
                framework.complete(task, ring);
            }
        }
        for (framework, status) in gone {
            *self.counters.ended_tasks.entry(TaskState::Gone).or_default() += 1;
            self.count_outcome(&status);
            self.publish_task_updated(&framework, &status, TaskState::Gone, batch);
            self.tell_status(&framework, status, batch);
        }
    }

    fn send_pending_kills(&mut self, id: &AgentId, batch: &mut Batch<'_>) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        for ((framework, task), kill_policy) in std::mem::take(&mut agent.pending_kills) {
            let alive = self
                .frameworks
                .get(&framework)
                .and_then(|framework| framework.tasks.get(&task))
                .is_some_and(|task| !task.state.is_terminal());
            if alive {
                batch.direct(self.term, agent, Order::Kill { framework, task, kill_policy });
            }
        }
    }
}

/// The roles in a description that was valid once; what is not a role is left out.
#[allow(deprecated)]
pub(crate) fn described_roles(info: &v1::FrameworkInfo, multi_role: bool) -> BTreeSet<Role> {
    if multi_role {
        info.roles.iter().filter_map(|role| Role::parse(role).ok()).collect()
    } else {
        Role::parse(info.role.as_deref().unwrap_or("*")).into_iter().collect()
    }
}

/// The role of what an agent reports: as it says, or the framework's only one.
fn role_of(framework: &Framework, allocated_to: Option<Role>) -> Role {
    allocated_to.or_else(|| framework.roles.first().cloned()).unwrap_or_default()
}

fn task_state(status: &v1::TaskStatus) -> TaskState {
    codec::task_state(status.state).unwrap_or(TaskState::Unknown)
}
