//! Taking note of inputs.

use std::collections::{BTreeMap, BTreeSet};

use tepui_allocator::{AgentFacts, FrameworkFacts, Input, Refusal};
use tepui_types::{AgentId, FrameworkId, Mono, Resources, Role, Value};

use super::{Agent, Books, Client, Refusals, Scope};

pub(super) fn scalars(all: &Resources) -> Resources {
    all.filter(|one| matches!(one.value, Value::Scalar(_)))
}

impl Books {
    pub(super) fn take_note(&mut self, now: Mono, input: Input) {
        self.stirred = true;
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
                let gone = |client: &Client| client.framework == framework;
                self.open.forget_held_back(gone);
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
            Input::OfferEnded { framework, role, agent, offered, .. } => {
                self.end_offers(&Client { framework, role }, &agent, offered);
            }
            Input::Offered { framework, role, agent, resources } => {
                let client = Client { framework, role };
                self.book(&agent, client.clone(), &resources);
                self.await_answer(&agent, client, resources);
                self.soil(&agent);
            }
            Input::Weights(weights) => self.weights.extend(weights),
            Input::Minimum(minimum) => {
                self.minimum = minimum;
                self.soil_all();
            }
        }
    }

    /// Notes that anybody may take what is free on the agent, if something is.
    pub(super) fn soil(&mut self, id: &AgentId) {
        self.open.forget_agent_held_back(id);
        let offered = |agent: &Agent| agent.facts.active && !agent.free.is_empty();
        if self.agents.get(id).is_some_and(offered) {
            self.dirty.insert(id.clone(), Scope::All);
        } else {
            self.dirty.remove(id);
        }
    }

    /// Notes that this client may take what is free on the agent, if something is.
    pub(super) fn soil_for(&mut self, id: &AgentId, client: &Client) {
        let offered = |agent: &Agent| agent.facts.active && !agent.free.is_empty();
        if !self.agents.get(id).is_some_and(offered) {
            return;
        }
        let scope = self.dirty.entry(id.clone()).or_insert_with(|| Scope::Only(BTreeSet::new()));
        if let Scope::Only(few) = scope {
            few.insert(client.clone());
        }
    }

    /// Notes that anybody may take what is free anywhere.
    fn soil_all(&mut self) {
        for id in self.agents.keys().cloned().collect::<Vec<_>>() {
            self.soil(&id);
        }
    }

    /// Notes that these clients may take what is free anywhere.
    fn soil_all_for(&mut self, clients: &[Client]) {
        for id in self.agents.keys().cloned().collect::<Vec<_>>() {
            for client in clients {
                self.soil_for(&id, client);
            }
        }
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
        self.total.add_all(&scalars(&facts.total));
        let agent = Agent {
            free: facts.total.clone(),
            facts,
            booked: BTreeMap::new(),
            refusals: Refusals::default(),
            unanswered: Vec::new(),
        };
        self.agents.insert(id.clone(), agent);
        for (framework, role, resources) in used {
            self.book(&id, Client { framework, role }, &resources);
        }
        self.soil(&id);
    }

    fn change_agent(&mut self, id: &AgentId, facts: AgentFacts, forget_filters: bool) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        self.total.remove(&scalars(&agent.facts.total));
        self.total.add_all(&scalars(&facts.total));
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
        self.total.remove(&scalars(&agent.facts.total));
        self.open.forget_agent_held_back(id);
        self.open.revocable.remove(id);
        for (client, _) in agent.unanswered {
            self.open.answered(&client, id, true);
            if let Some(next) = self.open.take_held_back(&client) {
                self.soil_for(&next, &client);
            }
        }
        for (client, resources) in agent.booked {
            self.let_go(&client, &resources);
        }
    }

    pub(super) fn book(&mut self, id: &AgentId, client: Client, resources: &Resources) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        agent.free.remove(resources);
        self.held.entry(client.clone()).or_default().add_all(&scalars(resources));
        agent.booked.entry(client).or_default().add_all(resources);
        if resources.iter().any(|one| one.identity.revocable) {
            self.open.revocable.insert(id.clone());
        }
    }

    /// Notes that an offer waits for an answer.
    pub(super) fn await_answer(&mut self, id: &AgentId, client: Client, resources: Resources) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        self.open.made(&client, id);
        agent.unanswered.push((client, resources));
    }

    /// Offers are over: the client may be offered what was kept back for it.
    fn end_offers(&mut self, client: &Client, id: &AgentId, mut offered: Resources) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let mut ended = 0;
        agent.unanswered.retain(|(who, bundle)| {
            let over = who == client && offered.checked_remove(bundle);
            ended += usize::from(over);
            !over
        });
        let last = agent.unanswered.is_empty();
        for at in 0..ended {
            self.open.answered(client, id, last && at + 1 == ended);
            if let Some(next) = self.open.take_held_back(client) {
                self.soil_for(&next, client);
            }
        }
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
        let revocable = |held: &Resources| held.iter().any(|one| one.identity.revocable);
        if !agent.booked.values().any(revocable) {
            self.open.revocable.remove(id);
        }
        self.let_go(&client, &back);
        let Some(agent) = self.agents.get_mut(id) else { return };
        match refusal {
            Some(Refusal { span }) if self.frameworks.contains_key(&client.framework) => {
                agent.refusals.refuse(client.clone(), resources, now + span);
                self.ends.insert((now + span, id.clone(), client));
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
            self.open.forget_held_back(|client| client.framework == id);
            self.ask_everywhere(&id, &facts.roles);
        }
    }

    fn revive(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        let Some(facts) = self.frameworks.get_mut(id) else { return };
        let named = |role: &Role| roles.is_empty() || roles.contains(role);
        facts.suppressed.retain(|role| !named(role));
        let roles = facts.roles.iter().filter(|role| named(role)).cloned().collect();
        self.withdraw(|client| client.framework == *id && named(&client.role));
        self.ask_everywhere(id, &roles);
    }

    fn ask_everywhere(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        let client = |role: &Role| Client { framework: id.clone(), role: role.clone() };
        let clients: Vec<Client> = roles.iter().map(client).collect();
        self.soil_all_for(&clients);
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
