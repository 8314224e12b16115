//! Simulated executors: they speak the production executor API to their agent, lose it, and come
//! back with what it has not acknowledged.

use std::collections::BTreeMap;

use tepui_agent::{Event, Exit, Response};
use tepui_types::{ExecutorId, FrameworkId, Mono, RequestId, Resources, Span, StreamId};
use tepui_wire::resources::decode;
use tepui_wire::v1::{
    self,
    executor::{self, Call, call, event},
};

use crate::faults::Fault;
use crate::queue::{Action, Life};
use crate::run::parse;
use crate::world::World;

/// How often an executor looks after its affairs, in milliseconds.
const STEP: (u64, u64) = (150, 900);
/// An executor without work ends after this time.
const IDLE: Span = Span::from_secs(4);
/// What an executor needs for itself.
pub(crate) const NEEDS: &str = "cpus:0.05;mem:32;disk:1";

/// What an executor knows.
#[derive(Clone, Debug)]
pub(crate) struct Executor {
    pub(crate) framework: FrameworkId,
    pub(crate) id: ExecutorId,
    stream: Option<StreamId>,
    /// Its SUBSCRIBE is under way.
    asked: Option<RequestId>,
    /// Tasks that it has and that run.
    tasks: BTreeMap<String, v1::TaskInfo>,
    /// Tasks and updates that the agent has not acknowledged.
    unseen: BTreeMap<String, v1::TaskInfo>,
    updates: Vec<v1::TaskStatus>,
    idle_since: Mono,
    last_heard: Mono,
    last_said: Mono,
}

impl Executor {
    pub(crate) fn new(framework: FrameworkId, id: ExecutorId, now: Mono) -> Self {
        Self {
            framework,
            id,
            stream: None,
            asked: None,
            tasks: BTreeMap::new(),
            unseen: BTreeMap::new(),
            updates: Vec::new(),
            idle_since: now,
            last_heard: now,
            last_said: now,
        }
    }

    /// What it and its tasks hold.
    pub(crate) fn holds(&self) -> Resources {
        let mut sum = parse(NEEDS);
        for task in self.tasks.values() {
            if let Ok(decoded) = decode(&task.resources) {
                sum = sum.plus(&decoded.resources);
            }
        }
        sum
    }

    fn call(&self, kind: call::Type) -> Call {
        Call {
            executor_id: v1::ExecutorId { value: self.id.to_string() },
            framework_id: v1::FrameworkId { value: self.framework.to_string() },
            r#type: Some(kind.into()),
            ..Call::default()
        }
    }
}

impl World {
    fn executor(&mut self, host: usize, pid: u32) -> Option<&mut Executor> {
        self.hosts[host].alive(pid)?.executor.as_mut()
    }

    /// Now and then an executor subscribes when it is not, ends a task, and ends itself when it has
    /// nothing to do.
    pub(crate) fn executor_step(&mut self, host: usize, pid: u32) {
        let now = self.now.mono;
        let pause = self.millis(STEP.0, STEP.1);
        let ends = self.random.chance(1, 4);
        let Some(this) = self.executor(host, pid) else { return };
        let is_idle = this.tasks.is_empty() && this.updates.is_empty();
        if !is_idle {
            this.idle_since = now;
        }
        let (idle, is_subscribed) = (now.since(this.idle_since), this.stream.is_some());
        let done = this.tasks.keys().next().filter(|_| ends).cloned();
        if idle > IDLE {
            self.process_ends(host, pid, Exit::Code(0));
            return;
        }
        self.after(pause, Action::ExecutorStep { host, pid });
        if !is_subscribed {
            self.executor_subscribes(host, pid);
        }
        if let Some(task) = done {
            let state = if self.random.chance(1, 6) {
                v1::TaskState::TaskFailed
            } else {
                v1::TaskState::TaskFinished
            };
            let endless = self.executor(host, pid).is_some_and(|this| {
                this.tasks.get(&task).is_some_and(|task| task.name.ends_with("forever"))
            });
            if !endless {
                self.executor_updates(host, pid, &task, state);
            }
        }
    }

