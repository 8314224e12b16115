//! Plays everything around an agent: control plane, launcher, framework, disk and clock.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::missing_panics_doc)]

use std::collections::{BTreeMap, VecDeque};

use tepui_agent::{
    Agent, Config, Effect, Event, Exit, FoundRun, FoundState, PortDenial, Probe, ProbeId, Record,
    Response, RunSpec, SessionSpec,
};
use tepui_link::{Directive, LaunchOrder, Order, Registration, Report, codec::task_state};
use tepui_types::{
    AgentId, BootId, ContainerId, Entropy, ExecutorId, FrameworkId, Mono, Now, RequestId, Role,
    Span, StreamId, TaskId, TaskState, Term, Uuid, Wall,
};
use tepui_wire::v1::{
    self, TaskStatus, executor,
    framework_info::{Capability, capability},
};

pub const FRAMEWORK: &str = "f1";

pub fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

pub fn framework_id() -> FrameworkId {
    FrameworkId::parse(FRAMEWORK).unwrap()
}

pub fn task_id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

pub fn executor_id(text: &str) -> ExecutorId {
    ExecutorId::parse(text).unwrap()
}

pub fn framework(capabilities: &[capability::Type]) -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        user: "alice".into(),
        name: "framework".into(),
        id: Some(v1::FrameworkId { value: FRAMEWORK.into() }),
        checkpoint: Some(true),
        capabilities: capabilities
            .iter()
            .map(|one| Capability { r#type: Some((*one).into()) })
            .collect(),
        ..v1::FrameworkInfo::default()
    }
}

/// A command task.
pub fn command(id: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: v1::AgentId { value: "a1".into() },
        command: Some(v1::CommandInfo {
            value: Some("sleep 100".into()),
            ..v1::CommandInfo::default()
        }),
        resources: vec![ports(31000, 31001)],
        ..v1::TaskInfo::default()
    }
}

pub fn ports(begin: u64, end: u64) -> v1::Resource {
    v1::Resource {
        name: "ports".into(),
        r#type: v1::value::Type::Ranges.into(),
        ranges: Some(v1::value::Ranges { range: vec![v1::value::Range { begin, end }] }),
        ..v1::Resource::default()
    }
}

/// A task of the custom executor `e1`.
pub fn custom(id: &str) -> v1::TaskInfo {
    v1::TaskInfo { command: None, executor: Some(custom_executor().into()), ..command(id) }
}

pub fn custom_executor() -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        r#type: Some(v1::executor_info::Type::Custom.into()),
        executor_id: v1::ExecutorId { value: "e1".into() },
        command: Some(v1::CommandInfo {
            value: Some("./executor".into()),
            ..v1::CommandInfo::default()
        }),
        ..v1::ExecutorInfo::default()
    }
}

/// The pod `p1`.
pub fn pod_executor() -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        r#type: Some(v1::executor_info::Type::Default.into()),
        executor_id: v1::ExecutorId { value: "p1".into() },
        command: None,
        ..v1::ExecutorInfo::default()
    }
}

pub fn agent_info() -> v1::AgentInfo {
    v1::AgentInfo { hostname: "host".into(), port: Some(5051), ..v1::AgentInfo::default() }
}

/// What the world saw of one run.
#[derive(Clone, Debug)]
pub struct HostRun {
    pub spec: Box<RunSpec>,
    pub pid: u32,
    pub exit: Option<Exit>,
    pub terminated: u32,
    pub killed: u32,
}

/// What happened to one status update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    Saved(String, Uuid, TaskState),
    Sent(String, Uuid),
    Acknowledged(Uuid),
}

