//! The control plane's process: the production state machines and allocator, its store, and what
//! happens to them when it dies.

use std::collections::BTreeMap;

use tepui_allocator::{Allocate, Drf, Plan};
use tepui_apps::RecordKey;
use tepui_cluster::Record;
use tepui_leader::{Effect, Event, Leader};
use tepui_replay::{Step, What};
use tepui_types::{
    AgentId, Entropy, FrameworkId, LinkId, Mono, RequestId, Role, Span, StreamId, Term,
};

use crate::faults::Fault;
use crate::queue::{Action, Life};
use crate::world::World;

/// How long the allocator waits for more news before a round.
const BATCHING_DELAY: Span = Span::from_millis(20);
/// How long a dead control plane stays away.
const RESTART: (u64, u64) = (50, 3000);

/// What the registry is stored under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ClusterKey {
    Counters,
    Agent(AgentId),
    Framework(FrameworkId),
    RemovedFramework(FrameworkId),
    Drain(AgentId),
    Weight(Role),
}

fn cluster_key(record: &Record) -> ClusterKey {
    match record {
        Record::Counters { .. } => ClusterKey::Counters,
        Record::Agent { agent, .. } => ClusterKey::Agent(agent.clone()),
        Record::Framework { framework, .. } => ClusterKey::Framework(framework.clone()),
        Record::RemovedFramework { framework, .. } => {
            ClusterKey::RemovedFramework(framework.clone())
        }
        Record::Drain { agent, .. } => ClusterKey::Drain(agent.clone()),
        Record::Weight { role, .. } => ClusterKey::Weight(role.clone()),
    }
}

/// What survives the process.
#[derive(Debug, Default)]
pub(crate) struct Store {
    term: u64,
    cluster: BTreeMap<ClusterKey, Record>,
    pub(crate) apps: BTreeMap<RecordKey, tepui_apps::Record>,
}

impl Store {
    fn commit(&mut self, effect: &Effect) {
        match effect {
            Effect::SaveCluster(record) => {
                self.cluster.insert(cluster_key(record), record.clone());
            }
            Effect::ForgetCluster(record) => {
                self.cluster.remove(&cluster_key(record));
            }
            Effect::SaveApps(record) => {
                self.apps.insert(record.key(), (**record).clone());
            }
            Effect::ForgetApps(key) => {
                self.apps.remove(key);
            }
            _ => {}
        }
    }
}

/// Who waits for an answer.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    Subscribe { scheduler: usize, life: Life },
    Call { scheduler: usize, life: Life, accepted: Vec<String> },
    Client,
}

/// The control plane.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) life: Life,
    entropy: Entropy,
    pub(crate) leader: Option<Leader>,
    drf: Drf,
    pub(crate) store: Store,
    pub(crate) cluster_config: tepui_cluster::Config,
    pub(crate) apps_config: tepui_apps::Config,
    pub(crate) askers: BTreeMap<RequestId, Asker>,
    /// Streams of simulated schedulers, and when the last event on them arrives.
    pub(crate) streams: BTreeMap<StreamId, (usize, Mono)>,
    ticks_at: Option<Mono>,
    round_at: Option<Mono>,
    /// The next batch is the process's last.
    pub(crate) doomed: bool,
    /// What the allocator is told and decides, when somebody records it.
    pub(crate) recording: Option<Vec<Step>>,
}

impl Control {
    pub(crate) fn new(mut entropy: Entropy) -> Self {
        Self {
            life: Life::default(),
            drf: Drf::new(Entropy::seeded(entropy.next_u64())),
            entropy,
            leader: None,
            store: Store::default(),
            cluster_config: tepui_cluster::Config::default(),
            apps_config: tepui_apps::Config::default(),
            askers: BTreeMap::new(),
            streams: BTreeMap::new(),
            ticks_at: None,
            round_at: None,
            doomed: false,
            recording: None,
        }
    }
}

impl World {
    pub(crate) fn control_starts(&mut self) {
        if self.control.leader.is_some() {
            return;
        }
        let control = &mut self.control;
        control.life.0 += 1;
        control.store.term += 1;
        control.drf = Drf::new(Entropy::seeded(control.entropy.next_u64()));
        let entropy = Entropy::seeded(control.entropy.next_u64());
        let leader =
            Leader::new(control.cluster_config.clone(), control.apps_config.clone(), entropy);
        control.leader = Some(leader);
        control.doomed = false;
        let event = Event::Elected {
            term: Term(control.store.term),
            cluster: control.store.cluster.values().cloned().collect(),
            apps: control.store.apps.values().cloned().collect(),
        };
        let term = control.store.term;
        self.tell(|| format!("control plane leads, term {term}"));
        self.control_event(event);
    }

