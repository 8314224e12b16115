//! What is taken back, and from whom.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use tepui_plugin_sdk::{
    Agent, AgentId, Books, Client, Mono, Reclaim, Resource, ResourceName, Resources, Scalar, Value,
};

use super::{Claim, Priority};

/// Agents that are looked at for one client in one round: bounds the work; the next round goes on
/// where something changed.
const LOOKS: usize = 256;

/// The revocable scalars of a bundle, at most so much of each.
fn capped(bundle: &Resources, cpus: u64, mem: u64) -> Resources {
    let cap = |one: &Resource| {
        let Value::Scalar(amount) = &one.value else { return None };
        let most = match one.identity.name {
            ResourceName::Cpus => Scalar::from_units(cpus),
            ResourceName::Mem => Scalar::from_units(mem),
            _ => return None,
        };
        let value = Value::Scalar((*amount).min(most));
        Some(Resource { identity: one.identity.clone(), value })
    };
    bundle.iter().filter(|one| one.identity.revocable).filter_map(cap).collect()
}

impl Priority {
    pub(super) fn take_back(&mut self, now: Mono, books: &Books) -> Vec<Reclaim> {
        let wanting: BTreeSet<Client> = books.clients().collect();
        self.claims.retain(|client, claim| {
            claim.until > now
                && wanting.contains(client)
                && books.unanswered(client) == 0
                && books.agent(&claim.agent).is_some()
        });
        let hungry = wanting
            .into_iter()
            .filter(|client| books.unanswered(client) == 0 && !self.claims.contains_key(client));
        let mut hungry: Vec<(Reverse<i64>, Client)> =
            hungry.map(|client| (Reverse(self.of(books, &client.role)), client)).collect();
        hungry.sort();
        let mut claimed: BTreeSet<AgentId> =
            self.claims.values().map(|claim| claim.agent.clone()).collect();
        let mut reclaims = Vec::new();
        for (_, client) in hungry {
            let Some((agent, more)) = self.find(now, books, &client, &claimed) else { continue };
            claimed.insert(agent.clone());
            self.claims.insert(client, Claim { agent, until: now + self.patience() });
            reclaims.extend(more);
        }
        reclaims
    }

    /// An agent on which something could be taken back that the client would take, and what.
    fn find(
        &self,
        now: Mono,
        books: &Books,
        client: &Client,
        claimed: &BTreeSet<AgentId>,
    ) -> Option<(AgentId, Vec<Reclaim>)> {
        let offered = books.offered_agents().take(LOOKS);
        // What is only offered is taken back before anybody is killed.
        let found = offered
            .filter(|(id, _)| !claimed.contains(*id))
            .find_map(|(id, agent)| self.on(now, books, client, (id, agent), false));
        found.or_else(|| {
            if !books.framework(&client.framework)?.revocable {
                return None;
            }
            let used = books.revocable_agents().take(LOOKS);
            used.filter(|(id, _)| !claimed.contains(*id))
                .find_map(|(id, agent)| self.on(now, books, client, (id, agent), true))
        })
    }

    fn on(
        &self,
        now: Mono,
        books: &Books,
        client: &Client,
        (id, agent): (&AgentId, &Agent),
        kill: bool,
    ) -> Option<(AgentId, Vec<Reclaim>)> {
        let mine = self.of(books, &client.role);
        let below = |other: &Client| self.of(books, &other.role) < mine;
        let mut bundle = agent.free().clone();
        let mut reclaims: Vec<Reclaim> = Vec::new();
        let holders: BTreeSet<&Client> = agent.booked().map(|(holder, _)| holder).collect();
        for holder in holders.into_iter().filter(|holder| below(holder)) {
            let offers = agent.unanswered().filter(|(who, _)| *who == holder);
            let mut gives = offers.fold(Resources::new(), |sum, (_, offer)| sum.plus(offer));
            let mut revocable = Resources::new();
            if kill {
                let used = agent.in_use(holder);
                let settings = &self.settings;
                revocable = capped(&used, settings.revocable_cpus, settings.revocable_mem);
                gives.add_all(&revocable);
            }
            let gives = books.usable(client, &gives);
            if gives.is_empty() {
                continue;
            }
            bundle.add_all(&gives);
            reclaims.push(Reclaim {
                framework: holder.framework.clone(),
                role: holder.role.clone(),
                agent: id.clone(),
                revocable,
                beneficiary: client.role.clone(),
            });
            let enough = books.would_take(now, id, client, &books.usable(client, &bundle));
            if enough {
                return Some((id.clone(), reclaims));
            }
        }
        None
    }
}
