use std::collections::HashSet;

use tepui_types::{ContainerId, FrameworkId, TaskId, UpdateId};
use tepui_wire::v1;

use super::{Book, task_id, update_id};
use crate::Record;
use crate::state::{Executor, Framework, Task};

impl Book {
    /// A list of records that means the same as all that were applied.
    pub(crate) fn snapshot(&self) -> Vec<Record> {
        let mut list = vec![Record::Term(self.term)];
        if let (Some(agent), Some(info)) = (&self.agent, &self.info) {
            list.push(Record::Identity { agent: agent.clone(), info: info.clone() });
        }
        list.extend(self.boot.clone().map(Record::Boot));
        list.extend(self.ended.iter().map(|(framework, task)| Record::Ended {
            framework: framework.clone(),
            task: task.clone(),
        }));
        // Idle ones in their order, because the longest idle is forgotten first.
        let active = self.frameworks.keys().filter(|id| !self.idle.contains(id));
        for id in self.idle.iter().chain(active) {
            if let Some(framework) = self.frameworks.get(id) {
                self.snapshot_framework(framework, &mut list);
            }
        }
        self.snapshot_ownerless(&mut list);
        list
    }

    fn snapshot_framework(&self, framework: &Framework, list: &mut Vec<Record>) {
        list.push(Record::Framework(framework.info.clone()));
        for executor in &framework.completed {
            self.snapshot_executor(framework, executor, list);
        }
        // Those without a home before live executors: one of the same id would adopt them. Refused
        // ones last, as an old task of the same id would replace them.
        let homeless = || framework.tasks.values().filter(|task| !has_home(framework, task));
        for task in homeless().filter(|task| !task.refused) {
            self.snapshot_task(&framework.id, task, list);
        }
        for executor in framework.executors.values() {
            self.snapshot_executor(framework, executor, list);
        }
        for task in homeless().filter(|task| task.refused) {
            self.snapshot_task(&framework.id, task, list);
        }
    }

    fn snapshot_executor(
        &self,
        framework: &Framework,
        executor: &Executor,
        list: &mut Vec<Record>,
    ) {
        list.push(Record::Executor {
            framework: framework.id.clone(),
            executor: executor.id.clone(),
            info: executor.info.clone(),
            run: executor.run.clone(),
            sandbox: executor.sandbox.clone(),
            created: executor.created,
        });
        let run = self.runs.get(&executor.run);
        if run.is_some_and(|run| run.started) {
            list.push(Record::Starting { run: executor.run.clone() });
        }
        let live = executor.tasks.iter().filter_map(|id| framework.tasks.get(id));
        for task in executor.completed_tasks.iter().chain(live) {
            self.snapshot_task(&framework.id, task, list);
        }
        list.extend(executor.groups.iter().map(|tasks| Record::Group {
            framework: framework.id.clone(),
            executor: executor.id.clone(),
            tasks: tasks.clone(),
        }));
        match run {
            Some(run) => {
                list.extend(run.exit.clone().map(|(exit, at)| Record::Exited {
                    run: executor.run.clone(),
                    exit,
                    at,
                }));
            }
            // Its sandbox was removed already.
            None => list.extend([
                Record::Exited {
                    run: executor.run.clone(),
                    exit: crate::Exit::Unknown("".into()),
                    at: executor.created,
                },
                Record::SandboxRemoved { run: executor.run.clone() },
            ]),
        }
    }

    /// Runs that no executor or task tells of: asked ones, those whose framework is gone, and those
    /// that fell out of the list of completed ones.
    fn snapshot_ownerless(&self, list: &mut Vec<Record>) {
        let shown: HashSet<&ContainerId> = self.frameworks.values().flat_map(shown_runs).collect();
        for (id, run) in self.runs.iter().filter(|(id, _)| !shown.contains(id)) {
            let sandbox = run.sandbox.clone();
            list.push(match &run.asked {
                Some(launch) => Record::Asked { launch: launch.clone(), sandbox },
                None => Record::Ownerless {
                    run: id.clone(),
                    sandbox,
                    leftover: run.leftover.clone().filter(|_| run.exit.is_none()),
                    is_pod: run.is_pod,
                },
            });
            list.extend(
                run.verdict.clone().map(|verdict| Record::Verdict { run: id.clone(), verdict }),
            );
            if run.started {
                list.push(Record::Starting { run: id.clone() });
            }
            list.extend(run.exit.clone().map(|(exit, at)| Record::Exited {
                run: id.clone(),
                exit,
                at,
            }));
        }
    }

