use std::collections::BTreeMap;

use tepui_types::{Latencies, TaskState};
use tepui_wire::v1::{offer, scheduler, task_status};

/// Everything the cluster counts since it was elected; names in `spec/mesos-metrics.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// About agents.
    pub agents: AgentCounters,
    /// Calls, reports and other messages, by what they ask for.
    pub messages: MessageCounters,
    /// Messages that made sense, and ones that did not.
    pub validity: ValidityCounters,
    /// How often tasks came to each terminal state.
    pub ended_tasks: BTreeMap<TaskState, u64>,
    /// How often tasks came to a state from a source for a reason.
    pub outcomes: BTreeMap<TaskOutcome, u64>,
    /// Ends of tasks by state and the reason's wire number.
    pub exits: BTreeMap<(TaskState, Option<i32>), u64>,
    /// How long tasks took from the accepted offer to RUNNING.
    pub placements: Latencies,
    /// Operations other than launches that were refused, by type.
    pub refused_operations: BTreeMap<offer::operation::Type, u64>,
    /// Proposals of the allocator that were given back.
    pub refused_proposals: u64,
    /// Offers that were rescinded because the allocator wanted them for somebody else.
    pub reclaimed_offers: u64,
    /// Tasks with revocable resources that were killed for the same reason.
    pub preempted_tasks: u64,
}

/// `master/<task state>/source_<source>/reason_<reason>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskOutcome {
    /// The state.
    pub state: TaskState,
    /// The source's wire number.
    pub source: i32,
    /// The reason's wire number.
    pub reason: i32,
}

impl TaskOutcome {
    /// The metric's name in the legacy wording.
    pub fn metric(&self) -> String {
        let source = task_status::Source::try_from(self.source)
            .map_or("SOURCE_UNKNOWN", |source| source.as_str_name());
        let reason = task_status::Reason::try_from(self.reason)
            .map_or("REASON_UNKNOWN", |reason| reason.as_str_name());
        format!("master/{}/{source}/{reason}", self.state.wire_name())
            .to_lowercase()
            .replace("agent", "slave")
    }
}

/// About agents (`spec/mesos-metrics.md`, "Master: agents").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCounters {
    /// `slave_registrations`.
    pub registrations: u64,
    /// `slave_reregistrations`.
    pub reregistrations: u64,
    /// `slave_removals/reason_unhealthy`.
    pub removed_unhealthy: u64,
    /// `slave_removals/reason_unregistered`.
    pub removed_unregistered: u64,
    /// `slave_removals/reason_registered`.
    pub removed_registered: u64,
    /// Declared gone.
    pub marked_gone: u64,
    /// `slave_unreachable_scheduled`.
    pub unreachable_scheduled: u64,
    /// `slave_unreachable_canceled`.
    pub unreachable_canceled: u64,
    /// `slave_unreachable_completed`.
    pub unreachable_completed: u64,
    /// `recovery_slave_removals`.
    pub recovery_removals: u64,
    /// How often removals were held back because too many agents are missing (invariant I-37).
    pub removals_held_back: u64,
    /// Links closed because the agent did not handle its directives.
    pub lagging_links: u64,
    /// The highest term above this leader's that an agent obeys, which then is not admitted
    /// (invariant I-15); 0 while there is none.
    pub term_above: u64,
}

impl AgentCounters {
    /// `slave_removals`.
    pub fn removals(&self) -> u64 {
        self.removed_unhealthy
            + self.removed_unregistered
            + self.removed_registered
            + self.marked_gone
    }
}

/// `master/messages_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MessageCounters {
    pub register_framework: u64,
    pub reregister_framework: u64,
    pub unregister_framework: u64,
    pub deactivate_framework: u64,
    pub kill_task: u64,
    pub launch_tasks: u64,
    pub decline_offers: u64,
    pub revive_offers: u64,
    pub suppress_offers: u64,
    pub reconcile_tasks: u64,
    pub reconcile_operations: u64,
    pub resource_request: u64,
    pub framework_to_executor: u64,
    pub executor_to_framework: u64,
    pub operation_status_update_acknowledgement: u64,
    pub status_update: u64,
    pub status_update_acknowledgement: u64,
    pub register_agent: u64,
    pub reregister_agent: u64,
    pub unregister_agent: u64,
    pub exited_executor: u64,
    pub dropped: u64,
}

/// `master/valid_*` and `master/invalid_*`: each is a pair of valid and invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ValidityCounters {
    pub framework_to_executor_messages: (u64, u64),
    pub executor_to_framework_messages: (u64, u64),
    pub status_updates: (u64, u64),
    pub status_update_acknowledgements: (u64, u64),
    pub operation_status_update_acknowledgements: (u64, u64),
}

/// About one framework (`spec/mesos-metrics.md`, "Master: frameworks").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameworkCounters {
    /// Calls received, by the type's wire number.
    pub calls: BTreeMap<i32, u64>,
    /// Events sent, by the type's wire number; heartbeats are the HTTP layer's.
    pub events: BTreeMap<i32, u64>,
    /// Operations in accepted offers, by the type's wire number.
    pub operations: BTreeMap<i32, u64>,
    /// How often tasks came to each terminal state.
    pub ended_tasks: BTreeMap<TaskState, u64>,
    /// Offers sent.
    pub offers_sent: u64,
    /// Offers accepted.
    pub offers_accepted: u64,
    /// Offers declined by a DECLINE.
    pub offers_declined: u64,
    /// Offers taken back.
    pub offers_rescinded: u64,
}

impl FrameworkCounters {
    /// All calls.
    pub fn all_calls(&self) -> u64 {
        self.calls.values().sum()
    }

    /// All events.
    pub fn all_events(&self) -> u64 {
        self.events.values().sum()
    }

    pub(crate) fn call(&mut self, kind: scheduler::call::Type) {
        *self.calls.entry(kind.into()).or_default() += 1;
    }

    pub(crate) fn event(&mut self, kind: scheduler::event::Type) {
        *self.events.entry(kind.into()).or_default() += 1;
    }

    pub(crate) fn operation(&mut self, kind: offer::operation::Type) {
        *self.operations.entry(kind.into()).or_default() += 1;
    }
}

/// Counts one message of a pair.
pub(crate) fn judge(pair: &mut (u64, u64), valid: bool) {
    if valid {
        pair.0 += 1;
    } else {
        pair.1 += 1;
    }
}
