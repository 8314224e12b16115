//! Why a framework is not offered more.

use std::collections::BTreeMap;

use tepui_types::{FrameworkId, Mono, Role};

use super::Drf;
use super::agents::Agent;
use super::clients::ClientIx;
use crate::{NoOffer, Reason};

impl Drf {
    pub(super) fn refusals_by_role(&self, now: Mono) -> BTreeMap<Role, u64> {
        let mut by_client: BTreeMap<ClientIx, u64> = BTreeMap::new();
        let revived = |client| self.clients.existing(client).map(|one| one.revived);
        for agent in self.agents.iter().flatten() {
            for client in agent.filters.holding(now, revived) {
                *by_client.entry(client).or_default() += 1;
            }
        }
        let mut by_role: BTreeMap<Role, u64> = BTreeMap::new();
        for client in self.clients.frameworks.values().flat_map(|one| one.clients.values()) {
            let known = self.clients.at(*client);
            let count = by_client.get(client).copied().unwrap_or(0);
            *by_role.entry(known.role.clone()).or_default() += count;
        }
        by_role
    }

    pub(super) fn reasons(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        let Some(known) = self.clients.frameworks.get(framework) else { return Vec::new() };
        let Some(facts) = &known.facts else { return Vec::new() };
        let mut reasons = Vec::new();
        let mut agents: Vec<&Agent> = self.agents.iter().flatten().collect();
        agents.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        for role in &facts.roles {
            let everywhere = if !facts.active {
                Some(NoOffer::FrameworkInactive)
            } else if facts.suppressed.contains(role) {
                Some(NoOffer::Suppressed)
            } else {
                None
            };
            match (everywhere, known.clients.get(role)) {
                (Some(why), _) => reasons.push(Reason { role: role.clone(), agent: None, why }),
                (None, Some(client)) => {
                    reasons
                        .extend(agents.iter().map(|agent| self.reason(now, role, *client, agent)));
                }
                (None, None) => {}
            }
        }
        reasons
    }

    fn reason(&self, now: Mono, role: &Role, client: ClientIx, agent: &Agent) -> Reason {
        let why = if agent.facts.active {
            match self.judge(now, agent, client) {
                Ok(_) => NoOffer::NotItsTurn,
                Err((why, _)) => why,
            }
        } else {
            NoOffer::AgentInactive
        };
        Reason { role: role.clone(), agent: Some(agent.id.clone()), why }
    }
}
