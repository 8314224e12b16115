//! Ends: of a task, an executor, a framework, of everything.

use tepui_link::Report;
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Span, TaskId, TaskState};
use tepui_wire::v1::{self, framework_info::capability, task_status::Reason};

use crate::environment::span_of;
use crate::machine::{Agent, Turn};
use crate::state::{Ending, Fate, Phase};
use crate::status::Saying;
use crate::timers::Timer;
use crate::updates::never_here;
use crate::{Effect, Exit, Record};

/// The grace between SIGTERM and SIGKILL when nobody says otherwise.
const KILL_GRACE: Span = Span::from_secs(3);
/// The first pause after which a kill that did not work is repeated.
const KILL_AGAIN_MIN: Span = Span::from_secs(5);
/// Where its doubling ends.
const KILL_AGAIN_MAX: Span = Span::from_secs(60);

const KILLED_EARLY: &str = "The task was killed before it was delivered to its executor";

impl Agent {
    pub(crate) fn kill(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        policy: Option<&v1::KillPolicy>,
        turn: &mut Turn<'_>,
    ) {
        let Some(task) = self.book.task(framework, name) else {
            return self.kill_unknown(framework, name, turn);
        };
        if task.is_terminal() {
            return;
        }
        let grace = grace_of(policy, &task.info);
        let (executor, delivered) = (task.executor.clone(), task.delivered);
        if !task.kill_asked {
            let (framework, task) = (framework.clone(), name.clone());
            self.commit(Record::KillAsked { framework, task }, turn);
        }
        let Some(entry) = self.book.executor(framework, &executor) else { return };
        let run = entry.run.clone();
        if entry.is_command() {
            self.end_command(&run, grace, Fate::Killed, turn);
        } else if entry.is_pod() {
            if let Some(run) = self.live_task_run(framework, name) {
                self.end_command(&run, grace, Fate::Killed, turn);
            }
        } else if delivered {
            self.pass_kill(&run, name, policy, turn);
        } else {
            self.kill_queued(framework, &executor, name, turn);
        }
    }

    fn kill_unknown(&mut self, framework: &FrameworkId, task: &TaskId, turn: &mut Turn<'_>) {
        if self.book.ended.contains(framework, task) {
            return;
        }
        let aware = self.book.framework(framework).is_some_and(|one| one.is_partition_aware());
        let text = "The task was asked to be killed, and no executor on the agent has it";
        let saying = Saying::agent(never_here(aware), Reason::ExecutorTerminated, text);
        self.disown(framework, task, saying, turn);
    }

    /// Ends a command task's run, whatever it is doing.
    pub(crate) fn end_command(
        &mut self,
        run: &ContainerId,
        grace: Span,
        fate: Fate,
        turn: &mut Turn<'_>,
    ) {
        let Some(entry) = self.run_mut(run) else { return };
        match entry.phase {
            Phase::Over => {}
            Phase::Preparing => {
                let saying = Saying::agent(
                    TaskState::Killed,
                    Reason::TaskKilledDuringLaunch,
                    "The task was killed while it was being launched",
                );
                self.end_tasks(run, &saying, turn);
                self.run_over(run, Exit::Unknown("killed before its start".into()), turn);
            }
            Phase::Launching => {
                entry.fate.get_or_insert(fate);
                self.set_deadline(run, grace, turn);
            }
            Phase::Registering | Phase::Running | Phase::Terminating => {
                let first = entry.phase != Phase::Terminating;
                entry.fate.get_or_insert(fate);
                self.set_deadline(run, grace, turn);
                if first {
                    self.carry_out_kill(run, turn);
                }
            }
        }
    }

