//! Taking note of inputs about agents and what is booked on them.

use std::hash::Hasher as _;

use tepui_types::{AgentId, FrameworkId, Mono, Resources, Role, TraceHash};

use super::agents::{Agent, AgentIx};
use super::clients::ClientIx;
use super::filters::EndsChanged;
use super::{Drf, Scope};
use crate::{AgentFacts, Refusal};

impl Drf {
    pub(super) fn agent_mut(&mut self, at: AgentIx) -> Option<&mut Agent> {
        self.agents.get_mut(at.0 as usize)?.as_mut()
    }

    /// Notes that anyone may take what is free on the agent, if something is.
    pub(super) fn soil(&mut self, at: AgentIx) {
        let Some(agent) = self.agent(at) else { return };
        if agent.facts.active && !agent.free().is_empty() {
            self.spare.insert(at);
            self.dirty.insert(at, Scope::All);
        } else {
            self.spare.remove(&at);
            self.dirty.remove(&at);
        }
    }

    pub(super) fn note_ends(&mut self, agent: AgentIx, ends: EndsChanged) {
        for (until, client) in ends.dropped {
            self.ends.remove(&(until, agent, client));
        }
        for (until, client) in ends.added {
            self.ends.insert((until, agent, client));
        }
    }

    /// Follows a new booking in the tree.
    pub(super) fn note_booked(&mut self, client: ClientIx, resources: &Resources, first: bool) {
        let amounts = self.kinds.amounts(resources);
        let known = self.clients.at_mut(client);
        known.bookings += usize::from(first);
        self.tree.book(known.leaf, &amounts);
    }

    fn note_released(&mut self, client: ClientIx, resources: &Resources, last: bool) {
        let amounts = self.kinds.amounts(resources);
        let known = self.clients.at_mut(client);
        known.bookings -= usize::from(last);
        self.tree.unbook(known.leaf, &amounts);
        self.forget_idle(client);
    }

    pub(super) fn add_agent(
        &mut self,
        id: AgentId,
        facts: AgentFacts,
        used: Vec<(FrameworkId, Role, Resources)>,
    ) {
        self.remove_agent(&id);
        let mut hash = TraceHash::default();
        hash.write(id.as_str().as_bytes());
        let totals = self.kinds.amounts(&facts.total);
        self.tree.add_total(&totals);
        let mut agent = Agent::new(id.clone(), facts, hash.finish());
        for (framework, role, resources) in used {
            if resources.is_empty() {
                continue;
            }
            let client = self.client(&framework, &role);
            let first = agent.book_used(client, &resources);
            self.note_booked(client, &resources, first);
        }
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.agents.push(None);
            AgentIx(u32::try_from(self.agents.len() - 1).expect("fewer than 2^32 agents"))
        });
        self.agents[at.0 as usize] = Some(agent);
        self.by_id.insert(id, at);
        self.soil(at);
    }

    pub(super) fn change_agent(&mut self, id: &AgentId, facts: AgentFacts, forget_filters: bool) {
        let Some(&at) = self.by_id.get(id) else { return };
        let Some(agent) = self.agents.get_mut(at.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        if agent.facts.total != facts.total {
            self.tree.subtract_total(&self.kinds.amounts(&agent.facts.total));
            self.tree.add_total(&self.kinds.amounts(&facts.total));
        }
        agent.set_facts(facts);
        if forget_filters {
            let filters = std::mem::take(&mut agent.filters);
            for (until, client) in filters.ends() {
                self.ends.remove(&(until, at, client));
            }
        }
        self.soil(at);
    }

    pub(super) fn remove_agent(&mut self, id: &AgentId) {
        let Some(at) = self.by_id.remove(id) else { return };
        let Some(agent) = self.agents[at.0 as usize].take() else { return };
        self.vacant.push(at);
        self.spare.remove(&at);
        self.dirty.remove(&at);
        for (until, client) in agent.filters.ends() {
            self.ends.remove(&(until, at, client));
        }
        let totals = self.kinds.amounts(&agent.facts.total);
        self.tree.subtract_total(&totals);
        let mut booked = agent.booked();
        while let Some(((client, resources), rest)) = booked.split_first() {
            let last = !rest.iter().any(|(who, _)| who == client);
            self.note_released(*client, resources, last);
            booked = rest;
        }
    }

    /// Books what another allocator gave out.
    pub(super) fn book_elsewhere(
        &mut self,
        framework: &FrameworkId,
        role: &Role,
        id: &AgentId,
        resources: &Resources,
    ) {
        let Some(&at) = self.by_id.get(id).filter(|_| !resources.is_empty()) else { return };
        let client = self.client(framework, role);
        let Some(agent) = self.agents.get_mut(at.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let first = agent.book_used(client, resources);
        self.note_booked(client, resources, first);
        self.soil(at);
    }

    pub(super) fn release(
        &mut self,
        now: Mono,
        (framework, role): (&FrameworkId, &Role),
        id: &AgentId,
        resources: Resources,
        refusal: Option<Refusal>,
    ) {
        let Some(client) = self.clients.find(framework, role) else { return };
        let Some(&at) = self.by_id.get(id) else { return };
        let Some(agent) = self.agents.get_mut(at.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let Some((back, last)) = agent.release(client, &resources) else { return };
        if let Some(refusal) = refusal {
            let stamps = (self.clients.at(client).born, self.clients.now_stamp());
            let ends = agent.filters.refuse(client, stamps, now + refusal.span, resources);
            self.note_ends(at, ends);
        } else {
            agent.filters.release_round();
        }
        self.note_released(client, &back, last);
        self.soil(at);
    }
}
