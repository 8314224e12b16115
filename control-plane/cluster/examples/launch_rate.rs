//! How fast tasks launch inside one process: the cluster, the built-in allocator, and fake agents
//! that answer RUNNING at once, as in Mesos's own benchmark.
//!
//! `cargo run --release -p tepui-cluster --example launch_rate [agents] [tasks] [tasks per offer]`
//!
//! The clock of the machines does not move with the real one: an allocation round comes whenever
//! all agents and frameworks have said what they have to say, which is what a busy cluster sees.
//! Nothing is saved per task, as in Mesos.

// A benchmark that cannot go on may end at once.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tepui_allocator::{Allocate, Drf};
use tepui_cluster::{Cluster, Config, Effect, Event, Response};
use tepui_link::{Order, Registration, Report};
use tepui_types::{
    AgentId, Entropy, ExecutorId, FrameworkId, LinkId, Now, RequestId, Role, Span, StreamId,
    TaskId, TaskState, Term, UpdateId,
};
use tepui_wire::resources::{Format, encode, parse_text};
use tepui_wire::v1::{self, offer, scheduler};

struct Bench {
    now: Now,
    cluster: Cluster,
    allocator: Drf,
    queue: VecDeque<Event>,
    entropy: Entropy,
    links: Vec<Option<AgentId>>,
    stream: Option<StreamId>,
    framework: Option<FrameworkId>,
    per_offer: usize,
    left: usize,
    resources: Vec<v1::Resource>,
    running: usize,
    acknowledged: usize,
    requests: u64,
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let agents = arguments.next().unwrap_or(1000);
    let tasks = arguments.next().unwrap_or(50_000);
    let per_offer = arguments.next().unwrap_or(50);
    let mut bench = Bench::new(per_offer);
    let began = (Instant::now(), cpu_time());
    for n in 0..agents {
        bench.register(n);
    }
    bench.settle();
    print_phase("agents registered", agents, began);

    bench.left = tasks;
    bench.subscribe();
    let began = (Instant::now(), cpu_time());
    bench.allocate();
    while bench.acknowledged < tasks {
        let before = bench.acknowledged;
        bench.settle();
        bench.now = bench.now + Span::from_millis(20);
        bench.allocate();
        assert!(bench.acknowledged > before || !bench.queue.is_empty(), "no task starts any more");
    }
    let (rate, cpu) = print_phase("tasks running and acknowledged", tasks, began);
    println!("Mesos, same shape: 14000 /s, 93 us CPU per task; goal: 28000 /s, 45 us");
    println!("resident memory, its highest: {:.0} MB; Mesos 290 MB", highest_megabytes());
    println!("ratio: {:.1} times the rate, {:.1} % of the CPU", rate / 14_000.0, cpu / 0.93);

    let began = (Instant::now(), cpu_time());
    bench.kill_all();
    print_phase("tasks killed and forgotten", tasks, began);
    assert_eq!(bench.cluster.tasks().count(), 0);
}

impl Bench {
    fn new(per_offer: usize) -> Self {
        let bundle = parse_text("cpus:0.1;mem:32", &Role::default_role()).unwrap();
        let mut bench = Self {
            now: Now::default(),
            cluster: Cluster::new(Config::default(), Entropy::seeded(1)),
            allocator: Drf::new(Entropy::seeded(2)),
            queue: VecDeque::new(),
            entropy: Entropy::seeded(3),
            links: Vec::new(),
            stream: None,
            framework: None,
            per_offer,
            left: 0,
            resources: encode(&bundle, Format::PostRefinement, None),
            running: 0,
            acknowledged: 0,
            requests: 0,
        };
        bench.queue.push_back(Event::Elected { term: Term(1), records: Vec::new() });
        bench.settle();
        bench
    }

    fn register(&mut self, n: usize) {
        let text = "cpus:24;mem:65536;disk:409600;ports:[31000-32000]";
        let bundle = parse_text(text, &Role::default_role()).unwrap();
        self.links.push(None);
        let registration = Registration {
            agent: None,
            info: v1::AgentInfo {
                hostname: format!("host-{n}"),
                port: Some(5051),
                resources: encode(&bundle, Format::PostRefinement, None),
                ..v1::AgentInfo::default()
            },
            boot: None,
            version: "1".into(),
            term: Term(1),
            frameworks: Vec::new(),
            executors: Vec::new(),
            tasks: Vec::new(),
            leftovers: Vec::new(),
        };
        let report = Box::new(Report::Register(Box::new(registration)));
        self.queue.push_back(Event::Report { link: LinkId(n as u64), report });
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn subscribe(&mut self) {
        let request = self.request();
        let framework_info = v1::FrameworkInfo {
            user: "bench".into(),
            name: "bench".into(),
            ..v1::FrameworkInfo::default()
        };
        let call =
            scheduler::call::Subscribe { framework_info, ..scheduler::call::Subscribe::default() };
        let call = Box::new(call);
        self.queue.push_back(Event::Subscribe { request, framework: None, call, principal: None });
        self.settle();
    }

    fn allocate(&mut self) {
        let plan = self.allocator.round(self.now.mono);
        self.queue.push_back(Event::Planned(plan));
        self.settle();
    }

    fn settle(&mut self) {
        let mut effects = Vec::new();
        while let Some(event) = self.queue.pop_front() {
            self.cluster.handle(self.now, event, &mut effects);
            for effect in effects.drain(..) {
                self.take(effect);
            }
        }
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::ToAllocator(input) => self.allocator.apply(self.now.mono, input),
            Effect::ToAgent { link, directive } => self.agent_does(link, directive.order),
            Effect::ToFramework { event, .. } => self.framework_does(*event),
            Effect::Respond { response: Response::Streaming { stream }, .. } => {
                self.stream = Some(stream);
            }
            Effect::Respond { response: Response::Refused(refusal), .. } => panic!("{refusal:?}"),
            _ => {}
        }
    }