    pub(crate) fn control_dies(&mut self) {
        if self.control.leader.take().is_none() {
            return;
        }
        self.tell(|| "control plane dies".to_owned());
        self.control.life.0 += 1;
        self.control.ticks_at = None;
        self.control.round_at = None;
        self.control.askers.clear();
        let links: Vec<LinkId> = self.wires.keys().copied().collect();
        for link in links {
            self.hang_up_at_control(link);
        }
        for (stream, (scheduler, last)) in std::mem::take(&mut self.control.streams) {
            let latency = self.latency();
            let at = last.max(self.now.mono + latency);
            self.queue.put(at, Action::StreamGone { scheduler, stream });
        }
        let pause = self.millis(RESTART.0, RESTART.1);
        self.after(pause, Action::ControlStarts);
    }

    pub(crate) fn control_tick(&mut self, life: Life) {
        if life != self.control.life {
            return;
        }
        self.control.ticks_at = None;
        self.control_event(Event::Tick);
    }

    /// The control plane handles one event: it decides, saves, and speaks, unless it dies
    /// meanwhile.
    pub(crate) fn control_event(&mut self, event: Event) {
        let Some(leader) = &mut self.control.leader else { return };
        let expectation = self.checks.before(leader, &event);
        let mut effects = Vec::new();
        leader.handle(self.now, event, &mut effects);
        self.checks.after(self.now, leader, expectation, &effects);
        self.note(&effects.len());
        if self.story.is_some() {
            self.tell_effects(&effects);
        }
        let (durable, rest): (Vec<Effect>, Vec<Effect>) =
            effects.into_iter().partition(Effect::is_durable);
        // Batches with something to save are few, and the most interesting to die in.
        let dies = self.control.doomed
            && (!durable.is_empty() || (!rest.is_empty() && self.random.chance(1, 30)));
        let last = if dies {
            let point = self.random.below(rest.len() as u64 + 2);
            if point == 0 && !durable.is_empty() {
                self.faults.count(Fault::ControlDiedUnsaved);
                self.control_dies();
                return;
            }
            Some(usize::try_from(point.saturating_sub(1)).unwrap_or(0))
        } else {
            None
        };
        for effect in &durable {
            self.control.store.commit(effect);
        }
        if let Some(leader) = &self.control.leader {
            self.checks.saved(self.now, leader, &durable);
        }
        for (at, effect) in rest.into_iter().enumerate() {
            if last == Some(at) {
                break;
            }
            self.perform(effect);
        }
        if last.is_some() {
            self.faults.count(Fault::ControlDiedSaved);
            self.control_dies();
            return;
        }
        self.wake_control();
    }

