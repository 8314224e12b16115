//! A host whose agent is the real machine; processes and the control plane are played.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::{Extension, Router};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tepui_agent::{
    Agent, Caller, Config, ContainerCall, Effect, Event, FoundRun, FoundState, Record, Response,
};
use tepui_agent_api::{
    Durations, Facts, Flow, Host, Input, KernelReport, Output, RunPlace, Runtime, Tcp, Unavailable,
    Usage, router,
};
use tepui_link::{Directive, LaunchOrder, Order};
use tepui_process::Connection;
use tepui_types::{
    AgentId, ContainerId, Entropy, ExecutorId, FrameworkId, Mono, Now, RequestId, Role, Span,
    StreamId, Term, Uuid, Wall,
};
use tepui_wire::v1::{self, executor};
use tokio::sync::mpsc;
use tower::ServiceExt;

const NOW: Now =
    Now { mono: Mono::from_nanos(5_000_000_000), wall: Wall::from_millis(1_700_000_000_000) };

/// The agent and what it asked for.
#[derive(Clone)]
pub(crate) struct Rig {
    inner: Arc<Mutex<Inner>>,
    pub(crate) work_dir: PathBuf,
    _dir: Arc<TempDir>,
}

struct Inner {
    agent: Agent,
    work_dir: PathBuf,
    inbox: VecDeque<Event>,
    generation: u64,
    requests: u64,
    responses: HashMap<RequestId, Response>,
    streams: HashMap<StreamId, mpsc::Sender<executor::Event>>,
    runs: Vec<(ContainerId, String)>,
    records: Vec<Record>,
    closed: Vec<StreamId>,
    waiting: HashMap<RequestId, mpsc::UnboundedSender<Response>>,
    /// What sessions print, and what is said to them: the far ends.
    outputs: HashMap<ContainerId, mpsc::Receiver<Output>>,
    inputs: HashMap<ContainerId, mpsc::Sender<Input>>,
    talks: HashMap<ContainerId, Talk>,
    /// Who calls, and how often that was asked.
    caller: Caller,
    asked: usize,
}

