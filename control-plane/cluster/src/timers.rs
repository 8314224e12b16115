use tepui_types::{AgentId, FrameworkId, Mono, Span};

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

/// A timer that fires later than this after its time was not late by itself: this process stood
/// still, or could not write for so long.
const OWN_PAUSE: Span = Span::from_secs(2);

impl Cluster {
    /// While this process stood still it heard nobody, so nobody's silence in that time counts:
    /// agents and frameworks get it back, and two heartbeats on top to be heard (invariant I-37;
    /// think of a stopped virtual machine or a disk that hangs).
    pub(crate) fn excuse_own_pause(&mut self, batch: &Batch<'_>) {
        let now = batch.mono();
        let late = self.next_wakeup().map_or(Span::ZERO, |due| now.since(due));
        if late <= OWN_PAUSE {
            return;
        }
        let grace = late + self.config.heartbeat.doubled();
        for agent in self.agents.values_mut() {
            agent.last_heard = (agent.last_heard + grace).min(now);
        }
        let mut moved = Vec::new();
        for framework in self.frameworks.values_mut() {
            if let Some(due) = &mut framework.removal_due {
                *due += grace;
                moved.push((*due, Timer::Framework(framework.id.clone())));
            }
        }
        let recovery =
            |timer: &Timer| matches!(timer, Timer::RecoveredAgents | Timer::RecoveredAgent(_));
        let waiting: Vec<_> =
            self.timers.iter().filter(|(_, timer)| recovery(timer)).cloned().collect();
        for entry in waiting {
            self.timers.remove(&entry);
            moved.push((entry.0 + grace, entry.1));
        }
        self.timers.extend(moved);
    }

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
