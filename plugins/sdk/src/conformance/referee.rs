//! Who sees whether a proposal keeps to the rules: books of its own, kept as plainly as can be.

use std::collections::BTreeMap;

use tepui_allocator::{AgentFacts, FrameworkFacts, Input, Minimum, Proposal};
use tepui_types::{AgentId, FrameworkId, Mono, Resources, Role};

pub(super) type Booking = (FrameworkId, Role, Resources);

#[derive(Debug)]
struct Post {
    facts: AgentFacts,
    booked: Vec<Booking>,
    refused: Vec<(FrameworkId, Role, Mono, Resources)>,
}

impl Post {
    fn free(&self) -> Resources {
        let mut rest = self.facts.total.clone();
        for (_, _, resources) in &self.booked {
            rest.remove(resources);
        }
        rest
    }
}

#[derive(Debug)]
pub(super) struct Referee {
    posts: BTreeMap<AgentId, Post>,
    frameworks: BTreeMap<FrameworkId, FrameworkFacts>,
    minimum: Minimum,
}

impl Referee {
    pub(super) fn new() -> Self {
        Self {
            posts: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            minimum: Minimum::default_of_mesos(),
        }
    }

    /// Everything that is offered or in use somewhere.
    pub(super) fn bookings(&self) -> Vec<(AgentId, Booking)> {
        let of = |(id, post): (&AgentId, &Post)| {
            let id = id.clone();
            post.booked.clone().into_iter().map(move |one| (id.clone(), one))
        };
        self.posts.iter().flat_map(of).collect()
    }

    fn forget(&mut self, of: impl Fn(&FrameworkId, &Role) -> bool) {
        for post in self.posts.values_mut() {
            post.refused.retain(|(framework, role, ..)| !of(framework, role));
        }
    }

    pub(super) fn hear(&mut self, now: Mono, input: &Input) {
        match input.clone() {
            Input::AgentAdded { agent, facts, used } => {
                self.posts.insert(agent, Post { facts, booked: used, refused: Vec::new() });
            }
            Input::AgentChanged { agent, facts, forget_filters } => {
                let Some(post) = self.posts.get_mut(&agent) else { return };
                post.facts = facts;
                if forget_filters {
                    post.refused.clear();
                }
            }
            Input::AgentRemoved(agent) => {
                self.posts.remove(&agent);
            }
            Input::FrameworkUpdated { framework, facts } => {
                // What it refused before may be void now; the referee need not know which.
                self.forget(|who, _| *who == framework);
                self.frameworks.insert(framework, *facts);
            }
            Input::FrameworkRemoved(framework) => {
                self.forget(|who, _| *who == framework);
                self.frameworks.remove(&framework);
            }
            Input::Revived { framework, roles } => {
                let named = |role: &Role| roles.is_empty() || roles.contains(role);
                self.forget(|who, role| *who == framework && named(role));
                if let Some(facts) = self.frameworks.get_mut(&framework) {
                    facts.suppressed.retain(|role| !named(role));
                }
            }
            Input::Suppressed { framework, roles } => {
                let Some(facts) = self.frameworks.get_mut(&framework) else { return };
                let named = facts.roles.iter().filter(|r| roles.is_empty() || roles.contains(*r));
                facts.suppressed.extend(named.cloned());
            }
            Input::Released { framework, role, agent, resources, refusal } => {
                let Some(post) = self.posts.get_mut(&agent) else { return };
                let mut left = resources.clone();
                let mut known = false;
                for (who, in_role, booked) in &mut post.booked {
                    if *who == framework && *in_role == role {
                        known = true;
                        let rest = booked.minus(&left);
                        left = left.minus(booked);
                        *booked = rest;
                    }
                }
                post.booked.retain(|(_, _, booked)| !booked.is_empty());
                let until = refusal.map(|refusal| now + refusal.span);
                if let (Some(until), true) = (until, known) {
                    post.refused.push((framework, role, until, resources));
                }
            }
            Input::Weights(_) | Input::OfferEnded { .. } => {}
            Input::Offered { framework, role, agent, resources } => {
                if let Some(post) = self.posts.get_mut(&agent) {
                    post.booked.push((framework, role, resources));
                }
            }
            Input::Minimum(minimum) => self.minimum = minimum,
        }
    }

    /// Books a proposal, or says which rule it breaks.
    pub(super) fn judge(&mut self, now: Mono, one: &Proposal) -> Result<(), String> {
        let Some(post) = self.posts.get(&one.agent) else {
            return Err(format!("there is no agent {}", one.agent));
        };
        let Some(facts) = self.frameworks.get(&one.framework) else {
            return Err(format!("there is no framework {}", one.framework));
        };
        let all = |rule: fn(&tepui_types::Resource, &Proposal, &FrameworkFacts) -> bool| {
            one.resources.iter().all(|entry| rule(entry, one, facts))
        };
        let minimum = facts.minimum.get(&one.role).unwrap_or(&self.minimum);
        let held = |refused: &&(FrameworkId, Role, Mono, Resources)| {
            refused.0 == one.framework
                && refused.1 == one.role
                && refused.2 > now
                && refused.3.contains(&one.resources)
        };
        let rules = [
            (post.facts.active, "the agent may not be offered"),
            (post.facts.epoch == one.epoch, "the epoch is not the agent's"),
            (facts.active, "the framework is not connected"),
            (facts.roles.contains(&one.role), "the framework is not subscribed to the role"),
            (!facts.suppressed.contains(&one.role), "the framework suppressed the role"),
            (!one.resources.is_empty(), "nothing is offered"),
            (post.free().contains(&one.resources), "not all of it is free"),
            (all(|r, p, _| r.identity.is_usable_by(&p.role)), "some is reserved to another role"),
            (all(|r, _, f| f.revocable || !r.identity.revocable), "some may be taken back"),
            (facts.gpus || !post.facts.gpus_guarded, "the agent is for those who ask for gpus"),
            (minimum.allows(&one.resources), "it is less than the smallest offer"),
            (post.refused.iter().find(held).is_none(), "the framework refused it a while ago"),
        ];
        if let Some((_, broken)) = rules.iter().find(|(kept, _)| !kept) {
            let Proposal { framework, role, agent, resources, .. } = one;
            return Err(format!("{resources} of {agent} to {framework} in {role}: {broken}"));
        }
        let booking = (one.framework.clone(), one.role.clone(), one.resources.clone());
        if let Some(post) = self.posts.get_mut(&one.agent) {
            post.booked.push(booking);
        }
        Ok(())
    }
}
