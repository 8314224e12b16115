//! Agents register: new ones, ones that come back, and ones that are not wanted
//! (`spec/mesos-http.md` 6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_allocator::{Epoch, Input};
use tepui_link::{Directive, Order, Registration, codec};
use tepui_types::{
    AgentId, ExecutorId, FrameworkId, LinkId, Resources, Role, TaskId, TaskState, UpdateId,
};
use tepui_wire::v1::{self, task_status::Reason};

use crate::convert;
use crate::machine::Batch;
use crate::state::{Agent, Executor, Forwarded, Framework, Link, Task, TaskDetails};
use crate::tasks::{Loss, Verdict};
use crate::timers::Timer;
use crate::validate::framework::read_abilities;
use crate::view::wire_agent;
use crate::{Cluster, Effect};

/// How many ids are saved as taken at once.
const ID_BLOCK: u64 = 64;

/// Why an agent is not admitted.
enum Refused {
    /// It must end its work and not come back under this id.
    Shutdown(String),
    /// It may try again later.
    Later,
}

/// Where an agent with an id was before it registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Former {
    /// It never was here.
    New,
    /// It is part of the cluster in this term.
    Present,
    /// It is in the registry and comes back after a change of leader.
    Recovered,
    /// It was given up, or removed: its frameworks think that its tasks are lost.
    Lost,
}

impl Cluster {
    pub(crate) fn register(
        &mut self,
        link: LinkId,
        registration: Registration,
        batch: &mut Batch<'_>,
    ) {
        // The same registration twice on one link is one registration (invariant I-46).
        if self.links.contains_key(&link) {
            return;
        }
        if registration.agent.is_some() {
            self.counters.messages.reregister_agent += 1;
        } else {
            self.counters.messages.register_agent += 1;
        }
        match self.check_registration(&registration, batch) {
            Ok((total, former)) => self.admit(link, registration, total, former, batch),
            Err(Refused::Later) => batch.push(Effect::CloseLink { link }),
            Err(Refused::Shutdown(reason)) => {
                let order = Order::Shutdown { reason };
                let directive = Box::new(Directive { term: self.term, generation: 1, order });
                batch.push(Effect::ToAgent { link, directive });
                batch.push(Effect::CloseLink { link });
            }
        }
    }

    /// What the agent has and where it comes from, when it may come in. An older agent whose
    /// place it takes is removed.
    fn check_registration(
        &mut self,
        registration: &Registration,
        batch: &mut Batch<'_>,
    ) -> Result<(Resources, Former), Refused> {
        if registration.term > self.term {
            // It follows a newer leader: this one has been succeeded and must not give orders.
            return Err(Refused::Later);
        }
        let info = &registration.info;
        if info.hostname.is_empty() {
            return Err(Refused::Shutdown("'AgentInfo.hostname' must not be empty".into()));
        }
        let total = convert::read(&info.resources)
            .map_err(|error| Refused::Shutdown(format!("Invalid agent resources: {error}")))?
            .resources;
        let former = match &registration.agent {
            None => Former::New,
            Some(id) => self.check_return(id, registration)?,
        };
        self.vacate_address(registration, batch)?;
        Ok((total, former))
    }

    fn check_return(&self, id: &AgentId, registration: &Registration) -> Result<Former, Refused> {
        if self.gone.contains_key(id) {
            return Err(Refused::Shutdown("Agent has been marked gone".into()));
        }
        let same_address = |info: &v1::AgentInfo| {
            info.hostname == registration.info.hostname && info.port() == registration.info.port()
        };
        if let Some(agent) = self.agents.get(id) {
            if !same_address(&agent.info) {
                let how = if agent.is_connected() { "is in use by" } else { "belongs to" };
                return Err(Refused::Shutdown(format!(
                    "Agent id {id} {how} another agent at {}:{}",
                    agent.info.hostname,
                    agent.info.port()
                )));
            }
            return Ok(Former::Present);
        }
        if let Some(agent) = self.recovered.get(id) {
            if !same_address(&agent.info) {
                return Err(Refused::Shutdown(format!(
                    "Agent {id} re-registered from another address than {}:{}",
                    agent.info.hostname,
                    agent.info.port()
                )));
            }
            return Ok(Former::Recovered);
        }
        Ok(Former::Lost)
    }

