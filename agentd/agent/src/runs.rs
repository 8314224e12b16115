//! Runs: sandbox ready, process started, process ended.

use std::net::IpAddr;

use tepui_link::Report;
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Ranges, Span, TaskId, TaskState};
use tepui_wire::v1::task_status::Reason;

use crate::death::{Cause, Certificate, last_words, with_details};
use crate::environment::ports_of;
use crate::limits::completion_of;
use crate::machine::{Agent, Turn};
use crate::state::{Fate, Phase};
use crate::status::{Saying, exit_message, wait_status};
use crate::timers::Timer;
use crate::updates::no_longer_here;
use crate::{Effect, Exit, Record, Response, Verdict};

impl Agent {
    /// The task whose process a run is, while it is not terminal: a command task, or one of a pod.
    pub(crate) fn command_task(&self, run: &ContainerId) -> Option<(FrameworkId, TaskId)> {
        let (framework, executor) = self.book.owner(run)?;
        let entry = self.book.runs.get(run).filter(|run| run.asked.is_none())?;
        let task = entry
            .task
            .as_ref()
            .or_else(|| executor.tasks.first().filter(|_| executor.is_command()))?;
        let live = framework.tasks.get(task).is_some_and(|task| !task.is_terminal());
        live.then(|| (framework.id.clone(), task.clone()))
    }

    pub(crate) fn fetched(
        &mut self,
        run: &ContainerId,
        outcome: Result<(), String>,
        turn: &mut Turn<'_>,
    ) {
        match self.book.runs.get(run).map(|run| run.phase) {
            Some(Phase::Preparing) => {}
            // It ended meanwhile: what was brought for it goes too.
            None | Some(Phase::Over) => {
                return turn.push(Effect::Discard { run: run.clone() });
            }
            Some(_) => return,
        }
        let ordered = self.run_mut(run).and_then(|run| run.ordered.take());
        if let Some(ordered) = ordered.filter(|_| outcome.is_ok()) {
            self.counters.preparations.record(turn.now.mono.since(ordered));
        }
        if self.book.runs.get(run).is_some_and(|run| run.is_pod) {
            return self.pod_prepared(run, outcome, turn);
        }
        match outcome {
            Ok(()) => {
                self.counters.fetches_succeeded += 1;
                if self.book.runs.get(run).is_some_and(|run| run.task.is_some()) {
                    self.pod_task_ready(run, turn);
                } else {
                    self.start_run(run, turn);
                }
            }
            Err(text) => {
                self.counters.fetches_failed += 1;
                let message = if text.starts_with("Failed to ") {
                    text
                } else {
                    format!("Failed to fetch all URIs for container '{run}': {text}")
                };
                self.launch_failed(run, &message, turn);
            }
        }
    }

    pub(crate) fn start_run(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Some(spec) = self.spec_of(run) else {
            return self.launch_failed(run, "The command has nothing to execute", turn);
        };
        // It may have been taken on by an agent of other settings, or on a host that could do more.
        if let Some(why) = self.run_objection(run) {
            return self.launch_failed(run, &why, turn);
        }
        if !self.book.runs.get(run).is_some_and(|run| run.started) {
            self.commit_start(run, turn);
        }
        if let Some(entry) = self.run_mut(run) {
            entry.phase = Phase::Launching;
            entry.ordered = Some(turn.now.mono);
            entry.ports = spec.ports.clone();
        }
        turn.push(Effect::Start(Box::new(spec)));
    }

    /// A run's network is there, freshly made or found again.
    pub(crate) fn networked(&mut self, run: &ContainerId, addresses: Vec<IpAddr>) {
        if let Some(entry) = self.run_mut(run) {
            entry.addresses = Some(addresses);
        }
    }