    fn executor_subscribes(&mut self, host: usize, pid: u32) {
        let (request, stream) = (self.new_request(), StreamId(self.random.uuid()));
        let (life, is_up) = (self.hosts[host].life, self.hosts[host].agent.is_some());
        let Some(this) = self.executor(host, pid).filter(|_| is_up) else { return };
        this.asked = Some(request);
        let update = |status: &v1::TaskStatus| call::Update { status: status.clone() };
        let call = call::Subscribe {
            unacknowledged_tasks: this.unseen.values().cloned().collect(),
            unacknowledged_updates: this.updates.iter().map(update).collect(),
        };
        let event = Event::ExecutorSubscribe {
            request,
            stream,
            framework: this.framework.clone(),
            executor: this.id.clone(),
            call: Box::new(call),
        };
        self.hosts[host].executor_streams.insert(stream, pid);
        self.agent_event(host, life, event);
    }

    /// The agent answered a call; only the answer to SUBSCRIBE changes anything.
    pub(crate) fn executor_answered(&mut self, host: usize, request: RequestId, to: &Response) {
        let streams = self.hosts[host].executor_streams.clone();
        for (stream, pid) in streams {
            let Some(this) = self.executor(host, pid) else { continue };
            if this.asked == Some(request) {
                this.asked = None;
                if *to == Response::Streaming {
                    this.stream = Some(stream);
                }
                // The streams that it had before are not its own any more.
                return;
            }
        }
    }

    /// An event is on its way to an executor; those of one stream stay in order.
    pub(crate) fn forward_to_executor(
        &mut self,
        host: usize,
        stream: StreamId,
        event: Option<Box<executor::Event>>,
    ) {
        let Some(pid) = self.hosts[host].executor_streams.get(&stream).copied() else { return };
        let at = self.now.mono + self.millis(0, 5);
        let Some(this) = self.executor(host, pid) else { return };
        this.last_heard = this.last_heard.max(at);
        let at = this.last_heard;
        self.queue.put(at, Action::ExecutorHears { host, pid, stream, event });
    }

