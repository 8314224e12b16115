//! Simulated frameworks: they speak the production API and behave well, badly, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use tepui_leader::Event;
use tepui_link::codec::task_state;
use tepui_types::{
    FrameworkId, Mono, Ranges, RequestId, Resource, ResourceName, Resources, Scalar, Span,
    StreamId, TaskState, Value,
};
use tepui_wire::resources::{Format, decode, encode};
use tepui_wire::v1::offer::{Operation, operation};
use tepui_wire::v1::scheduler::{Call, call, event};
use tepui_wire::v1::{self, executor_info, scheduler};

use crate::control::Asker;
use crate::executor::NEEDS;
use crate::faults::Fault;
use crate::host::EXECUTOR;
use crate::queue::{Action, Life};
use crate::run::parse;
use crate::sharing::Jobs;
use crate::world::{Phase, World};

/// What kind of framework it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Launches what it wants, declines the rest, acknowledges.
    Worker,
    /// Takes every offer and answers none.
    Hoarder,
    /// Declines everything at once and for no time.
    Refuser,
    /// Launches, and never acknowledges while faults happen.
    Mute,
}

/// What a framework knows of one of its tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) agent: String,
    pub(crate) state: Option<TaskState>,
    pub(crate) heard: u64,
    /// When the control plane answered 202 to its launch.
    pub(crate) promised: Option<Mono>,
    kill: bool,
}

impl Known {
    pub(crate) fn is_over(&self) -> bool {
        self.state.is_some_and(TaskState::is_terminal)
    }
}

/// A framework.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) name: String,
    pub(crate) behaviour: Behaviour,
    pub(crate) role: String,
    pub(crate) partition_aware: bool,
    /// It takes revocable resources.
    pub(crate) revocable: bool,
    /// Tasks it wants to have running.
    pub(crate) wants: usize,
    pub(crate) commands: Vec<String>,
    pub(crate) life: Life,
    pub(crate) id: Option<FrameworkId>,
    pub(crate) stream: Option<StreamId>,
    pub(crate) tasks: BTreeMap<String, Known>,
    pub(crate) offers: BTreeSet<String>,
    /// It kills what it has, and wants nothing more.
    pub(crate) ends_work: bool,
    /// It asks for its own end, until it is told that it was removed; then another one begins.
    leaves: bool,
    next_task: u64,
    last_call: Mono,
    /// The jobs that it runs, when it does that and nothing else.
    pub(crate) jobs: Option<Box<Jobs>>,
    /// Offers that it keeps until a whole gang can start.
    pub(crate) kept: Vec<v1::Offer>,
    /// It asked for offers, and did not take that back.
    pub(crate) wants_offers: bool,
}

/// How often a framework looks after its affairs.
const STEP: (u64, u64) = (400, 1500);

impl Scheduler {
    pub(crate) fn new(name: &str, behaviour: Behaviour, wants: usize) -> Self {
        Self {
            name: name.to_owned(),
            behaviour,
            role: "*".to_owned(),
            partition_aware: true,
            revocable: false,
            wants,
            commands: ["forever", "sleep 2000", "sleep 9000", "exit 1", "forever stubborn"]
                .map(str::to_owned)
                .to_vec(),
            life: Life::default(),
            id: None,
            stream: None,
            tasks: BTreeMap::new(),
            offers: BTreeSet::new(),
            ends_work: false,
            leaves: false,
            next_task: 0,
            last_call: Mono::default(),
            jobs: None,
            kept: Vec::new(),
            wants_offers: true,
        }
    }

    fn live(&self) -> usize {
        self.tasks.values().filter(|task| !task.is_over()).count()
    }

