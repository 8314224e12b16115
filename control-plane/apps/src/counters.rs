//! What is counted for metrics (`marathon-behaviour.md` section 18).

use std::collections::BTreeMap;

use tepui_types::TaskState;

/// Counts since this process leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tasks launched.
    pub tasks_launched: u64,
    /// Deployments started.
    pub deployments: u64,
    /// Deployments cancelled.
    pub deployments_dismissed: u64,
    /// Offers received.
    pub offers_incoming: u64,
    /// Offers from which something was launched.
    pub offers_used: u64,
    /// Offers declined.
    pub offers_declined: u64,
    /// REVIVE calls.
    pub revive_calls: u64,
    /// SUPPRESS calls.
    pub suppress_calls: u64,
    /// LAUNCH operations.
    pub launch_operations: u64,
    /// Status updates by state.
    pub task_updates: BTreeMap<TaskState, u64>,
    /// Unknown tasks that were left running (invariant I-33).
    pub unknown_tasks_spared: u64,
}
