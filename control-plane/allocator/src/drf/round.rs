//! A round: who takes what is free on the agents that changed.

use std::borrow::Cow;
use std::cmp::Ordering;

use tepui_types::{Mono, Resources};

use super::agents::{Agent, AgentIx};
use super::clients::{Client, ClientIx};
use super::filters::Held;
use super::tree::Among;
use super::{Drf, SOONEST_RETURN, Scope};
use crate::{Minimum, NoOffer, Plan, Proposal, Work};

/// The agent's turn in a round: random, and the same whichever other agents take part.
fn turn(seed: u64, lot: u64) -> u64 {
    let mut z = seed ^ lot;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Minimum {
    /// True when the bundle is worth offering.
    #[must_use]
    pub fn allows(&self, bundle: &Resources) -> bool {
        let has = |all: &Vec<_>| all.iter().all(|(name, least)| bundle.scalar(name) >= *least);
        self.0.is_empty() || self.0.iter().any(has)
    }
}

/// What of the agent's free resources the client may use (`spec/mesos-http.md` 8.5, stage 2).
fn usable<'a>(agent: &'a Agent, client: &Client) -> Cow<'a, Resources> {
    if agent.plain {
        return Cow::Borrowed(agent.free());
    }
    Cow::Owned(agent.free().filter(|r| {
        r.identity.is_usable_by(&client.role) && (client.revocable || !r.identity.revocable)
    }))
}

/// What a walk over clients found on the way.
#[derive(Default)]
struct Seen {
    pairs: u64,
    /// Somebody would take it, but refused it and the agent has not been round since.
    held_on_round: bool,
}