    /// Makes room at the agent's address. A disconnected agent there, or one that has nothing to
    /// do, is replaced; a connected one at work stays and the newcomer waits.
    fn vacate_address(
        &mut self,
        registration: &Registration,
        batch: &mut Batch<'_>,
    ) -> Result<(), Refused> {
        let address = (registration.info.hostname.clone(), registration.info.port());
        let Some(holder) = self.addresses.get(&address).cloned() else { return Ok(()) };
        if registration.agent.as_ref() == Some(&holder) {
            return Ok(());
        }
        let Some(agent) = self.agents.get(&holder) else { return Ok(()) };
        if agent.is_connected() && !agent.tasks.is_empty() {
            return Err(Refused::Later);
        }
        self.counters.agents.removed_registered += 1;
        self.remove_agent(&holder, Loss::Removed("a new agent registered at its address"), batch);
        Ok(())
    }

    fn next_agent_id(&mut self, batch: &mut Batch<'_>) -> AgentId {
        loop {
            let number = self.next.agent;
            self.next.agent += 1;
            if number >= self.next.agents_saved {
                self.next.agents_saved = number + ID_BLOCK;
                self.save_counters(batch);
            }
            let id = AgentId::parse(&format!("{}-S{number}", self.leader_id))
                .expect("a UUID, a dash, a letter and digits are an id");
            let taken = self.agents.contains_key(&id)
                || self.recovered.contains_key(&id)
                || self.unreachable.contains_key(&id)
                || self.gone.contains_key(&id);
            if !taken {
                return id;
            }
        }
    }

    fn admit(
        &mut self,
        link: LinkId,
        registration: Registration,
        total: Resources,
        former: Former,
        batch: &mut Batch<'_>,
    ) {
        let Registration { agent, mut info, boot, version, frameworks, executors, tasks, .. } =
            registration;
        let id = agent.unwrap_or_else(|| self.next_agent_id(batch));
        info.id = Some(wire_agent(&id));
        let info = Arc::new(info);
        if former == Former::Present {
            self.cut_link(&id, batch);
            batch.tell_allocator(Input::AgentRemoved(id.clone()));
        }
        let deactivated = self.former_deactivation(&id);
        self.recovered.remove(&id);
        self.unreachable.remove(&id);
        let now = batch.now;
        let agent = self
            .agents
            .entry(id.clone())
            .or_insert_with(|| Agent::blank(id.clone(), info.clone(), now));
        agent.info = info;
        agent.version = version;
        agent.boot = boot;
        agent.total = total;
        agent.deactivated = deactivated;
        agent.reregistered = (former != Former::New).then_some(now.wall);
        agent.last_heard = now.mono;
        agent.doomed = None;
        agent.link = Some(Link { id: link, sent: 0, unconfirmed: None });
        self.links.insert(link, id.clone());
        self.addresses.insert(address_of(&self.agents[&id]), id.clone());
        if let Some(record) = self.agent_record(&id) {
            batch.push(Effect::Save(record));
        }
        self.send_registered(&id, batch);
        let completed = self.meet_frameworks(frameworks, batch);
        self.take_executors(&id, executors, &completed);
        self.take_tasks(&id, tasks, &completed, former, batch);
        for framework in completed {
            if let Some(agent) = self.agents.get_mut(&id) {
                batch.direct(self.term, agent, Order::ShutdownFramework { framework });
            }
        }
        self.rebook(&id);
        self.tell_agent_added(&id, batch);
        self.set_timer(now.mono + self.config.patience, Timer::Agent(id.clone()));
        if former == Former::New {
            self.counters.agents.registrations += 1;
        } else {
            self.counters.agents.reregistrations += 1;
        }
        if former != Former::Present {
            self.publish_agent_added(&id, batch);
        }
    }