/// A session as its command sees it.
pub(crate) struct Talk {
    pub(crate) spec: tepui_agent::SessionSpec,
    pub(crate) prints: mpsc::Sender<Output>,
    pub(crate) hears: mpsc::Receiver<Input>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text; empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl Rig {
    /// A registered agent without tasks.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let work_dir = dir.path().canonicalize().unwrap();
        let resources = "cpus:4;mem:1024;disk:2048;ports:[31000-32000]";
        let total = tepui_wire::resources::parse_text(resources, &Role::default_role()).unwrap();
        let info = v1::AgentInfo {
            hostname: "host.example".into(),
            port: Some(5051),
            resources: tepui_wire::resources::encode(
                &total,
                tepui_wire::resources::Format::PostRefinement,
                None,
            ),
            ..v1::AgentInfo::default()
        };
        let inner = Inner {
            agent: Agent::new(Config::new(info, "10.0.0.1"), Entropy::seeded(1)),
            work_dir: work_dir.clone(),
            inbox: VecDeque::new(),
            generation: 0,
            requests: 0,
            responses: HashMap::new(),
            streams: HashMap::new(),
            runs: Vec::new(),
            records: Vec::new(),
            closed: Vec::new(),
            waiting: HashMap::new(),
            outputs: HashMap::new(),
            inputs: HashMap::new(),
            talks: HashMap::new(),
            caller: Caller::Operator,
            asked: 0,
        };
        let rig = Self { inner: Arc::new(Mutex::new(inner)), work_dir, _dir: Arc::new(dir) };
        rig.with(|inner| {
            inner.event(Event::Started { boot: None, records: Vec::new(), runs: Vec::new() });
            inner.event(Event::LinkUp);
            let agent = AgentId::parse("a1").unwrap();
            let (heartbeat, patience) = (Span::from_secs(15), Span::from_secs(75));
            inner.order(Order::Registered { agent, heartbeat, patience, pace: Span::ZERO });
        });
        rig
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap())
    }

    pub(crate) fn launch(&self, task: v1::TaskInfo) {
        let framework = v1::FrameworkInfo {
            user: "alice".into(),
            name: "marathon".into(),
            id: Some(v1::FrameworkId { value: "f1".into() }),
            checkpoint: Some(true),
            ..v1::FrameworkInfo::default()
        };
        let order = LaunchOrder {
            framework,
            role: Role::default_role(),
            group_executor: None,
            tasks: vec![task],
        };
        self.with(|inner| inner.order(Order::Launch(Box::new(order))));
    }

    /// The daemon is killed and started again; every process is still there.
    pub(crate) fn restart(&self) {
        self.with(|inner| {
            let config = inner.agent.config().clone();
            inner.agent = Agent::new(config, Entropy::seeded(2));
            inner.streams.clear();
            let records = inner.records.clone();
            let found = |(run, _): &(ContainerId, String)| FoundRun {
                denials: Vec::new(),
                run: run.clone(),
                state: FoundState::Running { pid: 4711 },
                addresses: None,
                certificate: None,
            };
            let runs = inner.runs.iter().map(found).collect();
            inner.event(Event::Started { boot: None, records, runs });
        });
    }

    /// The sandbox of the newest run of an executor or command task.
    pub(crate) fn sandbox(&self, executor: &str) -> PathBuf {
        let part = format!("/executors/{executor}/runs/");
        let found = self.with(|inner| {
            inner.runs.iter().rev().find(|(_, sandbox)| sandbox.contains(&part)).cloned()
        });
        self.work_dir.join(found.expect("it was launched").1)
    }

    /// The newest run.
    pub(crate) fn newest_run(&self) -> ContainerId {
        self.with(|inner| inner.runs.last().expect("something was launched").0.clone())
    }

    /// Whether a session was opened.
    pub(crate) fn has_talk(&self, session: &ContainerId) -> bool {
        self.with(|inner| inner.talks.contains_key(session))
    }

    /// The far end of a session.
    pub(crate) fn talk(&self, session: &ContainerId) -> Talk {
        self.with(|inner| inner.talks.remove(session).expect("it was opened"))
    }

    /// A session's command ends.
    pub(crate) fn end_session(&self, session: &ContainerId, exit: tepui_agent::Exit) {
        let session = session.clone();
        self.with(|inner| inner.event(Event::SessionEnded { session, exit }));
    }

    pub(crate) fn closed_streams(&self) -> usize {
        self.with(|inner| inner.closed.len())
    }

    /// The agent closes all streams, as at its end.
    pub(crate) fn hang_up(&self) {
        self.with(|inner| inner.streams.clear());
    }

    fn router(&self) -> Router {
        let (peer, local) = (SocketAddr::from(([10, 0, 0, 9], 40_000)), ([10, 0, 0, 1], 5051));
        let connection = Connection::new(peer, SocketAddr::from(local));
        self.router_of(connection)
    }

    /// All requests come by this connection.
    pub(crate) fn router_of(&self, connection: Connection) -> Router {
        router(self.clone(), self.facts()).layer(Extension(connection))
    }

    /// Whoever calls from now on.
    pub(crate) fn is_called_by(&self, caller: Caller) {
        self.with(|inner| inner.caller = caller);
    }

    /// How often it was asked who calls.
    pub(crate) fn asked_for_callers(&self) -> usize {
        self.with(|inner| inner.asked)
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts {
            hostname: "host.example".into(),
            ip: "10.0.0.1".into(),
            port: 5051,
            started: NOW,
            work_dir: self.work_dir.clone(),
            flags: vec![("work_dir".into(), "/var/lib/tepui".into())],
        }
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, call: Value) -> Answer {
        self.ask(json_request(path, call)).await
    }

    /// An answer that goes on: its status, type and body.
    pub(crate) async fn stream(&self, path: &str, call: Value) -> (StatusCode, HeaderMap, Body) {
        let response = self.router().oneshot(json_request(path, call)).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body)
    }
}

