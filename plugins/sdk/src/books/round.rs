//! A round: agents with something free, one after another, to whom the policy says.

use tepui_allocator::{Plan, Proposal};
use tepui_types::{AgentId, Mono, Span};

use super::refusals::Held;
use super::{Books, Candidate, Client, Policy};

/// How soon resources that nobody else wanted come back to a framework that refused them for less.
const SOONEST_RETURN: Span = Span::from_millis(100);

impl Books {
    /// Lets go of the refusals that ended.
    fn expire(&mut self, now: Mono) {
        while let Some((at, _)) = self.ends.first()
            && *at <= now
        {
            let Some((_, id)) = self.ends.pop_first() else { return };
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.refusals.expire(now);
                self.soil(&id);
            }
        }
    }

    pub(super) fn plan_round(&mut self, now: Mono, policy: &mut impl Policy) -> Plan {
        self.expire(now);
        let mut plan = Plan::default();
        let clients: Vec<Client> = self.clients().collect();
        if clients.is_empty() {
            return plan;
        }
        let mut agents: Vec<AgentId> = std::mem::take(&mut self.dirty).into_iter().collect();
        policy.order(self, &mut agents);
        for id in agents {
            self.plan_agent(now, &id, &clients, policy, &mut plan);
        }
        plan
    }

    fn plan_agent(
        &mut self,
        now: Mono,
        id: &AgentId,
        clients: &[Client],
        policy: &mut impl Policy,
        plan: &mut Plan,
    ) {
        plan.work.agents += 1;
        loop {
            plan.work.pairs += clients.len() as u64;
            let (candidates, held) = self.candidates(now, id, clients);
            let taker = match candidates.is_empty() {
                true => None,
                false => policy.choose(self, id, &candidates),
            };
            let Some(one) = taker.and_then(|at| candidates.into_iter().nth(at)) else {
                if held {
                    self.end_round(now, id);
                }
                return;
            };
            let Some(agent) = self.agents.get(id) else { return };
            plan.proposals.push(Proposal {
                framework: one.client.framework.clone(),
                role: one.client.role.clone(),
                agent: id.clone(),
                resources: one.resources.clone(),
                epoch: agent.facts.epoch,
            });
            self.book(id, one.client, &one.resources);
        }
    }

    /// Who could take what, and whether somebody only waits for the agent to go round.
    fn candidates(&self, now: Mono, id: &AgentId, clients: &[Client]) -> (Vec<Candidate>, bool) {
        let (mut candidates, mut held) = (Vec::new(), false);
        let Some(agent) = self.agents.get(id).filter(|agent| agent.facts.active) else {
            return (candidates, held);
        };
        for client in clients {
            let Some(facts) = self.frameworks.get(&client.framework) else { continue };
            match self.weigh(now, agent, client, facts) {
                Ok(resources) => {
                    candidates.push(Candidate { client: client.clone(), resources });
                }
                Err((_, Held::OnRound(_))) => held = true,
                Err(_) => {}
            }
        }
        (candidates, held)
    }

    fn end_round(&mut self, now: Mono, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let ends = agent.refusals.end_round(now + SOONEST_RETURN);
        self.ends.extend(ends.into_iter().map(|at| (at, id.clone())));
    }
}
