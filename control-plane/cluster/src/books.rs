//! The books of every agent: `total = free + offered + used`, disjoint in ports and names
//! (invariants I-1 and I-4). Only this file changes them.

use std::collections::BTreeMap;

use tepui_allocator::{AgentFacts, Input, Refusal};
use tepui_types::{AgentId, FrameworkId, Resources, Role};

use crate::Cluster;
use crate::machine::Batch;
use crate::state::Agent;

/// What is held on an agent, by framework and role.
pub(crate) type Holdings = BTreeMap<(FrameworkId, Role), Vec<Resources>>;

impl Agent {
    /// Books `resources` as offered; `false`, and nothing changes, when they are not free.
    pub(crate) fn book_offer(&mut self, resources: &Resources) -> bool {
        let fits = self.free.checked_remove(resources);
        if fits {
            self.offered.add_all(resources);
        }
        fits
    }

    /// Takes an offer out of the books; the caller books every part of it again.
    pub(crate) fn unbook_offer(&mut self, resources: &Resources) {
        self.offered.remove(resources);
    }

    /// Books what a launch takes out of an accepted offer.
    pub(crate) fn book_use(&mut self, resources: &Resources) {
        self.used.add_all(resources);
    }

    /// Books what is left of an offer as free.
    pub(crate) fn book_free(&mut self, resources: &Resources) {
        self.free.add_all(resources);
    }

    /// What the allocator is told of the agent.
    pub(crate) fn facts(&self, filter_gpus: bool) -> AgentFacts {
        AgentFacts {
            total: self.total.clone(),
            active: self.is_active(),
            gpus_guarded: filter_gpus && !self.total.gpus().is_zero(),
            epoch: self.epoch,
        }
    }
}

impl Cluster {
    /// Gives back what a task or an executor held. Called after it is marked as ended or removed.
    pub(crate) fn release_used(
        &mut self,
        agent_id: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: &Resources,
        batch: &mut Batch<'_>,
    ) {
        let departs = |agent: &Agent| agent.departing.contains_key(framework);
        // Its framework is gone, its process not yet.
        if !self.agents.get(agent_id).is_some_and(departs) {
            let piece = (role.clone(), resources.clone());
            self.release_pieces(agent_id, framework, vec![piece], batch);
        }
    }

    /// Gives back pieces that are out of what the books are made of.
    pub(crate) fn release_pieces(
        &mut self,
        agent_id: &AgentId,
        framework: &FrameworkId,
        pieces: Vec<(Role, Resources)>,
        batch: &mut Batch<'_>,
    ) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        if agent.overbooked {
            self.rebook(agent_id);
        } else {
            for (_, resources) in &pieces {
                agent.used.remove(resources);
                agent.free.add_all(resources);
            }
        }
        for (role, resources) in pieces {
            self.tell_released(agent_id, framework, &role, resources, None, batch);
        }
    }

    /// Tells the allocator that resources came back.
    pub(crate) fn tell_released(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        resources: Resources,
        refusal: Option<Refusal>,
        batch: &mut Batch<'_>,
    ) {
        if resources.is_empty() {
            return;
        }
        batch.tell_allocator(Input::Released {
            framework: framework.clone(),
            role: role.clone(),
            agent: agent.clone(),
            resources,
            refusal,
        });
    }

    /// Tells the allocator that what it proposed is over, and what of it is in use.
    pub(crate) fn tell_offer_ended(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        offered: Resources,
        used: Resources,
        batch: &mut Batch<'_>,
    ) {
        batch.tell_allocator(Input::OfferEnded {
            framework: framework.clone(),
            role: role.clone(),
            agent: agent.clone(),
            offered,
            used,
        });
    }

    /// What tasks and executors hold on an agent, by framework and role.
    pub(crate) fn holdings(&self, agent: &Agent) -> Holdings {
        let mut all = Holdings::new();
        for (framework_id, tasks) in &agent.tasks {
            let Some(framework) = self.frameworks.get(framework_id) else { continue };
            let live = tasks
                .iter()
                .filter_map(|task| framework.tasks.get(task))
                .filter(|task| !task.state.is_terminal());
            for task in live {
                let key = (framework_id.clone(), task.role.clone());
                all.entry(key).or_default().push(task.resources.clone());
            }
        }
        for (framework_id, executors) in &agent.executors {
            for executor in executors.values() {
                let key = (framework_id.clone(), executor.role.clone());
                all.entry(key).or_default().push(executor.resources.clone());
            }
        }
        for (framework_id, departing) in &agent.departing {
            for (role, resources) in &departing.held {
                let key = (framework_id.clone(), role.clone());
                all.entry(key).or_default().push(resources.clone());
            }
        }
        all
    }

    /// Makes an agent's books anew from its tasks, executors and offers. Returns what the first two
    /// hold.
    pub(crate) fn rebook(&mut self, agent_id: &AgentId) -> Holdings {
        let Some(agent) = self.agents.get(agent_id) else { return Holdings::new() };
        let holdings = self.holdings(agent);
        let mut used = Resources::new();
        let mut collides = false;
        for held in holdings.values().flatten() {
            collides |= used.overlaps(held);
            used.add_all(held);
        }
        let mut offered = Resources::new();
        for offer in agent.offers.iter().filter_map(|number| self.offers.get(number)) {
            offered.add_all(&offer.resources);
        }
        let taken = used.plus(&offered);
        let overbooked = collides || !agent.total.contains(&taken);
        let free = agent.total.minus(&taken);
        if let Some(agent) = self.agents.get_mut(agent_id) {
            agent.used = used;
            agent.offered = offered;
            agent.free = free;
            agent.overbooked = overbooked;
        }
        holdings
    }

    /// Tells the allocator of an agent anew, with what is in use there.
    pub(crate) fn tell_agent_added(
        &mut self,
        agent_id: &AgentId,
        holdings: Holdings,
        batch: &mut Batch<'_>,
    ) {
        let epoch = self.next_epoch();
        let guard = self.config.filter_gpu_resources;
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        agent.epoch = epoch;
        agent.added_epoch = epoch;
        let facts = agent.facts(guard);
        let used = holdings
            .into_iter()
            .map(|((framework, role), held)| {
                let mut sum = Resources::new();
                held.iter().for_each(|one| sum.add_all(one));
                (framework, role, sum)
            })
            .collect();
        batch.tell_allocator(Input::AgentAdded { agent: agent_id.clone(), facts, used });
    }

    /// Tells the allocator that an agent changed.
    pub(crate) fn tell_agent_changed(
        &mut self,
        agent_id: &AgentId,
        forget_filters: bool,
        batch: &mut Batch<'_>,
    ) {
        let epoch = self.next_epoch();
        let guard = self.config.filter_gpu_resources;
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        agent.epoch = epoch;
        let facts = agent.facts(guard);
        let agent = agent_id.clone();
        batch.tell_allocator(Input::AgentChanged { agent, facts, forget_filters });
    }
}
