//! A cluster with a real allocator, and the other ends of its streams and links.

use std::collections::{BTreeMap, BTreeSet};

use tepui_allocator::{Allocate, Drf};
use tepui_cluster::{Cluster, Config, Effect, Event, Operation, Record, RefusalKind, Response};
use tepui_link::{Directive, Leftover, Order, Registration, Report};
use tepui_types::{
    AgentId, Entropy, FrameworkId, LinkId, Now, RequestId, Resources, Role, Span, StreamId, TaskId,
    TaskState, Term, Uuid, Wall,
};
use tepui_wire::v1::{self, master, offer, scheduler};

pub(crate) const PLAIN: &[Capability] = &[];
pub(crate) const AWARE: &[Capability] = &[Capability::PartitionAware];

pub(crate) use v1::framework_info::capability::Type as Capability;

/// One agent as the rig plays it.
#[derive(Clone, Debug)]
pub(crate) struct AgentEnd {
    pub(crate) id: AgentId,
    pub(crate) link: LinkId,
    pub(crate) info: v1::AgentInfo,
}

/// One framework as the rig plays it.
#[derive(Clone, Debug)]
pub(crate) struct FrameworkEnd {
    pub(crate) id: FrameworkId,
    pub(crate) stream: StreamId,
    pub(crate) info: v1::FrameworkInfo,
}

pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) allocator: Drf,
    pub(crate) events: BTreeMap<StreamId, Vec<scheduler::Event>>,
    pub(crate) closed_streams: BTreeSet<StreamId>,
    pub(crate) orders: BTreeMap<LinkId, Vec<Directive>>,
    pub(crate) closed_links: BTreeSet<LinkId>,
    pub(crate) records: Vec<Record>,
    pub(crate) saves: usize,
    pub(crate) published: Vec<master::Event>,
    responses: BTreeMap<RequestId, Response>,
    seen_offers: BTreeSet<String>,
    term: u64,
    next: u64,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let wall = Wall::from_millis(1_700_000_000_000);
        let mut rig = Self {
            cluster: Cluster::new(config.clone(), Entropy::seeded(1)),
            config,
            now: Now { wall, ..Now::default() },
            allocator: Drf::new(Entropy::seeded(2)),
            events: BTreeMap::new(),
            closed_streams: BTreeSet::new(),
            orders: BTreeMap::new(),
            closed_links: BTreeSet::new(),
            records: Vec::new(),
            saves: 0,
            published: Vec::new(),
            responses: BTreeMap::new(),
            seen_offers: BTreeSet::new(),
            term: 1,
            next: 0,
        };
        rig.act(Event::Elected { term: Term(1), records: Vec::new() });
        rig
    }

    /// The leader dies; another one starts from what is durable.
    pub(crate) fn change_leader(&mut self) {
        self.term += 1;
        self.cluster = Cluster::new(self.config.clone(), Entropy::seeded(self.term));
        self.allocator = Drf::new(Entropy::seeded(self.term));
        let records = self.records.clone();
        self.act(Event::Elected { term: Term(self.term), records });
    }

    pub(crate) fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// One event, its effects taken to where they belong, and the books checked.
    pub(crate) fn act(&mut self, event: Event) {
        let mut out = Vec::new();
        self.cluster.handle(self.now, event, &mut out);
        for effect in out {
            self.take(effect);
        }
        self.check_books();
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Save(record) => {
                self.saves += 1;
                self.records.retain(|old| key(old) != key(&record));
                self.records.push(record);
            }
            Effect::Forget(record) => self.records.retain(|old| key(old) != key(&record)),
            Effect::Respond { request, response } => {
                let before = self.responses.insert(request, response);
                assert!(before.is_none(), "{request:?} was answered twice");
            }
            Effect::ToFramework { stream, event } => {
                assert!(!self.closed_streams.contains(&stream), "sent on a closed stream");
                for offer in event.offers.iter().flat_map(|offers| &offers.offers) {
                    let fresh = self.seen_offers.insert(offer.id.value.clone());
                    assert!(fresh, "offer id {} was given twice", offer.id.value);
                }
                self.events.entry(stream).or_default().push(*event);
            }
            Effect::CloseStream { stream } => {
                self.closed_streams.insert(stream);
            }
            Effect::ToAgent { link, directive } => {
                assert!(!self.closed_links.contains(&link), "sent on a closed link");
                assert_eq!(directive.term, Term(self.term));
                let orders = self.orders.entry(link).or_default();
                orders.push(*directive);
            }
            Effect::CloseLink { link } => {
                self.closed_links.insert(link);
            }
            Effect::ToAllocator(input) => self.allocator.apply(self.now.mono, input),
            Effect::Publish(event) => self.published.push(*event),
        }
    }

    /// Rounds of the allocator until it has nothing more to say.
    pub(crate) fn allocate(&mut self) {
        for _ in 0..20 {
            let plan = self.allocator.round(self.now.mono);
            if plan.proposals.is_empty() {
                return;
            }
            self.act(Event::Planned(plan));
        }
    }

    /// Time passes; the cluster's timers and the allocator's rounds happen at their moments.
    pub(crate) fn advance(&mut self, span: Span) {
        let end = self.now + span;
        self.act(Event::Tick);
        self.allocate();
        while self.now.mono < end.mono {
            let wakeups = [self.cluster.next_wakeup(), self.allocator.next_wakeup()];
            let next = wakeups.into_iter().flatten().filter(|due| *due > self.now.mono).min();
            let due = next.unwrap_or(end.mono).min(end.mono);
            self.now = self.now + due.since(self.now.mono);
            self.act(Event::Tick);
            self.allocate();
        }
    }

    /// Time passes while the agents say that they live.
    pub(crate) fn advance_alive(&mut self, span: Span, agents: &[&AgentEnd]) {
        let step = Span::from_secs(15);
        let mut left = span;
        while left > Span::ZERO {
            let now = left.min(step);
            self.advance(now);
            left = left.saturating_sub(now);
            for agent in agents {
                self.heartbeat(agent);
            }
        }
    }

    pub(crate) fn heartbeat(&mut self, agent: &AgentEnd) {
        let known = self.cluster.agent(&agent.id);
        let seen = known.and_then(|agent| agent.link).map_or(0, |link| link.sent);
        let executors =
            known.map_or(0, |agent| agent.executors.values().map(|all| all.len()).sum());
        self.report(
            agent,
            Report::Heartbeat { seen, executors: executors as u64, leftovers: Vec::new() },
        );
    }

    // Agents.

    pub(crate) fn agent(&mut self, host: &str, resources: &str) -> AgentEnd {
        let info = agent_info(host, resources);
        self.register(None, info, Vec::new()).unwrap()
    }

    /// Registers on a fresh link; `None` when the agent is not admitted.
    pub(crate) fn register(
        &mut self,
        id: Option<&AgentId>,
        info: v1::AgentInfo,
        tasks: Vec<v1::Task>,
    ) -> Option<AgentEnd> {
        let frameworks = tasks
            .iter()
            .map(|task| v1::FrameworkInfo {
                id: Some(task.framework_id.clone()),
                ..framework_info("known-to-agent", PLAIN)
            })
            .collect();
        self.register_with(id, info, frameworks, tasks)
    }

    /// Comes back with what a removed framework still holds.
    pub(crate) fn register_leftovers(
        &mut self,
        agent: &AgentEnd,
        leftovers: Vec<Leftover>,
    ) -> AgentEnd {
        let registration = Registration {
            leftovers,
            ..self.registration(Some(&agent.id), agent.info.clone(), Vec::new(), Vec::new())
        };
        self.send_registration(registration).unwrap()
    }

    /// An agent asks to register that obeys this term.
    pub(crate) fn register_of_term(&mut self, host: &str, term: u64) -> Option<AgentEnd> {
        let info = agent_info(host, "cpus:1;mem:64");
        let registration = self.registration(None, info, Vec::new(), Vec::new());
        self.send_registration(Registration { term: Term(term), ..registration })
    }

    pub(crate) fn register_with(
        &mut self,
        id: Option<&AgentId>,
        info: v1::AgentInfo,
        frameworks: Vec<v1::FrameworkInfo>,
        tasks: Vec<v1::Task>,
    ) -> Option<AgentEnd> {
        let registration = self.registration(id, info, frameworks, tasks);
        self.send_registration(registration)
    }

    fn registration(
        &self,
        id: Option<&AgentId>,
        info: v1::AgentInfo,
        frameworks: Vec<v1::FrameworkInfo>,
        tasks: Vec<v1::Task>,
    ) -> Registration {
        Registration {
            agent: id.cloned(),
            info,
            boot: None,
            version: "1".into(),
            term: Term(self.term),
            frameworks,
            executors: Vec::new(),
            tasks,
            leftovers: Vec::new(),
        }
    }

    fn send_registration(&mut self, registration: Registration) -> Option<AgentEnd> {
        let link = LinkId(self.fresh());
        let info = registration.info.clone();
        self.act(Event::Report { link, report: Box::new(Report::Register(registration.into())) });
        match &self.orders.get(&link)?.first()?.order {
            Order::Registered { agent, .. } => Some(AgentEnd { id: agent.clone(), link, info }),
            _ => None,
        }
    }

    pub(crate) fn report(&mut self, agent: &AgentEnd, report: Report) {
        self.act(Event::Report { link: agent.link, report: Box::new(report) });
    }

    pub(crate) fn break_link(&mut self, agent: &AgentEnd) {
        self.closed_links.insert(agent.link);
        self.act(Event::LinkClosed { link: agent.link });
    }

    /// What the agent was told since it was last asked.
    pub(crate) fn orders(&mut self, agent: &AgentEnd) -> Vec<Order> {
        let orders = self.orders.remove(&agent.link).unwrap_or_default();
        orders.into_iter().map(|directive| directive.order).collect()
    }

    /// A status update of a task, with the id that it carries.
    pub(crate) fn update(
        &mut self,
        agent: &AgentEnd,
        framework: &FrameworkEnd,
        task: &str,
        state: TaskState,
    ) -> Vec<u8> {
        self.update_ahead(agent, framework, task, state, state)
    }

    /// A status update that was made at this second.
    pub(crate) fn update_at(
        &mut self,
        agent: &AgentEnd,
        framework: &FrameworkEnd,
        task: &str,
        state: TaskState,
        second: f64,
    ) {
        let mut status = self.status(task, state);
        status.timestamp = Some(second);
        let (framework, status) = (framework.id.clone(), Box::new(status));
        self.report(agent, Report::Update { framework, status, latest_state: state });
    }

    /// A status update with words of the agent's own.
    pub(crate) fn update_saying(
        &mut self,
        agent: &AgentEnd,
        framework: &FrameworkEnd,
        task: &str,
        state: TaskState,
        words: &str,
    ) {
        let mut status = self.status(task, state);
        status.message = Some(words.to_owned());
        let (framework, status) = (framework.id.clone(), Box::new(status));
        self.report(agent, Report::Update { framework, status, latest_state: state });
    }

    fn status(&mut self, task: &str, state: TaskState) -> v1::TaskStatus {
        let uuid = Entropy::seeded(self.fresh()).uuid().as_bytes().to_vec();
        v1::TaskStatus {
            task_id: v1::TaskId { value: task.into() },
            state: tepui_link::codec::wire_state(state).into(),
            source: Some(v1::task_status::Source::Executor.into()),
            uuid: Some(uuid),
            ..v1::TaskStatus::default()
        }
    }

    /// A status update of a task that has gone on to `latest` meanwhile.
    pub(crate) fn update_ahead(
        &mut self,
        agent: &AgentEnd,
        framework: &FrameworkEnd,
        task: &str,
        state: TaskState,
        latest: TaskState,
    ) -> Vec<u8> {
        let status = self.status(task, state);
        let uuid = status.uuid.clone().unwrap_or_default();
        self.report(
            agent,
            Report::Update {
                framework: framework.id.clone(),
                status: Box::new(status),
                latest_state: latest,
            },
        );
        uuid
    }

    // Frameworks.

    pub(crate) fn framework(&mut self, name: &str, capabilities: &[Capability]) -> FrameworkEnd {
        self.subscribe(framework_info(name, capabilities)).unwrap()
    }

    /// Subscribes on a fresh stream; the error is what the stream says instead.
    pub(crate) fn subscribe(&mut self, info: v1::FrameworkInfo) -> Result<FrameworkEnd, String> {
        self.subscribe_suppressed(info, &[])
    }

    pub(crate) fn subscribe_suppressed(
        &mut self,
        info: v1::FrameworkInfo,
        suppressed: &[&str],
    ) -> Result<FrameworkEnd, String> {
        let suppressed_roles = suppressed.iter().map(|role| (*role).into()).collect();
        self.subscribe_as(scheduler::call::Subscribe {
            framework_info: info,
            suppressed_roles,
            offer_constraints: None,
        })
    }

    pub(crate) fn subscribe_as(
        &mut self,
        call: scheduler::call::Subscribe,
    ) -> Result<FrameworkEnd, String> {
        let info = call.framework_info.clone();
        let request = RequestId(self.fresh());
        self.act(Event::Subscribe {
            request,
            framework: info.id.as_ref().map(|id| FrameworkId::parse(&id.value).unwrap()),
            call: Box::new(call),
            principal: None,
        });
        let stream = match self.responses.remove(&request) {
            Some(Response::Streaming { stream }) => stream,
            other => return Err(format!("{other:?}")),
        };
        let mut events = self.events.remove(&stream).unwrap_or_default();
        let first = events.remove(0);
        if let Some(error) = first.error {
            assert!(self.closed_streams.contains(&stream), "the stream ends after ERROR");
            return Err(error.message);
        }
        let id = FrameworkId::parse(&first.subscribed.unwrap().framework_id.value).unwrap();
        let info =
            v1::FrameworkInfo { id: Some(v1::FrameworkId { value: id.to_string() }), ..info };
        self.events.insert(stream, events);
        self.allocate();
        Ok(FrameworkEnd { id, stream, info })
    }

    pub(crate) fn close_stream(&mut self, framework: &FrameworkEnd) {
        self.closed_streams.insert(framework.stream);
        self.act(Event::StreamClosed { stream: framework.stream });
    }

    pub(crate) fn call(&mut self, framework: &FrameworkEnd, call: scheduler::Call) -> Response {
        self.call_as(Some(framework.stream), framework, call)
    }

    pub(crate) fn call_as(
        &mut self,
        stream: Option<StreamId>,
        framework: &FrameworkEnd,
        call: scheduler::Call,
    ) -> Response {
        let call = scheduler::Call {
            framework_id: Some(v1::FrameworkId { value: framework.id.to_string() }),
            ..call
        };
        self.raw_call(stream, call)
    }

    pub(crate) fn raw_call(&mut self, stream: Option<StreamId>, call: scheduler::Call) -> Response {
        let request = RequestId(self.fresh());
        self.act(Event::Call { request, stream, call: Box::new(call), principal: None });
        self.responses.remove(&request).unwrap()
    }

    pub(crate) fn operate(&mut self, operation: Operation) -> Response {
        let request = RequestId(self.fresh());
        self.act(Event::Operate { request, operation });
        self.responses.remove(&request).unwrap()
    }

    /// What the framework was told since it was last asked.
    pub(crate) fn events(&mut self, framework: &FrameworkEnd) -> Vec<scheduler::Event> {
        self.events.remove(&framework.stream).unwrap_or_default()
    }

    /// The offers among them; everything else is dropped.
    pub(crate) fn offers(&mut self, framework: &FrameworkEnd) -> Vec<v1::Offer> {
        self.allocate();
        let events = self.events(framework);
        events.into_iter().filter_map(|event| event.offers).flat_map(|o| o.offers).collect()
    }

    /// The statuses among them, as state and reason; everything else is dropped.
    pub(crate) fn statuses(&mut self, framework: &FrameworkEnd) -> Vec<v1::TaskStatus> {
        let events = self.events(framework);
        events.into_iter().filter_map(|event| event.update).map(|update| update.status).collect()
    }

    pub(crate) fn accept(
        &mut self,
        framework: &FrameworkEnd,
        offers: &[&v1::Offer],
        operations: Vec<offer::Operation>,
    ) -> Response {
        self.call(
            framework,
            scheduler::Call {
                r#type: Some(scheduler::call::Type::Accept.into()),
                accept: Some(scheduler::call::Accept {
                    offer_ids: offers.iter().map(|offer| offer.id.clone()).collect(),
                    operations,
                    filters: None,
                }),
                ..scheduler::Call::default()
            },
        )
    }

    /// Launches command tasks on one offer.
    pub(crate) fn launch(
        &mut self,
        framework: &FrameworkEnd,
        offer: &v1::Offer,
        tasks: Vec<v1::TaskInfo>,
    ) -> Response {
        self.accept(framework, &[offer], vec![launch(tasks)])
    }

    /// A framework, an agent and a task that runs there.
    pub(crate) fn with_running_task(
        &mut self,
        capabilities: &[Capability],
    ) -> (AgentEnd, FrameworkEnd) {
        let agent = self.agent("a1", "cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
        let info = v1::FrameworkInfo {
            checkpoint: Some(true),
            failover_timeout: Some(600.0),
            ..framework_info("f1", capabilities)
        };
        let framework = self.subscribe(info).unwrap();
        let offers = self.offers(&framework);
        self.launch(&framework, &offers[0], vec![task("t1", &agent, "cpus:1;mem:128")]);
        let update = self.update(&agent, &framework, "t1", TaskState::Running);
        self.acknowledge(&framework, &agent, "t1", update);
        self.orders(&agent);
        self.events(&framework);
        (agent, framework)
    }

    pub(crate) fn acknowledge(
        &mut self,
        framework: &FrameworkEnd,
        agent: &AgentEnd,
        task: &str,
        uuid: Vec<u8>,
    ) -> Response {
        self.call(
            framework,
            scheduler::Call {
                r#type: Some(scheduler::call::Type::Acknowledge.into()),
                acknowledge: Some(scheduler::call::Acknowledge {
                    agent_id: v1::AgentId { value: agent.id.to_string() },
                    task_id: v1::TaskId { value: task.into() },
                    uuid,
                }),
                ..scheduler::Call::default()
            },
        )
    }

    pub(crate) fn state(&self, framework: &FrameworkEnd, task: &str) -> Option<TaskState> {
        let task = TaskId::parse(task).unwrap();
        self.cluster.task(&framework.id, &task).map(|task| task.state)
    }

    /// What an agent has free, as text.
    pub(crate) fn free(&self, agent: &AgentEnd) -> String {
        self.cluster.agent(&agent.id).map(|agent| agent.free.to_string()).unwrap_or_default()
    }

    // Invariants.

    /// Makes every agent's books from its tasks, executors and offers and compares them with the
    /// ones that the cluster keeps.
    fn check_books(&self) {
        for agent in self.cluster.agents() {
            let mut used = Resources::new();
            let mut offered = Resources::new();
            let mut disjoint = true;
            let mut hold = |sum: &mut Resources, others: &Resources, one: &Resources| {
                disjoint &= !sum.overlaps(one) && !others.overlaps(one);
                sum.add_all(one);
            };
            let tasks = self.cluster.tasks().filter(|task| task.agent == agent.id);
            for task in tasks.filter(|task| !task.state.is_terminal()) {
                hold(&mut used, &offered, &task.resources);
            }
            let executors = agent.executors.values().flat_map(BTreeMap::values);
            executors.for_each(|executor| hold(&mut used, &offered, &executor.resources));
            let departing = agent.departing.values().flat_map(|one| one.held());
            departing.for_each(|held| hold(&mut used, &offered, held));
            for offer in self.cluster.offers().filter(|offer| offer.agent == agent.id) {
                assert!(agent.is_active(), "an offer of an agent that is not active");
                hold(&mut offered, &used, &offer.resources);
            }
            assert_eq!(agent.used, used, "used of {}", agent.id);
            assert_eq!(agent.offered, offered, "offered of {}", agent.id);
            let taken = used.plus(&offered);
            if !agent.overbooked {
                assert!(disjoint, "two hold the same ports of {}", agent.id);
                assert!(agent.total.contains(&taken), "{} has less than {taken}", agent.total);
            }
            assert_eq!(agent.free, agent.total.minus(&taken), "free of {}", agent.id);
        }
        let sums = self.cluster.sums_by_framework();
        for framework in self.cluster.frameworks() {
            let all = sums.get(&framework.id).cloned().unwrap_or_default();
            assert_eq!(self.cluster.sums_of(framework), all, "sums of {}", framework.id);
        }
        for offer in self.cluster.offers() {
            let framework = self.cluster.framework(&offer.framework).unwrap();
            assert!(framework.is_connected(), "an offer of a framework that is away");
            assert!(framework.offers.contains(&offer.number));
        }
    }
}

