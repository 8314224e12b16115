//! DRAIN_AGENT (`spec/mesos-http.md` 4, "Draining"): an agent is offered no more, its tasks are
//! killed, and once it has none left it is drained, or declared gone. That it drains is durable; kills
//! are ordered again whenever the agent registers.

use tepui_link::Order;
use tepui_types::{AgentId, FrameworkId, Span, TaskState};
use tepui_wire::v1::task_status::Reason;
use tepui_wire::v1::{self, DrainConfig, DrainInfo, DrainState, KillPolicy};

use crate::machine::Batch;
use crate::state::Task;
use crate::{Cluster, Effect, Record, RefusalKind};

/// Grace of a task that names none (`KillPolicy` of Mesos).
const DEFAULT_GRACE: Span = Span::from_secs(3);

/// What an operator wants of an agent that is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The longest grace that its tasks get; their own may be shorter.
    pub max_grace: Option<Span>,
    /// Declare it gone when it is empty.
    pub mark_gone: bool,
    /// It is empty.
    pub drained: bool,
}

impl Drain {
    /// As the operator API shows it.
    #[must_use]
    pub fn to_wire(self) -> DrainInfo {
        let state = if self.drained { DrainState::Drained } else { DrainState::Draining };
        let nanos = |span: Span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        let max_grace_period =
            self.max_grace.map(|span| v1::DurationInfo { nanoseconds: nanos(span) });
        DrainInfo {
            state: state.into(),
            config: DrainConfig { max_grace_period, mark_gone: Some(self.mark_gone) },
        }
    }
}

impl Cluster {
    /// Whether an agent drains, or is drained.
    pub fn drain_of(&self, agent: &AgentId) -> Option<Drain> {
        self.drains.get(agent).copied()
    }

    /// DRAIN_AGENT. Asked again with other terms, these hold.
    pub(crate) fn drain_agent(
        &mut self,
        id: &AgentId,
        max_grace: Option<Span>,
        mark_gone: bool,
        batch: &mut Batch<'_>,
    ) -> Result<(), (RefusalKind, String)> {
        self.set_agent_active(id, false, batch)?;
        self.save_drain(id, Drain { max_grace, mark_gone, drained: false }, batch);
        self.order_drain(id, batch);
        Ok(())
    }

    fn save_drain(&mut self, id: &AgentId, drain: Drain, batch: &mut Batch<'_>) {
        self.drains.insert(id.clone(), drain);
        batch.push(Effect::Save(Record::Drain { agent: id.clone(), drain }));
    }

    /// An agent is offered again, or is no more.
    fn forget_drain(&mut self, id: &AgentId, batch: &mut Batch<'_>) {
        if let Some(drain) = self.drains.remove(id) {
            batch.push(Effect::Forget(Record::Drain { agent: id.clone(), drain }));
        }
    }

    /// REACTIVATE_AGENT ends what is over, and waits for what is not.
    pub(crate) fn end_drain(
        &mut self,
        id: &AgentId,
        batch: &mut Batch<'_>,
    ) -> Result<(), (RefusalKind, String)> {
        match self.drains.get(id) {
            Some(drain) if !drain.drained => {
                Err((RefusalKind::Invalid, format!("Agent {id} is still in the DRAINING state")))
            }
            _ => {
                self.forget_drain(id, batch);
                Ok(())
            }
        }
    }

    /// Tells an agent that drains to kill what it runs; nothing happens while it is away.
    pub(crate) fn order_drain(&mut self, id: &AgentId, batch: &mut Batch<'_>) {
        let Some(drain) = self.drains.get(id).filter(|drain| !drain.drained) else { return };
        let Some(agent) = self.agents.get_mut(id) else { return };
        for (framework, tasks) in agent.tasks.clone() {
            let Some(known) = self.frameworks.get(&framework) else { continue };
            let live = tasks.iter().filter_map(|task| known.tasks.get(task));
            for task in live.filter(|task| !task.state.is_terminal()) {
                let (framework, kill_policy) =
                    (framework.clone(), shortened(task, drain.max_grace));
                let order = Order::Kill { framework, task: task.id.clone(), kill_policy };
                batch.direct(self.term, agent, order);
            }
        }
    }

    /// What an update of a killed task says where its agent drains: why, and that it does not come
    /// back when the agent is to be gone.
    pub(crate) fn explain_drain(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        state: TaskState,
        status: &mut v1::TaskStatus,
    ) -> TaskState {
        let Some(drain) = self.drains.get(agent) else { return state };
        if !matches!(state, TaskState::Killing | TaskState::Killed) {
            return state;
        }
        status.reason = Some(Reason::AgentDraining.into());
        let aware = self.frameworks.get(framework).is_some_and(|one| one.abilities.partition_aware);
        if state != TaskState::Killed || !drain.mark_gone || !aware {
            return state;
        }
        status.state = v1::TaskState::TaskGoneByOperator.into();
        TaskState::GoneByOperator
    }

    /// Agents that drain and have nothing left are drained; what is told of others is forgotten.
    pub(crate) fn settle_drains(&mut self, batch: &mut Batch<'_>) {
        if self.drains.is_empty() {
            return;
        }
        let known = |id: &AgentId| {
            self.agents.contains_key(id)
                || self.recovered.contains_key(id)
                || self.unreachable.contains_key(id)
        };
        let strangers: Vec<_> = self.drains.keys().filter(|id| !known(id)).cloned().collect();
        let empty = |id: &AgentId| {
            self.agents.get(id).is_some_and(|agent| agent.is_connected() && agent.tasks.is_empty())
        };
        let ended: Vec<_> = self
            .drains
            .iter()
            .filter(|(id, drain)| !drain.drained && empty(id))
            .map(|(id, drain)| (id.clone(), *drain))
            .collect();
        for id in strangers {
            self.forget_drain(&id, batch);
        }
        for (id, drain) in ended {
            if drain.mark_gone {
                // It is known, so this is not refused.
                let _ = self.mark_agent_gone(&id, batch);
                self.forget_drain(&id, batch);
            } else {
                self.save_drain(&id, Drain { drained: true, ..drain }, batch);
            }
        }
    }
}

/// The task's kill policy where the operator gives less time than it would have.
fn shortened(task: &Task, max_grace: Option<Span>) -> Option<KillPolicy> {
    let max_grace = max_grace?;
    let own = task.details.as_ref().and_then(|details| details.kill_policy);
    let own = own.and_then(|policy| policy.grace_period).map(|grace| grace.nanoseconds);
    let own =
        own.map_or(DEFAULT_GRACE, |nanos| Span::from_nanos(u64::try_from(nanos).unwrap_or(0)));
    let nanoseconds = i64::try_from(max_grace.as_nanos()).unwrap_or(i64::MAX);
    (max_grace < own).then_some(KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds }) })
}