    fn info(&self) -> v1::FrameworkInfo {
        use v1::framework_info::{Capability, capability::Type};
        let mut kinds = vec![Type::MultiRole, Type::TaskKillingState];
        if self.partition_aware {
            kinds.push(Type::PartitionAware);
        }
        if self.revocable {
            kinds.push(Type::RevocableResources);
        }
        v1::FrameworkInfo {
            user: "root".to_owned(),
            name: self.name.clone(),
            id: self.wire_id(),
            failover_timeout: Some(3600.0),
            checkpoint: Some(true),
            roles: vec![self.role.clone()],
            capabilities: kinds
                .into_iter()
                .map(|kind| Capability { r#type: Some(kind.into()) })
                .collect(),
            ..v1::FrameworkInfo::default()
        }
    }

    fn wire_id(&self) -> Option<v1::FrameworkId> {
        self.id.as_ref().map(|id| v1::FrameworkId { value: id.to_string() })
    }
}

fn is_from_agent(status: &v1::TaskStatus) -> bool {
    status.uuid.is_some()
}

impl World {
    /// The framework's process starts, or tries again to subscribe.
    pub(crate) fn scheduler_starts(&mut self, scheduler: usize) {
        let this = &mut self.schedulers[scheduler];
        this.life.0 += 1;
        this.stream = None;
        this.offers.clear();
        this.kept.clear();
        this.wants_offers = true;
        let (life, id, info) = (this.life, this.wire_id(), this.info());
        let request = self.new_request();
        let call = Call {
            framework_id: id,
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(call::Subscribe {
                framework_info: info,
                suppressed_roles: Vec::new(),
                offer_constraints: None,
            }),
            ..Call::default()
        };
        let latency = self.latency();
        let call = Box::new(call);
        self.after(latency, Action::CallArrives { scheduler, life, stream: None, request, call });
        let pause = self.millis(STEP.0, STEP.1);
        self.after(pause, Action::SchedulerStep { scheduler, life });
    }

    /// A call reaches the control plane, or nobody when there is none.
    pub(crate) fn call_arrives(
        &mut self,
        scheduler: usize,
        life: Life,
        stream: Option<StreamId>,
        request: RequestId,
        call: Box<Call>,
    ) {
        if self.control.leader.is_none() {
            return;
        }
        let event = if let Some(subscribe) = call.subscribe.clone() {
            self.control.askers.insert(request, Asker::Subscribe { scheduler, life });
            let framework = call.framework_id.and_then(|id| FrameworkId::parse(&id.value).ok());
            let call = Box::new(subscribe);
            tepui_cluster::Event::Subscribe { request, framework, call, principal: None }
        } else {
            let accepted = launched(&call);
            self.control.askers.insert(request, Asker::Call { scheduler, life, accepted });
            tepui_cluster::Event::Call { request, stream, call, principal: None }
        };
        self.control_event(Event::Cluster(event));
    }

    pub(crate) fn call(
        &mut self,
        scheduler: usize,
        kind: call::Type,
        fill: impl FnOnce(&mut Call),
    ) {
        let this = &self.schedulers[scheduler];
        let (life, stream) = (this.life, this.stream);
        let mut call =
            Call { framework_id: this.wire_id(), r#type: Some(kind.into()), ..Call::default() };
        fill(&mut call);
        if self.strikes(Fault::CallLost, 10) {
            return;
        }
        let latency = self.latency();
        let mut at = self.now.mono + latency;
        let last = self.schedulers[scheduler].last_call;
        if at < last {
            if self.is_stormy() {
                self.faults.count(Fault::CallOvertook);
            } else {
                at = last;
            }
        }
        self.schedulers[scheduler].last_call = at.max(last);
        let twice = self.strikes(Fault::CallTwice, 10);
        let again = at + Span::from_millis(3);
        for at in [Some(at), twice.then_some(again)].into_iter().flatten() {
            let request = self.new_request();
            let call = Box::new(call.clone());
            self.queue.put(at, Action::CallArrives { scheduler, life, stream, request, call });
        }
    }

    pub(crate) fn accept_answered(&mut self, scheduler: usize, accepted: &[String]) {
        let now = self.now.mono;
        for task in accepted {
            if let Some(known) = self.schedulers[scheduler].tasks.get_mut(task) {
                known.promised.get_or_insert(now);
            }
        }
    }

    pub(crate) fn stream_opens(&mut self, scheduler: usize, life: Life, stream: StreamId) {
        if self.schedulers[scheduler].life == life {
            self.schedulers[scheduler].stream = Some(stream);
        } else {
            self.after(Span::ZERO, Action::StreamGoneAtControl { stream });
        }
    }

    pub(crate) fn stream_gone(&mut self, scheduler: usize, stream: StreamId) {
        if self.schedulers[scheduler].stream == Some(stream) {
            self.schedulers[scheduler].stream = None;
            self.schedulers[scheduler].offers.clear();
            let pause = self.millis(100, 1500);
            self.after(pause, Action::SchedulerStarts { scheduler });
        }
    }

    pub(crate) fn stream_event(
        &mut self,
        scheduler: usize,
        stream: StreamId,
        event: scheduler::Event,
    ) {
        if self.schedulers[scheduler].stream != Some(stream) {
            return;
        }
        match event.r#type() {
            event::Type::Subscribed => {
                let id = event.subscribed.map(|subscribed| subscribed.framework_id.value);
                let this = &mut self.schedulers[scheduler];
                this.id = id.and_then(|id| FrameworkId::parse(&id).ok());
                let name = this.name.clone();
                self.tell(|| format!("{name}: subscribed"));
                self.reconcile(scheduler);
                let life = self.schedulers[scheduler].life;
                self.jobs_step(scheduler, life);
            }
            event::Type::Offers => {
                for offer in event.offers.map(|offers| offers.offers).unwrap_or_default() {
                    if self.schedulers[scheduler].jobs.is_some() {
                        self.jobs_offered(scheduler, offer);
                    } else {
                        self.offered(scheduler, offer);
                    }
                }
            }
            event::Type::Rescind => {
                if let Some(rescind) = event.rescind {
                    let name = self.schedulers[scheduler].name.clone();
                    self.tell(|| format!("{name}: an offer is rescinded"));
                    self.schedulers[scheduler].offers.remove(&rescind.offer_id.value);
                    self.jobs_rescinded(scheduler, &rescind.offer_id.value);
                }
            }
            event::Type::Update => {
                if let Some(update) = event.update {
                    self.updated(scheduler, update.status);
                }
            }
            event::Type::Error => {
                let message = event.error.map(|error| error.message).unwrap_or_default();
                let name = self.schedulers[scheduler].name.clone();
                self.tell(|| format!("{name}: error: {message}"));
                if message == "Framework has been removed" {
                    self.removed(scheduler);
                }
            }
            _ => {}
        }
    }

    /// A framework that wanted to leave has left; its successor knows nothing of it.
    fn removed(&mut self, scheduler: usize) {
        let this = &mut self.schedulers[scheduler];
        if !this.leaves {
            return;
        }
        this.leaves = false;
        this.id = None;
        this.tasks.clear();
        this.offers.clear();
    }

    fn offered(&mut self, scheduler: usize, offer: v1::Offer) {
        let Ok(decoded) = decode(&offer.resources) else { return };
        let (name, host) = (self.schedulers[scheduler].name.clone(), offer.hostname.clone());
        self.tell(|| format!("{name}: offered {} of {host}", decoded.resources));
        self.schedulers[scheduler].offers.insert(offer.id.value.clone());
        let this = &self.schedulers[scheduler];
        let room = this.wants.saturating_sub(this.live()).min(4);
        let launches = self.phase != Phase::Drain
            && matches!(this.behaviour, Behaviour::Worker | Behaviour::Mute);
        match this.behaviour {
            Behaviour::Hoarder if self.phase != Phase::Drain => {}
            _ if launches && room > 0 => self.launch(scheduler, &offer, decoded.resources, room),
            Behaviour::Refuser => self.decline(scheduler, offer.id, 0.0),
            _ => self.decline(scheduler, offer.id, 2.0),
        }
    }

    pub(crate) fn decline(&mut self, scheduler: usize, offer: v1::OfferId, seconds: f64) {
        self.schedulers[scheduler].offers.remove(&offer.value);
        self.call(scheduler, call::Type::Decline, |call| {
            call.decline = Some(call::Decline {
                offer_ids: vec![offer],
                filters: Some(v1::Filters { refuse_seconds: Some(seconds) }),
            });
        });
    }

    fn launch(&mut self, scheduler: usize, offer: &v1::Offer, mut left: Resources, room: usize) {
        let mut tasks = Vec::new();
        let manner = self.manner(scheduler, offer, &mut left);
        for _ in 0..room {
            let needs = self.task_needs(&left);
            if !left.checked_remove(&needs) {
                break;
            }
            let commands = self.schedulers[scheduler].commands.len() as u64;
            let pick = usize::try_from(self.random.below(commands)).unwrap_or(0);
            let this = &mut self.schedulers[scheduler];
            this.next_task += 1;
            let id = format!("{}-t{}", this.name, this.next_task);
            let known = Known { agent: offer.agent_id.value.clone(), ..Known::default() };
            this.tasks.insert(id.clone(), known);
            let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
            let role = role.and_then(|role| tepui_types::Role::parse(&role).ok());
            let command = shell(&this.commands[pick]);
            let (command, executor) = match &manner {
                Manner::Command => (Some(command), None),
                Manner::Executor(info) => (None, Some((**info).clone())),
                Manner::Group(info) => (is_default(info).then_some(command), None),
            };
            tasks.push(v1::TaskInfo {
                name: format!("{id} {}", this.commands[pick]),
                task_id: v1::TaskId { value: id },
                agent_id: offer.agent_id.clone(),
                resources: encode(&needs, Format::PreRefinement, role.as_ref()),
                command,
                executor: executor.map(Box::new),
                kill_policy: Some(v1::KillPolicy {
                    grace_period: Some(v1::DurationInfo { nanoseconds: 2_000_000_000 }),
                }),
                ..v1::TaskInfo::default()
            });
        }
        if tasks.is_empty() {
            return self.decline(scheduler, offer.id.clone(), 2.0);
        }
        self.accept(scheduler, offer, manner, tasks, 1.0);
    }

    /// Launches tasks on an offer; the rest is refused for `seconds`.
    pub(crate) fn accept(
        &mut self,
        scheduler: usize,
        offer: &v1::Offer,
        manner: Manner,
        tasks: Vec<v1::TaskInfo>,
        seconds: f64,
    ) {
        let (name, count) = (self.schedulers[scheduler].name.clone(), tasks.len());
        self.tell(|| format!("{name}: launches {count} on {}", offer.hostname));
        self.schedulers[scheduler].offers.remove(&offer.id.value);
        let accept = call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![manner.operation(tasks)],
            filters: Some(v1::Filters { refuse_seconds: Some(seconds) }),
        };
        if self.strikes(Fault::AcceptTwice, 30) {
            let again = accept.clone();
            self.call(scheduler, call::Type::Accept, |call| call.accept = Some(again));
        }
        self.call(scheduler, call::Type::Accept, |call| call.accept = Some(accept));
    }

    /// How the tasks of one offer are launched; room for an executor is taken from what is left.
    fn manner(&mut self, scheduler: usize, offer: &v1::Offer, left: &mut Resources) -> Manner {
        if self.steady || !self.random.chance(1, 3) {
            return Manner::Command;
        }
        let needs = parse(NEEDS);
        if !left.checked_remove(&needs) {
            return Manner::Command;
        }
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
        let role = role.and_then(|role| tepui_types::Role::parse(&role).ok());
        let is_group = self.random.chance(1, 2);
        let is_default = is_group && self.random.chance(1, 2);
        let kind =
            if is_default { executor_info::Type::Default } else { executor_info::Type::Custom };
        let this = &self.schedulers[scheduler];
        // Pods have an executor each; the tasks of other executors share one per agent.
        let name = match is_group {
            true => format!("{}-pod{}", this.name, this.next_task),
            false => format!("{}-on-{}", this.name, offer.hostname),
        };
        let info = Box::new(v1::ExecutorInfo {
            r#type: Some(kind.into()),
            executor_id: v1::ExecutorId { value: name },
            framework_id: this.wire_id(),
            command: (!is_default).then(|| shell(EXECUTOR)),
            resources: encode(&needs, Format::PreRefinement, role.as_ref()),
            ..v1::ExecutorInfo::default()
        });
        if is_group { Manner::Group(info) } else { Manner::Executor(info) }
    }

    fn task_needs(&mut self, left: &Resources) -> Resources {
        let mut needs: Resources = [
            Resource::scalar(ResourceName::Cpus, Scalar::from_milli(100)),
            Resource::scalar(ResourceName::Mem, Scalar::from_units(32)),
        ]
        .into_iter()
        .collect();
        if !self.steady && self.random.chance(1, 2) {
            let port = left.iter().find_map(|one| match &one.value {
                Value::Ranges(ranges) if one.identity.reserved_to().is_none() => {
                    ranges.numbers().next()
                }
                _ => None,
            });
            if let Some(port) = port {
                needs.add(&Resource::ranges(ResourceName::Ports, Ranges::single(port)));
            }
        }
        needs
    }

    fn updated(&mut self, scheduler: usize, status: v1::TaskStatus) {
        let Some(state) = task_state(status.state) else { return };
        let (name, task) = (self.schedulers[scheduler].name.clone(), status.task_id.value.clone());
        self.tell(|| {
            let how = if is_from_agent(&status) { "" } else { " (from the control plane)" };
            format!("{name}: {task} is {}{how}", state.wire_name())
        });
        self.note(&task);
        self.checks.delivered(self.now, &name, &status, state);
        let this = &mut self.schedulers[scheduler];
        let known = this.tasks.entry(task).or_default();
        known.heard += 1;
        known.state = Some(state);
        if let Some(agent) = &status.agent_id {
            known.agent.clone_from(&agent.value);
        }
        let mute = this.behaviour == Behaviour::Mute && self.phase == Phase::Faults;
        let task = status.task_id.value.clone();
        if let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id)
            && !mute
        {
            self.call(scheduler, call::Type::Acknowledge, |call| {
                call.acknowledge =
                    Some(call::Acknowledge { agent_id, task_id: status.task_id, uuid });
            });
        }
        self.jobs_updated(scheduler, &task, state);
    }

