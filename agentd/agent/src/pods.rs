//! Pods: executors of type DEFAULT (`spec/mesos-http.md` 2.6, last lines).
//!
//! The agent itself does what Mesos's default executor does. A pod has a container id and a sandbox
//! and no process; each of its tasks is a run whose container and sandbox are below the pod's. A
//! group's tasks start together once all their sandboxes are filled; when one of them fails or is
//! killed, the others of its group are killed too. Groups of one pod are independent. The pod is
//! over with its last task.

use std::sync::Arc;

use tepui_link::Report;
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Span, TaskId, TaskState};
use tepui_wire::v1::task_status::Reason;

use crate::book::parent_of;
use crate::kill::grace_of;
use crate::machine::{Agent, Turn};
use crate::state::{Fate, Framework, Phase};
use crate::status::Saying;
use crate::{Exit, Record};

impl Agent {
    /// Gives each task of a group its run below the pod's, and has them prepared.
    pub(crate) fn add_to_pod(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        tasks: &[TaskId],
        turn: &mut Turn<'_>,
    ) {
        let Some(pod) = self.book.executor(framework, executor) else { return };
        let (pod, above) = (pod.run.clone(), pod.sandbox.clone());
        for task in tasks {
            let name = self.entropy.uuid().to_string();
            let run = ContainerId::parse(&format!("{pod}.{name}"))
                .expect("two UUIDs with a dot between them are a legal id");
            let sandbox: Arc<str> = format!("{above}/containers/{name}").into();
            let record = Record::TaskRun {
                framework: framework.clone(),
                executor: executor.clone(),
                task: task.clone(),
                run,
                sandbox,
            };
            self.commit(record, turn);
        }
        self.prepare_tasks_of(&pod, turn);
    }

    /// Fills the sandboxes of a pod's waiting tasks, once the pod's own is there.
    fn prepare_tasks_of(&mut self, pod: &ContainerId, turn: &mut Turn<'_>) {
        if self.book.runs.get(pod).is_none_or(|run| run.phase != Phase::Running) {
            return;
        }
        let below: Vec<_> = self.book.live_below(pod).cloned().collect();
        for run in below {
            let Some(entry) = self.run_mut(&run) else { continue };
            let waits = entry.phase == Phase::Preparing && !entry.is_fetching;
            if waits && entry.task.is_some() {
                entry.is_fetching = true;
                self.prepare(&run, turn);
            }
        }
    }

    /// A task of a pod that was accepted and not started: it waits for its pod.
    pub(crate) fn prepare_task_of_pod(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        if let Some(pod) = parent_of(run) {
            self.prepare_tasks_of(&pod, turn);
        }
    }

    /// The pod's own sandbox is there, or cannot be made.
    pub(crate) fn pod_prepared(
        &mut self,
        pod: &ContainerId,
        outcome: Result<(), String>,
        turn: &mut Turn<'_>,
    ) {
        match outcome {
            Ok(()) => {
                self.commit(Record::Starting { run: pod.clone() }, turn);
                self.set_phase(pod, Phase::Running);
                self.prepare_tasks_of(pod, turn);
                self.end_pod_when_done(pod, turn);
            }
            Err(text) => {
                self.counters.container_launch_errors += 1;
                let saying =
                    Saying::agent(TaskState::Failed, Reason::ContainerLaunchFailed, text.clone());
                self.end_tasks(pod, &saying, turn);
                let below: Vec<_> = self.book.live_below(pod).cloned().collect();
                for run in below {
                    self.run_over(&run, Exit::Unknown(text.clone().into()), turn);
                }
                self.end_pod_when_done(pod, turn);
            }
        }
    }

    /// A task's sandbox is filled: its group starts when all of the group are.
    pub(crate) fn pod_task_ready(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        if let Some(entry) = self.run_mut(run) {
            entry.is_ready = true;
        }
        let Some((framework, executor)) = self.book.owner(run) else { return };
        let Some(task) = self.book.runs.get(run).and_then(|run| run.task.as_ref()) else { return };
        let group = executor.groups.iter().find(|group| group.contains(task));
        let mates =
            group.into_iter().flatten().filter_map(|id| framework.tasks.get(id)?.run.clone());
        let waiting: Vec<_> = mates
            .filter(|mate| {
                self.book.runs.get(mate).is_some_and(|mate| mate.phase == Phase::Preparing)
            })
            .collect();
        let ready = |run| self.book.runs.get(run).is_some_and(|run| run.is_ready);
        if waiting.iter().all(ready) {
            for run in waiting {
                self.start_run(&run, turn);
            }
        }
    }

    /// The run of a pod's task is over: its group may have to follow, and the pod may be done.
    pub(crate) fn pod_run_over(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        if self.recovering {
            return;
        }
        let Some(pod) = parent_of(run) else { return };
        if let Some((framework, executor)) = self.book.owner(run) {
            let (framework, executor) = (framework.id.clone(), executor.id.clone());
            self.settle_groups(&framework, &executor, turn);
        }
        self.end_pod_when_done(&pod, turn);
    }