    fn former_deactivation(&self, id: &AgentId) -> bool {
        self.agents.get(id).is_some_and(|agent| agent.deactivated)
            || self.recovered.get(id).is_some_and(|agent| agent.deactivated)
            || self.unreachable.get(id).is_some_and(|agent| agent.deactivated)
    }

    fn send_registered(&mut self, id: &AgentId, batch: &mut Batch<'_>) {
        let (heartbeat, patience) = (self.config.heartbeat, self.config.patience);
        if let Some(agent) = self.agents.get_mut(id) {
            let order = Order::Registered { agent: id.clone(), heartbeat, patience };
            batch.direct(self.term, agent, order);
        }
    }

    /// Frameworks that only agents know become recovered ones. Returns those that were removed.
    fn meet_frameworks(
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
            if self.completed.iter().any(|one| one.id == id) {
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
    fn take_executors(
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
            let executor = Executor { id, info: Arc::new(info), role, resources };
            all.entry(framework).or_default().insert(executor_id, executor);
        }
        if let Some(agent) = self.agents.get_mut(id) {
            agent.executors = all;
        }
    }

    /// Brings the tracked tasks and the agent's together.
    fn take_tasks(
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
            container: wire.container,
            health_check: wire.health_check,
            kill_policy: wire.kill_policy,
            user: wire.user,
            limits: wire.limits,
        };
        let held = convert::read(&wire.resources).ok()?;
        Some(Task {
            id: TaskId::parse(&wire.task_id.value).ok()?,
            framework: framework_id,
            agent: agent.clone(),
            executor: wire.executor_id.and_then(|id| ExecutorId::parse(&id.value).ok()),
            name: wire.name,
            role: role_of(framework, held.allocated_to),
            resources: held.resources,
            state: codec::task_state(wire.state)?,
            forwarded,
            statuses: wire.statuses,
            details: (details != TaskDetails::default()).then(|| Box::new(details)),
        })
    }

    /// Takes over one task that an agent has. `false` when the task's id lives on another agent:
    /// then this one is told to kill it.
    fn take_task_in(&mut self, task: Task, former: Former, batch: &mut Batch<'_>) -> bool {
        let (framework_id, task_id, agent_id) =
            (task.framework.clone(), task.id.clone(), task.agent.clone());
        let Some(framework) = self.frameworks.get_mut(&framework_id) else { return false };
        let parked = framework.take_unreachable(&task_id);
        if let Some(known) = framework.tasks.get_mut(&task_id) {
            if known.agent != agent_id {
                if let Some(agent) = self.agents.get_mut(&agent_id) {
                    batch.direct(
                        self.term,
                        agent,
                        Order::Kill { framework: framework_id, task: task_id, kill_policy: None },
                    );
                }
                return false;
            }
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
        framework.tasks.insert(task_id.clone(), task);
        if let Some(agent) = self.agents.get_mut(&agent_id) {
            agent.tasks.entry(framework_id.clone()).or_default().insert(task_id.clone());
        }
        self.publish_task_added(&framework_id, &task_id, batch);
        if former == Former::Lost || parked.is_some() {
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

impl Agent {
    fn blank(id: AgentId, info: Arc<v1::AgentInfo>, now: tepui_types::Now) -> Self {
        Self {
            id,
            info,
            version: String::new(),
            boot: None,
            total: Resources::new(),
            offered: Resources::new(),
            used: Resources::new(),
            free: Resources::new(),
            overbooked: false,
            link: None,
            deactivated: false,
            registered: now.wall,
            reregistered: None,
            last_heard: now.mono,
            doomed: None,
            epoch: Epoch::default(),
            added_epoch: Epoch::default(),
            tasks: BTreeMap::new(),
            executors: BTreeMap::new(),
            offers: BTreeSet::new(),
            pending_kills: BTreeMap::new(),
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

pub(crate) fn address_of(agent: &Agent) -> (String, i32) {
    (agent.info.hostname.clone(), agent.info.port())
}

fn task_state(status: &v1::TaskStatus) -> TaskState {
    codec::task_state(status.state).unwrap_or(TaskState::Unknown)
}
