//! The start: what earlier lives of the daemon saved, held against what the host still has.

use std::collections::BTreeMap;

use tepui_types::{BootId, ContainerId, FrameworkId, Span, TaskId, TaskState};
use tepui_wire::v1::task_status::Reason;

use crate::compatibility::Incompatible;
use crate::kill::grace_of;
use crate::machine::{Agent, Turn};
use crate::runs::untold_end;
use crate::state::{Fate, Phase, Run};
use crate::status::Saying;
use crate::timers::Timer;
use crate::updates::never_here;
use crate::{Effect, Exit, FoundRun, FoundState, Record};

const NEVER_STARTED: &str = "The agent was restarted before the task was started";
const REBOOTED: &str = "the host was restarted while it ran";

impl Agent {
    pub(crate) fn start(
        &mut self,
        boot: Option<BootId>,
        records: &[Record],
        runs: Vec<FoundRun>,
        turn: &mut Turn<'_>,
    ) {
        self.started = turn.now;
        for record in records {
            self.book.apply(record);
        }
        let rebooted = match (&self.book.boot, &boot) {
            (Some(then), Some(now)) => then != now,
            _ => false,
        };
        if let Err(error) = self.compatibility() {
            if !rebooted {
                turn.push(Effect::Quit { reason: error.to_string() });
                return;
            }
            self.begin_anew(turn);
        }
        if let Some(boot) = boot.filter(|boot| self.book.boot.as_ref() != Some(boot)) {
            self.commit(Record::Boot(boot), turn);
        }
        for one in &runs {
            if let Some(entry) = self.book.runs.get_mut(&one.run) {
                entry.denials.clone_from(&one.denials);
            }
            if let Some(addresses) = &one.addresses {
                self.networked(&one.run, addresses.clone());
            }
        }
        let mut found: BTreeMap<_, _> =
            runs.into_iter().map(|one| (one.run.clone(), one)).collect();
        let known: Vec<_> = self.book.runs.keys().cloned().collect();
        self.recovering = true;
        for run in known {
            self.recover_run(&run, found.remove(&run), rebooted, turn);
        }
        for (run, found) in found {
            self.end_stranger(&run, &found.state, turn);
        }
        self.settle_leftovers(turn);
        self.settle_pods(turn);
        self.settle_asked(turn);
        self.await_executors(turn);
        self.await_garbage(turn);
        turn.push(Effect::Reconnect { pause: Span::ZERO });
    }

    /// Whether the id from an earlier life may be kept with today's description.
    ///
    /// # Errors
    ///
    /// Names what changed and what the operator can do.
    pub fn compatibility(&self) -> Result<(), Incompatible> {
        let Some(former) = &self.book.info else { return Ok(()) };
        crate::compatibility::check(self.config.reconfiguration, former, &self.config.info)
    }

    /// The host was restarted with an incompatible description: nothing runs any more, and the
    /// agent registers as a new one.
    fn begin_anew(&mut self, turn: &mut Turn<'_>) {
        let frameworks: Vec<_> = self.book.frameworks.keys().cloned().collect();
        for framework in frameworks {
            self.commit(Record::FrameworkGone(framework), turn);
        }
        self.commit(Record::IdentityGone, turn);
    }

    fn recover_run(
        &mut self,
        run: &ContainerId,
        found: Option<FoundRun>,
        rebooted: bool,
        turn: &mut Turn<'_>,
    ) {
        let (found, certificate) = match found {
            Some(found) => (Some(found.state), found.certificate),
            None => (None, None),
        };
        let Some(entry) = self.book.runs.get(run) else { return };
        let (over, started) = (entry.exit.is_some(), entry.started);
        if entry.is_pod {
            return self.recover_pod(run, rebooted, turn);
        }
        match found {
            Some(FoundState::Exited(_)) if over => {
                turn.push(Effect::Discard { run: run.clone() });
            }
            Some(FoundState::NeverStarted) if over => {
                turn.push(Effect::Discard { run: run.clone() });
            }
            None if over => {}
            Some(FoundState::NeverStarted) if !rebooted => self.never_started(run, turn),
            Some(FoundState::NeverStarted) => self.vanished(run, REBOOTED, turn),
            Some(FoundState::Exited(exit)) => {
                self.run_exited(run, exit, certificate.as_deref(), turn);
            }
            // What runs under the number of a process of the former boot is not ours to adopt,
            // and what runs though it is known to be over should not run.
            Some(FoundState::Running { .. } | FoundState::Starting { .. }) if over || rebooted => {
                if !over {
                    self.vanished(run, REBOOTED, turn);
                }
                turn.push(Effect::Kill { run: run.clone() });
            }
            Some(FoundState::Running { pid }) => self.adopt(run, pid, Phase::Running, turn),
            Some(FoundState::Starting { pid }) => self.adopt(run, pid, Phase::Launching, turn),
            None if rebooted => self.vanished(run, REBOOTED, turn),
            // The launcher leaves its mark before anything runs: this run was still in its queue.
            None if started => self.never_started(run, turn),
            None => self.begin_again(run, turn),
        }
    }

    /// A run that a restart of the host ended; nobody recorded how.
    fn vanished(&mut self, run: &ContainerId, why: &str, turn: &mut Turn<'_>) {
        let exit = Exit::Unknown(why.into());
        if self.command_task(run).is_some() {
            self.end_tasks(run, &untold_end(&exit), turn);
        }
        self.run_exited(run, exit, None, turn);
    }