pub struct Rig {
    pub agent: Agent,
    pub timeline: Vec<Moment>,
    pub config: Config,
    pub now: Now,
    pub boot: String,
    pub disk: Vec<Record>,
    /// Processes, by run; what the launcher knows.
    pub host: BTreeMap<ContainerId, HostRun>,
    /// Every process ever started, in order, by run and the id of its executor or pod's task.
    pub witness: Vec<(String, ContainerId)>,
    /// Events that wait to be handled.
    pub inbox: VecDeque<Event>,
    /// Whether the launcher and the framework answer by themselves.
    pub answers_fetch: bool,
    pub answers_start: bool,
    /// After a restart the launcher finds that it began none of its runs.
    pub never_begun: bool,
    /// No run that goes on has said yet that it is ready.
    pub unready: bool,
    pub acknowledges: bool,
    pub link: bool,
    pub term: u64,
    pub generation: u64,
    pub capabilities: Vec<capability::Type>,
    pub reports: Vec<Report>,
    pub pauses: Vec<Span>,
    pub probes: Vec<(ProbeId, Probe)>,
    pub cancelled: Vec<ProbeId>,
    pub notices: Vec<String>,
    pub ports_told: Vec<(ContainerId, String)>,
    /// What every run was refused while no daemon ran.
    pub denials: Vec<PortDenial>,
    pub removed: Vec<String>,
    pub discarded: Vec<ContainerId>,
    pub fetches: Vec<(ContainerId, usize)>,
    /// Images that were asked for.
    pub images: Vec<String>,
    /// What the host knows of the addresses of every run after a restart.
    pub addresses: Option<Vec<std::net::IpAddr>>,
    /// The address of networks that are made.
    pub network: Option<std::net::IpAddr>,
    /// Networks that were made for pods.
    pub networks: Vec<(ContainerId, tepui_container::Network)>,
    /// The pod whose network a restarted daemon finds.
    pub former_network: Option<ContainerId>,
    pub responses: Vec<Response>,
    pub quit: Option<String>,
    /// What each executor stream was sent.
    pub streams: BTreeMap<StreamId, Vec<executor::Event>>,
    pub closed: Vec<StreamId>,
    pub sessions: Vec<SessionSpec>,
    pub closed_sessions: Vec<ContainerId>,
    /// Signals to runs and sessions.
    pub signals: Vec<(ContainerId, i32)>,
    pids: u32,
    requests: u64,
    entropy: u64,
}

impl Rig {
    /// An agent that has started and is not connected.
    pub fn started() -> Self {
        Self::with(Config::new(agent_info(), "10.0.0.1"))
    }

    pub fn with(config: Config) -> Self {
        let mut rig = Self {
            agent: Agent::new(config.clone(), Entropy::seeded(1)),
            config,
            timeline: Vec::new(),
            now: Now { mono: Mono::from_nanos(0), wall: Wall::from_millis(1_700_000_000_000) },
            boot: "boot-1".into(),
            disk: Vec::new(),
            host: BTreeMap::new(),
            witness: Vec::new(),
            inbox: VecDeque::new(),
            answers_fetch: true,
            answers_start: true,
            never_begun: false,
            unready: false,
            acknowledges: true,
            link: false,
            term: 1,
            generation: 0,
            capabilities: vec![capability::Type::PartitionAware],
            reports: Vec::new(),
            pauses: Vec::new(),
            probes: Vec::new(),
            cancelled: Vec::new(),
            notices: Vec::new(),
            ports_told: Vec::new(),
            denials: Vec::new(),
            removed: Vec::new(),
            discarded: Vec::new(),
            fetches: Vec::new(),
            images: Vec::new(),
            addresses: None,
            network: None,
            networks: Vec::new(),
            former_network: None,
            responses: Vec::new(),
            quit: None,
            streams: BTreeMap::new(),
            closed: Vec::new(),
            sessions: Vec::new(),
            closed_sessions: Vec::new(),
            signals: Vec::new(),
            pids: 100,
            requests: 0,
            entropy: 1,
        };
        rig.start();
        rig
    }

    /// An agent that is registered as `a1`.
    pub fn registered() -> Self {
        let mut rig = Self::started();
        rig.connect();
        rig
    }

    /// As [`Rig::registered`], where the operator or the host says otherwise.
    pub fn registered_with(change: fn(&mut Config)) -> Self {
        let mut config = Config::new(agent_info(), "10.0.0.1");
        change(&mut config);
        let mut rig = Self::with(config);
        rig.connect();
        rig
    }

