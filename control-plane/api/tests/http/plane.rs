//! A control plane in one mutex: every request is decided, allocated for and answered before it
//! returns, so no test waits for anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tepui_allocator::{Allocate, Drf, Reason};
use tepui_api::{Plane, Subscription, Timings, Unavailable};
use tepui_cluster::{
    Cluster, Config, Effect, Event, Operation, Record, Refusal, Response, Standing,
};
use tepui_link::{Order, Registration, Report};
use tepui_types::{
    AgentId, Entropy, FrameworkId, LinkId, Now, RequestId, Span, StreamId, TaskState, Term, Wall,
};
use tepui_wire::v1::{self, master, scheduler};
use tokio::sync::{Semaphore, mpsc};

const BUFFER: usize = 4096;

/// When every test begins.
pub(crate) const START: Wall = Wall::from_millis(1_700_000_000_000);

#[derive(Clone, Debug)]
pub(crate) struct TestPlane {
    world: Arc<Mutex<World>>,
    /// Closed while it has no permit.
    gate: Arc<Semaphore>,
    pub(crate) timings: Arc<Timings>,
}

#[derive(Debug)]
struct World {
    cluster: Cluster,
    allocator: Drf,
    now: Now,
    streams: HashMap<StreamId, mpsc::Sender<scheduler::Event>>,
    watchers: Vec<mpsc::Sender<Arc<master::Event>>>,
    orders: BTreeMap<LinkId, Vec<Order>>,
    responses: HashMap<RequestId, Response>,
    subscribing: Option<(RequestId, mpsc::Sender<scheduler::Event>)>,
    next: u64,
    /// For how long readers kept the cluster to themselves.
    held: Duration,
}

/// An agent as a test plays it.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    link: LinkId,
}

impl TestPlane {
    /// A control plane that leads.
    pub(crate) fn elected(config: Config) -> Self {
        let plane = Self::waiting(config);
        plane.lock().act(Event::Elected { term: Term(1), records: Vec::new() });
        plane
    }

    /// A control plane that does not lead yet.
    pub(crate) fn waiting(config: Config) -> Self {
        let world = World {
            cluster: Cluster::new(config, Entropy::seeded(1)),
            allocator: Drf::new(Entropy::seeded(2)),
            now: Now { wall: START, ..Now::default() },
            streams: HashMap::new(),
            watchers: Vec::new(),
            orders: BTreeMap::new(),
            responses: HashMap::new(),
            subscribing: None,
            next: 0,
            held: Duration::ZERO,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            gate: Arc::new(Semaphore::new(1)),
            timings: Arc::new(Timings::new().unwrap()),
        }
    }

    /// Elects the leader, with one agent of the registry that has not come back.
    pub(crate) fn recover(&self, info: v1::AgentInfo) {
        let agent = AgentId::parse("earlier-S0").unwrap();
        let record = Record::Agent {
            agent,
            info: Box::new(info),
            standing: Standing::Admitted,
            deactivated: false,
        };
        self.act(Event::Elected { term: Term(2), records: vec![record] });
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn act(&self, event: Event) {
        self.lock().act(event);
    }

    pub(crate) fn advance(&self, span: Span) {
        let mut world = self.lock();
        let end = world.now + span;
        while world.now.mono < end.mono {
            // In small steps: a leader that did nothing for long excuses everybody's silence.
            let step = end.mono.since(world.now.mono).min(Span::from_secs(1));
            world.now = world.now + step;
            world.act(Event::Tick);
        }
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Cluster) -> T) -> T {
        look(&self.lock().cluster)
    }

    /// Readers wait from now on.
    pub(crate) fn close_gate(&self) {
        assert_eq!(self.gate.forget_permits(1), 1);
    }

    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1);
    }

    /// The control plane goes away: everybody who waits is let go.
    pub(crate) fn stop(&self) {
        self.gate.close();
    }

    #[allow(dead_code)] // for examples/state_speed.rs
    pub(crate) fn held(&self) -> Duration {
        self.lock().held
    }

    pub(crate) fn watchers(&self) -> usize {
        self.lock().watchers.iter().filter(|sink| !sink.is_closed()).count()
    }

    /// An agent registers.
    pub(crate) fn agent(&self, info: v1::AgentInfo) -> Agent {
        self.register(None, info)
    }

    pub(crate) fn register(&self, id: Option<&AgentId>, info: v1::AgentInfo) -> Agent {
        let mut world = self.lock();
        let link = LinkId(world.fresh());
        let registration = Registration {
            agent: id.cloned(),
            info,
            boot: None,
            version: "0.1.0".into(),
            term: Term(1),
            frameworks: Vec::new(),
            executors: Vec::new(),
            tasks: Vec::new(),
            leftovers: Vec::new(),
        };
        world.act(Event::Report { link, report: Box::new(Report::Register(registration.into())) });
        match world.orders.remove(&link).unwrap_or_default().first() {
            Some(Order::Registered { agent, .. }) => Agent { id: agent.clone(), link },
            other => panic!("the agent was not admitted: {other:?}"),
        }
    }

    /// The agent's link breaks.
    pub(crate) fn lose(&self, agent: &Agent) {
        self.act(Event::LinkClosed { link: agent.link });
    }

    pub(crate) fn report(&self, agent: &Agent, report: Report) {
        self.act(Event::Report { link: agent.link, report: Box::new(report) });
    }

    /// The agent says that a task is in a state; the answer is the update's id.
    pub(crate) fn update(
        &self,
        agent: &Agent,
        framework: &FrameworkId,
        task: &str,
        state: TaskState,
    ) -> Vec<u8> {
        let number = self.lock().fresh();
        let uuid = Entropy::seeded(number).uuid().as_bytes().to_vec();
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: task.into() },
            state: tepui_link::codec::wire_state(state).into(),
            source: Some(v1::task_status::Source::Executor.into()),
            timestamp: Some(self.lock().now.wall.as_secs_f64()),
            container_status: Some(v1::ContainerStatus {
                container_id: Some(v1::ContainerId { value: "c1".into(), parent: None }),
                network_infos: vec![v1::NetworkInfo {
                    ip_addresses: vec![v1::network_info::IpAddress {
                        ip_address: Some("10.0.0.2".into()),
                        ..v1::network_info::IpAddress::default()
                    }],
                    ..v1::NetworkInfo::default()
                }],
                ..v1::ContainerStatus::default()
            }),
            uuid: Some(uuid.clone()),
            ..v1::TaskStatus::default()
        };
        self.report(
            agent,
            Report::Update {
                framework: framework.clone(),
                status: Box::new(status),
                latest_state: state,
            },
        );
        uuid
    }

    /// What the agent was told since it was last asked.
    pub(crate) fn orders(&self, agent: &Agent) -> Vec<Order> {
        self.lock().orders.remove(&agent.link).unwrap_or_default()
    }
}

