//! A round: agents with something free, one after another, to whom the policy says.

use std::collections::{BTreeMap, BTreeSet};

use tepui_allocator::{Plan, Proposal};
use tepui_types::{AgentId, Mono, Span};

use super::refusals::Held;
use super::{Books, Candidate, Client, Policy, Scope};

/// How soon resources that nobody else wanted come back to a framework that refused them for less.
const SOONEST_RETURN: Span = Span::from_millis(100);

/// Pairs of an agent and a client that one round looks at, but for the rest of its last agent: some
/// tenths of a second. What is left is looked at first in the next round, so that none takes longer
/// than a plugin's time budget because a cluster is large.
const MOST_PAIRS: u64 = 250_000;

/// Who could be offered something on an agent.
#[derive(Default)]
struct Asked {
    candidates: Vec<Candidate>,
    /// Somebody only waits for the agent to go round.
    on_round: bool,
    /// These have too many unanswered offers.
    full: Vec<Client>,
}

impl Books {
    /// Lets go of the refusals that ended.
    fn expire(&mut self, now: Mono) {
        while let Some((at, _, _)) = self.ends.first()
            && *at <= now
        {
            let Some((_, id, client)) = self.ends.pop_first() else { return };
            if let Some(agent) = self.agents.get_mut(&id) {
                agent.refusals.expire(now);
                self.soil_for(&id, &client);
            }
        }
    }

    pub(super) fn plan_round(&mut self, now: Mono, policy: &mut impl Policy) -> Plan {
        self.expire(now);
        let mut plan = Plan::default();
        self.stirred = false;
        let clients: Vec<Client> = self.clients().collect();
        let dirty = match clients.is_empty() {
            true => BTreeMap::new(),
            false => std::mem::take(&mut self.dirty),
        };
        let left = std::mem::take(&mut self.left);
        let mut ranked = self.ranked(dirty, &left, policy).into_iter();
        while plan.work.pairs < MOST_PAIRS
            && let Some(((_, rank, id), scope)) = ranked.next()
        {
            self.plan_agent(now, (rank, &id), scope, &clients, policy, &mut plan);
        }
        for ((_, _, id), scope) in ranked {
            self.left.insert(id.clone());
            self.dirty.insert(id, scope);
        }
        // Nothing is taken from anybody while something free was not looked at.
        if self.left.is_empty() {
            plan.reclaims = policy.reclaim(now, self);
        }
        plan
    }

    /// Agents in the order in which they are looked at: first what the round before left.
    fn ranked(
        &self,
        dirty: BTreeMap<AgentId, Scope>,
        left: &BTreeSet<AgentId>,
        policy: &impl Policy,
    ) -> Vec<((bool, u64, AgentId), Scope)> {
        let ranked = dirty.into_iter().filter_map(|(id, scope)| {
            let rank = policy.rank(self.agents.get(&id)?);
            Some(((!left.contains(&id), rank, id), scope))
        });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by(|a, b| a.0.cmp(&b.0));
        ranked
    }

    fn plan_agent(
        &mut self,
        now: Mono,
        (rank, id): (u64, &AgentId),
        mut scope: Scope,
        clients: &[Client],
        policy: &mut impl Policy,
        plan: &mut Plan,
    ) {
        plan.work.agents += 1;
        let most = policy.most_unanswered();
        loop {
            let asked = match &scope {
                Scope::All => self.ask(now, id, clients.iter(), most, plan),
                Scope::Only(few) => {
                    let wanting = |client: &&Client| clients.binary_search(client).is_ok();
                    self.ask(now, id, few.iter().filter(wanting), most, plan)
                }
            };
            let taker = match asked.candidates.is_empty() {
                true => None,
                false => policy.choose(self, id, &asked.candidates),
            };
            let Some(one) = taker.and_then(|at| asked.candidates.into_iter().nth(at)) else {
                for client in asked.full {
                    self.open.hold_back(&client, rank, id);
                }
                if asked.on_round {
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
            self.book(id, one.client.clone(), &one.resources);
            self.await_answer(id, one.client, one.resources);
            // What is left is less than what the others refused, so all of them are asked.
            scope = Scope::All;
        }
    }

    fn ask<'a>(
        &self,
        now: Mono,
        id: &AgentId,
        clients: impl Iterator<Item = &'a Client>,
        most: Option<usize>,
        plan: &mut Plan,
    ) -> Asked {
        let mut asked = Asked::default();
        let Some(agent) = self.agents.get(id).filter(|agent| agent.facts.active) else {
            return asked;
        };
        if agent.free.is_empty() {
            return asked;
        }
        for client in clients {
            plan.work.pairs += 1;
            let Some(facts) = self.frameworks.get(&client.framework) else { continue };
            match self.weigh(now, agent, client, facts) {
                Ok(_) if most.is_some_and(|most| self.open.count(client) >= most) => {
                    asked.full.push(client.clone());
                }
                Ok(resources) => {
                    asked.candidates.push(Candidate { client: client.clone(), resources });
                }
                Err((_, Held::OnRound(_))) => asked.on_round = true,
                Err(_) => {}
            }
        }
        asked
    }

    fn end_round(&mut self, now: Mono, id: &AgentId) {
        let Some(agent) = self.agents.get_mut(id) else { return };
        let ends = agent.refusals.end_round(now + SOONEST_RETURN);
        self.ends.extend(ends.into_iter().map(|(at, client)| (at, id.clone(), client)));
    }
}
