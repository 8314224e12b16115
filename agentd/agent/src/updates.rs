//! The status update stream of each task (`spec/mesos-http.md` 5.4): saved before it is sent, in
//! order, the next only after the previous is acknowledged, again and again until it is.

use tepui_link::{Report, codec::task_state};
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Role, Span, TaskId, TaskState, UpdateId};
use tepui_wire::v1::{self, task_status::Reason};

use crate::Record;
use crate::book::update_id;
use crate::machine::{Agent, Turn};
use crate::state::Retry;
use crate::status::{Saying, container_status};
use crate::timers::Timer;

/// The first pause before an update is sent again.
const RETRY_MIN: Span = Span::from_secs(10);
/// Where its doubling ends.
const RETRY_MAX: Span = Span::from_secs(10 * 60);

impl Agent {
    /// Says something about a task, unless it is terminal already (I-10).
    pub(crate) fn say(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        saying: Saying,
        turn: &mut Turn<'_>,
    ) {
        let wire = v1::TaskId { value: task.to_string() };
        let mut status = saying.into_status(&wire, turn.now.wall);
        status.uuid = Some(self.entropy.uuid().as_bytes().to_vec());
        self.take_status(framework, task, status, turn);
    }

    /// Saves a status with its uuid and sends it when it is the stream's oldest. False when the
    /// task is not here or cannot take that step.
    pub(crate) fn take_status(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        mut status: v1::TaskStatus,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(state) = task_state(status.state) else { return false };
        let Some(known) = self.book.task(framework, task) else { return false };
        if known.state.advance(state).is_err() || known.is_terminal() {
            return false;
        }
        let is_oldest = known.pending.is_empty();
        let (executor, has_run) = (known.executor.clone(), !known.refused);
        let run = self.book.run_of(framework, task).filter(|_| has_run).cloned();
        self.complete_status(&executor, run.as_ref(), &mut status);
        self.count(state);
        self.commit(
            Record::Update { framework: framework.clone(), status: Box::new(status) },
            turn,
        );
        if is_oldest {
            self.send_oldest(framework, task, RETRY_MIN, turn);
        }
        if state.is_terminal() {
            self.forget_task_timers(framework, task, turn);
            self.renew_ports(framework, &executor, turn);
            self.limit_anew(framework, &executor, turn);
        }
        true
    }

    fn complete_status(
        &self,
        executor: &ExecutorId,
        run: Option<&ContainerId>,
        status: &mut v1::TaskStatus,
    ) {
        let agent = self.agent_text();
        status.agent_id = Some(v1::AgentId { value: agent });
        status.executor_id = Some(v1::ExecutorId { value: executor.to_string() });
        let Some(run) = run else { return };
        let addresses = self.addresses_of(run);
        let pid = self.book.runs.get(run).and_then(|run| run.pid);
        let ours = container_status(run, &self.config.ip, addresses, pid);
        match &mut status.container_status {
            None => status.container_status = Some(ours),
            Some(theirs) => {
                theirs.container_id = ours.container_id;
                if theirs.network_infos.is_empty() {
                    theirs.network_infos = ours.network_infos;
                }
                theirs.executor_pid = theirs.executor_pid.or(ours.executor_pid);
            }
        }
    }

    fn count(&mut self, state: TaskState) {
        let counters = &mut self.counters;
        counters.valid_status_updates += 1;
        match state {
            TaskState::Finished => counters.tasks_finished += 1,
            TaskState::Failed => counters.tasks_failed += 1,
            TaskState::Killed => counters.tasks_killed += 1,
            TaskState::Lost | TaskState::Dropped => counters.tasks_lost += 1,
            TaskState::Gone => counters.tasks_gone += 1,
            _ => {}
        }
    }

    /// Sends the oldest unacknowledged update, and again after `pause`.
    fn send_oldest(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        pause: Span,
        turn: &mut Turn<'_>,
    ) {
        if !self.link.is_registered() {
            return;
        }
        let Some(task) = self.book.task_mut(framework, name) else { return };
        let Some(status) = task.pending.front().cloned() else { return };
        let latest_state = task.state;
        let at = turn.now.mono + pause;
        let timer = self.timers.set(at, Timer::Retry(framework.clone(), name.clone()));
        let former = task.retry.replace(Retry { timer, pause });
        self.cancel(former.map(|retry| retry.timer));
        self.report(Report::Update { framework: framework.clone(), status, latest_state }, turn);
    }