    /// Asks a run that is up to end; its deadline is set.
    pub(crate) fn carry_out_kill(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        self.set_phase(run, Phase::Terminating);
        if let Some((framework, task)) = self.command_task(run) {
            let says_so = self
                .book
                .framework(&framework)
                .is_some_and(|one| one.has(capability::Type::TaskKillingState));
            if says_so {
                self.say(&framework, &task, Saying::executor(TaskState::Killing), turn);
            }
            self.stop_checks(&framework, &task, turn);
        }
        let deadline = self.book.runs.get(run).and_then(|run| run.ending).map(|one| one.deadline);
        match deadline {
            Some(deadline) if deadline <= turn.now.mono => self.grace_over(run, turn),
            _ => turn.push(Effect::Terminate { run: run.clone() }),
        }
    }

    /// Sets when the run is killed; once set, the moment only comes nearer.
    pub(crate) fn set_deadline(&mut self, run: &ContainerId, grace: Span, turn: &mut Turn<'_>) {
        let Self { book, timers, .. } = self;
        let Some(entry) = book.runs.get_mut(run) else { return };
        let since = entry.ending.map_or(turn.now.mono, |ending| ending.since);
        let deadline = (since + grace).max(turn.now.mono);
        if let Some(ending) = entry.ending {
            if deadline >= ending.deadline {
                return;
            }
            timers.cancel(ending.timer);
        }
        let timer = timers.set(deadline, Timer::Kill(run.clone()));
        let ending = Ending { since, deadline, timer, pause: KILL_AGAIN_MIN };
        let was_asked = entry.ending.replace(ending).is_some();
        if was_asked && deadline <= turn.now.mono {
            self.grace_over(run, turn);
        }
    }

    /// The run's time is over: kill its whole tree, and again until it is gone (T-13).
    pub(crate) fn grace_over(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Self { book, timers, counters, .. } = self;
        let Some(entry) = book.runs.get_mut(run).filter(|run| run.exit.is_none()) else { return };
        let Some(ending) = &mut entry.ending else { return };
        timers.cancel(ending.timer);
        ending.timer = timers.set(turn.now.mono + ending.pause, Timer::Kill(run.clone()));
        ending.pause = ending.pause.doubled().min(KILL_AGAIN_MAX);
        counters.escalated_kills += 1;
        turn.push(Effect::Kill { run: run.clone() });
    }

    /// A task that its executor never saw ends here, with the group that it came in.
    fn kill_queued(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        name: &TaskId,
        turn: &mut Turn<'_>,
    ) {
        let Some(entry) = self.book.executor(framework, executor) else { return };
        let group = entry.groups.iter().find(|group| group.contains(name)).cloned();
        for task in group.unwrap_or_else(|| vec![name.clone()]) {
            let saying =
                Saying::agent(TaskState::Killed, Reason::TaskKilledDuringLaunch, KILLED_EARLY);
            self.say(framework, &task, saying, turn);
        }
        self.shutdown_if_useless(framework, executor, turn);
    }

    /// An executor that never got a task, and has none waiting, is not needed.
    pub(crate) fn shutdown_if_useless(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        turn: &mut Turn<'_>,
    ) -> bool {
        let Some(framework_entry) = self.book.framework(framework) else { return false };
        let Some(entry) = framework_entry.executors.get(executor) else { return false };
        let live = |task| framework_entry.tasks.get(task).is_some_and(|task| !task.is_terminal());
        if entry.ever_delivered || entry.tasks.iter().any(live) {
            return false;
        }
        let (run, grace) = (entry.run.clone(), self.shutdown_grace(entry));
        self.end_custom(&run, grace, Fate::Shutdown, turn);
        true
    }

    pub(crate) fn shutdown_executor(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let Some(entry) = self.book.executor(framework, executor) else { return };
        let (run, grace) = (entry.run.clone(), self.shutdown_grace(entry));
        if entry.is_command() {
            self.end_command(&run, grace, Fate::Shutdown, turn);
        } else if entry.is_pod() {
            self.end_pod(&run, turn);
        } else {
            self.end_custom(&run, grace, Fate::Shutdown, turn);
        }
    }

