//! The end of a framework: TEARDOWN, an operator's wish, or its failover timeout.

use tepui_allocator::Input;
use tepui_link::Order;
use tepui_types::{FrameworkId, TaskState};
use tepui_wire::v1::task_status::Reason;

use crate::machine::Batch;
use crate::state::Attachment;
use crate::tasks::Verdict;
use crate::{Cluster, Effect};

impl Cluster {
    /// Removes a framework: its offers and tasks end without a word to it, its agents stop all
    /// its work, and its id is not taken again while it is remembered.
    pub(crate) fn remove_framework(&mut self, id: &FrameworkId, batch: &mut Batch<'_>) {
        let agents = self.agents_of(id);
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let stream = framework.stream();
        framework.attachment = Attachment::Disconnected { since: batch.wall() };
        framework.removal_due = None;
        framework.unregistered = Some(batch.wall());
        batch.push(Effect::Forget(framework.record()));
        if let Some(stream) = stream {
            self.streams.remove(&stream);
            batch.push(Effect::CloseStream { stream });
        }
        self.tell_framework(id, batch);
        self.discard_framework_offers(id, batch);
        self.end_framework_tasks(id, batch);
        for agent_id in &agents {
            self.end_framework_executors(agent_id, id, batch);
            if let Some(agent) = self.agents.get_mut(agent_id) {
                agent.pending_kills.retain(|(framework, _), _| framework != id);
                let framework = id.clone();
                batch.direct(self.term, agent, Order::ShutdownFramework { framework });
            }
        }
        batch.tell_allocator(Input::FrameworkRemoved(id.clone()));
        if let Some(framework) = self.frameworks.remove(id) {
            self.publish_framework_removed(&framework.info, batch);
            self.completed.push_back(framework);
        }
        while self.completed.len() > self.config.max_completed_frameworks {
            self.completed.pop_front();
        }
    }

    fn end_framework_tasks(&mut self, id: &FrameworkId, batch: &mut Batch<'_>) {
        let Some(framework) = self.frameworks.get(id) else { return };
        let tasks: Vec<_> = framework.tasks.keys().cloned().collect();
        for task in tasks {
            // The framework is disconnected by now, so no update leaves.
            let verdict =
                Verdict::new(TaskState::Killed, Reason::FrameworkRemoved, "Framework removed");
            self.end_task(id, &task, verdict, batch);
        }
    }

    /// Takes a framework's executors on one agent out of the books.
    pub(crate) fn end_framework_executors(
        &mut self,
        agent_id: &tepui_types::AgentId,
        framework: &FrameworkId,
        batch: &mut Batch<'_>,
    ) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        let Some(executors) = agent.executors.remove(framework) else { return };
        for executor in executors.into_values() {
            self.release_used(agent_id, framework, &executor.role, &executor.resources, batch);
        }
    }
}