    fn start(&mut self) {
        let event = self.start_event();
        self.event(event);
    }

    pub fn start_event(&self) -> Event {
        let boot = Some(BootId::parse(&self.boot).unwrap());
        let pod = self.former_network.clone().map(|run| FoundRun {
            run,
            state: FoundState::NeverStarted,
            denials: Vec::new(),
            addresses: Some(self.network.into_iter().collect()),
            certificate: None,
        });
        let runs = self
            .host
            .iter()
            .map(|(run, one)| FoundRun {
                run: run.clone(),
                state: match &one.exit {
                    _ if self.never_begun => FoundState::NeverStarted,
                    None if self.unready => FoundState::Starting { pid: one.pid },
                    None => FoundState::Running { pid: one.pid },
                    Some(exit) => FoundState::Exited(exit.clone()),
                },
                denials: self.denials.clone(),
                addresses: self.addresses.clone(),
                certificate: None,
            })
            .chain(pod)
            .collect();
        Event::Started { boot, records: self.disk.clone(), runs }
    }

    /// The daemon dies and is started again; everything in memory is gone.
    pub fn restart(&mut self) {
        self.restart_silently();
        self.settle();
    }

    /// As [`Rig::restart`], and nothing that the new daemon asks for is answered yet.
    pub fn restart_silently(&mut self) {
        self.fresh();
        let event = self.start_event();
        self.event(event);
    }

    /// A daemon that has not started yet.
    pub fn fresh(&mut self) {
        self.entropy += 1;
        self.agent = Agent::new(self.config.clone(), Entropy::seeded(self.entropy));
        self.inbox.clear();
        self.link = false;
        self.streams.clear();
    }

    /// The host is restarted: no process survives, nor what the launcher knew in memory.
    pub fn reboot(&mut self) {
        self.boot.push('+');
        self.host.clear();
        self.restart();
    }

    pub fn connect(&mut self) {
        self.link_up();
        self.answer_registration();
    }

    pub fn link_up(&mut self) {
        self.link = true;
        self.generation = 0;
        self.event(Event::LinkUp);
        self.settle();
    }

    pub fn answer_registration(&mut self) {
        let agent = AgentId::parse("a1").unwrap();
        self.order(Order::Registered {
            agent,
            heartbeat: secs(15),
            patience: secs(75),
            pace: secs(0),
        });
    }

    pub fn disconnect(&mut self) {
        self.link = false;
        self.event(Event::LinkDown);
        self.settle();
    }

    /// Sends a directive and settles.
    pub fn order(&mut self, order: Order) {
        self.generation += 1;
        let (term, generation) = (Term(self.term), self.generation);
        self.event(Event::Directive(Box::new(Directive { term, generation, order })));
        self.settle();
    }

    pub fn launch(&mut self, task: v1::TaskInfo) {
        self.launch_all(vec![task], None);
    }

    /// A group of command tasks in the pod `p1`.
    pub fn launch_pod(&mut self, tasks: &[&str]) {
        let tasks = tasks.iter().map(|task| command(task)).collect();
        self.launch_all(tasks, Some(pod_executor()));
    }

    pub fn launch_all(
        &mut self,
        tasks: Vec<v1::TaskInfo>,
        group_executor: Option<v1::ExecutorInfo>,
    ) {
        let order = self.launch_order(tasks, group_executor);
        self.order(order);
    }

    pub fn launch_order(
        &self,
        tasks: Vec<v1::TaskInfo>,
        group_executor: Option<v1::ExecutorInfo>,
    ) -> Order {
        Order::Launch(Box::new(LaunchOrder {
            framework: framework(&self.capabilities),
            role: Role::default_role(),
            group_executor,
            tasks,
        }))
    }

    pub fn kill(&mut self, task: &str) {
        self.kill_within(task, None);
    }

