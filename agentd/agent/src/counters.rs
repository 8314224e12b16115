use tepui_types::Latencies;

/// What was counted since the daemon started, for `/metrics/snapshot` and Prometheus
/// (`spec/mesos-metrics.md`, agent).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `slave/tasks_finished`.
    pub tasks_finished: u64,
    /// `slave/tasks_failed`.
    pub tasks_failed: u64,
    /// `slave/tasks_killed`.
    pub tasks_killed: u64,
    /// `slave/tasks_lost`; Mesos counts dropped ones here too.
    pub tasks_lost: u64,
    /// `slave/tasks_gone`.
    pub tasks_gone: u64,
    /// `slave/executors_terminated`.
    pub executors_terminated: u64,
    /// `slave/container_launch_errors`.
    pub container_launch_errors: u64,
    /// `slave/valid_status_updates`.
    pub valid_status_updates: u64,
    /// `slave/invalid_status_updates`.
    pub invalid_status_updates: u64,
    /// `slave/valid_framework_messages`.
    pub valid_framework_messages: u64,
    /// `slave/invalid_framework_messages`.
    pub invalid_framework_messages: u64,
    /// `slave/recovery_errors`.
    pub recovery_errors: u64,
    /// `containerizer/fetcher/task_fetches_succeeded`.
    pub fetches_succeeded: u64,
    /// `containerizer/fetcher/task_fetches_failed`.
    pub fetches_failed: u64,
    /// `gc/path_removals_succeeded`: removals ordered.
    pub path_removals: u64,
    /// Directives refused because their term was lower than one seen before.
    pub refused_terms: u64,
    /// Main processes started.
    pub runs_started: u64,
    /// Times that a run was first seen listening on ports that are not its own.
    pub foreign_ports: u64,
    /// Runs killed because they outlived their grace.
    pub escalated_kills: u64,
    /// How long it took to make sandboxes: artifacts, images and networks.
    pub preparations: Latencies,
    /// How long it took from the order to start a main process until it was there.
    pub starts: Latencies,
}
