//! Taking back what an allocator wants for somebody who comes first: unanswered offers, and
//! revocable resources in use. Nothing else is ever taken from a framework.

use tepui_allocator::Reclaim;
use tepui_types::{Resources, TaskId, TaskState};
use tepui_wire::v1::{self, task_status::Reason};

use crate::Cluster;
use crate::machine::Batch;
use crate::offers::Ending;
use crate::state::Task;
use crate::told::Told;

/// The part of a bundle that may be taken back at any time.
fn revocable(resources: &Resources) -> Resources {
    resources.filter(|one| one.identity.revocable)
}

/// Says in the last status of a task why it was killed, before what the agent says of how it ended.
pub(crate) fn explain_preemption(task: &Task, state: TaskState, status: &mut v1::TaskStatus) {
    let role = task.details.as_ref().and_then(|details| details.preempted_for.as_ref());
    if let Some(role) = role.filter(|_| state == TaskState::Killed) {
        status.reason = Some(Reason::ContainerPreempted.into());
        let why = format!("Preempted: its revocable resources are for role '{role}'");
        status.message = Some(match status.message.take() {
            Some(how) if !how.is_empty() => format!("{why}; {how}"),
            _ => why,
        });
    }
}

impl Cluster {
    /// Rescinds the offers that are named, and kills what has to go beyond them.
    pub(crate) fn reclaim(&mut self, reclaim: &Reclaim, batch: &mut Batch<'_>) {
        let Some(agent) = self.agents.get(&reclaim.agent) else { return };
        let theirs = agent.offers.iter().copied().filter(|number| {
            self.offers.get(number).is_some_and(|offer| {
                offer.framework == reclaim.framework && offer.role == reclaim.role
            })
        });
        for number in theirs.collect::<Vec<_>>() {
            self.counters.reclaimed_offers += 1;
            self.end_offer(number, None, Ending::Rescinded, batch);
        }
        for task in self.victims(reclaim) {
            self.preempt(reclaim, task, batch);
        }
    }

    /// The newest tasks that hold, together, what is wanted. Those that are killed already count.
    fn victims(&self, reclaim: &Reclaim) -> Vec<TaskId> {
        let mut missing = revocable(&reclaim.revocable);
        let Some(agent) = self.agents.get(&reclaim.agent) else { return Vec::new() };
        let Some(framework) = self.frameworks.get(&reclaim.framework) else { return Vec::new() };
        let tasks = agent.tasks.get(&reclaim.framework).into_iter().flatten();
        let mut tasks: Vec<&Task> = tasks
            .filter_map(|id| framework.tasks.get(id).map(AsRef::as_ref))
            .filter(|task: &&Task| task.role == reclaim.role && !task.state.is_terminal())
            .collect();
        let age = |task: &Task| task.statuses.first().and_then(Told::timestamp);
        tasks.sort_by(|a, b| age(b).unwrap_or(f64::MAX).total_cmp(&age(a).unwrap_or(f64::MAX)));
        let (ending, running): (Vec<&Task>, Vec<&Task>) = tasks.into_iter().partition(|task| {
            task.details.as_ref().is_some_and(|details| details.preempted_for.is_some())
        });
        for task in ending {
            missing.remove(&revocable(&task.resources));
        }
        let mut victims = Vec::new();
        for task in running {
            let gives = revocable(&task.resources);
            let rest = missing.minus(&gives);
            if rest != missing {
                missing = rest;
                victims.push(task.id.clone());
            }
        }
        victims
    }

    fn preempt(&mut self, reclaim: &Reclaim, task_id: TaskId, batch: &mut Batch<'_>) {
        let Some(framework) = self.frameworks.get_mut(&reclaim.framework) else { return };
        let Some(task) = framework.task_mut(&task_id) else { return };
        let details = task.details.get_or_insert_default();
        details.preempted_for = Some(reclaim.beneficiary.clone());
        let policy = details.kill_policy;
        self.counters.preempted_tasks += 1;
        self.order_kill(&reclaim.agent, &reclaim.framework, task_id, policy, batch);
    }
}