    pub fn kill_within(&mut self, task: &str, grace: Option<Span>) {
        let kill_policy = grace.map(|grace| v1::KillPolicy { grace_period: Some(duration(grace)) });
        self.order(Order::Kill { framework: framework_id(), task: task_id(task), kill_policy });
    }

    pub fn acknowledge(&mut self, task: &str, update: Uuid) {
        self.order(Order::Acknowledge { framework: framework_id(), task: task_id(task), update });
    }

    /// Handles one event, and does what comes of it: saves first.
    pub fn event(&mut self, event: Event) {
        let effects = self.effects_of(event);
        self.save(&effects);
        for effect in effects {
            self.act(effect);
        }
    }

    pub fn effects_of(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.agent.handle(self.now, event, &mut effects);
        effects
    }

    pub fn save(&mut self, effects: &[Effect]) {
        self.save_some(effects, usize::MAX);
    }

    /// Saves at most so many records.
    pub fn save_some(&mut self, effects: &[Effect], most: usize) {
        let records = effects.iter().filter_map(|effect| match effect {
            Effect::Save(record) => Some(record.clone()),
            _ => None,
        });
        for record in records.take(most) {
            match &record {
                Record::Update { status, .. } => self.timeline.push(Moment::Saved(
                    status.task_id.value.clone(),
                    uuid_of(status),
                    task_state(status.state).unwrap(),
                )),
                Record::Acknowledged { update, .. } => {
                    self.timeline.push(Moment::Acknowledged(*update));
                }
                _ => {}
            }
            self.disk.push(record);
        }
    }

    /// Handles one event, and dies after so many records were saved; or, when all are, after so
    /// many effects. Then a new daemon starts.
    pub fn crash_in(&mut self, event: Event, saved: usize, acted: usize) {
        let effects = self.effects_of(event);
        let records = effects.iter().filter(|one| matches!(one, Effect::Save(_))).count();
        self.save_some(&effects, saved);
        if saved >= records {
            for effect in effects.into_iter().take(acted) {
                self.act(effect);
            }
        }
        self.restart_silently();
    }