    fn snapshot_task(&self, framework: &FrameworkId, task: &Task, list: &mut Vec<Record>) {
        let Some(id) = task_id(&task.info) else { return };
        let (owner, executor, role) = (framework.clone(), task.executor.clone(), task.role.clone());
        let (info, grouped) = (task.info.clone(), task.grouped);
        list.push(if task.refused {
            Record::Refused { framework: owner, executor, role, task: info }
        } else {
            Record::Task { framework: owner, executor, role, task: info, grouped }
        });
        self.snapshot_task_run(framework, task, &id, list);
        if task.delivered {
            list.push(Record::Delivered { framework: framework.clone(), task: id.clone() });
        }
        if task.kill_asked {
            list.push(Record::KillAsked { framework: framework.clone(), task: id.clone() });
        }
        let acknowledged = |update: UpdateId| Record::Acknowledged {
            framework: framework.clone(),
            task: id.clone(),
            update,
        };
        let is_pending =
            |status: &v1::TaskStatus| task.pending.iter().any(|one| one.uuid == status.uuid);
        // Ids of acknowledged updates that no status shows any more; only executors repeat updates.
        let shown: Vec<_> = task.statuses.iter().filter_map(update_id).collect();
        let hidden = task.acknowledged.iter().filter(|id| task.delivered && !shown.contains(id));
        list.extend(hidden.map(|update| acknowledged(*update)));
        for status in task.statuses.iter().filter(|status| !is_pending(status)) {
            let Some(update) = update_id(status) else { continue };
            let status = Box::new(status.clone());
            list.push(Record::Update { framework: framework.clone(), status });
            list.push(acknowledged(update));
        }
        list.extend(
            task.pending.iter().map(|status| Record::Update {
                framework: framework.clone(),
                status: status.clone(),
            }),
        );
        // Health changes replace the status that said since when the task runs.
        if let Some(since) = task.running_since.filter(|_| !task.is_terminal()) {
            list.push(Record::RunningSince { framework: framework.clone(), task: id, since });
        }
    }

    /// The run of a pod's task, while its sandbox exists.
    fn snapshot_task_run(
        &self,
        framework: &FrameworkId,
        task: &Task,
        id: &TaskId,
        list: &mut Vec<Record>,
    ) {
        let Some(run) = &task.run else { return };
        let Some(entry) = self.runs.get(run) else { return };
        list.push(Record::TaskRun {
            framework: framework.clone(),
            executor: task.executor.clone(),
            task: id.clone(),
            run: run.clone(),
            sandbox: entry.sandbox.clone(),
        });
        if entry.started {
            list.push(Record::Starting { run: run.clone() });
        }
        list.extend(entry.exit.clone().map(|(exit, at)| Record::Exited {
            run: run.clone(),
            exit,
            at,
        }));
    }
}

/// The runs that a framework's executors and tasks tell of.
fn shown_runs(framework: &Framework) -> impl Iterator<Item = &ContainerId> {
    let executors = || framework.executors.values().chain(&framework.completed);
    let completed = executors().flat_map(|one| &one.completed_tasks);
    let tasks = framework.tasks.values().chain(completed);
    executors().map(|one| &one.run).chain(tasks.filter_map(|task| task.run.as_ref()))
}

fn has_home(framework: &Framework, task: &Task) -> bool {
    let id = task_id(&task.info);
    let home = framework.executors.get(&task.executor).filter(|_| !task.refused);
    home.zip(id).is_some_and(|(home, id)| home.tasks.contains(&id))
}