    pub(crate) fn executor_hears(
        &mut self,
        host: usize,
        pid: u32,
        stream: StreamId,
        event: Option<Box<executor::Event>>,
    ) {
        let Some(this) = self.executor(host, pid).filter(|this| this.stream == Some(stream)) else {
            return;
        };
        let Some(event) = event else {
            this.stream = None;
            return;
        };
        match event.r#type() {
            event::Type::Launch => {
                let task = event.launch.map(|launch| launch.task);
                self.executor_launches(host, pid, task.into_iter().collect());
            }
            event::Type::LaunchGroup => {
                let group = event.launch_group.map(|launch| launch.task_group.tasks);
                self.executor_launches(host, pid, group.unwrap_or_default());
            }
            event::Type::Kill => {
                if let Some(kill) = event.kill {
                    let state = v1::TaskState::TaskKilled;
                    self.executor_updates(host, pid, &kill.task_id.value, state);
                }
            }
            event::Type::Acknowledged => {
                if let Some(one) = event.acknowledged {
                    this.unseen.remove(&one.task_id.value);
                    this.updates.retain(|update| update.uuid.as_ref() != Some(&one.uuid));
                }
            }
            event::Type::Shutdown => {
                let tasks: Vec<String> = this.tasks.keys().cloned().collect();
                for task in tasks {
                    self.executor_updates(host, pid, &task, v1::TaskState::TaskKilled);
                }
                let pause = self.millis(10, 600);
                self.after(pause, Action::ProcessEnds { host, pid, exit: Exit::Code(0) });
            }
            event::Type::Error => {
                self.after(Span::ZERO, Action::ProcessEnds { host, pid, exit: Exit::Code(1) });
            }
            event::Type::Unknown
            | event::Type::Subscribed
            | event::Type::Message
            | event::Type::Heartbeat => {}
        }
    }

    fn executor_launches(&mut self, host: usize, pid: u32, tasks: Vec<v1::TaskInfo>) {
        for task in tasks {
            let Some(this) = self.executor(host, pid) else { return };
            let (id, framework) = (task.task_id.value.clone(), this.framework.clone());
            this.tasks.insert(id.clone(), task.clone());
            this.unseen.insert(id.clone(), task);
            let now = self.now;
            self.checks.task_reached_executor(now, &framework, &id);
            self.executor_tasks += 1;
            self.executor_updates(host, pid, &id, v1::TaskState::TaskRunning);
        }
    }

    /// A task of an executor has a new state; the executor remembers until it is acknowledged.
    fn executor_updates(&mut self, host: usize, pid: u32, task: &str, state: v1::TaskState) {
        let uuid = self.random.uuid();
        let seconds = self.now.wall.as_secs_f64();
        let Some(this) = self.executor(host, pid) else { return };
        let is_over = state != v1::TaskState::TaskRunning;
        let known = if is_over { this.tasks.remove(task) } else { this.tasks.get(task).cloned() };
        if known.is_none() {
            return;
        }
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: task.to_owned() },
            state: state.into(),
            source: Some(v1::task_status::Source::Executor.into()),
            executor_id: Some(v1::ExecutorId { value: this.id.to_string() }),
            uuid: Some(uuid.as_bytes().to_vec()),
            timestamp: Some(seconds),
            ..v1::TaskStatus::default()
        };
        this.updates.push(status.clone());
        let call = Call { update: Some(call::Update { status }), ..this.call(call::Type::Update) };
        let Some(stream) = this.stream else { return };
        self.executor_says(host, pid, stream, call);
    }

    /// A call is on its way to the agent; it is lost when nobody is there.
    fn executor_says(&mut self, host: usize, pid: u32, stream: StreamId, call: Call) {
        let at = self.now.mono + self.millis(0, 5);
        let life = self.hosts[host].life;
        let Some(this) = self.executor(host, pid) else { return };
        this.last_said = this.last_said.max(at);
        let at = this.last_said;
        let call = Box::new(call);
        self.queue.put(at, Action::ExecutorSays { host, life, pid, stream, call });
    }

    pub(crate) fn executor_said(
        &mut self,
        host: usize,
        life: Life,
        pid: u32,
        stream: StreamId,
        call: Box<Call>,
    ) {
        let request = self.new_request();
        let is_heard = self.executor(host, pid).is_some_and(|this| this.stream == Some(stream));
        if is_heard {
            self.agent_event(host, life, Event::ExecutorCall { request, call });
        }
    }

    /// The connection between an executor and its agent breaks; the executor learns of it at once,
    /// the agent too.
    pub(crate) fn break_executor_stream(&mut self, host: usize) {
        let streams: Vec<(StreamId, u32)> =
            self.hosts[host].executor_streams.iter().map(|(stream, pid)| (*stream, *pid)).collect();
        if streams.is_empty() {
            return;
        }
        let at = usize::try_from(self.random.below(streams.len() as u64)).unwrap_or(0);
        let (stream, pid) = streams[at];
        self.faults.count(Fault::ExecutorStreamBroke);
        self.executor_stream_gone(host, pid, stream);
    }

    fn executor_stream_gone(&mut self, host: usize, pid: u32, stream: StreamId) {
        self.hosts[host].executor_streams.remove(&stream);
        if let Some(this) = self.executor(host, pid)
            && this.stream == Some(stream)
        {
            this.stream = None;
        }
        let life = self.hosts[host].life;
        self.agent_event(host, life, Event::ExecutorStreamClosed { stream });
    }

    /// The process is gone, and its connections with it.
    pub(crate) fn executor_gone(&mut self, host: usize, pid: u32) {
        let streams: Vec<StreamId> = self.hosts[host]
            .executor_streams
            .iter()
            .filter(|(_, of)| **of == pid)
            .map(|(stream, _)| *stream)
            .collect();
        for stream in streams {
            self.executor_stream_gone(host, pid, stream);
        }
    }

    /// The agent is gone: no executor is subscribed any more.
    pub(crate) fn executors_lose_agent(&mut self, host: usize) {
        self.hosts[host].executor_streams.clear();
        for process in self.hosts[host].processes.values_mut() {
            if let Some(executor) = &mut process.executor {
                executor.stream = None;
                executor.asked = None;
            }
        }
    }
}