    /// What a reader of a transcript should know of a batch.
    fn tell_effects(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::ToAgent { directive, .. } => {
                    let what = order_text(&directive.order);
                    self.tell(|| format!("  directive {}: {what}", directive.generation));
                }
                Effect::PublishApps(event) => {
                    self.tell(|| format!("  app event {}", event.event_type()));
                }
                Effect::SaveApps(record) => {
                    if let tepui_apps::Record::Instance(instance) = &**record {
                        self.tell(|| {
                            format!(
                                "  instance {} {:?} {:?}",
                                instance.id, instance.condition, instance.goal
                            )
                        });
                    }
                }
                _ => {}
            }
        }
    }

    fn wake_control(&mut self) {
        let Some(leader) = &self.control.leader else { return };
        let now = self.now.mono;
        let due = leader.next_wakeup();
        if let Some(due) = due
            && self.control.ticks_at.is_none_or(|at| due < at)
        {
            self.control.ticks_at = Some(due.max(now));
            self.queue.put(due.max(now), Action::ControlTick(self.control.life));
        }
        let round = if self.control.drf.is_dirty() {
            Some(now + BATCHING_DELAY)
        } else {
            self.control.drf.next_wakeup().map(|at| at.max(now))
        };
        if let Some(round) = round
            && self.control.round_at.is_none_or(|at| round < at)
        {
            self.control.round_at = Some(round);
            self.queue.put(round, Action::AllocatorRound(self.control.life));
        }
    }

    pub(crate) fn allocator_round(&mut self, life: Life) {
        if life != self.control.life || self.control.round_at.is_none_or(|at| at > self.now.mono) {
            return;
        }
        self.control.round_at = None;
        let plan = self.control.drf.round(self.now.mono);
        self.note(&plan.proposals.len());
        if self.control.recording.is_some() && !plan.is_empty() {
            self.record(What::Planned(plan.clone()));
        }
        if !plan.is_empty() {
            let pause = self.millis(0, 3);
            self.after(pause, Action::Planned(life, Box::new(plan)));
        }
        self.wake_control();
    }

    pub(crate) fn planned(&mut self, life: Life, plan: Plan) {
        if life == self.control.life {
            self.control_event(Event::Cluster(tepui_cluster::Event::Planned(plan)));
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::SaveCluster(_)
            | Effect::ForgetCluster(_)
            | Effect::SaveApps(_)
            | Effect::ForgetApps(_)
            | Effect::PublishCluster(_)
            | Effect::PublishApps(_)
            | Effect::CancelProbe(_) => {}
            Effect::Respond { request, response } => self.respond(request, response),
            Effect::Reply { request, reply } => {
                self.control.askers.remove(&request);
                self.client_answered(request, reply.map(|reply| *reply));
            }
            Effect::ToFramework { stream, event } => {
                let latency = self.latency();
                let now = self.now.mono;
                if let Some((scheduler, last)) = self.control.streams.get_mut(&stream) {
                    *last = (*last).max(now + latency);
                    let (scheduler, at) = (*scheduler, *last);
                    self.queue.put(at, Action::StreamEvent { scheduler, stream, event });
                }
            }
            Effect::CloseStream { stream } => {
                if let Some((scheduler, last)) = self.control.streams.remove(&stream) {
                    let at = last.max(self.now.mono);
                    self.queue.put(at, Action::StreamGone { scheduler, stream });
                }
            }
            Effect::ToAgent { link, directive } => {
                self.note(&directive.generation);
                self.send_directive(link, directive);
            }
            Effect::CloseLink { link } => self.hang_up_at_control(link),
            Effect::ToAllocator(input) => {
                if self.control.recording.is_some() {
                    self.record(What::Told(vec![input.clone()]));
                }
                self.control.drf.apply(self.now.mono, input);
            }
            Effect::Probe(probe) => self.probe_for_apps(&probe),
            Effect::Alarm(alarm) => {
                self.tell(|| format!("alarm: {alarm:?}"));
                self.checks.alarm(self.now, &alarm);
            }
            Effect::Halt(halt) => {
                self.checks.violate(self.now, "I-36", format!("the apps halted: {halt}"));
                self.control_dies();
            }
        }
    }

    fn respond(&mut self, request: RequestId, response: tepui_cluster::Response) {
        use tepui_cluster::Response;
        let Some(asker) = self.control.askers.remove(&request) else { return };
        match (asker, response) {
            (Asker::Subscribe { scheduler, life }, Response::Streaming { stream }) => {
                let latency = self.latency();
                let at = self.now.mono + latency;
                self.control.streams.insert(stream, (scheduler, at));
                self.queue.put(at, Action::StreamOpens { scheduler, life, stream });
            }
            (Asker::Subscribe { scheduler, life }, _) => {
                let pause = self.millis(200, 1000);
                if self.schedulers[scheduler].life == life {
                    self.after(pause, Action::SchedulerStarts { scheduler });
                }
            }
            (Asker::Call { scheduler, life, accepted }, Response::Accepted) => {
                if self.schedulers[scheduler].life == life {
                    self.accept_answered(scheduler, &accepted);
                }
            }
            (Asker::Call { .. } | Asker::Client, _) => {}
        }
    }

    pub(crate) fn stream_gone_at_control(&mut self, stream: StreamId) {
        if self.control.streams.remove(&stream).is_some() {
            let event = tepui_cluster::Event::StreamClosed { stream };
            self.control_event(Event::Cluster(event));
        }
    }

    pub(crate) fn apps_probed(
        &mut self,
        life: Life,
        probe: tepui_apps::ProbeId,
        outcome: tepui_apps::ProbeOutcome,
    ) {
        if life == self.control.life {
            self.control_event(Event::Apps(tepui_apps::Event::Probed { probe, outcome }));
        }
    }

    fn probe_for_apps(&mut self, probe: &tepui_apps::Probe) {
        use tepui_apps::ProbeOutcome;
        let alive = self
            .hosts
            .iter()
            .filter(|host| host.name == probe.host)
            .any(|host| host.listens(u64::from(probe.port)));
        let outcome = if alive {
            match probe.kind {
                tepui_apps::ProbeKind::Tcp => ProbeOutcome::Connected,
                tepui_apps::ProbeKind::Http { .. } => ProbeOutcome::Answered {
                    status: 200,
                    content_type: "text/plain".to_owned(),
                    body: String::new(),
                },
            }
        } else {
            ProbeOutcome::Failed { reason: "connection refused".to_owned() }
        };
        let pause = self.millis(1, 30);
        let life = self.control.life;
        self.after(pause, Action::AppsProbed { life, probe: probe.id, outcome });
    }
}

/// An order in a line.
fn order_text(order: &tepui_link::Order) -> String {
    use tepui_link::Order;
    match order {
        Order::Registered { .. } => "registered".to_owned(),
        Order::Launch(order) => {
            let tasks: Vec<&str> =
                order.tasks.iter().map(|task| task.task_id.value.as_str()).collect();
            format!("launch {}", tasks.join(", "))
        }
        Order::Kill { task, .. } => format!("kill {task}"),
        Order::Acknowledge { task, .. } => format!("acknowledge {task}"),
        Order::Reconcile { tasks } => format!("reconcile {} tasks", tasks.len()),
        Order::Shutdown { reason } => format!("shut down: {reason}"),
        Order::ShutdownExecutor { .. } => "shut an executor down".to_owned(),
        Order::ShutdownFramework { .. } => "shut a framework down".to_owned(),
        Order::Message { .. } => "message".to_owned(),
        Order::UpdateFramework { .. } => "update a framework".to_owned(),
    }
}
