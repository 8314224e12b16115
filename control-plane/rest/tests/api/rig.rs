//! A machine of the apps behind the router, one agent, and requests in short form.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tepui_apps::{Command, Config, Effect, Event, Origin, Reply};
use tepui_marathon::{Event as PublicEvent, EventPayload, Rejection, Version};
use tepui_rest::{Apps, Leadership, Options, ServiceError, router};
use tepui_types::{Entropy, Mono, Now, RequestId, Span, Wall};
use tepui_wire::v1;
use tepui_wire::v1::scheduler::{self, call, event};
use tokio::sync::broadcast;
use tower::ServiceExt;

/// The apps with a cluster of one agent, in this process.
#[derive(Clone)]
pub(crate) struct World {
    machine: Arc<Mutex<Machine>>,
    events: broadcast::Sender<Arc<PublicEvent>>,
    pub(crate) leadership: Arc<Mutex<Leadership>>,
}

struct Machine {
    apps: tepui_apps::Apps,
    now: Now,
    request: u64,
    offer: u64,
    reply: Option<Result<Box<Reply>, Rejection>>,
    pending: VecDeque<Event>,
    /// Launched tasks run at once.
    prompt: bool,
    cpus: f64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_cpus(1000.0)
    }

    pub(crate) fn configured(config: Config) -> Self {
        Self::made(config, 1000.0)
    }

    pub(crate) fn with_cpus(cpus: f64) -> Self {
        Self::made(Config::default(), cpus)
    }

    fn made(config: Config, cpus: f64) -> Self {
        let now = Now { mono: Mono::from_nanos(0), wall: Wall::from_millis(1_893_553_445_678) };
        let machine = Machine {
            apps: tepui_apps::Apps::new(config, Entropy::seeded(7)),
            now,
            request: 0,
            offer: 0,
            reply: None,
            pending: VecDeque::new(),
            prompt: true,
            cpus,
        };
        let world = Self {
            machine: Arc::new(Mutex::new(machine)),
            events: broadcast::channel(1024).0,
            leadership: Arc::new(Mutex::new(Leadership::Here)),
        };
        world.feed(Event::Elected { records: Vec::new() });
        world
    }

    /// From now on launched tasks stay in staging.
    pub(crate) fn hold_launches(&self) {
        self.machine.lock().unwrap().prompt = false;
    }

    pub(crate) fn advance(&self, seconds: u64) {
        for _ in 0..seconds {
            let mut machine = self.machine.lock().unwrap();
            machine.now = machine.now + Span::from_secs(1);
            drop(machine);
            self.feed(Event::Tick);
        }
    }

    /// Handles an event and everything that follows; the reply of a command comes back.
    fn feed(&self, event: Event) -> Option<Result<Box<Reply>, Rejection>> {
        let mut machine = self.machine.lock().unwrap();
        machine.pending.push_back(event);
        while let Some(event) = machine.pending.pop_front() {
            machine.now = machine.now + Span::from_millis(1);
            let now = machine.now;
            let mut effects = Vec::new();
            machine.apps.handle(now, event, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Call(call) => machine.call(&call),
                    Effect::Reply { reply, .. } => machine.reply = Some(reply),
                    Effect::Publish(event) => drop(self.events.send(event)),
                    _ => {}
                }
            }
        }
        machine.reply.take()
    }
}

impl Machine {
    fn push(&mut self, event: scheduler::Event) {
        self.pending.push_back(Event::Mesos(Box::new(event)));
    }