fn key(record: &Record) -> String {
    match record {
        Record::Counters { .. } => "counters".into(),
        Record::Agent { agent, .. } => format!("agent {agent}"),
        Record::Framework { framework, .. } => format!("framework {framework}"),
        Record::RemovedFramework { framework, .. } => format!("removed framework {framework}"),
        Record::Drain { agent, .. } => format!("drain {agent}"),
        Record::Weight { role, .. } => format!("weight {role}"),
    }
}

pub(crate) fn agent_info(host: &str, resources: &str) -> v1::AgentInfo {
    v1::AgentInfo {
        hostname: host.into(),
        port: Some(5051),
        resources: wire_resources(resources),
        ..v1::AgentInfo::default()
    }
}

pub(crate) fn framework_info(name: &str, capabilities: &[Capability]) -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        user: "nobody".into(),
        name: name.into(),
        failover_timeout: Some(600.0),
        checkpoint: Some(true),
        capabilities: capabilities
            .iter()
            .map(|kind| v1::framework_info::Capability { r#type: Some((*kind).into()) })
            .collect(),
        ..v1::FrameworkInfo::default()
    }
}

pub(crate) fn wire_resources(text: &str) -> Vec<v1::Resource> {
    let bundle = tepui_wire::resources::parse_text(text, &Role::default_role()).unwrap();
    tepui_wire::resources::encode(&bundle, tepui_wire::resources::Format::PostRefinement, None)
}

