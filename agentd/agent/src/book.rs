//! What survives a restart, and the only place that changes it: one [`Record`] at a time, the
//! same way when it happens and when it is replayed.

mod apply;
mod snapshot;

pub(crate) use apply::update_id;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use tepui_types::{AgentId, BootId, ContainerId, ExecutorId, FrameworkId, TaskId, Term, Wall};
use tepui_wire::v1;

use crate::state::{Executor, Framework, Run, Task};

/// Executors that are over and still shown, per framework (`spec/mesos-http.md` 7).
pub(crate) const MAX_COMPLETED_EXECUTORS: usize = 150;
/// Tasks that are over and still shown, per executor.
pub(crate) const MAX_COMPLETED_TASKS: usize = 200;
/// Frameworks that have nothing here any more and are still shown.
pub(crate) const MAX_IDLE_FRAMEWORKS: usize = 50;
/// Ids of ended tasks that are refused when they come again.
const MAX_ENDED: usize = 10_000;
/// Acknowledged updates per task that are recognised when an executor repeats them.
const MAX_ACKNOWLEDGED: usize = 16;

/// The durable state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) agent: Option<AgentId>,
    pub(crate) info: Option<Box<v1::AgentInfo>>,
    pub(crate) boot: Option<BootId>,
    pub(crate) term: Term,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    /// Frameworks without anything here, the longest idle first.
    pub(crate) idle: VecDeque<FrameworkId>,
    /// Every run whose sandbox exists.
    pub(crate) runs: BTreeMap<ContainerId, Run>,
    /// Runs that are over, the oldest first.
    pub(crate) garbage: BTreeSet<(Wall, ContainerId)>,
    pub(crate) ended: Ended,
}

/// Ids of tasks that ended here, the newest of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    order: VecDeque<(FrameworkId, TaskId)>,
    known: HashSet<(FrameworkId, TaskId)>,
}

impl Ended {
    fn insert(&mut self, framework: FrameworkId, task: TaskId) {
        if !self.known.insert((framework.clone(), task.clone())) {
            return;
        }
        self.order.push_back((framework, task));
        if self.order.len() > MAX_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, framework: &FrameworkId, task: &TaskId) -> bool {
        self.known.contains(&(framework.clone(), task.clone()))
    }

    fn iter(&self) -> impl Iterator<Item = &(FrameworkId, TaskId)> {
        self.order.iter()
    }
}

impl Book {
    pub(crate) fn framework(&self, id: &FrameworkId) -> Option<&Framework> {
        self.frameworks.get(id)
    }

    pub(crate) fn task(&self, framework: &FrameworkId, task: &TaskId) -> Option<&Task> {
        self.frameworks.get(framework)?.tasks.get(task)
    }

    pub(crate) fn task_mut(&mut self, framework: &FrameworkId, task: &TaskId) -> Option<&mut Task> {
        self.frameworks.get_mut(framework)?.tasks.get_mut(task)
    }

    pub(crate) fn executor(&self, framework: &FrameworkId, id: &ExecutorId) -> Option<&Executor> {
        self.frameworks.get(framework)?.executors.get(id)
    }

    pub(crate) fn executor_mut(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
    ) -> Option<&mut Executor> {
        self.frameworks.get_mut(framework)?.executors.get_mut(id)
    }

    /// The executor that a run is of, its own or a task's, while it is not over and its framework
    /// is here.
    pub(crate) fn owner(&self, run: &ContainerId) -> Option<(&Framework, &Executor)> {
        let (framework, executor) = self.runs.get(run)?.owner.as_ref()?;
        let framework = self.frameworks.get(framework)?;
        let executor = framework
            .executors
            .get(executor)
            .filter(|one| one.run == *run || is_below(run, &one.run))?;
        Some((framework, executor))
    }

    /// The run whose process is the task's; of a custom executor's task, the executor's.
    pub(crate) fn run_of(&self, framework: &FrameworkId, task: &TaskId) -> Option<&ContainerId> {
        let framework = self.frameworks.get(framework)?;
        let task = framework.tasks.get(task)?;
        let executor = framework.executors.get(&task.executor)?;
        if executor.is_pod() { task.run.as_ref() } else { Some(&executor.run) }
    }

    /// Runs below this one that are not over.
    pub(crate) fn live_below<'a>(
        &'a self,
        run: &'a ContainerId,
    ) -> impl Iterator<Item = &'a ContainerId> {
        let all = self.runs.range(run.clone()..).skip(1);
        let below = all.take_while(|(one, _)| one.as_str().starts_with(run.as_str()));
        below.filter(|(one, entry)| entry.exit.is_none() && is_below(one, run)).map(|(one, _)| one)
    }
}

/// Whether a run is in another one's container. The id of such a run is its parent's, a dot and its
/// own name; names have no dots.
pub(crate) fn is_below(run: &ContainerId, above: &ContainerId) -> bool {
    run.as_str().strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('.'))
}

/// The run that a run is directly below.
pub(crate) fn parent_of(run: &ContainerId) -> Option<ContainerId> {
    ContainerId::parse(run.as_str().rsplit_once('.')?.0).ok()
}

/// The id in a task's description; `None` when it is not a legal id.
pub(crate) fn task_id(info: &v1::TaskInfo) -> Option<TaskId> {
    TaskId::parse(&info.task_id.value).ok()
}

/// The id in a framework's description.
pub(crate) fn framework_id(info: &v1::FrameworkInfo) -> Option<FrameworkId> {
    FrameworkId::parse(&info.id.as_ref()?.value).ok()
}