pub(crate) fn json_request(path: &str, call: Value) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(call.to_string()))
        .unwrap()
}

impl Inner {
    fn order(&mut self, order: Order) {
        self.generation += 1;
        let directive = Directive { term: Term(1), generation: self.generation, order };
        self.event(Event::Directive(Box::new(directive)));
    }

    fn event(&mut self, event: Event) {
        self.inbox.push_back(event);
        while let Some(event) = self.inbox.pop_front() {
            let mut effects = Vec::new();
            self.agent.handle(NOW, event, &mut effects);
            for effect in effects {
                self.act(effect);
            }
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Save(record) => self.records.push(record),
            Effect::Fetch { run, sandbox, .. } => {
                std::fs::create_dir_all(self.work_dir.join(&*sandbox)).unwrap();
                self.runs.push((run.clone(), sandbox.to_string()));
                self.inbox.push_back(Event::Fetched { run, outcome: Ok(()) });
            }
            Effect::Start(spec) => {
                self.inbox.push_back(Event::RunStarted { run: spec.run, outcome: Ok(4711) });
            }
            Effect::ToExecutor { stream, event } => {
                if let Some(sink) = self.streams.get(&stream) {
                    sink.try_send(*event).unwrap();
                }
            }
            Effect::CloseExecutorStream { stream } => {
                self.streams.remove(&stream);
            }
            Effect::Respond { request, response } => match self.waiting.remove(&request) {
                Some(waiting) => waiting.send(response).unwrap(),
                None => drop(self.responses.insert(request, response)),
            },
            Effect::OpenSession(spec) => {
                let session = spec.session.clone();
                let ((prints, output), (input, hears)) = (mpsc::channel(100), mpsc::channel(100));
                self.outputs.insert(session.clone(), output);
                self.inputs.insert(session.clone(), input);
                self.talks.insert(session.clone(), Talk { spec: *spec, prints, hears });
                self.inbox.push_back(Event::SessionOpened { session, outcome: Ok(()) });
            }
            Effect::Signal { run, signal } => {
                let exit = tepui_agent::Exit::Signal(signal);
                self.inbox.push_back(Event::RunExited { run, exit, certificate: None });
            }
            _ => {}
        }
    }

    fn request(&mut self, event: impl FnOnce(RequestId) -> Event) -> Response {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.event(event(request));
        self.responses.remove(&request).expect("every request is answered")
    }
}

impl Host for Rig {
    async fn subscribe(
        &self,
        framework: FrameworkId,
        executor: ExecutorId,
        call: Box<executor::call::Subscribe>,
    ) -> Result<(Response, StreamId, mpsc::Receiver<executor::Event>), Unavailable> {
        let (sink, events) = mpsc::channel(100);
        Ok(self.with(|inner| {
            let stream = StreamId(Uuid::from_bytes(u128::from(inner.requests).to_be_bytes()));
            inner.streams.insert(stream, sink);
            let response = inner.request(|request| Event::ExecutorSubscribe {
                request,
                stream,
                framework,
                executor,
                call,
            });
            (response, stream, events)
        }))
    }

    async fn call(&self, call: Box<executor::Call>) -> Result<Response, Unavailable> {
        Ok(self.with(|inner| inner.request(|request| Event::ExecutorCall { request, call })))
    }

    fn stream_closed(&self, stream: StreamId) {
        self.with(|inner| {
            inner.closed.push(stream);
            inner.event(Event::ExecutorStreamClosed { stream });
        });
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Agent, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        Ok(self.with(|inner| look(&inner.agent, NOW)))
    }

    fn kernel(&self) -> KernelReport {
        KernelReport {
            mode: "deny".into(),
            enforcement: "kernel".into(),
            sources: vec![("cpu time".into(), "cpu.stat".into())],
            programs: vec![("tepui_bind4".into(), 0.25, 1000)],
            maps: vec![("cpu_use".into(), 2), ("task_ports".into(), 1)],
            ..KernelReport::default()
        }
    }