    /// Answers like a Mesos master with one agent.
    fn call(&mut self, call: &scheduler::Call) {
        match call.r#type() {
            call::Type::Subscribe => {
                let subscribed = event::Subscribed {
                    framework_id: v1::FrameworkId { value: "F-1".to_owned() },
                    ..event::Subscribed::default()
                };
                self.push(scheduler::Event {
                    r#type: Some(event::Type::Subscribed.into()),
                    subscribed: Some(subscribed),
                    ..scheduler::Event::default()
                });
            }
            call::Type::Revive => self.make_offer(),
            call::Type::Accept => {
                let operations = call.accept.iter().flat_map(|accept| &accept.operations);
                let launches = operations.filter_map(|operation| operation.launch.as_ref());
                let tasks: Vec<String> = launches
                    .flat_map(|launch| &launch.task_infos)
                    .map(|task| task.task_id.value.clone())
                    .collect();
                let started = if self.prompt { tasks } else { Vec::new() };
                for task in started {
                    self.update(&task, v1::TaskState::TaskRunning);
                }
                self.make_offer();
            }
            call::Type::Kill => {
                if let Some(kill) = &call.kill {
                    let task = kill.task_id.value.clone();
                    self.update(&task, v1::TaskState::TaskKilled);
                }
            }
            _ => {}
        }
    }

    fn update(&mut self, task: &str, state: v1::TaskState) {
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: task.to_owned() },
            state: state.into(),
            agent_id: Some(v1::AgentId { value: "S-0".to_owned() }),
            ..v1::TaskStatus::default()
        };
        self.push(scheduler::Event {
            r#type: Some(event::Type::Update.into()),
            update: Some(event::Update { status }),
            ..scheduler::Event::default()
        });
    }

    fn make_offer(&mut self) {
        self.offer += 1;
        let scalar = |name: &str, value: f64| v1::Resource {
            name: name.to_owned(),
            r#type: v1::value::Type::Scalar.into(),
            scalar: Some(v1::value::Scalar { value }),
            ..v1::Resource::default()
        };
        // Each offer has its own ports, as if the others were in use.
        let begin = 31_000 + self.offer % 100 * 100;
        let range = v1::value::Range { begin, end: begin + 99 };
        let ports = v1::Resource {
            name: "ports".to_owned(),
            r#type: v1::value::Type::Ranges.into(),
            ranges: Some(v1::value::Ranges { range: vec![range] }),
            ..v1::Resource::default()
        };
        let role = |mut resource: v1::Resource| {
            resource.allocation_info =
                Some(v1::resource::AllocationInfo { role: Some("*".to_owned()) });
            resource
        };
        let offer = v1::Offer {
            id: v1::OfferId { value: format!("O-{}", self.offer) },
            framework_id: v1::FrameworkId { value: "F-1".to_owned() },
            agent_id: v1::AgentId { value: "S-0".to_owned() },
            hostname: "node1".to_owned(),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".to_owned()) }),
            resources: [scalar("cpus", self.cpus), scalar("mem", 1e6), scalar("disk", 1e6), ports]
                .map(role)
                .to_vec(),
            ..v1::Offer::default()
        };
        self.push(scheduler::Event {
            r#type: Some(event::Type::Offers.into()),
            offers: Some(event::Offers { offers: vec![offer] }),
            ..scheduler::Event::default()
        });
    }
}

impl Apps for World {
    async fn command(
        &self,
        command: Command,
        origin: Option<Origin>,
    ) -> Result<Reply, ServiceError> {
        let request = {
            let mut machine = self.machine.lock().unwrap();
            machine.request += 1;
            RequestId(machine.request)
        };
        let reply = self.feed(Event::Command { request, command: Box::new(command), origin });
        Ok(*reply.expect("every command is answered")?)
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&tepui_apps::Apps, Now) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let machine = self.machine.lock().unwrap();
        Ok(look(&machine.apps, machine.now))
    }

    fn subscribe_events(&self) -> broadcast::Receiver<Arc<PublicEvent>> {
        self.events.subscribe()
    }

    fn publish(&self, payload: EventPayload) {
        let now = self.machine.lock().unwrap().now;
        let timestamp = Version::from_millis(i64::try_from(now.wall.as_millis()).unwrap());
        // Nobody may be listening.
        let _ = self.events.send(Arc::new(PublicEvent { timestamp, payload }));
    }

    fn leadership(&self) -> Leadership {
        self.leadership.lock().unwrap().clone()
    }

    fn abdicate(&self) -> Result<(), ServiceError> {
        *self.leadership.lock().unwrap() = Leadership::Nobody;
        Ok(())
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reaction {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reaction {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A client of the API.
pub(crate) struct Api {
    pub(crate) world: World,
    router: Router,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self::over(World::new(), Options::default())
    }

    pub(crate) fn over(world: World, options: Options) -> Self {
        Self { router: router(world.clone(), options), world }
    }

    pub(crate) async fn open(&self, request: Request<Body>) -> http::Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Reaction {
        let (parts, body) = self.open(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Reaction { status: parts.status, headers: parts.headers, bytes }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &str) -> Reaction {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.raw(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reaction {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Reaction {
        self.send(Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Reaction {
        self.send(Method::PUT, path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &str) -> Reaction {
        self.send(Method::PATCH, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reaction {
        self.send(Method::DELETE, path, "").await
    }

    /// The app of a path as `GET` shows it.
    pub(crate) async fn app(&self, id: &str) -> Value {
        self.get(&format!("/v2/apps{id}")).await.expect(200).json()["app"].clone()
    }
}