pub(crate) fn task(name: &str, agent: &AgentEnd, resources: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: name.into(),
        task_id: v1::TaskId { value: name.into() },
        agent_id: v1::AgentId { value: agent.id.to_string() },
        resources: wire_resources(resources),
        command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..v1::TaskInfo::default()
    }
}

/// A task as an agent reports it.
pub(crate) fn reported(
    name: &str,
    framework: &FrameworkEnd,
    agent: &AgentEnd,
    state: v1::TaskState,
) -> v1::Task {
    v1::Task {
        name: name.into(),
        task_id: v1::TaskId { value: name.into() },
        framework_id: v1::FrameworkId { value: framework.id.to_string() },
        agent_id: v1::AgentId { value: agent.id.to_string() },
        state: state.into(),
        resources: wire_resources("cpus:1;mem:128"),
        ..v1::Task::default()
    }
}

pub(crate) fn launch(tasks: Vec<v1::TaskInfo>) -> offer::Operation {
    offer::Operation {
        r#type: Some(offer::operation::Type::Launch.into()),
        launch: Some(offer::operation::Launch { task_infos: tasks }),
        ..offer::Operation::default()
    }
}

pub(crate) fn call(kind: scheduler::call::Type) -> scheduler::Call {
    scheduler::Call { r#type: Some(kind.into()), ..scheduler::Call::default() }
}

pub(crate) fn decline(offers: &[v1::Offer], seconds: Option<f64>) -> scheduler::Call {
    scheduler::Call {
        decline: Some(scheduler::call::Decline {
            offer_ids: offers.iter().map(|offer| offer.id.clone()).collect(),
            filters: seconds.map(|seconds| v1::Filters { refuse_seconds: Some(seconds) }),
        }),
        ..call(scheduler::call::Type::Decline)
    }
}

/// What a refusal says.
pub(crate) fn refusal(response: Response) -> (RefusalKind, String) {
    match response {
        Response::Refused(refusal) => (refusal.kind, refusal.message),
        other => panic!("{other:?} is no refusal"),
    }
}

pub(crate) fn summary(statuses: &[v1::TaskStatus]) -> Vec<String> {
    statuses
        .iter()
        .map(|status| {
            let reason = v1::task_status::Reason::try_from(status.reason.unwrap_or(-1))
                .map_or("", |reason| reason.as_str_name().trim_start_matches("REASON_"));
            let state = status.state().as_str_name().trim_start_matches("TASK_");
            format!("{} {state} {reason}", status.task_id.value).trim_end().to_owned()
        })
        .collect()
}

pub(crate) const fn secs(seconds: u64) -> Span {
    Span::from_secs(seconds)
}

pub(crate) fn no_uuid() -> Uuid {
    Uuid::from_bytes([9; 16])
}