    pub(crate) fn run_started(
        &mut self,
        run: &ContainerId,
        outcome: Result<u32, String>,
        turn: &mut Turn<'_>,
    ) {
        let Some(entry) = self.run_mut(run).filter(|run| run.exit.is_none()) else { return };
        let pid = match outcome {
            Ok(pid) => pid,
            Err(text) => {
                self.counters.container_launch_errors += 1;
                return self.launch_failed(run, &text, turn);
            }
        };
        entry.pid = Some(pid);
        if let Some(ordered) = entry.ordered.take() {
            self.counters.starts.record(turn.now.mono.since(ordered));
        }
        self.counters.runs_started += 1;
        self.run_is_up(run, turn);
    }

    /// A run's main process is there, freshly started or found again.
    pub(crate) fn run_is_up(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Some(entry) = self.run_mut(run) else { return };
        if entry.asked.is_some() {
            return self.asked_is_up(run, turn);
        }
        let asked_to_end = entry.ending.is_some() || entry.phase == Phase::Terminating;
        let subscribed = entry.stream.is_some();
        if let Some((framework, task)) = self.command_task(run) {
            if asked_to_end {
                return self.carry_out_kill(run, turn);
            }
            self.set_phase(run, Phase::Running);
            self.say_running(&framework, &task, turn);
            self.watch(&framework, &task, turn);
        } else if asked_to_end || self.book.owner(run).is_none() {
            self.carry_out_kill(run, turn);
        } else if subscribed {
            self.set_phase(run, Phase::Running);
        } else {
            self.set_phase(run, Phase::Registering);
            let at = turn.now.mono + self.config.executor_registration_timeout;
            self.limit_executor(run, at);
        }
    }

    pub(crate) fn set_phase(&mut self, run: &ContainerId, phase: Phase) {
        if let Some(entry) = self.run_mut(run) {
            entry.phase = phase;
        }
    }

    fn say_running(&mut self, framework: &FrameworkId, task: &TaskId, turn: &mut Turn<'_>) {
        let Some(known) = self.book.task(framework, task) else { return };
        if matches!(known.state, TaskState::Running | TaskState::Killing) {
            return;
        }
        let check_status = known.info.check.as_deref().map(crate::checks::empty_result);
        let saying = Saying { check_status, ..Saying::executor(TaskState::Running) };
        self.say(framework, task, saying, turn);
    }

    /// Starts what accompanies a running command task: its checks and its time limit.
    fn watch(&mut self, framework: &FrameworkId, task: &TaskId, turn: &mut Turn<'_>) {
        self.start_checks(framework, task, turn);
        let Some(known) = self.book.task_mut(framework, task) else { return };
        let Some(limit) = completion_of(&known.info) else { return };
        let ran = known.running_since.map_or(Span::ZERO, |since| turn.now.wall.since(since));
        let at = turn.now.mono + limit.saturating_sub(ran);
        let timer = self.timers.set(at, Timer::Completion(framework.clone(), task.clone()));
        known.completion = Some(timer);
    }

