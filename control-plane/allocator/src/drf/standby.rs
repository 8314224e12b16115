//! Following another allocator: its proposals are booked here too, so that this one can go on at
//! any moment; and telling another one all that is known.

use tepui_types::{AgentId, FrameworkId, Resources, Role};

use super::Drf;
use super::agents::Agent;
use crate::{Input, Proposal, Weight};

/// A proposal that the books have no room for; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{resources} of {agent} to {framework} in {role}: {why}")]
pub struct Misfit {
    resources: Resources,
    agent: AgentId,
    framework: FrameworkId,
    role: Role,
    why: &'static str,
}

impl Drf {
    /// Books what another allocator proposes. Whose turn it is, what is worth offering and what was
    /// refused is the other one's affair; what is there, and for whom, is not.
    ///
    /// # Errors
    ///
    /// [`Misfit`] when it proposes what cannot be; nothing is booked then.
    pub fn adopt(&mut self, proposal: &Proposal) -> Result<(), Misfit> {
        let Proposal { framework, role, agent, resources, .. } = proposal;
        if let Some(why) = self.objection(proposal) {
            return Err(Misfit {
                resources: resources.clone(),
                agent: agent.clone(),
                framework: framework.clone(),
                role: role.clone(),
                why,
            });
        }
        self.book_elsewhere(framework, role, agent, resources);
        Ok(())
    }

    fn objection(&self, proposal: &Proposal) -> Option<&'static str> {
        let Proposal { framework, role, agent, resources, epoch } = proposal;
        let Some(agent) = self.by_id.get(agent).and_then(|at| self.agent(*at)) else {
            return Some("there is no such agent");
        };
        let Some(client) = self.clients.find(framework, role) else {
            return Some("no such framework is subscribed to the role");
        };
        let client = self.clients.at(client);
        let revocable = resources.iter().any(|one| one.identity.revocable);
        let reserved = resources.iter().any(|one| !one.identity.is_usable_by(role));
        let rules = [
            (agent.facts.epoch != *epoch, "it was made under another epoch of the agent"),
            (!agent.facts.active, "the agent may not be offered"),
            (!client.active, "the framework wants no offers in the role"),
            (resources.is_empty(), "nothing is offered"),
            (!agent.free().contains(resources), "that much is not free there"),
            (reserved, "some of it is reserved to another role"),
            (revocable && !client.revocable, "the framework does not take revocable resources"),
            (agent.facts.gpus_guarded && !client.gpus, "the framework does not ask for gpus"),
        ];
        rules.into_iter().find(|(broken, _)| *broken).map(|(_, why)| why)
    }

    /// Everything that another allocator has to be told to stand where this one does. Refusals are
    /// not part of it: frameworks see once more what they refused.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Input> {
        let mut inputs = vec![Input::Minimum(self.minimum.clone())];
        let weights: Vec<_> =
            self.tree.weights().map(|(role, weight)| (role.clone(), Weight(weight))).collect();
        inputs.push(Input::Weights(weights));
        let mut frameworks: Vec<_> = self.clients.frameworks.iter().collect();
        frameworks.sort_unstable_by_key(|(id, _)| *id);
        for (id, known) in frameworks {
            if let Some(facts) = &known.facts {
                let facts = Box::new(facts.clone());
                inputs.push(Input::FrameworkUpdated { framework: id.clone(), facts });
            }
        }
        let mut agents: Vec<&Agent> = self.agents.iter().flatten().collect();
        agents.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        for agent in agents {
            let used = agent.booked().iter().map(|(client, resources)| {
                let known = self.clients.at(*client);
                (known.framework.clone(), known.role.clone(), resources.clone())
            });
            inputs.push(Input::AgentAdded {
                agent: agent.id.clone(),
                facts: agent.facts.clone(),
                used: used.collect(),
            });
        }
        inputs
    }
}

#[cfg(test)]
mod tests {
    use tepui_types::{Entropy, Mono, Resource, ResourceName, Scalar};

    use crate::{AgentFacts, Allocate, Drf, Epoch, FrameworkFacts, Input, Proposal};
    use tepui_types::{AgentId, FrameworkId, Resources, Role};

    fn cpus(count: u64) -> Resources {
        [Resource::scalar(ResourceName::Cpus, Scalar::from_units(count))].into_iter().collect()
    }

    fn cluster() -> Drf {
        let mut drf = Drf::new(Entropy::seeded(1));
        let now = Mono::default();
        for name in ["a1", "a2"] {
            let agent = AgentId::parse(name).unwrap();
            let facts =
                AgentFacts { total: cpus(4), active: true, gpus_guarded: false, epoch: Epoch(1) };
            drf.apply(now, Input::AgentAdded { agent, facts, used: vec![] });
        }
        let facts = FrameworkFacts {
            roles: [Role::default_role()].into(),
            active: true,
            ..FrameworkFacts::default()
        };
        let framework = FrameworkId::parse("f1").unwrap();
        drf.apply(now, Input::FrameworkUpdated { framework, facts: Box::new(facts) });
        drf
    }

    fn proposal(count: u64) -> Proposal {
        Proposal {
            framework: FrameworkId::parse("f1").unwrap(),
            role: Role::default_role(),
            agent: AgentId::parse("a1").unwrap(),
            resources: cpus(count),
            epoch: Epoch(1),
        }
    }

    #[test]
    fn what_another_allocator_proposed_is_not_offered_again() {
        let mut drf = cluster();
        drf.adopt(&proposal(3)).unwrap();
        let plan = drf.round(Mono::default());
        let left: Vec<_> = plan.proposals.iter().map(|one| one.resources.cpus()).collect();
        assert_eq!(left.iter().map(|cpus| cpus.as_milli()).sum::<u64>(), 5000);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason_and_books_nothing() {
        let mut drf = cluster();
        let why = |drf: &mut Drf, one: Proposal| drf.adopt(&one).unwrap_err().to_string();
        assert_eq!(
            why(&mut drf, proposal(5)),
            "cpus:5 of a1 to f1 in *: that much is not free there"
        );
        let nowhere = Proposal { agent: AgentId::parse("a9").unwrap(), ..proposal(1) };
        assert!(why(&mut drf, nowhere).ends_with("there is no such agent"));
        let nobody = Proposal { framework: FrameworkId::parse("f9").unwrap(), ..proposal(1) };
        assert!(why(&mut drf, nobody).contains("no such framework"));
        let stale = Proposal { epoch: Epoch(9), ..proposal(1) };
        assert!(why(&mut drf, stale).contains("epoch"));
        assert_eq!(drf.round(Mono::default()).proposals.len(), 2);
    }

    #[test]
    fn another_allocator_that_is_told_everything_stands_where_this_one_does() {
        let mut drf = cluster();
        drf.adopt(&proposal(3)).unwrap();
        let mut other = Drf::new(Entropy::seeded(1));
        for input in drf.snapshot() {
            other.apply(Mono::default(), input);
        }
        assert_eq!(other.snapshot(), drf.snapshot());
        let mut offered = other.round(Mono::default()).proposals;
        offered.sort_by(|a, b| a.agent.cmp(&b.agent));
        let offered: Vec<_> = offered.iter().map(|one| one.resources.cpus()).collect();
        assert_eq!(offered, [Scalar::from_units(1), Scalar::from_units(4)]);
    }
}