    /// A run that the launcher was asked for and did not begin: to start it elsewhere is sane, and
    /// nothing of the task failed.
    fn never_started(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let owner = self.book.owner(run);
        let aware = owner.is_some_and(|(framework, _)| framework.is_partition_aware());
        let killed = owner.is_some_and(|(framework, executor)| {
            match self.task_of(framework, executor, run) {
                Some(task) => task.kill_asked,
                None => {
                    let mut all = executor.tasks.iter().filter_map(|id| framework.tasks.get(id));
                    all.any(|task| task.kill_asked)
                }
            }
        });
        let saying = if killed {
            let text = "The task was killed while it was being launched";
            Saying::agent(TaskState::Killed, Reason::TaskKilledDuringLaunch, text)
        } else {
            Saying::agent(never_here(aware), Reason::AgentRestarted, NEVER_STARTED)
        };
        self.end_tasks(run, &saying, turn);
        self.run_exited(run, Exit::Unknown(NEVER_STARTED.into()), None, turn);
    }

    /// A run goes on, with the same main process as before. One that is still being launched gets
    /// no further than it was.
    fn adopt(&mut self, run: &ContainerId, pid: u32, phase: Phase, turn: &mut Turn<'_>) {
        if let Some(entry) = self.run_mut(run) {
            entry.pid = Some(pid);
            entry.phase = phase;
        }
        self.tell_ports(run, turn);
        if self.book.runs.get(run).is_some_and(|run| run.asked.is_some()) {
            return;
        }
        let Some((_, executor)) = self.book.owner(run) else {
            return self.destroy(run, Fate::Shutdown, turn);
        };
        if executor.is_custom() {
            let asked_to_end = executor.tasks.is_empty() && !executor.ever_delivered;
            if asked_to_end {
                return self.destroy(run, Fate::Shutdown, turn);
            }
            if phase == Phase::Running {
                self.set_phase(run, Phase::Registering);
            }
            return;
        }
        let Some((framework, task)) = self.command_task(run) else {
            // Its task is terminal already: whatever is left of it must go.
            return self.destroy(run, Fate::Killed, turn);
        };
        let kill = self.book.task(&framework, &task).filter(|task| task.kill_asked);
        if let Some(grace) = kill.map(|task| grace_of(None, &task.info)) {
            self.end_command(run, grace, Fate::Killed, turn);
        } else if phase == Phase::Running {
            self.run_is_up(run, turn);
        }
    }

    /// Accepted and never started: it starts now, unless there is nothing to start.
    fn begin_again(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        if self.book.runs.get(run).is_some_and(|run| run.asked.is_some()) {
            return self.prepare_asked(run, turn);
        }
        let Some((framework, executor)) = self.book.owner(run) else {
            return self.run_over(run, Exit::Unknown("never started".into()), turn);
        };
        let own = self.book.runs.get(run).and_then(|run| run.task.as_ref());
        let is_own = |id: &&TaskId| own.is_none_or(|own| own == *id);
        let live = |id| framework.tasks.get(id).filter(|task| !task.is_terminal());
        let live_tasks = executor.tasks.iter().filter(is_own).filter_map(live);
        let Some(killed) = live_tasks.map(|task| task.kill_asked).min() else {
            return self.run_over(run, Exit::Unknown("never started".into()), turn);
        };
        if !killed && executor.is_pod() {
            return self.prepare_task_of_pod(run, turn);
        }
        if !killed {
            return self.prepare(run, turn);
        }
        self.end_command(run, Span::ZERO, Fate::Killed, turn);
    }

    /// A run that no record knows: nobody will ever ask for it.
    fn end_stranger(&mut self, run: &ContainerId, state: &FoundState, turn: &mut Turn<'_>) {
        match state {
            FoundState::Exited(_) | FoundState::NeverStarted => {
                turn.push(Effect::Discard { run: run.clone() })
            }
            FoundState::Running { pid } | FoundState::Starting { pid } => {
                let mut entry = Run::new(None, "".into());
                entry.pid = Some(*pid);
                self.book.runs.insert(run.clone(), entry);
                let text = format!("run with process {pid} is in no record and is ended");
                turn.push(Effect::Notice { run: run.clone(), text });
                self.destroy(run, Fate::Shutdown, turn);
            }
        }
    }

    /// Tasks that have no run to wait for get their state.
    fn settle_leftovers(&mut self, turn: &mut Turn<'_>) {
        let mut left: Vec<(FrameworkId, _, bool)> = Vec::new();
        for framework in self.book.frameworks.values() {
            let aware = framework.is_partition_aware();
            for (id, task) in &framework.tasks {
                let executor = framework.executors.get(&task.executor);
                let home = executor.filter(|executor| executor.tasks.contains(id));
                let run = home.and_then(|_| self.book.run_of(&framework.id, id));
                let waits = run.and_then(|run| self.book.runs.get(run));
                if !task.is_terminal() && waits.is_none_or(|run| run.exit.is_some()) {
                    left.push((framework.id.clone(), id.clone(), aware));
                }
            }
        }
        for (framework, task, aware) in left {
            let reused = self.book.ended.contains(&framework, &task);
            let reason = if reused { Reason::TaskInvalid } else { Reason::AgentRestarted };
            let saying = Saying::agent(never_here(aware), reason, NEVER_STARTED);
            self.say(&framework, &task, saying, turn);
        }
    }

    /// Executors that go on must subscribe again soon; until then the agent does not register.
    fn await_executors(&mut self, turn: &mut Turn<'_>) {
        let awaited = self
            .book
            .runs
            .values()
            .any(|run| run.phase == Phase::Registering && run.limit.is_none());
        if awaited {
            let at = turn.now.mono + self.config.executor_reregistration_timeout;
            self.window = Some(self.timers.set(at, Timer::ReconnectWindow));
        }
    }
}