    /// The run did not come to life; its tasks say why.
    fn launch_failed(&mut self, run: &ContainerId, message: &str, turn: &mut Turn<'_>) {
        if self.book.runs.get(run).is_some_and(|run| run.asked.is_some()) {
            return self.asked_failed(run, message, turn);
        }
        let fate = self.book.runs.get(run).and_then(|run| run.fate.clone());
        let exit = Exit::Unknown(message.into());
        let saying = if matches!(fate, Some(Fate::Killed | Fate::Shutdown)) {
            let text = "The task was killed while it was being launched";
            Saying::agent(TaskState::Killed, Reason::TaskKilledDuringLaunch, text)
        } else {
            Saying::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message)
        };
        let saying = self.with_denials(run, saying);
        self.end_tasks(run, &saying, turn);
        self.run_over(run, exit, turn);
    }

    pub(crate) fn end_tasks(&mut self, run: &ContainerId, saying: &Saying, turn: &mut Turn<'_>) {
        let Some((framework, executor)) = self.book.owner(run) else { return };
        let Some(entry) = self.book.runs.get(run).filter(|run| run.asked.is_none()) else { return };
        let own = entry.task.clone();
        let tasks = own.map_or_else(|| executor.tasks.clone(), |task| [task].into());
        let framework = framework.id.clone();
        for task in tasks {
            self.say(&framework, &task, saying.clone(), turn);
        }
    }

    pub(crate) fn run_exited(
        &mut self,
        run: &ContainerId,
        exit: Exit,
        certificate: Option<&Certificate>,
        turn: &mut Turn<'_>,
    ) {
        if self.book.runs.get(run).is_none_or(|run| run.exit.is_some()) {
            turn.push(Effect::Discard { run: run.clone() });
            return;
        }
        if let Some((framework, task)) = self.command_task(run) {
            let fate = self.book.runs.get(run).and_then(|run| run.fate.clone());
            if fate.is_none() && !matches!(exit, Exit::Unknown(_)) {
                // The news of a short life may come before that of its beginning.
                self.say_running(&framework, &task, turn);
            }
            let saying = match (&exit, &fate) {
                (Exit::Unknown(_), None) => untold_end(&exit),
                _ => last_words(&exit, fate.as_ref(), certificate),
            };
            let saying = self.with_denials(run, saying);
            self.say(&framework, &task, saying, turn);
        } else if let Some((framework, executor)) = self.custom_owner(run) {
            let how = (&exit, certificate);
            self.executor_exited(run, &framework, &executor, how, turn);
        } else if let Some(entry) = self.book.runs.get(run).filter(|run| run.asked.is_some()) {
            let saying = last_words(&exit, entry.fate.as_ref(), certificate);
            if let Some(verdict) = Verdict::of(&self.with_denials(run, saying)) {
                let (run, verdict) = (run.clone(), Box::new(verdict));
                self.commit(Record::Verdict { run, verdict }, turn);
            }
        }
        self.run_over(run, exit, turn);
    }

    pub(crate) fn custom_owner(&self, run: &ContainerId) -> Option<(FrameworkId, ExecutorId)> {
        let (framework, executor) = self.book.owner(run)?;
        let own = executor.is_custom() && executor.run == *run;
        own.then(|| (framework.id.clone(), executor.id.clone()))
    }

    fn executor_exited(
        &mut self,
        run: &ContainerId,
        framework: &FrameworkId,
        executor: &ExecutorId,
        (exit, certificate): (&Exit, Option<&Certificate>),
        turn: &mut Turn<'_>,
    ) {
        let aware = self.book.framework(framework).is_some_and(|one| one.is_partition_aware());
        let fate = self.book.runs.get(run).and_then(|run| run.fate.clone());
        let how = match certificate {
            Some(certificate) => with_details(exit_message(exit), fate.as_ref(), certificate),
            None => exit_message(exit),
        };
        let memory = certificate.is_some_and(|one| one.cause == Cause::OutOfMemory);
        let saying = match fate {
            // Whatever of it asked for too much: with it all its tasks are gone.
            None if memory => last_words(exit, None, certificate),
            Some(Fate::DiskExceeded { .. } | Fate::ForeignPort) => {
                last_words(exit, fate.as_ref(), certificate)
            }
            Some(Fate::NeverRegistered) => Saying::agent(
                TaskState::Failed,
                Reason::ExecutorRegistrationTimeout,
                "Executor did not register within the executor registration timeout",
            ),
            Some(Fate::NeverReregistered) => Saying::agent(
                no_longer_here(aware),
                Reason::ExecutorReregistrationTimeout,
                "Executor did not reregister within the executor reregistration timeout",
            ),
            _ => Saying::agent(
                TaskState::Failed,
                Reason::ExecutorTerminated,
                format!("Executor terminated: {how}"),
            ),
        };
        let saying = self.with_denials(run, saying);
        self.end_tasks(run, &saying, turn);
        self.counters.executors_terminated += 1;
        let (framework, executor) = (framework.clone(), executor.clone());
        let status = wait_status(exit);
        self.report(Report::ExecutorExited { framework, executor, status }, turn);
    }

    /// Writes down that a run is over; its sandbox stays for a while.
    pub(crate) fn run_over(&mut self, run: &ContainerId, exit: Exit, turn: &mut Turn<'_>) {
        let Some(entry) = self.book.runs.get_mut(run) else { return };
        let timers = [entry.limit.take(), entry.beat.take(), entry.ending.take().map(|e| e.timer)];
        let stream = entry.stream.take();
        let waiters = std::mem::take(&mut entry.waiters);
        let was_leftover = entry.leftover.take().is_some();
        let opener = entry.opener.take();
        let (is_pod, is_asked) = (entry.is_pod, entry.asked.is_some());
        // A run that nobody knows has no sandbox to keep and no record to close.
        let is_stranger = entry.sandbox.is_empty();
        for timer in timers {
            self.cancel(timer);
        }
        if let Some(stream) = stream {
            self.streams.remove(&stream);
            turn.push(Effect::CloseExecutorStream { stream });
        }
        let verdict = self.verdict_of(run);
        for request in waiters {
            let response = Response::Waited { exit: exit.clone(), verdict: verdict.clone() };
            turn.push(Effect::Respond { request, response });
        }
        if let Some(request) = opener {
            // Its end came before the news of its beginning.
            turn.push(Effect::Respond { request, response: Response::Done });
        }
        self.close_sessions(run, turn);
        if is_stranger {
            self.book.runs.remove(run);
        } else {
            let record = Record::Exited { run: run.clone(), exit, at: turn.now.wall };
            self.commit(record, turn);
            self.await_garbage(turn);
        }
        turn.push(Effect::Discard { run: run.clone() });
        self.end_below(run, turn);
        if !is_pod && !is_asked {
            self.pod_run_over(run, turn);
        }
        if was_leftover {
            // What it held is free now.
            self.tell_heartbeat(turn);
        }
        self.close_window_when_complete(turn);
        self.forget_idle_frameworks(turn);
    }

    /// How much the sandbox of a run holds. Who holds more than it may is ended, where the operator
    /// wants it so.
    pub(crate) fn sandbox_measured(&mut self, run: &ContainerId, used: u64, turn: &mut Turn<'_>) {
        let Some(limit) = self.limits_of_run(run).map(|limits| limits.disk) else { return };
        let is_command = self.command_task(run).is_some();
        let Some(entry) = self.run_mut(run).filter(|run| run.exit.is_none()) else { return };
        entry.disk_used = Some(used);
        let Some(limit) = limit.filter(|limit| used > *limit && self.config.limits.enforce_disk)
        else {
            return;
        };
        let fate = Fate::DiskExceeded { used, limit };
        if is_command {
            self.end_command(run, Span::ZERO, fate, turn);
        } else {
            self.destroy(run, fate, turn);
        }
    }

    /// Ports that a run listens on, though they are not its own, are said once per change.
    pub(crate) fn listening(&mut self, run: &ContainerId, ports: &Ranges, turn: &mut Turn<'_>) {
        let Some((framework, executor)) = self.book.owner(run) else { return };
        let foreign = ports.difference(&ports_of(framework, executor));
        let whose = format!("executor '{}' of framework '{}'", executor.id, framework.id);
        // Where it has a network of its own, every port is its own.
        let is_own = self.network_of(run).is_some();
        let Some(entry) = self.run_mut(run).filter(|run| run.foreign_ports != foreign && !is_own)
        else {
            return;
        };
        entry.foreign_ports = foreign.clone();
        if !foreign.is_empty() {
            self.counters.foreign_ports += 1;
            let text = format!("{whose} listens on ports {foreign} that were not given to it");
            turn.push(Effect::Notice { run: run.clone(), text });
        }
    }
}

/// The terminal status of a command task that nobody saw end: the host was restarted, or its shim
/// was killed. Mesos's agent says the same when a command executor dies.
pub(crate) fn untold_end(exit: &Exit) -> Saying {
    Saying::agent(TaskState::Failed, Reason::ExecutorTerminated, exit_message(exit))
}
