//! The end of a framework: TEARDOWN, an operator's wish, or its failover timeout.

use std::collections::{BTreeMap, BTreeSet};

use tepui_allocator::Input;
use tepui_link::{Leftover, Order, codec};
use tepui_types::{AgentId, FrameworkId, TaskState};
use tepui_wire::v1::{self, task_status::Reason};

use crate::convert;
use crate::machine::Batch;
use crate::state::{Attachment, Departing};
use crate::tasks::Verdict;
use crate::{Cluster, Effect, Record};

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
        let since = batch.wall();
        batch.push(Effect::Save(Record::RemovedFramework { framework: id.clone(), since }));
        self.removed.insert(id.clone(), since);
        if let Some(stream) = stream {
            self.streams.remove(&stream);
            batch.push(Effect::CloseStream { stream });
        }
        self.tell_framework(id, batch);
        self.discard_framework_offers(id, batch);
        for agent_id in &agents {
            self.hold_back(agent_id, id);
        }
        self.end_framework_tasks(id, batch);
        for agent_id in &agents {
            self.end_framework_executors(agent_id, id, batch);
            if let Some(agent) = self.agents.get_mut(agent_id) {
                agent.pending_kills.retain(|(framework, _), _| framework != id);
            }
            self.order_shutdown(agent_id, id, batch);
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

    /// What a framework holds on an agent stays booked after its removal until the agent has ended
    /// its processes: a port is not offered while somebody listens on it (invariant I-1).
    fn hold_back(&mut self, agent_id: &AgentId, framework: &FrameworkId) {
        let Some(agent) = self.agents.get(agent_id) else { return };
        let mut held = Vec::new();
        for ((owner, role), pieces) in self.holdings(agent) {
            if owner == *framework {
                held.extend(pieces.into_iter().map(|piece| (role.clone(), piece)));
            }
        }
        if let Some(agent) = self.agents.get_mut(agent_id).filter(|_| !held.is_empty()) {
            let departing = Departing { ordered: u64::MAX, held };
            agent.departing.insert(framework.clone(), departing);
        }
    }

    /// Tells an agent to end everything of a removed framework.
    pub(crate) fn order_shutdown(
        &mut self,
        agent_id: &AgentId,
        framework: &FrameworkId,
        batch: &mut Batch<'_>,
    ) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        let order = Order::ShutdownFramework { framework: framework.clone() };
        batch.direct(self.term, agent, order);
        if let (Some(link), Some(departing)) = (agent.link, agent.departing.get_mut(framework)) {
            departing.ordered = link.sent;
        }
    }

    /// An agent says which removed frameworks still have processes there: what the others held is
    /// free.
    pub(crate) fn note_departures(
        &mut self,
        agent_id: &AgentId,
        seen: u64,
        left: &[FrameworkId],
        batch: &mut Batch<'_>,
    ) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        let departed: Vec<FrameworkId> = agent
            .departing
            .iter()
            .filter(|(framework, departing)| departing.ordered <= seen && !left.contains(framework))
            .map(|(framework, _)| framework.clone())
            .collect();
        for framework in departed {
            let Some(agent) = self.agents.get_mut(agent_id) else { return };
            let held = agent.departing.remove(&framework).unwrap_or_default().held;
            self.release_pieces(agent_id, &framework, held, batch);
        }
    }

    /// The agent's word on what removed frameworks hold there replaces what was known.
    pub(crate) fn take_departing(
        &mut self,
        id: &AgentId,
        leftovers: &[Leftover],
        executors: &[v1::ExecutorInfo],
        tasks: &[v1::Task],
        completed: &BTreeSet<FrameworkId>,
    ) {
        let gone = |id: &str| {
            let id = || FrameworkId::parse(id).ok().filter(|id| completed.contains(id));
            (!completed.is_empty()).then(id).flatten()
        };
        let executors = executors.iter().filter_map(|executor| {
            let framework = gone(&executor.framework_id.as_ref()?.value)?;
            Some((framework, &executor.resources))
        });
        let live = |task: &&v1::Task| {
            codec::task_state(task.state).is_some_and(|state| !state.is_terminal())
        };
        let tasks = tasks
            .iter()
            .filter(live)
            .filter_map(|task| Some((gone(&task.framework_id.value)?, &task.resources)));
        let leftovers = leftovers.iter().map(|one| (one.framework.clone(), &one.resources));
        let mut departing: BTreeMap<FrameworkId, Departing> = BTreeMap::new();
        for (framework, resources) in leftovers.chain(executors).chain(tasks) {
            let Ok(held) = convert::read(resources) else { continue };
            let piece = (held.allocated_to.unwrap_or_default(), held.resources);
            departing.entry(framework).or_default().held.push(piece);
        }
        if let Some(agent) = self.agents.get_mut(id) {
            agent.departing = departing;
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
        agent_id: &AgentId,
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
