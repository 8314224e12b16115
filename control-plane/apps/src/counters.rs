//! What is counted for metrics (`marathon-behaviour.md` section 18).

use std::collections::BTreeMap;

use tepui_marathon::{AppId, RejectReason};
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
    /// Offers declined by the first reason of the first app that could not use them; `None` where no
    /// app wanted one.
    pub declined_for: BTreeMap<Option<RejectReason>, u64>,
    /// What became of each app's tasks; an app that is gone has none.
    pub apps: BTreeMap<AppId, AppCounters>,
    /// Status updates by state.
    pub task_updates: BTreeMap<TaskState, u64>,
    /// Unknown tasks that were left running (invariant I-33).
    pub unknown_tasks_spared: u64,
}

/// What became of an app's tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppCounters {
    /// Ends of tasks by state and the reason's wire number.
    pub exits: BTreeMap<(TaskState, Option<i32>), u64>,
    /// Launches of instances that had run before.
    pub restarts: u64,
}