impl World {
    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// One event and every plan of the allocator that follows from it.
    fn act(&mut self, event: Event) {
        self.handle(event);
        loop {
            let plan = self.allocator.round(self.now.mono);
            if plan.proposals.is_empty() {
                return;
            }
            self.handle(Event::Planned(plan));
        }
    }

    fn handle(&mut self, event: Event) {
        let mut out = Vec::new();
        self.cluster.handle(self.now, event, &mut out);
        for effect in out {
            self.take(effect);
        }
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Save(_) | Effect::Forget(_) => {}
            Effect::Respond { request, response } => {
                if let Response::Streaming { stream } = &response
                    && let Some((_, sink)) =
                        self.subscribing.take_if(|(waiting, _)| *waiting == request)
                {
                    self.streams.insert(*stream, sink);
                }
                self.responses.insert(request, response);
            }
            Effect::ToFramework { stream, event } => {
                if let Some(sink) = self.streams.get(&stream) {
                    // A test that dropped its stream is gone.
                    let _ = sink.try_send(*event);
                }
            }
            Effect::CloseStream { stream } => {
                self.streams.remove(&stream);
            }
            Effect::ToAgent { link, directive } => {
                self.orders.entry(link).or_default().push(directive.order);
            }
            Effect::CloseLink { .. } => {}
            Effect::ToAllocator(input) => self.allocator.apply(self.now.mono, input),
            Effect::Publish(event) => {
                let event: Arc<master::Event> = event.into();
                self.watchers.retain(|sink| sink.try_send(event.clone()).is_ok());
            }
        }
    }

    fn ask(&mut self, event: impl FnOnce(RequestId) -> Event) -> Response {
        let request = RequestId(self.fresh());
        self.act(event(request));
        self.responses.remove(&request).unwrap()
    }
}

impl Plane for TestPlane {
    async fn subscribe(
        &self,
        framework: Option<FrameworkId>,
        call: Box<scheduler::call::Subscribe>,
        principal: Option<Arc<str>>,
    ) -> Result<Subscription, Refusal> {
        let (sink, events) = mpsc::channel(BUFFER);
        let mut world = self.lock();
        let request = RequestId(world.fresh());
        world.subscribing = Some((request, sink));
        world.act(Event::Subscribe { request, framework, call, principal });
        match world.responses.remove(&request).unwrap() {
            Response::Streaming { stream } => Ok(Subscription { stream, events }),
            Response::Refused(refusal) => Err(refusal),
            other => panic!("{other:?} is no answer to a subscription"),
        }
    }

    fn stream_closed(&self, stream: StreamId) {
        self.act(Event::StreamClosed { stream });
    }

    async fn call(
        &self,
        call: Box<scheduler::Call>,
        stream: Option<StreamId>,
        principal: Option<Arc<str>>,
    ) -> Result<Response, Unavailable> {
        Ok(self.lock().ask(|request| Event::Call { request, stream, call, principal }))
    }

    async fn operate(&self, operation: Operation) -> Result<Response, Unavailable> {
        Ok(self.lock().ask(|request| Event::Operate { request, operation }))
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let turn = self.gate.acquire().await;
        drop(turn.map_err(|_| Unavailable("the control plane is stopping".into()))?);
        let mut world = self.lock();
        let begin = Instant::now();
        let seen = look(&world.cluster, world.now);
        world.held += begin.elapsed();
        Ok(seen)
    }

    async fn watch<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster, Now) -> T + Send + 'static,
    ) -> Result<(T, mpsc::Receiver<Arc<master::Event>>), Unavailable> {
        let (sink, events) = mpsc::channel(BUFFER);
        let mut world = self.lock();
        world.watchers.push(sink);
        let count = world.watchers.len();
        world.handle(Event::Watchers(count));
        Ok((look(&world.cluster, world.now), events))
    }

    fn watch_ended(&self) {
        let mut world = self.lock();
        world.watchers.retain(|sink| !sink.is_closed());
        let count = world.watchers.len();
        world.handle(Event::Watchers(count));
    }

    fn timings(&self) -> Option<Arc<Timings>> {
        Some(self.timings.clone())
    }

    async fn explain(&self, framework: FrameworkId) -> Result<Vec<Reason>, Unavailable> {
        let world = self.lock();
        Ok(world.allocator.explain(world.now.mono, &framework))
    }
}
