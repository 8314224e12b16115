//! A new leader reads what earlier ones saved, and gives agents and frameworks time to come back.

use std::sync::Arc;

use tepui_allocator::{Input, Weight};
use tepui_types::{AgentId, FrameworkId, Span, Term, Wall};
use tepui_wire::v1;

use crate::machine::Batch;
use crate::returns::described_roles;
use crate::state::{DepartedAgent, Framework, RecoveredAgent};
use crate::timers::Timer;
use crate::validate::framework::{read_abilities, read_minimum};
use crate::{Cluster, Effect, Record, Standing};

impl Cluster {
    /// This process leads: nothing is offered of an agent before it registers in this term
    /// (invariant I-2).
    pub(crate) fn recover(&mut self, term: Term, records: Vec<Record>, batch: &mut Batch<'_>) {
        if self.elected.is_some() {
            return;
        }
        self.term = term;
        self.elected = Some(batch.now);
        batch.tell_allocator(Input::Minimum(self.config.minimum.clone()));
        for record in records {
            self.recover_record(record, batch);
        }
        if self.weights.is_empty() {
            self.weights = self.config.weights.iter().cloned().collect();
        }
        if !self.weights.is_empty() {
            let weights = self.weights.iter().map(|(role, w)| (role.clone(), Weight(*w)));
            batch.tell_allocator(Input::Weights(weights.collect()));
        }
        let now = batch.mono();
        if !self.recovered.is_empty() {
            self.set_timer(now + self.config.agent_reregister_timeout, Timer::RecoveredAgents);
        }
        let interval = self.config.registry_gc_interval.max(Span::from_secs(1));
        self.set_timer(now + interval, Timer::RegistryCleaning);
    }

    fn recover_record(&mut self, record: Record, batch: &mut Batch<'_>) {
        match record {
            Record::Counters { agents, frameworks } => {
                self.next.agent = self.next.agent.max(agents);
                self.next.agents_saved = self.next.agents_saved.max(agents);
                self.next.framework = self.next.framework.max(frameworks);
                self.next.frameworks_saved = self.next.frameworks_saved.max(frameworks);
            }
            Record::Agent { agent, info, standing, deactivated } => {
                let info = Arc::new(*info);
                match standing {
                    Standing::Admitted => {
                        self.recovered.insert(agent, RecoveredAgent { info, deactivated });
                    }
                    Standing::Unreachable { since } => {
                        let departed = DepartedAgent { info, deactivated, since };
                        self.unreachable.insert(agent, departed);
                    }
                    Standing::Gone { since } => {
                        let departed = DepartedAgent { info, deactivated, since };
                        self.gone.insert(agent, departed);
                    }
                }
            }
            Record::Framework { framework, info, registered, failover_timeout, disconnected } => {
                self.recover_framework(framework.clone(), *info, registered, batch);
                self.resume_failover(&framework, failover_timeout, disconnected, batch);
            }
            Record::RemovedFramework { framework, since } => {
                self.removed.insert(framework, since);
            }
            Record::Drain { agent, drain } => {
                self.drains.insert(agent, drain);
            }
            Record::Weight { role, weight } => {
                self.weights.insert(role, weight);
            }
        }
    }

    fn recover_framework(
        &mut self,
        id: FrameworkId,
        info: v1::FrameworkInfo,
        registered: Wall,
        batch: &mut Batch<'_>,
    ) {
        let abilities = read_abilities(&info.capabilities);
        let mut framework = Framework::recovered(id.clone(), info, registered);
        framework.abilities = abilities;
        framework.roles = described_roles(&framework.info, abilities.multi_role);
        framework.minimum = read_minimum(&framework.info).unwrap_or_default();
        self.frameworks.insert(id.clone(), framework);
        self.tell_framework(&id, batch);
    }

