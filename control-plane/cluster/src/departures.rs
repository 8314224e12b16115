//! Agents leave: silent ones, ones that say goodbye, and ones that operators give up
//! (`spec/mesos-http.md` 6).

use std::sync::Arc;

use tepui_allocator::Input;
use tepui_link::Order;
use tepui_types::{AgentId, Mono, Span, TaskState};

use crate::admission::address_of;
use crate::machine::Batch;
use crate::state::{Agent, DepartedAgent};
use crate::tasks::{Loss, gone_verdict};
use crate::timers::Timer;
use crate::{Cluster, Effect, RefusalKind};

impl Cluster {
    /// Looks at an agent's silence at `due`; a watch that was set before is off.
    pub(crate) fn watch_agent(&mut self, id: &AgentId, due: Mono) {
        if let Some(agent) = self.agents.get_mut(id) {
            agent.watched_until = due;
            self.set_timer(due, Timer::Agent(id.clone()));
        }
    }

    /// An agent's timer: it is fine, or silent for too long, or its removal is due.
    pub(crate) fn agent_timer(&mut self, id: &AgentId, due: Mono, batch: &mut Batch<'_>) {
        let now = batch.mono();
        let patience = self.config.patience;
        let Some(agent) = self.agents.get(id).filter(|agent| agent.watched_until == due) else {
            return;
        };
        let limit = agent.last_heard + patience;
        if limit > now {
            self.watch_agent(id, limit);
            return;
        }
        if agent.doomed.is_none() {
            self.counters.agents.unreachable_scheduled += 1;
            let turn = self.removal_turn(batch);
            if let Some(agent) = self.agents.get_mut(id) {
                agent.doomed = Some(turn);
            }
            if turn > now {
                self.watch_agent(id, turn);
                return;
            }
        }
        if self.too_many_silent(batch) {
            self.counters.agents.removals_held_back += 1;
            if let Some(agent) = self.agents.get_mut(id) {
                agent.doomed = None;
            }
            let pause = patience.max(Span::from_secs(1));
            self.watch_agent(id, now + pause);
            return;
        }
        self.counters.agents.unreachable_completed += 1;
        self.counters.agents.removed_unhealthy += 1;
        self.set_unreachable(id, batch);
    }

    /// When the next removal may happen, by the bound on removals.
    pub(crate) fn removal_turn(&mut self, batch: &Batch<'_>) -> Mono {
        let now = batch.mono();
        let Some(rate) = self.config.agent_removal_rate else { return now };
        let turn = self.next_removal.max(now);
        self.next_removal = turn + rate.spacing();
        turn
    }

    /// True when more agents are silent than may be given up: then the fault is more likely here
    /// or in between than with all of them (invariant I-37).
    fn too_many_silent(&self, batch: &Batch<'_>) -> bool {
        let limit = self.config.silent_agents_limit_percent;
        if limit >= 100 {
            return false;
        }
        let patience = self.config.patience;
        let silent = self
            .agents
            .values()
            .filter(|agent| agent.last_heard + patience <= batch.mono())
            .count();
        self.is_mass(silent, self.agents.len(), limit)
    }

    /// Whether so many of the agents are more than may be given up at once.
    pub(crate) fn is_mass(&self, missing: usize, of: usize, limit_percent: u8) -> bool {
        missing > self.config.agent_removal_limit_floor
            && missing * 100 > of * usize::from(limit_percent)
    }

    /// Declares an agent of this term unreachable. It may come back.
    fn set_unreachable(&mut self, id: &AgentId, batch: &mut Batch<'_>) {
        let since = batch.wall();
        let Some(agent) = self.agents.get(id) else { return };
        let departed =
            DepartedAgent { info: agent.info.clone(), deactivated: agent.deactivated, since };
        self.drop_agent(id, Loss::Unreachable { since }, batch);
        self.unreachable.insert(id.clone(), departed);
        if let Some(record) = self.agent_record(id) {
            batch.push(Effect::Save(record));
        }
        self.announce_failure(id, batch);
    }

