//! Taking note of inputs.

use std::collections::{BTreeMap, BTreeSet};

use tepui_allocator::{AgentFacts, FrameworkFacts, Input, Refusal};
use tepui_types::{AgentId, FrameworkId, Mono, Resources, Role, Value};

use super::{Agent, Books, Client, Refusals};

fn scalars(all: &Resources) -> Resources {
    all.filter(|one| matches!(one.value, Value::Scalar(_)))
}

impl Books {
    pub(super) fn take_note(&mut self, now: Mono, input: Input) {
        match input {
            Input::AgentAdded { agent, facts, used } => self.add_agent(agent, facts, used),
            Input::AgentChanged { agent, facts, forget_filters } => {
                self.change_agent(&agent, facts, forget_filters);
            }
            Input::AgentRemoved(agent) => self.remove_agent(&agent),
            Input::FrameworkUpdated { framework, facts } => {
                self.update_framework(framework, *facts);
            }
            Input::FrameworkRemoved(framework) => {
                self.frameworks.remove(&framework);
                self.withdraw(|client| client.framework == framework);
            }
            Input::Revived { framework, roles } => self.revive(&framework, &roles),
            Input::Suppressed { framework, roles } => {
                if let Some(facts) = self.frameworks.get_mut(&framework) {
                    let named = |role: &&Role| roles.is_empty() || roles.contains(*role);
                    facts.suppressed.extend(facts.roles.iter().filter(named).cloned());
                }
            }
            Input::Released { framework, role, agent, resources, refusal } => {
                let client = Client { framework, role };
                self.release(now, client, &agent, resources, refusal);
            }
            Input::Weights(weights) => self.weights.extend(weights),
            Input::Minimum(minimum) => {
                self.minimum = minimum;
                self.soil_all();
            }
        }
    }

    /// Notes that somebody may take what is free on the agent, if something is.
    pub(super) fn soil(&mut self, id: &AgentId) {
        let offered = |agent: &Agent| agent.facts.active && !agent.free.is_empty();
        if self.agents.get(id).is_some_and(offered) {
            self.dirty.insert(id.clone());
        } else {
            self.dirty.remove(id);
        }
    }

    fn soil_all(&mut self) {
        let offered = |agent: &Agent| agent.facts.active && !agent.free.is_empty();
        let free = self.agents.iter().filter(|(_, agent)| offered(agent));
        self.dirty = free.map(|(id, _)| id.clone()).collect();
    }

    fn withdraw(&mut self, of: impl Fn(&Client) -> bool) {
        self.agents.values_mut().for_each(|agent| agent.refusals.withdraw(&of));
    }

    fn add_agent(
        &mut self,
        id: AgentId,
        facts: AgentFacts,
        used: Vec<(FrameworkId, Role, Resources)>,
    ) {
        self.remove_agent(&id);
        let free = facts.total.clone();
        let agent = Agent { facts, booked: BTreeMap::new(), free, refusals: Refusals::default() };
        self.agents.insert(id.clone(), agent);
        for (framework, role, resources) in used {
            self.book(&id, Client { framework, role }, &resources);
        }
        self.soil(&id);
    }

    fn change_agent(&mut self, id: &AgentId, facts: AgentFacts, forget_filters: bool) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.facts = facts;
        agent.recount();
        if forget_filters {
            agent.refusals.clear();
        }
        self.soil(id);
    }

    fn remove_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.remove(id) else { return };
        self.dirty.remove(id);
        for (client, resources) in agent.booked {
            self.let_go(&client, &resources);
        }
    }

    pub(super) fn book(&mut self, id: &AgentId, client: Client, resources: &Resources) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.free.remove(resources);
        self.held.entry(client.clone()).or_default().add_all(&scalars(resources));
        agent.booked.entry(client).or_default().add_all(resources);
    }

    fn let_go(&mut self, client: &Client, resources: &Resources) {
        if let Some(held) = self.held.get_mut(client) {
            held.remove(&scalars(resources));
            if held.is_empty() {
                self.held.remove(client);
            }
        }
    }

    fn release(
        &mut self,
        now: Mono,
        client: Client,
        id: &AgentId,
        resources: Resources,
        refusal: Option<Refusal>,
    ) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let Some(booked) = agent.booked.get_mut(&client) else { return };
        let kept = booked.minus(&resources);
        let back = std::mem::replace(booked, kept.clone()).minus(&kept);
        if kept.is_empty() {
            agent.booked.remove(&client);
        }
        agent.recount();
        self.let_go(&client, &back);
        let Some(agent) = self.agents.get_mut(id) else { return };
        match refusal {
            Some(Refusal { span }) if self.frameworks.contains_key(&client.framework) => {
                agent.refusals.refuse(client, resources, now + span);
                self.ends.insert((now + span, id.clone()));
            }
            Some(_) => {}
            None => agent.refusals.release_round(),
        }
        self.soil(id);
    }

    fn update_framework(&mut self, id: FrameworkId, facts: FrameworkFacts) {
        let before = self.frameworks.insert(id.clone(), facts.clone()).unwrap_or_default();
        self.withdraw(|client| {
            let role = &client.role;
            let unsuppressed = before.suppressed.contains(role) && !facts.suppressed.contains(role);
            client.framework == id && (!facts.active || unsuppressed || !facts.roles.contains(role))
        });
        if before != facts {
            self.soil_all();
        }
    }

    fn revive(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        let Some(facts) = self.frameworks.get_mut(id) else { return };
        let named = |role: &Role| roles.is_empty() || roles.contains(role);
        facts.suppressed.retain(|role| !named(role));
        self.withdraw(|client| client.framework == *id && named(&client.role));
        self.soil_all();
    }
}

impl Agent {
    /// Counts afresh what is free: less may be there than is booked.
    fn recount(&mut self) {
        self.free = self.facts.total.clone();
        for booked in self.booked.values() {
            self.free.remove(booked);
        }
    }
}
