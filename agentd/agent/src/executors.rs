//! Custom executors over the v1 executor API (`spec/mesos-http.md` 2).

use tepui_link::Report;
use tepui_types::{
    ContainerId, ExecutorId, FrameworkId, Mono, RequestId, Span, StreamId, TaskId, TaskState, Uuid,
};
use tepui_wire::v1::{
    self,
    executor::{Call, Event, call, event},
    task_status::Reason,
};

use crate::book::update_id;
use crate::machine::{Agent, Turn};
use crate::state::{Fate, Phase};
use crate::status::Saying;
use crate::timers::Timer;
use crate::updates::never_here;
use crate::{Effect, Record, Response};

/// How often an executor's stream shows that it lives.
const BEAT: Span = Span::from_secs(30 * 60);

/// Who subscribes, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) request: RequestId,
    pub(crate) stream: StreamId,
    pub(crate) framework: FrameworkId,
    pub(crate) executor: ExecutorId,
}

impl Agent {
    pub(crate) fn executor_subscribes(
        &mut self,
        asked: Subscription,
        call: call::Subscribe,
        turn: &mut Turn<'_>,
    ) {
        let Subscription { request, stream, framework, executor } = asked;
        let run = match self.custom_run(&framework, &executor) {
            Ok(run) => run,
            Err(message) => return refuse(request, 400, message, turn),
        };
        let Some(entry) = self.book.runs.get_mut(&run) else {
            return refuse(request, 400, "Executor cannot be found", turn);
        };
        if entry.phase == Phase::Preparing {
            // Whoever this is, it is not the process that the agent will start.
            return refuse(request, 403, "Executor has not been started", turn);
        }
        turn.push(Effect::Respond { request, response: Response::Streaming });
        if entry.is_ending() {
            turn.push(Effect::ToExecutor { stream, event: Box::new(shutdown()) });
            turn.push(Effect::CloseExecutorStream { stream });
            return;
        }
        let former = entry.stream.replace(stream);
        let timers = [entry.limit.take(), entry.beat.take()];
        if entry.phase != Phase::Launching {
            entry.phase = Phase::Running;
        }
        for timer in timers {
            self.cancel(timer);
        }
        if let Some(former) = former {
            self.streams.remove(&former);
            turn.push(Effect::CloseExecutorStream { stream: former });
        }
        self.streams.insert(stream, run.clone());
        self.welcome(&run, &framework, &executor, turn);
        for update in call.unacknowledged_updates {
            self.executor_update(&run, &framework, &executor, update.status, turn);
        }
        self.drop_unseen(&framework, &executor, &call.unacknowledged_tasks, turn);
        if !self.shutdown_if_useless(&framework, &executor, turn) {
            self.deliver(&framework, &executor, turn);
            self.repeat_kills(&run, &framework, &executor, turn);
        }
        self.close_window_when_complete(turn);
    }

    /// The run of a custom executor; or what to answer when there is none.
    fn custom_run(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Result<ContainerId, &'static str> {
        let framework = self.book.framework(framework).ok_or("Framework cannot be found")?;
        let known = framework.executors.get(executor).filter(|one| one.is_custom());
        Ok(known.ok_or("Executor cannot be found")?.run.clone())
    }

    fn welcome(
        &mut self,
        run: &ContainerId,
        framework: &FrameworkId,
        executor: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let Some(framework) = self.book.framework(framework) else { return };
        let info = framework.executors.get(executor).and_then(|one| one.info.as_deref());
        let framework_id = Some(v1::FrameworkId { value: framework.id.to_string() });
        let subscribed = event::Subscribed {
            executor_info: v1::ExecutorInfo { framework_id, ..info.cloned().unwrap_or_default() },
            framework_info: (*framework.info).clone(),
            agent_info: self.info(),
            container_id: Some(crate::container_id(run)),
        };
        let event = Event { subscribed: Some(subscribed), ..of(event::Type::Subscribed) };
        self.tell_executor(run, event, turn);
        self.next_beat(run, turn.now.mono);
    }

    fn next_beat(&mut self, run: &ContainerId, now: Mono) {
        let timer = self.timers.set(now + BEAT, Timer::ExecutorBeat(run.clone()));
        let former = self.run_mut(run).and_then(|run| run.beat.replace(timer));
        self.cancel(former);
    }

    pub(crate) fn executor_beat(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        if self.book.runs.get(run).is_some_and(|run| run.stream.is_some()) {
            self.tell_executor(run, of(event::Type::Heartbeat), turn);
            self.next_beat(run, turn.now.mono);
        }
    }