    /// Counts a framework's failover timeout on from where the former leader left it (invariant
    /// I-35). The wall clock may have jumped meanwhile, so some time to come back is always left;
    /// and a framework that was connected when the former leader ended gets at least as long as
    /// agents do, whatever its timeout: the failure was not its own.
    fn resume_failover(
        &mut self,
        id: &FrameworkId,
        timeout: Span,
        disconnected: Option<Wall>,
        batch: &mut Batch<'_>,
    ) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        framework.failover_timeout = timeout;
        let rest = match disconnected {
            Some(since) => {
                let rest = timeout.saturating_sub(batch.wall().since(since));
                rest.max(self.config.patience.min(timeout))
            }
            None => timeout.max(self.config.agent_reregister_timeout),
        };
        let due = batch.mono() + rest;
        framework.removal_due = Some(due);
        self.set_timer(due, Timer::Framework(id.clone()));
    }

    /// Agents of the registry had their time: the missing ones are unreachable, unless there are
    /// too many of them (invariant I-37).
    pub(crate) fn recovered_agents_timer(&mut self, batch: &mut Batch<'_>) {
        let missing = self.recovered.len();
        let known = missing + self.agents.len();
        if self.is_mass(missing, known, self.config.recovery_agent_removal_limit_percent) {
            self.counters.agents.removals_held_back += 1;
            let pause = self.config.agent_reregister_timeout.max(Span::from_secs(1));
            self.set_timer(batch.mono() + pause, Timer::RecoveredAgents);
            return;
        }
        let ids: Vec<AgentId> = self.recovered.keys().cloned().collect();
        for id in ids {
            self.counters.agents.unreachable_scheduled += 1;
            let turn = self.removal_turn(batch);
            if turn > batch.mono() {
                self.set_timer(turn, Timer::RecoveredAgent(id));
            } else {
                self.recovered_agent_timer(&id, batch);
            }
        }
    }

    /// A recovered agent's turn: unreachable, if it has still not come back. Its tasks are not
    /// known, so only its failure is told.
    pub(crate) fn recovered_agent_timer(&mut self, id: &AgentId, batch: &mut Batch<'_>) {
        let Some(agent) = self.recovered.remove(id) else {
            self.counters.agents.unreachable_canceled += 1;
            return;
        };
        self.counters.agents.unreachable_completed += 1;
        self.counters.agents.recovery_removals += 1;
        self.counters.agents.removed_unhealthy += 1;
        let RecoveredAgent { info, deactivated } = agent;
        let since = batch.wall();
        self.unreachable.insert(id.clone(), DepartedAgent { info, deactivated, since });
        if let Some(record) = self.agent_record(id) {
            batch.push(Effect::Save(record));
        }
        self.announce_failure(id, batch);
    }

    /// Forgets unreachable and gone agents, and removed frameworks, that are too old or too many:
    /// an agent that is forgotten cannot bring a framework back that is.
    pub(crate) fn registry_cleaning_timer(&mut self, batch: &mut Batch<'_>) {
        let (age, count) =
            (self.config.registry_max_agent_age, self.config.registry_max_agent_count);
        let mut records = Vec::new();
        for gone in [false, true] {
            let list = if gone { &self.gone } else { &self.unreachable };
            let mut by_age: Vec<(Wall, AgentId)> =
                list.iter().map(|(id, agent)| (agent.since, id.clone())).collect();
            by_age.sort();
            let surplus = by_age.len().saturating_sub(count);
            for (at, (since, id)) in by_age.into_iter().enumerate() {
                if at < surplus || batch.wall().since(since) > age {
                    records.extend(self.agent_record(&id));
                    if gone {
                        self.gone.remove(&id);
                    } else {
                        self.unreachable.remove(&id);
                    }
                }
            }
        }
        let mut by_age: Vec<(Wall, FrameworkId)> =
            self.removed.iter().map(|(id, since)| (*since, id.clone())).collect();
        by_age.sort();
        let surplus = by_age.len().saturating_sub(count);
        for (at, (since, framework)) in by_age.into_iter().enumerate() {
            if at < surplus || batch.wall().since(since) > age {
                self.removed.remove(&framework);
                records.push(Record::RemovedFramework { framework, since });
            }
        }
        records.into_iter().for_each(|record| batch.push(Effect::Forget(record)));
        let interval = self.config.registry_gc_interval.max(Span::from_secs(1));
        self.set_timer(batch.mono() + interval, Timer::RegistryCleaning);
    }
}