    /// Kills what is left of groups of which a task did not end well.
    fn settle_groups(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        turn: &mut Turn<'_>,
    ) {
        let Some(known) = self.book.framework(framework) else { return };
        let Some(pod) = known.executors.get(executor) else { return };
        let fails = |task: &TaskId| {
            let ended = || {
                let completed = &pod.completed_tasks;
                completed.iter().find(|one| one.info.task_id.value == task.as_str())
            };
            let state = known.tasks.get(task).or_else(ended).map(|task| task.state);
            state.is_some_and(|state| state.is_terminal() && state != TaskState::Finished)
        };
        let failed = pod.groups.iter().filter(|group| group.iter().any(fails));
        let rest: Vec<TaskId> = failed
            .flatten()
            .filter(|task| known.tasks.get(*task).is_some_and(|task| !task.is_terminal()))
            .cloned()
            .collect();
        for task in rest {
            self.kill_pod_task(framework, &task, Fate::Killed, turn);
        }
    }

    /// Ends a task of a pod within its own grace; asked for already, it goes on as it is.
    fn kill_pod_task(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        fate: Fate,
        turn: &mut Turn<'_>,
    ) {
        let Some(task) = self.book.task(framework, name) else { return };
        if task.is_terminal() {
            return;
        }
        let (asked, grace) = (task.kill_asked, grace_of(None, &task.info));
        let run = task.run.clone();
        if !asked {
            let (framework, task) = (framework.clone(), name.clone());
            self.commit(Record::KillAsked { framework, task }, turn);
        }
        if let Some(run) = run.filter(|run| {
            self.book.runs.get(run).is_some_and(|run| run.ending.is_none() && run.exit.is_none())
        }) {
            self.end_command(&run, grace, fate, turn);
        }
    }

    /// Ends a pod: all its tasks, each within its grace.
    pub(crate) fn end_pod(&mut self, pod: &ContainerId, turn: &mut Turn<'_>) {
        if self.book.runs.get(pod).is_none_or(|run| run.exit.is_some()) {
            return;
        }
        self.set_phase(pod, Phase::Terminating);
        if let Some((framework, executor)) = self.book.owner(pod) {
            let (framework, tasks) = (framework.id.clone(), executor.tasks.clone());
            for task in tasks {
                self.kill_pod_task(&framework, &task, Fate::Shutdown, turn);
            }
        }
        self.end_pod_when_done(pod, turn);
    }

    /// A pod without tasks and without runs below it is over.
    pub(crate) fn end_pod_when_done(&mut self, pod: &ContainerId, turn: &mut Turn<'_>) {
        let Some(entry) = self.book.runs.get(pod).filter(|run| run.is_pod) else { return };
        let live = |framework: &Framework, task: &TaskId| {
            framework.tasks.get(task).is_some_and(|task| !task.is_terminal())
        };
        let owner = self.book.owner(pod);
        let has_tasks = owner.is_some_and(|(framework, executor)| {
            executor.tasks.iter().any(|task| live(framework, task))
        });
        let is_task_run =
            |run: &ContainerId| self.book.runs.get(run).is_some_and(|run| run.asked.is_none());
        let has_runs = self.book.live_below(pod).any(is_task_run);
        if self.recovering || entry.exit.is_some() || has_tasks || has_runs {
            return;
        }
        let name = owner.map(|(framework, executor)| (framework.id.clone(), executor.id.clone()));
        self.run_over(pod, Exit::Code(0), turn);
        if let Some((framework, executor)) = name {
            self.counters.executors_terminated += 1;
            self.report(Report::ExecutorExited { framework, executor, status: 0 }, turn);
        }
    }

    /// A pod as an earlier life of the daemon left it: its tasks' runs are looked at by themselves.
    pub(crate) fn recover_pod(&mut self, pod: &ContainerId, rebooted: bool, turn: &mut Turn<'_>) {
        let Some(entry) = self.book.runs.get(pod).filter(|run| run.exit.is_none()) else { return };
        if entry.started || rebooted || entry.owner.is_none() {
            self.set_phase(pod, Phase::Running);
        } else {
            self.prepare(pod, turn);
        }
    }

    /// Every run was looked at: what failed meanwhile takes its group along, and pods that have
    /// nothing left are over.
    pub(crate) fn settle_pods(&mut self, turn: &mut Turn<'_>) {
        self.recovering = false;
        let live =
            |run: &ContainerId| self.book.runs.get(run).is_some_and(|run| run.exit.is_none());
        let pods: Vec<_> = self
            .book
            .runs
            .iter()
            .filter(|(run, entry)| entry.is_pod && live(run))
            .map(|(run, entry)| (run.clone(), entry.owner.clone()))
            .collect();
        for (pod, owner) in pods {
            if let Some((framework, executor)) = owner {
                self.settle_groups(&framework, &executor, turn);
            }
            self.end_pod_when_done(&pod, turn);
        }
    }

    /// The runs of a live pod's tasks with what each has of grace.
    pub(crate) fn runs_of_pod(
        &self,
        framework: &Framework,
        pod: &ContainerId,
    ) -> Vec<(ContainerId, Span)> {
        let below = self.book.live_below(pod);
        below
            .map(|run| {
                let task = self.book.runs.get(run).and_then(|run| run.task.as_ref());
                let task = task.and_then(|task| framework.tasks.get(task));
                (run.clone(), task.map_or(Span::ZERO, |task| grace_of(None, &task.info)))
            })
            .collect()
    }
}