    /// Tasks that were sent and never arrived will not start.
    fn drop_unseen(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        seen: &[v1::TaskInfo],
        turn: &mut Turn<'_>,
    ) {
        let Some(known) = self.book.framework(framework) else { return };
        let aware = known.is_partition_aware();
        let Some(entry) = known.executors.get(executor) else { return };
        let lost: Vec<_> = entry
            .tasks
            .iter()
            .filter(|id| {
                known.tasks.get(*id).is_some_and(|task| {
                    task.delivered
                        && task.state == TaskState::Staging
                        && !seen.iter().any(|one| one.task_id.value == id.as_str())
                })
            })
            .cloned()
            .collect();
        for task in lost {
            let text = "Task launched during agent restart";
            let saying = Saying::agent(never_here(aware), Reason::AgentRestarted, text);
            self.say(framework, &task, saying, turn);
        }
    }

    /// Sends an executor what waits for it.
    pub(crate) fn deliver(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let Some(known) = self.book.framework(framework) else { return };
        let Some(entry) = known.executors.get(executor) else { return };
        let run = entry.run.clone();
        if self.book.runs.get(&run).is_none_or(|run| run.stream.is_none()) {
            return;
        }
        let queued = |id: &&TaskId| {
            known.tasks.get(*id).is_some_and(|task| !task.delivered && !task.is_terminal())
        };
        let mut parcels = entry.groups.clone();
        let alone = |id: &&TaskId| !entry.groups.iter().any(|group| group.contains(id));
        let singles: Vec<TaskId> =
            entry.tasks.iter().filter(queued).filter(alone).cloned().collect();
        let groups = parcels.len();
        parcels.extend(singles.into_iter().map(|task| vec![task]));
        for (number, tasks) in parcels.into_iter().enumerate() {
            self.send_parcel(&run, framework, &tasks, number < groups, turn);
        }
    }

    fn send_parcel(
        &mut self,
        run: &ContainerId,
        framework: &FrameworkId,
        tasks: &[TaskId],
        grouped: bool,
        turn: &mut Turn<'_>,
    ) {
        let mut infos = Vec::with_capacity(tasks.len());
        for task in tasks {
            let Some(known) = self.book.task(framework, task) else { continue };
            infos.push((*known.info).clone());
            let (framework, task) = (framework.clone(), task.clone());
            self.commit(Record::Delivered { framework, task }, turn);
        }
        let event = if grouped {
            let launch = event::LaunchGroup { task_group: v1::TaskGroupInfo { tasks: infos } };
            Event { launch_group: Some(launch), ..of(event::Type::LaunchGroup) }
        } else {
            let Some(task) = infos.pop() else { return };
            Event { launch: Some(event::Launch { task }), ..of(event::Type::Launch) }
        };
        self.tell_executor(run, event, turn);
    }

    /// Kills asked for while the executor was away.
    fn repeat_kills(
        &mut self,
        run: &ContainerId,
        framework: &FrameworkId,
        executor: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let Some(known) = self.book.framework(framework) else { return };
        let Some(entry) = known.executors.get(executor) else { return };
        let asked: Vec<_> = entry
            .tasks
            .iter()
            .filter(|id| {
                known.tasks.get(*id).is_some_and(|task| task.kill_asked && !task.is_terminal())
            })
            .cloned()
            .collect();
        for task in asked {
            self.pass_kill(run, &task, None, turn);
        }
    }

    /// Every kill is passed on, the repeated ones too.
    pub(crate) fn pass_kill(
        &mut self,
        run: &ContainerId,
        task: &TaskId,
        policy: Option<&v1::KillPolicy>,
        turn: &mut Turn<'_>,
    ) {
        let kill = event::Kill {
            task_id: v1::TaskId { value: task.to_string() },
            kill_policy: policy.cloned(),
        };
        self.tell_executor(run, Event { kill: Some(kill), ..of(event::Type::Kill) }, turn);
    }

    /// Sends an event when the executor is subscribed.
    pub(crate) fn tell_executor(&mut self, run: &ContainerId, event: Event, turn: &mut Turn<'_>) {
        if let Some(stream) = self.book.runs.get(run).and_then(|run| run.stream) {
            turn.push(Effect::ToExecutor { stream, event: Box::new(event) });
        }
    }