    pub(crate) fn retry(&mut self, framework: &FrameworkId, task: &TaskId, turn: &mut Turn<'_>) {
        let Some(entry) = self.book.task_mut(framework, task) else { return };
        let Some(retry) = entry.retry.take() else { return };
        self.send_oldest(framework, task, retry.pause.doubled().min(RETRY_MAX), turn);
    }

    /// The framework has taken an update. Only the oldest one counts; everything else is a
    /// repetition or a mistake and changes nothing (I-9).
    pub(crate) fn acknowledge(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        update: UpdateId,
        turn: &mut Turn<'_>,
    ) {
        let Some(task) = self.book.task_mut(framework, name) else { return };
        if task.pending.front().and_then(|status| update_id(status)) != Some(update) {
            return;
        }
        let retry = task.retry.take();
        self.cancel(retry.map(|retry| retry.timer));
        let (framework_id, task_id) = (framework.clone(), name.clone());
        let record = Record::Acknowledged { framework: framework_id, task: task_id, update };
        self.commit(record, turn);
        self.send_oldest(framework, name, RETRY_MIN, turn);
        self.forget_idle_frameworks(turn);
    }

    /// Nothing is sent again while the agent is not registered.
    pub(crate) fn pause_updates(&mut self) {
        let Self { book, timers, .. } = self;
        for task in book.frameworks.values_mut().flat_map(|one| one.tasks.values_mut()) {
            if let Some(retry) = task.retry.take() {
                timers.cancel(retry.timer);
            }
        }
    }

    /// The agent is registered: every stream begins again with its oldest update.
    pub(crate) fn resume_updates(&mut self, turn: &mut Turn<'_>) {
        let waiting: Vec<_> = self
            .book
            .frameworks
            .values()
            .flat_map(|one| one.tasks.iter().map(move |(id, task)| (one.id.clone(), id, task)))
            .filter(|(_, _, task)| !task.pending.is_empty())
            .map(|(framework, id, _)| (framework, id.clone()))
            .collect();
        for (framework, task) in waiting {
            self.send_oldest(&framework, &task, RETRY_MIN, turn);
        }
    }

    /// A task that is not, and will not be, started here gets its definite state all the same.
    pub(crate) fn refuse(
        &mut self,
        framework: &FrameworkId,
        role: Role,
        info: Box<v1::TaskInfo>,
        saying: Saying,
        turn: &mut Turn<'_>,
    ) {
        let Ok(task) = TaskId::parse(&info.task_id.value) else { return };
        if self.book.task(framework, &task).is_some() {
            return;
        }
        let custom = info.executor.as_ref().map_or(task.as_str(), |one| &one.executor_id.value);
        let Ok(executor) = ExecutorId::parse(custom).or_else(|_| ExecutorId::parse(task.as_str()))
        else {
            return;
        };
        let framework_id = framework.clone();
        let record = Record::Refused { framework: framework_id, executor, role, task: info };
        self.commit(record, turn);
        self.say(framework, &task, saying, turn);
    }

    /// The control plane believes a task to be here. A live or unacknowledged one speaks for
    /// itself; any other is said not to be here.
    pub(crate) fn reconcile(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        partition_aware: bool,
        turn: &mut Turn<'_>,
    ) {
        if self.book.task(framework, task).is_none() {
            let saying = Saying::agent(
                never_here(partition_aware),
                Reason::Reconciliation,
                "The task is not known to the agent",
            );
            self.disown(framework, task, saying, turn);
        }
    }

    /// Answers for a task that the agent does not know.
    pub(crate) fn disown(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        saying: Saying,
        turn: &mut Turn<'_>,
    ) {
        if self.book.framework(framework).is_none() {
            let id = Some(v1::FrameworkId { value: framework.to_string() });
            let info = v1::FrameworkInfo { id, ..v1::FrameworkInfo::default() };
            self.commit(Record::Framework(Box::new(info)), turn);
        }
        let info = v1::TaskInfo {
            task_id: v1::TaskId { value: task.to_string() },
            agent_id: v1::AgentId { value: self.agent_text() },
            ..v1::TaskInfo::default()
        };
        self.refuse(framework, Role::default_role(), Box::new(info), saying, turn);
    }
}

/// The state of a task that never started here.
pub(crate) fn never_here(partition_aware: bool) -> TaskState {
    if partition_aware { TaskState::Dropped } else { TaskState::Lost }
}

/// The state of a task that is no longer here.
pub(crate) fn no_longer_here(partition_aware: bool) -> TaskState {
    if partition_aware { TaskState::Gone } else { TaskState::Lost }
}