    fn agent_does(&mut self, link: LinkId, order: Order) {
        match order {
            Order::Registered { agent, .. } => {
                self.links[usize::try_from(link.0).unwrap()] = Some(agent);
            }
            Order::Launch(launch) => {
                for task in launch.tasks {
                    self.report(link, task.task_id, TaskState::Running);
                }
            }
            Order::Kill { task, .. } => {
                self.report(link, v1::TaskId { value: task.to_string() }, TaskState::Killed);
            }
            Order::Acknowledge { .. } => self.acknowledged += 1,
            _ => {}
        }
    }

    fn report(&mut self, link: LinkId, task: v1::TaskId, state: TaskState) {
        let executor = ExecutorId::parse(&task.value).unwrap();
        let status = v1::TaskStatus {
            state: tepui_link::codec::wire_state(state).into(),
            source: Some(v1::task_status::Source::Executor.into()),
            agent_id: self.links[usize::try_from(link.0).unwrap()]
                .as_ref()
                .map(|agent| v1::AgentId { value: agent.to_string() }),
            executor_id: Some(v1::ExecutorId { value: executor.to_string() }),
            timestamp: Some(1.0),
            uuid: Some(self.entropy.uuid().as_bytes().to_vec()),
            task_id: task,
            ..v1::TaskStatus::default()
        };
        let framework = self.framework.clone().unwrap();
        let report =
            Box::new(Report::Update { framework, status: Box::new(status), latest_state: state });
        self.queue.push_back(Event::Report { link, report });
    }

    fn framework_does(&mut self, event: scheduler::Event) {
        if let Some(subscribed) = event.subscribed {
            self.framework = FrameworkId::parse(&subscribed.framework_id.value).ok();
        }
        for offer in event.offers.into_iter().flat_map(|offers| offers.offers) {
            self.accept(offer);
        }
        if let Some(update) = event.update {
            self.running += usize::from(update.status.state() == v1::TaskState::TaskRunning);
            self.acknowledge(update.status);
        }
    }

    fn accept(&mut self, offer: v1::Offer) {
        let count = self.per_offer.min(self.left);
        let task_infos = (0..count)
            .map(|_| {
                self.left -= 1;
                let name = format!("task-{}", self.left);
                v1::TaskInfo {
                    task_id: v1::TaskId { value: name.clone() },
                    name,
                    agent_id: offer.agent_id.clone(),
                    resources: self.resources.clone(),
                    command: Some(v1::CommandInfo {
                        value: Some("sleep 1000".into()),
                        ..v1::CommandInfo::default()
                    }),
                    ..v1::TaskInfo::default()
                }
            })
            .collect();
        let accept = scheduler::call::Accept {
            offer_ids: vec![offer.id],
            operations: vec![offer::Operation {
                r#type: Some(offer::operation::Type::Launch.into()),
                launch: Some(offer::operation::Launch { task_infos }),
                ..offer::Operation::default()
            }],
            filters: Some(v1::Filters { refuse_seconds: Some(0.0) }),
        };
        self.call(scheduler::Call {
            r#type: Some(scheduler::call::Type::Accept.into()),
            accept: Some(accept),
            ..scheduler::Call::default()
        });
    }

    fn acknowledge(&mut self, status: v1::TaskStatus) {
        let uuid = status.uuid.unwrap();
        assert!(UpdateId::from_slice(&uuid).is_some());
        self.call(scheduler::Call {
            r#type: Some(scheduler::call::Type::Acknowledge.into()),
            acknowledge: Some(scheduler::call::Acknowledge {
                agent_id: status.agent_id.unwrap(),
                task_id: status.task_id,
                uuid,
            }),
            ..scheduler::Call::default()
        });
    }

    fn call(&mut self, call: scheduler::Call) {
        let framework = self.framework.as_ref().unwrap();
        let framework_id = Some(v1::FrameworkId { value: framework.to_string() });
        let call = Box::new(scheduler::Call { framework_id, ..call });
        let (request, stream) = (self.request(), self.stream);
        self.queue.push_back(Event::Call { request, stream, call, principal: None });
    }

    fn kill_all(&mut self) {
        let tasks: Vec<TaskId> = self.cluster.tasks().map(|task| task.id.clone()).collect();
        for task in tasks {
            self.call(scheduler::Call {
                r#type: Some(scheduler::call::Type::Kill.into()),
                kill: Some(scheduler::call::Kill {
                    task_id: v1::TaskId { value: task.to_string() },
                    ..scheduler::call::Kill::default()
                }),
                ..scheduler::Call::default()
            });
        }
        self.settle();
    }
}

/// Prints a phase; its rate per second and CPU microseconds per item.
fn print_phase(what: &str, count: usize, began: (Instant, Duration)) -> (f64, f64) {
    let wall = began.0.elapsed().as_secs_f64();
    let cpu = cpu_time().saturating_sub(began.1).as_secs_f64();
    let (rate, each) = (count as f64 / wall, cpu * 1e6 / count as f64);
    println!("{count} {what}: {:.0} ms, {rate:.0} /s, {each:.1} us CPU each", wall * 1e3);
    (rate, each)
}

/// What this process has used of all processors.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

fn highest_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