    pub(crate) fn executor_calls(&mut self, request: RequestId, call: Call, turn: &mut Turn<'_>) {
        if call.r#type() == call::Type::Heartbeat {
            turn.push(Effect::Respond { request, response: Response::Accepted });
            return;
        }
        let ids = (
            FrameworkId::parse(&call.framework_id.value),
            ExecutorId::parse(&call.executor_id.value),
        );
        let (Ok(framework), Ok(executor)) = ids else {
            return refuse(request, 400, "framework_id or executor_id is invalid", turn);
        };
        let run = match self.custom_run(&framework, &executor) {
            Ok(run) => run,
            Err(message) => return refuse(request, 400, message, turn),
        };
        if self.book.runs.get(&run).is_none_or(|run| run.stream.is_none()) {
            return refuse(request, 403, "Executor is not subscribed", turn);
        }
        match (call.r#type(), call.update, call.message) {
            (call::Type::Update, Some(update), _) => {
                self.executor_update(&run, &framework, &executor, update.status, turn);
            }
            (call::Type::Message, _, Some(message)) => {
                self.counters.valid_framework_messages += 1;
                let data = message.data;
                self.report(Report::ExecutorMessage { framework, executor, data }, turn);
            }
            _ => return refuse(request, 501, "Call type is not supported", turn),
        }
        turn.push(Effect::Respond { request, response: Response::Accepted });
    }

    /// An executor's update is saved and acknowledged; one seen before is acknowledged only, so
    /// is one that cannot be: the executor must not hold on to it for ever.
    fn executor_update(
        &mut self,
        run: &ContainerId,
        framework: &FrameworkId,
        executor: &ExecutorId,
        mut status: v1::TaskStatus,
        turn: &mut Turn<'_>,
    ) {
        let Some(uuid) = status.uuid.as_deref().and_then(Uuid::from_slice) else { return };
        let task_id = status.task_id.clone();
        let Ok(task) = TaskId::parse(&task_id.value) else { return };
        let known = self.book.task(framework, &task).filter(|one| one.executor == *executor);
        let repeated = known.is_some_and(|task| {
            task.acknowledged.contains(&uuid)
                || task.pending.iter().any(|one| update_id(one) == Some(uuid))
        });
        if !repeated {
            if status.timestamp.is_none() {
                status.timestamp = Some(turn.now.wall.as_secs_f64());
            }
            let is_ours = known.is_some();
            if !is_ours || !self.take_status(framework, &task, status, turn) {
                self.counters.invalid_status_updates += 1;
            }
        }
        let acknowledged = event::Acknowledged { task_id, uuid: uuid.as_bytes().to_vec() };
        let event = Event { acknowledged: Some(acknowledged), ..of(event::Type::Acknowledged) };
        self.tell_executor(run, event, turn);
    }

    /// Nothing happens until the executor exits or comes back.
    pub(crate) fn executor_stream_closed(&mut self, stream: StreamId) {
        let Some(run) = self.streams.remove(&stream) else { return };
        let Some(entry) = self.run_mut(&run).filter(|run| run.stream == Some(stream)) else {
            return;
        };
        entry.stream = None;
        let beat = entry.beat.take();
        self.cancel(beat);
    }

    pub(crate) fn message(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        data: Vec<u8>,
        turn: &mut Turn<'_>,
    ) {
        let run = self.custom_run(framework, executor).ok();
        let run = run.filter(|run| self.book.runs.get(run).is_some_and(|run| run.stream.is_some()));
        let Some(run) = run else {
            self.counters.invalid_framework_messages += 1;
            return;
        };
        self.counters.valid_framework_messages += 1;
        let event = Event { message: Some(event::Message { data }), ..of(event::Type::Message) };
        self.tell_executor(&run, event, turn);
    }

    /// Sets when an executor must have subscribed.
    pub(crate) fn limit_executor(&mut self, run: &ContainerId, at: Mono) {
        let timer = self.timers.set(at, Timer::ExecutorLimit(run.clone()));
        let former = self.run_mut(run).and_then(|run| run.limit.replace(timer));
        self.cancel(former);
    }

    pub(crate) fn executor_overdue(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Some(entry) = self.run_mut(run) else { return };
        entry.limit = None;
        if entry.phase == Phase::Registering {
            self.destroy(run, Fate::NeverRegistered, turn);
        }
    }

    /// Kills an executor's container without asking it.
    pub(crate) fn destroy(&mut self, run: &ContainerId, fate: Fate, turn: &mut Turn<'_>) {
        if let Some(entry) = self.run_mut(run) {
            entry.fate.get_or_insert(fate);
        }
        self.set_deadline(run, Span::ZERO, turn);
        self.carry_out_kill(run, turn);
    }

    /// After a restart: the executors had their time to come back.
    pub(crate) fn reconnect_window_over(&mut self, turn: &mut Turn<'_>) {
        self.window = None;
        let missing: Vec<_> = self.missing_executors().cloned().collect();
        for run in missing {
            self.destroy(&run, Fate::NeverReregistered, turn);
        }
        self.register_if_held(turn);
    }

    fn missing_executors(&self) -> impl Iterator<Item = &ContainerId> {
        self.book
            .runs
            .iter()
            .filter(|(_, run)| run.phase == Phase::Registering && run.limit.is_none())
            .map(|(id, _)| id)
    }

    /// Once all are back, nobody needs to wait.
    pub(crate) fn close_window_when_complete(&mut self, turn: &mut Turn<'_>) {
        if let Some(timer) = self.window
            && self.missing_executors().next().is_none()
        {
            self.window = None;
            self.timers.cancel(timer);
            self.register_if_held(turn);
        }
    }
}

fn refuse(request: RequestId, status: u16, message: &str, turn: &mut Turn<'_>) {
    let response = Response::Refused { status, message: message.to_owned() };
    turn.push(Effect::Respond { request, response });
}

fn of(kind: event::Type) -> Event {
    Event { r#type: Some(kind.into()), ..Event::default() }
}

/// The event that asks an executor to end.
pub(crate) fn shutdown() -> Event {
    of(event::Type::Shutdown)
}