    fn reconcile(&mut self, scheduler: usize) {
        let this = &self.schedulers[scheduler];
        let tasks: Vec<call::reconcile::Task> = this
            .tasks
            .iter()
            .filter(|(_, known)| !known.is_over())
            .map(|(id, known)| call::reconcile::Task {
                task_id: v1::TaskId { value: id.clone() },
                agent_id: Some(v1::AgentId { value: known.agent.clone() }),
            })
            .collect();
        if !tasks.is_empty() {
            self.call(scheduler, call::Type::Reconcile, |call| {
                call.reconcile = Some(call::Reconcile { tasks });
            });
        }
        self.call(scheduler, call::Type::Reconcile, |call| {
            call.reconcile = Some(call::Reconcile { tasks: Vec::new() });
        });
    }

    /// Now and then a framework reconciles, kills, revives, and notices that it is cut off.
    pub(crate) fn scheduler_step(&mut self, scheduler: usize, life: Life) {
        if self.schedulers[scheduler].life != life {
            return;
        }
        let pause = self.millis(STEP.0, STEP.1);
        if self.schedulers[scheduler].stream.is_none() {
            // Its SUBSCRIBE was lost, or nobody was there to take it.
            self.after(pause, Action::SchedulerStarts { scheduler });
            return;
        }
        self.after(pause, Action::SchedulerStep { scheduler, life });
        if self.schedulers[scheduler].leaves || self.strikes(Fault::Teardown, 8) {
            self.schedulers[scheduler].leaves = true;
            self.call(scheduler, call::Type::Teardown, |_| {});
            return;
        }
        if !self.steady && (self.random.chance(1, 5) || self.phase == Phase::Drain) {
            self.reconcile(scheduler);
        }
        self.kill_some(scheduler);
        if !self.steady && self.random.chance(1, 12) {
            self.call(scheduler, call::Type::Revive, |call| {
                call.revive = Some(call::Revive { roles: Vec::new() });
            });
        }
    }

