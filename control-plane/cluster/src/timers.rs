use tepui_types::{AgentId, FrameworkId, Mono};

use crate::Cluster;
use crate::machine::Batch;
use crate::state::OfferNumber;

/// What a timer is for. A timer that is not wanted any more stays in the list and finds, when it
/// fires, that nothing is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An agent may have been silent for too long, or its removal is due.
    Agent(AgentId),
    /// A framework's failover timeout may be over.
    Framework(FrameworkId),
    /// An offer may have waited for too long.
    Offer(OfferNumber),
    /// Agents of the registry had their time to come back.
    RecoveredAgents,
    /// A recovered agent's turn to be declared unreachable.
    RecoveredAgent(AgentId),
    /// Old entries of the registry go.
    RegistryCleaning,
}

impl Cluster {
    pub(crate) fn set_timer(&mut self, due: Mono, timer: Timer) {
        self.timers.insert((due, timer));
    }

    /// Fires every timer that is due, in the order of their times.
    pub(crate) fn fire_timers(&mut self, batch: &mut Batch<'_>) {
        while let Some((due, timer)) = self.timers.first().cloned() {
            if due > batch.mono() {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Agent(agent) => self.agent_timer(&agent, due, batch),
                Timer::Framework(framework) => self.framework_timer(&framework, batch),
                Timer::Offer(offer) => self.offer_timer(offer, batch),
                Timer::RecoveredAgents => self.recovered_agents_timer(batch),
                Timer::RecoveredAgent(agent) => self.recovered_agent_timer(&agent, batch),
                Timer::RegistryCleaning => self.registry_cleaning_timer(batch),
            }
        }
    }
}