    async fn caller(&self, _: &Connection) -> Result<Caller, Unavailable> {
        Ok(self.with(|inner| {
            inner.asked += 1;
            inner.caller.clone()
        }))
    }

    async fn container_call(&self, call: Box<ContainerCall>) -> Result<Response, Unavailable> {
        let (answer, mut later) = mpsc::unbounded_channel();
        self.with(|inner| {
            inner.requests += 1;
            let request = RequestId(inner.requests);
            inner.event(Event::ContainerCall { request, call });
            match inner.responses.remove(&request) {
                Some(response) => answer.send(response).unwrap(),
                None => drop(inner.waiting.insert(request, answer)),
            }
        });
        later.recv().await.ok_or_else(|| Unavailable("the rig is gone".into()))
    }

    fn take_session(&self, session: &ContainerId) -> Option<mpsc::Receiver<Output>> {
        self.with(|inner| inner.outputs.remove(session))
    }

    fn attach_output(&self, session: &ContainerId) -> Option<mpsc::Receiver<Output>> {
        self.with(|inner| inner.outputs.remove(session))
    }

    fn attach_input(&self, session: &ContainerId) -> Option<mpsc::Sender<Input>> {
        self.with(|inner| inner.inputs.get(session).cloned())
    }

    fn place(&self, _: &ContainerId) -> RunPlace {
        let unit = Some("tepui-task-t1.service".to_owned());
        RunPlace { runtime: Runtime::Systemd, unit, cgroup_id: Some(4711) }
    }

    fn usage(&self, _: &ContainerId) -> Option<Usage> {
        Some(Usage {
            cpu_seconds: 2.0,
            user_cpu_seconds: Some(1.5),
            system_cpu_seconds: Some(0.5),
            memory_bytes: 1 << 20,
            processes: 3,
            threads: Some(5),
            throttled_periods: Some(2),
            network: Some([vec![("tcp", flow(1000)), ("udp", flow(10))], vec![("tcp", flow(500))]]),
            tcp: Some(Tcp {
                connected: 3,
                ended: 1,
                round_trips: Some(Durations {
                    sum_seconds: 0.002,
                    buckets: vec![(0.001, 2), (0.002, 0)],
                    beyond: 0,
                }),
                ..Tcp::default()
            }),
            ends: Some([5, 2, 1]),
            denied: Some(vec![("bind", 4)]),
            ..Usage::default()
        })
    }
}

fn flow(bytes: u64) -> Flow {
    Flow { bytes, count: 1 }
}

/// A command task that holds half a cpu.
pub(crate) fn command(id: &str) -> v1::TaskInfo {
    let resources = tepui_wire::resources::parse_text(
        "cpus:0.5;mem:32;ports:[31000-31001]",
        &Role::default_role(),
    )
    .unwrap();
    let format = tepui_wire::resources::Format::PostRefinement;
    v1::TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: v1::AgentId { value: "a1".into() },
        command: Some(v1::CommandInfo {
            value: Some("sleep 100".into()),
            ..v1::CommandInfo::default()
        }),
        resources: tepui_wire::resources::encode(&resources, format, Some(&Role::default_role())),
        labels: Some(v1::Labels {
            labels: vec![v1::Label { key: "team".into(), value: Some("sky".into()) }],
        }),
        ..v1::TaskInfo::default()
    }
}

/// A task of the custom executor `e1`.
pub(crate) fn custom(id: &str) -> v1::TaskInfo {
    let executor = v1::ExecutorInfo {
        r#type: Some(v1::executor_info::Type::Custom.into()),
        executor_id: v1::ExecutorId { value: "e1".into() },
        command: Some(v1::CommandInfo {
            value: Some("./executor".into()),
            ..v1::CommandInfo::default()
        }),
        ..v1::ExecutorInfo::default()
    };
    v1::TaskInfo { command: None, executor: Some(executor.into()), ..command(id) }
}
