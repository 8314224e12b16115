//! Offers that wait for an answer, and agents kept back from those who have enough of them.

use std::collections::{BTreeMap, BTreeSet};

use tepui_types::AgentId;

use super::Client;

#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    counts: BTreeMap<Client, usize>,
    agents: BTreeSet<AgentId>,
    /// What each client would be offered next, in order of rank.
    held_back: BTreeMap<Client, BTreeSet<(u64, AgentId)>>,
    /// For whom an agent is kept back, and its rank then.
    held_agents: BTreeMap<AgentId, (u64, BTreeSet<Client>)>,
    /// Agents on which somebody has revocable resources.
    pub(super) revocable: BTreeSet<AgentId>,
}

impl Open {
    pub(super) fn count(&self, client: &Client) -> usize {
        self.counts.get(client).copied().unwrap_or(0)
    }

    pub(super) fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.agents.iter()
    }

    pub(super) fn made(&mut self, client: &Client, agent: &AgentId) {
        *self.counts.entry(client.clone()).or_default() += 1;
        self.agents.insert(agent.clone());
    }

    /// An offer is over; `last` when no other of the agent waits.
    pub(super) fn answered(&mut self, client: &Client, agent: &AgentId, last: bool) {
        if let Some(count) = self.counts.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(client);
            }
        }
        if last {
            self.agents.remove(agent);
        }
    }

    /// Keeps an agent back for a client until it answers an offer.
    pub(super) fn hold_back(&mut self, client: &Client, rank: u64, agent: &AgentId) {
        let (known, clients) = self.held_agents.entry(agent.clone()).or_default();
        if *known != rank {
            for other in clients.iter() {
                if let Some(agents) = self.held_back.get_mut(other) {
                    agents.remove(&(*known, agent.clone()));
                    agents.insert((rank, agent.clone()));
                }
            }
            *known = rank;
        }
        clients.insert(client.clone());
        self.held_back.entry(client.clone()).or_default().insert((rank, agent.clone()));
    }

    /// The first of the agents that are kept back for a client.
    pub(super) fn take_held_back(&mut self, client: &Client) -> Option<AgentId> {
        let agents = self.held_back.get_mut(client)?;
        let (_, agent) = agents.pop_first()?;
        if agents.is_empty() {
            self.held_back.remove(client);
        }
        if let Some((_, clients)) = self.held_agents.get_mut(&agent) {
            clients.remove(client);
            if clients.is_empty() {
                self.held_agents.remove(&agent);
            }
        }
        Some(agent)
    }

    /// The agent changed: everybody is asked anew.
    pub(super) fn forget_agent_held_back(&mut self, agent: &AgentId) {
        let Some((rank, clients)) = self.held_agents.remove(agent) else { return };
        for client in clients {
            if let Some(agents) = self.held_back.get_mut(&client) {
                agents.remove(&(rank, agent.clone()));
                if agents.is_empty() {
                    self.held_back.remove(&client);
                }
            }
        }
    }

    /// These clients changed, or are gone.
    pub(super) fn forget_held_back(&mut self, of: impl Fn(&Client) -> bool) {
        let clients: Vec<Client> = self.held_back.keys().filter(|one| of(one)).cloned().collect();
        for client in clients {
            while self.take_held_back(&client).is_some() {}
        }
    }
}
