use tepui_link::codec::task_state;
use tepui_types::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskState, UpdateId, Uuid, Wall};
use tepui_wire::v1;

use super::{
    Book, MAX_ACKNOWLEDGED, MAX_COMPLETED_EXECUTORS, MAX_COMPLETED_TASKS, framework_id, parent_of,
    task_id,
};
use crate::environment::leftover_of;
use crate::state::{Executor, Framework, Phase, Run, Task, is_pod};
use crate::{Exit, Record};

impl Book {
    /// Takes one fact. Facts about what is not here are ignored: the journal may hold the tail of
    /// stories whose beginning was compacted away.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Identity { agent, info } => {
                self.agent = Some(agent.clone());
                self.info = Some(info.clone());
            }
            Record::IdentityGone => (self.agent, self.info) = (None, None),
            Record::Boot(boot) => self.boot = Some(boot.clone()),
            Record::Term(term) => self.term = self.term.max(*term),
            Record::Framework(info) => self.apply_framework(info),
            Record::FrameworkGone(id) => self.apply_framework_gone(id),
            Record::Executor { .. } => self.apply_executor(record),
            Record::Ownerless { run, sandbox, leftover, is_pod } => {
                let (leftover, is_pod) = (leftover.clone(), *is_pod);
                let entry = Run { leftover, is_pod, ..Run::new(None, sandbox.clone()) };
                self.runs.insert(run.clone(), entry);
            }
            Record::TaskRun { .. } => self.apply_task_run(record),
            Record::Asked { launch, sandbox } => {
                let above = parent_of(&launch.container).and_then(|above| self.runs.get(&above));
                let owner = above.and_then(|above| above.owner.clone());
                let entry = Run::new(owner, sandbox.clone());
                let entry = Run { asked: Some(launch.clone()), ..entry };
                self.runs.insert(launch.container.clone(), entry);
            }
            Record::Verdict { run, verdict } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.verdict = Some(verdict.clone());
                }
            }
            Record::Task { framework, executor, role, task, grouped } => {
                let task = Task::new(task.clone(), executor.clone(), role.clone(), *grouped);
                self.apply_task(framework, task);
            }
            Record::Refused { framework, executor, role, task } => {
                let task = Task::new(task.clone(), executor.clone(), role.clone(), false);
                self.apply_refused(framework, Task { refused: true, ..task });
            }
            Record::Group { framework, executor, tasks } => {
                if let Some(executor) = self.executor_mut(framework, executor) {
                    executor.groups.push(tasks.clone());
                }
            }
            Record::Starting { run } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.started = true;
                }
            }
            Record::Delivered { framework, task } => self.apply_delivered(framework, task),
            Record::KillAsked { framework, task } => {
                if let Some(task) = self.task_mut(framework, task) {
                    task.kill_asked = true;
                }
            }
            Record::RunningSince { framework, task, since } => {
                if let Some(task) = self.task_mut(framework, task) {
                    task.running_since = Some(*since);
                }
            }
            Record::Update { framework, status } => self.apply_update(framework, status),
            Record::Acknowledged { framework, task, update } => {
                self.apply_acknowledged(framework, task, *update);
            }
            Record::Exited { run, exit, at } => self.apply_exited(run, exit, *at),
            Record::Ended { framework, task } => self.ended.insert(framework.clone(), task.clone()),
            Record::SandboxRemoved { run } => {
                if let Some(at) = self.runs.remove(run).and_then(|run| run.exit).map(|(_, at)| at) {
                    self.garbage.remove(&(at, run.clone()));
                }
            }
        }
    }

    fn apply_framework(&mut self, info: &v1::FrameworkInfo) {
        let Some(id) = framework_id(info) else { return };
        if let Some(framework) = self.frameworks.get_mut(&id) {
            (*framework.info).clone_from(info);
        } else {
            self.frameworks.insert(id.clone(), Framework::new(id.clone(), Box::new(info.clone())));
            self.idle.push_back(id);
        }
    }

    fn apply_framework_gone(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.remove(id) else { return };
        self.idle.retain(|idle| idle != id);
        let is_its = |run: &Run| run.owner.as_ref().is_some_and(|(framework, _)| framework == id);
        let is_below = |run: &Run| run.task.is_some() || run.asked.is_some();
        for run in self.runs.values_mut().filter(|run| is_below(run) && is_its(run)) {
            run.owner = None;
        }
        for executor in framework.executors.values().chain(&framework.completed) {
            if let Some(run) = self.runs.get_mut(&executor.run) {
                run.owner = None;
                let live = run.exit.is_none();
                run.leftover = live.then(|| leftover_of(&framework, executor));
            }
            for task in executor.completed_tasks.iter().filter_map(|task| task_id(&task.info)) {
                self.ended.insert(id.clone(), task);
            }
        }
        for task in framework.tasks.into_keys() {
            self.ended.insert(id.clone(), task);
        }
    }

    fn apply_executor(&mut self, record: &Record) {
        let Record::Executor { framework: id, executor, info, run, sandbox, created } = record
        else {
            return;
        };
        let owner = self.frameworks.contains_key(id).then(|| (id.clone(), executor.clone()));
        let is_pod = info.as_ref().is_some_and(|info| is_pod(info));
        self.runs.insert(run.clone(), Run { is_pod, ..Run::new(owner, sandbox.clone()) });
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let entry = Executor {
            id: executor.clone(),
            info: info.clone(),
            run: run.clone(),
            sandbox: sandbox.clone(),
            created: *created,
            role: None,
            tasks: std::collections::BTreeSet::new(),
            completed_tasks: std::collections::VecDeque::new(),
            groups: Vec::new(),
            ever_delivered: false,
        };
        // A former executor of this id whose updates are not all acknowledged makes room: its
        // tasks find their way without it.
        if let Some(former) = framework.executors.insert(executor.clone(), entry) {
            shelve(framework, former);
        }
        self.note_activity(id);
    }

    fn apply_task_run(&mut self, record: &Record) {
        let Record::TaskRun { framework, executor, task, run, sandbox } = record else { return };
        let known = self.frameworks.contains_key(framework);
        let owner = known.then(|| (framework.clone(), executor.clone()));
        let entry = Run { task: Some(task.clone()), ..Run::new(owner, sandbox.clone()) };
        self.runs.insert(run.clone(), entry);
        if let Some(task) = self.task_mut(framework, task) {
            task.run = Some(run.clone());
        }
    }

    fn apply_task(&mut self, id: &FrameworkId, task: Task) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(name) = task_id(&task.info) else { return };
        if let Some(executor) = framework.executors.get_mut(&task.executor) {
            executor.tasks.insert(name.clone());
            if executor.role.is_none() {
                executor.role = Some(task.role.clone());
            }
        }
        framework.tasks.insert(name, task);
        self.note_activity(id);
    }

    fn apply_refused(&mut self, id: &FrameworkId, task: Task) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(name) = task_id(&task.info) else { return };
        framework.tasks.insert(name, task);
        self.note_activity(id);
    }

    fn apply_delivered(&mut self, framework: &FrameworkId, name: &TaskId) {
        let Some(task) = self.task_mut(framework, name) else { return };
        task.delivered = true;
        let executor = task.executor.clone();
        if let Some(executor) = self.executor_mut(framework, &executor) {
            executor.ever_delivered = true;
            executor.groups.retain(|group| !group.contains(name));
        }
    }

    fn apply_update(&mut self, framework: &FrameworkId, status: &v1::TaskStatus) {
        let Ok(name) = TaskId::parse(&status.task_id.value) else { return };
        let Some(task) = self.task_mut(framework, &name) else { return };
        let Some(state) = task_state(status.state) else { return };
        task.pending.push_back(Box::new(status.clone()));
        if !task.state.is_terminal() {
            task.state = state;
        }
        if state == TaskState::Running && task.running_since.is_none() {
            task.running_since = status.timestamp.and_then(wall_of);
        }
        let shown = v1::TaskStatus { data: None, ..status.clone() };
        match task.statuses.last_mut().filter(|last| last.state == status.state) {
            Some(last) => *last = shown,
            None => task.statuses.push(shown),
        }
        if state.is_terminal() {
            let executor = task.executor.clone();
            self.loosen_group(framework, &executor, &name);
        }
    }

    /// A group is none any more once one of its tasks ended before it was delivered; that of a pod
    /// once all have.
    fn loosen_group(&mut self, framework: &FrameworkId, executor: &ExecutorId, task: &TaskId) {
        let Some(framework) = self.frameworks.get_mut(framework) else { return };
        let Some(executor) = framework.executors.get_mut(executor) else { return };
        let live = |id: &TaskId| framework.tasks.get(id).is_some_and(|one| !one.is_terminal());
        let stays = executor.is_pod();
        executor.groups.retain(|group| !group.contains(task) || (stays && group.iter().any(live)));
    }

    fn apply_acknowledged(&mut self, id: &FrameworkId, name: &TaskId, update: UpdateId) {
        let Some(task) = self.task_mut(id, name) else { return };
        if task.pending.front().is_some_and(|status| update_id(status) == Some(update)) {
            task.pending.pop_front();
        }
        if !task.acknowledged.contains(&update) {
            task.acknowledged.push_back(update);
            if task.acknowledged.len() > MAX_ACKNOWLEDGED {
                task.acknowledged.pop_front();
            }
        }
        if task.is_terminal() && task.pending.is_empty() {
            self.complete_task(id, name);
        }
    }

    fn complete_task(&mut self, id: &FrameworkId, name: &TaskId) {
        self.ended.insert(id.clone(), name.clone());
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(mut task) = framework.tasks.remove(name) else { return };
        task.info.data = None;
        task.acknowledged = std::collections::VecDeque::new();
        let executor = task.executor.clone();
        if let Some(home) = framework.executors.get_mut(&executor).filter(|_| !task.refused)
            && home.tasks.remove(name)
        {
            home.completed_tasks.push_back(task);
            if home.completed_tasks.len() > MAX_COMPLETED_TASKS {
                home.completed_tasks.pop_front();
            }
            self.complete_executor(id, &executor);
        }
        self.note_idleness(id);
    }

    /// An executor is complete when its run is over and nothing of its tasks is unacknowledged.
    fn complete_executor(&mut self, id: &FrameworkId, name: &ExecutorId) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(executor) = framework.executors.get(name) else { return };
        let over = self.runs.get(&executor.run).is_none_or(|run| run.exit.is_some());
        if over
            && executor.tasks.is_empty()
            && let Some(executor) = framework.executors.remove(name)
        {
            shelve(framework, executor);
        }
    }

    fn apply_exited(&mut self, name: &ContainerId, exit: &Exit, at: Wall) {
        let Some(run) = self.runs.get_mut(name) else { return };
        if run.exit.is_some() {
            return;
        }
        run.exit = Some((exit.clone(), at));
        run.phase = Phase::Over;
        self.garbage.insert((at, name.clone()));
        if let Some((framework, executor)) = run.owner.clone()
            && self.executor(&framework, &executor).is_some_and(|one| one.run == *name)
        {
            self.complete_executor(&framework, &executor);
            self.note_idleness(&framework);
        }
    }

    fn note_activity(&mut self, id: &FrameworkId) {
        if let Some(at) = self.idle.iter().position(|idle| idle == id) {
            self.idle.remove(at);
        }
    }

    fn note_idleness(&mut self, id: &FrameworkId) {
        let idle = self.frameworks.get(id).is_some_and(|framework| !framework.is_active());
        if idle && !self.idle.contains(id) {
            self.idle.push_back(id.clone());
        }
    }
}

/// Moves an executor to the completed ones. Tasks that it leaves behind are no longer its own.
fn shelve(framework: &mut Framework, mut executor: Executor) {
    executor.tasks.clear();
    executor.groups.clear();
    if executor.completed_tasks.is_empty() {
        executor.role = None;
    }
    framework.completed.push_back(executor);
    if framework.completed.len() > MAX_COMPLETED_EXECUTORS {
        framework.completed.pop_front();
    }
}

/// The id of an update; `None` for those that need no acknowledgement.
pub(crate) fn update_id(status: &v1::TaskStatus) -> Option<UpdateId> {
    Uuid::from_slice(status.uuid.as_deref()?)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates, which is meant.
fn wall_of(seconds: f64) -> Option<Wall> {
    (seconds.is_finite() && seconds >= 0.0).then(|| Wall::from_nanos((seconds * 1e9) as u64))
}
