//! Why a framework is not offered more.

use tepui_types::{FrameworkId, Mono, Role};

use super::Drf;
use super::agents::Agent;
use super::clients::ClientIx;
use crate::{NoOffer, Reason};

impl Drf {
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