impl Drf {
    /// What an active client would be offered on the agent, or why nothing.
    pub(super) fn judge<'a>(
        &self,
        now: Mono,
        agent: &'a Agent,
        client: ClientIx,
    ) -> Result<Cow<'a, Resources>, (NoOffer, Held)> {
        let known = self.clients.at(client);
        let refused = |why| Err((why, Held::No));
        if agent.facts.gpus_guarded && !known.gpus {
            return refused(NoOffer::NeedsGpuCapability);
        }
        let bundle = usable(agent, known);
        if bundle.is_empty() {
            return refused(NoOffer::NothingFree);
        }
        if !known.minimum.as_ref().unwrap_or(&self.minimum).allows(&bundle) {
            return refused(NoOffer::BelowMinimum { cpus: bundle.cpus(), mem: bundle.mem() });
        }
        let held = agent.filters.held(client, (known.born, known.revived), now, &bundle);
        match held {
            Held::No => Ok(bundle),
            Held::OnRound(until) | Held::Until(until) => {
                Err((NoOffer::Filtered { remaining: until.since(now) }, held))
            }
        }
    }

    fn takes(&self, now: Mono, agent: &Agent, client: ClientIx, seen: &mut Seen) -> bool {
        seen.pairs += 1;
        match self.judge(now, agent, client) {
            Ok(_) => true,
            Err((_, held)) => {
                seen.held_on_round |= matches!(held, Held::OnRound(_));
                false
            }
        }
    }

    /// The first client in order of fair share, of those in scope, that takes something.
    fn taker(&self, now: Mono, agent: &Agent, scope: &Scope, seen: &mut Seen) -> Option<ClientIx> {
        let Scope::Only(few) = scope else {
            return self.tree.first(Among::Active, &mut |c| self.takes(now, agent, c, seen));
        };
        let hot = self.tree.first(Among::Hot, &mut |c| self.takes(now, agent, c, seen));
        let mut best = hot;
        for client in few {
            let Some(known) = self.clients.existing(*client).filter(|known| known.active) else {
                continue;
            };
            if best == Some(*client) || !self.takes(now, agent, *client, seen) {
                continue;
            }
            let ahead = best.is_none_or(|best| {
                let best = self.clients.at(best).leaf;
                self.tree.compare(known.leaf, best) == Ordering::Less
            });
            if ahead {
                best = Some(*client);
            }
        }
        best
    }

    /// Lets go of the refusals that ended.
    fn expire(&mut self, now: Mono) {
        while let Some((until, at, client)) = self.ends.first().copied() {
            if until > now {
                break;
            }
            self.ends.pop_first();
            let born = self.clients.existing(client).map(|known| known.born);
            let Some(agent) = self.agent_mut(at) else { continue };
            agent.filters.expire(client, born, now);
            if !self.spare.contains(&at) {
                continue;
            }
            let scope = self.dirty.entry(at).or_insert_with(|| Scope::Only(Default::default()));
            if let Scope::Only(few) = scope
                && !few.contains(&client)
            {
                few.push(client);
            }
        }
    }

    pub(super) fn plan_round(&mut self, now: Mono) -> Plan {
        self.expire(now);
        self.tree.settle();
        let seed = self.entropy.next_u64();
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut plan = Plan::default();
        if !self.tree.is_idle(Among::Active) {
            let none = Scope::Only(Default::default());
            let mut turns: Vec<(u64, AgentIx, Scope)> = Vec::new();
            let mut enlist = |at: AgentIx, scope: Scope, agent: Option<&Agent>| {
                if let Some(agent) = agent {
                    turns.push((turn(seed, agent.lot), at, scope));
                }
            };
            if self.tree.is_idle(Among::Hot) {
                for (at, scope) in dirty {
                    enlist(at, scope, self.agent(at));
                }
            } else {
                for at in &self.spare {
                    let scope = dirty.remove(at).unwrap_or_else(|| none.clone());
                    enlist(*at, scope, self.agent(*at));
                }
            }
            if turns.iter().all(|(_, _, scope)| matches!(scope, Scope::All)) {
                // All clients are asked anyway, so that nobody need keep the hot ones in order.
                self.tree.cool();
            }
            turns.sort_unstable_by_key(|(turn, at, _)| (*turn, *at));
            plan.proposals.reserve(turns.len());
            for (_, at, scope) in turns {
                self.plan_agent(now, at, &scope, &mut plan);
            }
        }
        self.tree.cool();
        plan
    }

    fn plan_agent(&mut self, now: Mono, at: AgentIx, scope: &Scope, plan: &mut Plan) {
        let mut seen = Seen::default();
        let mut scope = scope;
        while let Some(agent) = self.agent(at).filter(|agent| !agent.free().is_empty()) {
            seen.held_on_round = false;
            let Some(client) = self.taker(now, agent, scope, &mut seen) else { break };
            // What is left is less than what the others refused, so ask all of them.
            scope = &Scope::All;
            let known = self.clients.at(client);
            let resources = usable(agent, known).into_owned();
            plan.proposals.push(Proposal {
                framework: known.framework.clone(),
                role: known.role.clone(),
                agent: agent.id.clone(),
                resources: resources.clone(),
                epoch: agent.facts.epoch,
            });
            self.book(at, client, resources);
        }
        add_work(&mut plan.work, &seen);
        let left = self.agent(at).is_some_and(|agent| !agent.free().is_empty());
        if !left {
            self.spare.remove(&at);
        } else if seen.held_on_round {
            self.end_round(now, at);
        }
    }

    fn book(&mut self, at: AgentIx, client: ClientIx, resources: Resources) {
        let amounts = self.kinds.amounts(&resources);
        let Some(agent) = self.agent_mut(at) else { return };
        let first = agent.book(client, resources);
        let known = self.clients.at_mut(client);
        known.bookings += usize::from(first);
        self.tree.book(known.leaf, &amounts);
    }

    /// Nobody takes what is left on the agent but those who refused it.
    fn end_round(&mut self, now: Mono, at: AgentIx) {
        let stamp = self.clients.now_stamp();
        let Some(agent) = self.agents.get_mut(at.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let clients = &self.clients;
        let ends = agent.filters.end_round(now + SOONEST_RETURN, stamp, |filter| {
            let known = clients.alive(filter.client, filter.stamp)?;
            Some(if filter.stamp >= known.revived { filter.until } else { now })
        });
        self.note_ends(at, ends);
    }
}

fn add_work(work: &mut Work, seen: &Seen) {
    work.agents += 1;
    work.pairs += seen.pairs;
}