    /// Ends a custom executor: it is asked on its stream, or else by a signal, and killed when its
    /// grace is over.
    pub(crate) fn end_custom(
        &mut self,
        run: &ContainerId,
        grace: Span,
        fate: Fate,
        turn: &mut Turn<'_>,
    ) {
        let Some(entry) = self.run_mut(run) else { return };
        match entry.phase {
            Phase::Over => return,
            _ if entry.is_pod => return self.end_pod(run, turn),
            _ if entry.asked.is_some() => return self.end_asked(run, fate, turn),
            Phase::Preparing => {
                let text = "Executor was shut down before its start";
                let saying = Saying::agent(TaskState::Failed, Reason::ExecutorTerminated, text);
                self.end_tasks(run, &saying, turn);
                return self.run_over(run, Exit::Unknown(text.into()), turn);
            }
            Phase::Terminating => return self.set_deadline(run, grace, turn),
            Phase::Launching | Phase::Registering | Phase::Running => {}
        }
        entry.fate.get_or_insert(fate);
        let launching = entry.phase == Phase::Launching;
        let stream = entry.stream;
        self.set_deadline(run, grace, turn);
        if stream.is_some() {
            self.set_phase(run, Phase::Terminating);
            self.tell_executor(run, crate::executors::shutdown(), turn);
        } else if !launching {
            self.carry_out_kill(run, turn);
        }
    }

    /// The framework is gone: everything of it ends, nobody is told, and only the sandboxes stay
    /// for their time.
    pub(crate) fn shutdown_framework(&mut self, id: &FrameworkId, turn: &mut Turn<'_>) {
        let Some(framework) = self.book.framework(id) else { return };
        let tasks: Vec<_> = framework.tasks.keys().cloned().collect();
        let below = framework.executors.values().filter(|one| one.is_pod());
        let below = below.flat_map(|pod| self.runs_of_pod(framework, &pod.run));
        let runs: Vec<_> = framework
            .executors
            .values()
            .map(|one| {
                let task = one.tasks.first().and_then(|task| framework.tasks.get(task));
                let grace = match task {
                    Some(task) if one.is_command() => grace_of(None, &task.info),
                    _ => self.shutdown_grace(one),
                };
                (one.run.clone(), grace)
            })
            .chain(below)
            .filter(|(run, _)| self.book.runs.get(run).is_some_and(|run| run.exit.is_none()))
            .collect();
        for task in tasks {
            self.forget_task_timers(id, &task, turn);
            let retry = self.book.task_mut(id, &task).and_then(|task| task.retry.take());
            self.cancel(retry.map(|retry| retry.timer));
        }
        self.commit(Record::FrameworkGone(id.clone()), turn);
        for (run, grace) in runs {
            self.end_custom(&run, grace, Fate::Shutdown, turn);
        }
    }

    /// The operator wants the agent to leave the cluster for good.
    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>) {
        self.report(Report::Unregister, turn);
        self.shut_down("the operator asked the agent to leave the cluster".to_owned(), turn);
    }

    /// Everything ends, the id is given up, and then the daemon ends.
    pub(crate) fn shut_down(&mut self, reason: String, turn: &mut Turn<'_>) {
        let frameworks: Vec<_> = self.book.frameworks.keys().cloned().collect();
        for framework in frameworks {
            self.shutdown_framework(&framework, turn);
        }
        self.end_standalone(turn);
        if self.book.agent.is_some() {
            self.commit(Record::IdentityGone, turn);
        }
        self.quitting = Some(reason);
    }
}

/// The kill call's grace, else the task's, else three seconds.
pub(crate) fn grace_of(policy: Option<&v1::KillPolicy>, task: &v1::TaskInfo) -> Span {
    let given = policy.and_then(|policy| policy.grace_period);
    let own = || task.kill_policy.as_ref().and_then(|policy| policy.grace_period);
    given.or_else(own).map_or(KILL_GRACE, |grace| span_of(&grace))
}