    /// Takes an agent out of the cluster with everything on it.
    fn drop_agent(&mut self, id: &AgentId, loss: Loss, batch: &mut Batch<'_>) -> Option<Agent> {
        self.rescind_agent_offers(id, batch);
        self.lose_agent_tasks(id, loss, batch);
        let owners: Vec<_> = self.agents.get(id)?.executors.keys().cloned().collect();
        for framework in owners {
            self.end_framework_executors(id, &framework, batch);
        }
        let agent = self.agents.remove(id)?;
        let address = address_of(&agent);
        if self.addresses.get(&address) == Some(id) {
            self.addresses.remove(&address);
        }
        if let Some(link) = agent.link {
            self.links.remove(&link.id);
            batch.push(Effect::CloseLink { link: link.id });
        }
        batch.tell_allocator(Input::AgentRemoved(id.clone()));
        Some(agent)
    }

    /// Removes an agent for good, without a trace in the registry.
    pub(crate) fn remove_agent(&mut self, id: &AgentId, loss: Loss, batch: &mut Batch<'_>) {
        if let Some(record) = self.agent_record(id) {
            batch.push(Effect::Forget(record));
        }
        self.drop_agent(id, loss, batch);
        self.announce_failure(id, batch);
        self.publish_agent_removed(id, batch);
    }

    /// An agent says goodbye.
    pub(crate) fn unregister(&mut self, id: &AgentId, batch: &mut Batch<'_>) {
        self.counters.messages.unregister_agent += 1;
        self.counters.agents.removed_unregistered += 1;
        self.remove_agent(id, Loss::Removed("the agent unregistered"), batch);
    }

    /// MARK_AGENT_GONE.
    pub(crate) fn mark_agent_gone(
        &mut self,
        id: &AgentId,
        batch: &mut Batch<'_>,
    ) -> Result<(), (RefusalKind, String)> {
        if self.gone.contains_key(id) {
            return Ok(());
        }
        let since = batch.wall();
        let departed = if let Some(agent) = self.agents.get_mut(id) {
            let (info, deactivated) = (agent.info.clone(), agent.deactivated);
            let reason = "Agent has been marked gone".to_owned();
            batch.direct(self.term, agent, Order::Shutdown { reason });
            self.drop_agent(id, Loss::Gone, batch);
            self.announce_failure(id, batch);
            DepartedAgent { info, deactivated, since }
        } else if let Some(agent) = self.unreachable.remove(id) {
            self.lose_unreachable_tasks(id, batch);
            DepartedAgent { since, ..agent }
        } else if let Some(agent) = self.recovered.remove(id) {
            DepartedAgent { info: agent.info, deactivated: agent.deactivated, since }
        } else {
            return Err((RefusalKind::NotFound, format!("Agent {id} not found")));
        };
        self.counters.agents.marked_gone += 1;
        self.gone.insert(id.clone(), departed);
        if let Some(record) = self.agent_record(id) {
            batch.push(Effect::Save(record));
        }
        Ok(())
    }

    /// Tasks that waited for an unreachable agent end when it is declared gone.
    fn lose_unreachable_tasks(&mut self, agent: &AgentId, batch: &mut Batch<'_>) {
        let ring = self.config.max_completed_tasks;
        let mut ended = Vec::new();
        for framework in self.frameworks.values_mut() {
            let lost: Vec<_> = framework
                .unreachable
                .values()
                .filter(|task| task.agent == *agent)
                .map(|task| task.id.clone())
                .collect();
            for task in lost {
                let Some(mut task) = framework.take_unreachable(&task) else { continue };
                // Tasks of frameworks that are not partition aware are lost already.
                if task.state == TaskState::Unreachable {
                    let verdict = gone_verdict(framework.abilities.partition_aware);
                    let status = task.judged(verdict, batch.now);
                    let task = Arc::make_mut(&mut task);
                    task.state = TaskState::GoneByOperator;
                    task.remember(&status);
                    *framework.counters.ended_tasks.entry(task.state).or_default() += 1;
                    ended.push((framework.id.clone(), status));
                }
                framework.complete(task, ring);
            }
        }
        for (framework, status) in ended {
            *self.counters.ended_tasks.entry(TaskState::GoneByOperator).or_default() += 1;
            self.count_outcome(&status);
            self.publish_task_updated(&framework, &status, TaskState::GoneByOperator, batch);
            self.tell_status(&framework, status, batch);
        }
    }
}