    pub fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Save(_) => {}
            Effect::ToControlPlane(report) => self.hear(*report),
            Effect::Reconnect { pause } => {
                self.link = false;
                self.pauses.push(pause);
            }
            Effect::Fetch { run, uris, images, network, .. } => {
                if let Some(network) = network {
                    self.networks.push((run.clone(), network));
                    let addresses = self.network.into_iter().collect();
                    self.inbox.push_back(Event::Networked { run: run.clone(), addresses });
                }
                self.images.extend(images.into_iter().map(|wish| wish.reference));
                self.fetches.push((run.clone(), uris.len()));
                if self.answers_fetch {
                    self.inbox.push_back(Event::Fetched { run, outcome: Ok(()) });
                }
            }
            Effect::Start(spec) => self.begin(spec),
            Effect::Limit { run, limits } => {
                // The driver forgives a run that is over: its end may be on the way.
                if let Some(one) = self.host.get_mut(&run) {
                    one.spec.limits = limits;
                }
            }
            Effect::Terminate { run } => {
                if let Some(one) = self.host.get_mut(&run) {
                    one.terminated += 1;
                }
            }
            Effect::Kill { run } => {
                if let Some(one) = self.host.get_mut(&run) {
                    one.killed += 1;
                }
            }
            Effect::Probe { probe, what, .. } => self.probes.push((probe, what)),
            Effect::CancelProbe { probe } => self.cancelled.push(probe),
            Effect::ToExecutor { stream, event } => {
                self.streams.entry(stream).or_default().push(*event);
            }
            Effect::CloseExecutorStream { stream } => self.closed.push(stream),
            Effect::Respond { response, .. } => self.responses.push(response),
            Effect::Discard { run } => {
                self.host.remove(&run);
                self.discarded.push(run);
            }
            Effect::RemoveSandbox { sandbox } => self.removed.push(sandbox.to_string()),
            Effect::Signal { run, signal } => self.signals.push((run, signal)),
            Effect::OpenSession(spec) => {
                let session = spec.session.clone();
                self.sessions.push(*spec);
                self.inbox.push_back(Event::SessionOpened { session, outcome: Ok(()) });
            }
            Effect::SignalSession { session, signal } => self.signals.push((session, signal)),
            Effect::CloseSession { session } => self.closed_sessions.push(session),
            Effect::Notice { text, .. } => self.notices.push(text),
            Effect::Ports { run, ports } => self.ports_told.push((run, ports.to_string())),
            Effect::Quit { reason } => self.quit = Some(reason),
        }
    }

    fn begin(&mut self, spec: Box<RunSpec>) {
        let run = spec.run.clone();
        let named = |name: &str| spec.environment.iter().find(|one| one.0 == name);
        let executor = named("MESOS_TASK_ID").or_else(|| named("MESOS_EXECUTOR_ID"));
        let executor = executor.map_or_else(|| run.to_string(), |(_, name)| name.clone());
        assert!(!self.host.contains_key(&run), "run {run} is started twice");
        self.witness.push((executor, run.clone()));
        self.pids += 1;
        let pid = self.pids;
        let one = HostRun { spec, pid, exit: None, terminated: 0, killed: 0 };
        self.host.insert(run.clone(), one);
        if self.answers_start {
            self.inbox.push_back(Event::RunStarted { run, outcome: Ok(pid) });
        }
    }

    fn hear(&mut self, report: Report) {
        if !self.link {
            return;
        }
        if self.acknowledges
            && let Report::Update { framework, status, .. } = &report
        {
            self.generation += 1;
            let order = Order::Acknowledge {
                framework: framework.clone(),
                task: task_id(&status.task_id.value),
                update: Uuid::from_slice(status.uuid.as_deref().unwrap()).unwrap(),
            };
            let (term, generation) = (Term(self.term), self.generation);
            let directive = Directive { term, generation, order };
            self.inbox.push_back(Event::Directive(Box::new(directive)));
        }
        if let Report::Update { status, .. } = &report {
            let task = status.task_id.value.clone();
            self.timeline.push(Moment::Sent(task, uuid_of(status)));
        }
        self.reports.push(report);
    }

    /// Handles everything that waits.
    pub fn settle(&mut self) {
        while let Some(event) = self.inbox.pop_front() {
            self.event(event);
        }
    }

    /// Lets time pass, with ticks where the agent wants them.
    pub fn advance(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(at) = self.agent.next_wakeup().filter(|at| *at <= end.mono) {
            if at > self.now.mono {
                self.now = self.now + at.since(self.now.mono);
            }
            self.event(Event::Tick);
            self.settle();
        }
        self.now = end;
    }

    /// The run of a live or former executor, or of a command task.
    pub fn run_of(&self, executor: &str) -> ContainerId {
        let found = self.witness.iter().rev().find(|(id, _)| id == executor);
        found.map(|(_, run)| run.clone()).expect("it was started")
    }

    pub fn process(&self, executor: &str) -> &HostRun {
        &self.host[&self.run_of(executor)]
    }

    pub fn exit(&mut self, executor: &str, exit: Exit) {
        let run = self.run_of(executor);
        if let Some(one) = self.host.get_mut(&run) {
            one.exit = Some(exit.clone());
        }
        self.event(Event::RunExited { run, exit, certificate: None });
        self.settle();
    }

    /// The process ends while no daemon runs.
    pub fn exit_unseen(&mut self, executor: &str, exit: Exit) {
        let run = self.run_of(executor);
        self.host.get_mut(&run).unwrap().exit = Some(exit);
    }

    /// Every status of a task that reached the control plane, repetitions too.
    pub fn statuses(&self, task: &str) -> Vec<&TaskStatus> {
        self.reports
            .iter()
            .filter_map(|report| match report {
                Report::Update { status, .. } if status.task_id.value == task => Some(&**status),
                _ => None,
            })
            .collect()
    }

    pub fn states(&self, task: &str) -> Vec<TaskState> {
        self.statuses(task).iter().map(|status| task_state(status.state).unwrap()).collect()
    }

    pub fn last(&self, task: &str) -> &TaskStatus {
        self.statuses(task).last().copied().expect("there is a status")
    }

    pub fn last_uuid(&self, task: &str) -> Uuid {
        Uuid::from_slice(self.last(task).uuid.as_deref().unwrap()).unwrap()
    }

    pub fn registration(&self) -> &Registration {
        let found = self.reports.iter().rev().find_map(|report| match report {
            Report::Register(registration) => Some(&**registration),
            _ => None,
        });
        found.expect("the agent registered")
    }

    pub fn registrations(&self) -> usize {
        self.reports.iter().filter(|report| matches!(report, Report::Register(_))).count()
    }

    pub fn heartbeats(&self) -> Vec<u64> {
        self.reports
            .iter()
            .filter_map(|report| match report {
                Report::Heartbeat { seen, .. } => Some(*seen),
                _ => None,
            })
            .collect()
    }

    /// The frameworks of which the last heartbeat says that they still hold something.
    pub fn leftovers(&self) -> Option<Vec<FrameworkId>> {
        self.reports.iter().rev().find_map(|report| match report {
            Report::Heartbeat { leftovers, .. } => Some(leftovers.clone()),
            _ => None,
        })
    }

    pub fn subscribe(&mut self, executor: &str) -> StreamId {
        self.subscribe_with(executor, executor::call::Subscribe::default())
    }

    pub fn subscribe_with(&mut self, executor: &str, call: executor::call::Subscribe) -> StreamId {
        self.requests += 1;
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.requests.to_be_bytes());
        let stream = StreamId(Uuid::from_bytes(bytes));
        self.event(Event::ExecutorSubscribe {
            request: RequestId(self.requests),
            stream,
            framework: framework_id(),
            executor: executor_id(executor),
            call: Box::new(call),
        });
        self.settle();
        stream
    }

    pub fn call(&mut self, call: executor::Call) -> Response {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.event(Event::ExecutorCall { request, call: Box::new(call) });
        self.settle();
        self.responses.last().unwrap().clone()
    }

    pub fn executor_says(&mut self, task: &str, state: TaskState, uuid: u8) -> Response {
        self.call(executor::Call {
            update: Some(executor::call::Update { status: executor_status(task, state, uuid) }),
            ..bare_call(executor::call::Type::Update)
        })
    }

    /// The kinds of events that a stream was sent.
    pub fn sent(&self, stream: StreamId) -> Vec<executor::event::Type> {
        self.streams.get(&stream).into_iter().flatten().map(executor::Event::r#type).collect()
    }

    pub fn event_of(&self, stream: StreamId, kind: executor::event::Type) -> &executor::Event {
        let found = self.streams[&stream].iter().rev().find(|event| event.r#type() == kind);
        found.expect("it was sent")
    }
}

pub fn uuid_of(status: &TaskStatus) -> Uuid {
    Uuid::from_slice(status.uuid.as_deref().unwrap()).unwrap()
}

pub fn bare_call(kind: executor::call::Type) -> executor::Call {
    executor::Call {
        executor_id: v1::ExecutorId { value: "e1".into() },
        framework_id: v1::FrameworkId { value: FRAMEWORK.into() },
        r#type: Some(kind.into()),
        ..executor::Call::default()
    }
}

pub fn executor_status(task: &str, state: TaskState, uuid: u8) -> TaskStatus {
    TaskStatus {
        task_id: v1::TaskId { value: task.into() },
        state: tepui_link::codec::wire_state(state).into(),
        source: Some(v1::task_status::Source::Executor.into()),
        executor_id: Some(v1::ExecutorId { value: "e1".into() }),
        uuid: Some(vec![uuid; 16]),
        data: Some(b"data".to_vec()),
        timestamp: Some(5.0),
        ..TaskStatus::default()
    }
}

pub fn duration(span: Span) -> v1::DurationInfo {
    v1::DurationInfo { nanoseconds: i64::try_from(span.as_nanos()).unwrap() }
}