    fn kill_some(&mut self, scheduler: usize) {
        let drain = self.phase == Phase::Drain || self.schedulers[scheduler].ends_work;
        let one = !self.steady && self.random.chance(1, 6);
        let this = &mut self.schedulers[scheduler];
        let mut victims: Vec<(String, String)> = Vec::new();
        for (id, known) in this.tasks.iter_mut().filter(|(_, known)| !known.is_over()) {
            // A kill may get lost, so it is asked for again until the task ends.
            if drain || known.kill || (one && victims.is_empty() && known.state.is_some()) {
                known.kill = true;
                victims.push((id.clone(), known.agent.clone()));
            }
        }
        for (task, agent) in victims {
            self.call(scheduler, call::Type::Kill, |call| {
                call.kill = Some(call::Kill {
                    task_id: v1::TaskId { value: task },
                    agent_id: Some(v1::AgentId { value: agent }),
                    kill_policy: None,
                });
            });
        }
    }
}

/// How a framework launches.
#[derive(Debug)]
pub(crate) enum Manner {
    Command,
    Executor(Box<v1::ExecutorInfo>),
    Group(Box<v1::ExecutorInfo>),
}

impl Manner {
    fn operation(self, tasks: Vec<v1::TaskInfo>) -> Operation {
        let Self::Group(executor) = self else {
            return Operation {
                r#type: Some(operation::Type::Launch.into()),
                launch: Some(operation::Launch { task_infos: tasks }),
                ..Operation::default()
            };
        };
        let task_group = v1::TaskGroupInfo { tasks };
        Operation {
            r#type: Some(operation::Type::LaunchGroup.into()),
            launch_group: Some(operation::LaunchGroup { executor: *executor, task_group }),
            ..Operation::default()
        }
    }
}

/// Whether the agent itself is the executor.
fn is_default(info: &v1::ExecutorInfo) -> bool {
    info.r#type() == executor_info::Type::Default
}

pub(crate) fn shell(line: &str) -> v1::CommandInfo {
    v1::CommandInfo {
        shell: Some(true),
        value: Some(line.to_owned()),
        ..v1::CommandInfo::default()
    }
}

/// The tasks that an ACCEPT launches.
pub(crate) fn launched(call: &Call) -> Vec<String> {
    let Some(accept) = &call.accept else { return Vec::new() };
    let operations = &accept.operations;
    let single =
        operations.iter().filter_map(|one| one.launch.as_ref()).flat_map(|l| &l.task_infos);
    let grouped = operations
        .iter()
        .filter_map(|one| one.launch_group.as_ref())
        .flat_map(|launch| &launch.task_group.tasks);
    single.chain(grouped).map(|task| task.task_id.value.clone()).collect()
}
