//! The families of the control plane itself.

use tepui_cluster::{Cluster, Sums};
use tepui_types::{Now, ResourceName, Resources, Scalar, TaskState};

use super::{Metrics, length, number, tasks_by_state};
use crate::plane::Facts;

static SCALARS: [ResourceName; 4] =
    [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk];

const OPERATIONS: [&str; 8] = [
    "reserve",
    "unreserve",
    "create",
    "destroy",
    "grow_volume",
    "shrink_volume",
    "create_disk",
    "destroy_disk",
];

const OPERATION_STATES: [&str; 9] = [
    "total",
    "pending",
    "recovering",
    "unreachable",
    "finished",
    "failed",
    "error",
    "dropped",
    "gone_by_operator",
];

pub(super) fn process(all: &mut Metrics, cluster: &Cluster, facts: &Facts, now: Now) {
    let elected = f64::from(u8::from(cluster.elected().is_some()));
    all.insert("master/elected".into(), elected);
    let uptime = now.mono.since(facts.started.mono).as_secs_f64();
    all.insert("master/uptime_secs".into(), uptime);
    // One loop takes everything in turn; what waits for it is not sorted by kind.
    // All of it counts as dispatches.
    for queue in ["messages", "http_requests"] {
        all.insert(format!("master/event_queue_{queue}"), 0.0);
    }
    all.insert("master/outstanding_offers".into(), length(cluster.offers().len()));
    all.insert("registrar/log/recovered".into(), elected);
    // The store answers for its own replicas; here it is one.
    all.insert("registrar/log/ensemble_size".into(), 1.0);
    all.insert("registrar/queued_operations".into(), 0.0);
}

/// Scalars added up over all agents; ports of different hosts do not add up.
#[derive(Default)]
pub(super) struct Totals([Total; SCALARS.len()]);

/// One kind of scalar; the second of each pair is revocable.
#[derive(Clone, Copy, Default)]
struct Total {
    all: [Scalar; 2],
    used: [Scalar; 2],
    offered: Scalar,
}

impl Totals {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let mut totals = Self::default();
        for agent in cluster.agents() {
            totals.each(&agent.total, |total, kind, amount| add(&mut total.all[kind], amount));
            totals.each(&agent.used, |total, kind, amount| add(&mut total.used[kind], amount));
            totals.each(&agent.offered, |total, _, amount| add(&mut total.offered, amount));
        }
        totals
    }

    fn each(&mut self, bundle: &Resources, visit: impl Fn(&mut Total, usize, Scalar)) {
        for (identity, amount) in bundle.scalars() {
            if let Some(position) = SCALARS.iter().position(|name| *name == identity.name) {
                visit(&mut self.0[position], usize::from(identity.revocable), amount);
            }
        }
    }

    /// What there is, what is used, what is offered, revocable or not; 0 of what is no scalar.
    pub(super) fn of_resource(&self, name: &ResourceName) -> (f64, f64, f64) {
        let found = self.iter().find(|(other, _)| *other == name).map(|(_, total)| *total);
        let total = found.unwrap_or_default();
        let sum = |pair: [Scalar; 2]| pair[0].saturating_add(pair[1]).as_f64();
        (sum(total.all), sum(total.used), total.offered.as_f64())
    }

    fn iter(&self) -> impl Iterator<Item = (&'static ResourceName, &Total)> {
        SCALARS.iter().zip(&self.0)
    }
}

fn add(sum: &mut Scalar, amount: Scalar) {
    *sum = sum.saturating_add(amount);
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// What there is and what of it is held; and the allocator's view of it in the cluster's books:
/// the two are checked against each other at each plan.
pub(super) fn resources(all: &mut Metrics, cluster: &Cluster) {
    let totals = Totals::of(cluster);
    for (name, total) in totals.iter() {
        for (kind, suffix) in ["", "_revocable"].into_iter().enumerate() {
            let (there, used) = (total.all[kind].as_f64(), total.used[kind].as_f64());
            all.insert(format!("master/{name}{suffix}_total"), there);
            all.insert(format!("master/{name}{suffix}_used"), used);
            all.insert(format!("master/{name}{suffix}_percent"), share(used, there));
        }
        let sum = |pair: [Scalar; 2]| pair[0].saturating_add(pair[1]);
        let held = sum(total.used).saturating_add(total.offered);
        let family = format!("allocator/mesos/resources/{name}");
        all.insert(format!("{family}/total"), sum(total.all).as_f64());
        all.insert(format!("{family}/offered_or_allocated"), held.as_f64());
    }
    for (role, view) in cluster.roles() {
        let dominant = dominant_share(&totals, &view.sums);
        all.insert(format!("allocator/mesos/roles/{role}/shares/dominant"), dominant);
    }
}

/// The largest part of any resource that is in `sums`.
pub(super) fn dominant_share(totals: &Totals, sums: &Sums) -> f64 {
    let shares = totals.iter().map(|(name, total)| {
        let held = sums.used.scalar(name).saturating_add(sums.offered.scalar(name));
        share(held.as_f64(), total.all[0].saturating_add(total.all[1]).as_f64())
    });
    shares.fold(0.0, f64::max)
}

pub(super) fn agents(all: &mut Metrics, cluster: &Cluster) {
    let count = |what: &dyn Fn(&tepui_cluster::state::Agent) -> bool| {
        length(cluster.agents().filter(|agent| what(agent)).count())
    };
    let connected = count(&|agent| agent.is_connected());
    let active = count(&|agent| agent.is_active());
    let known = length(cluster.agents().len());
    let counters = &cluster.counters().agents;
    for (name, value) in [
        ("slaves_connected", connected),
        ("slaves_disconnected", known - connected),
        ("slaves_active", active),
        ("slaves_inactive", known - active),
        ("slaves_unreachable", length(cluster.unreachable_agents().len())),
        ("slave_registrations", number(counters.registrations)),
        ("slave_reregistrations", number(counters.reregistrations)),
        ("slave_removals", number(counters.removals())),
        ("slave_removals/reason_unhealthy", number(counters.removed_unhealthy)),
        ("slave_removals/reason_unregistered", number(counters.removed_unregistered)),
        ("slave_removals/reason_registered", number(counters.removed_registered)),
        ("slave_unreachable_scheduled", number(counters.unreachable_scheduled)),
        ("slave_unreachable_canceled", number(counters.unreachable_canceled)),
        ("slave_unreachable_completed", number(counters.unreachable_completed)),
        ("slave_shutdowns_scheduled", number(counters.unreachable_scheduled)),
        ("slave_shutdowns_canceled", number(counters.unreachable_canceled)),
        ("slave_shutdowns_completed", number(counters.unreachable_completed)),
        ("recovery_slave_removals", number(counters.recovery_removals)),
    ] {
        all.insert(format!("master/{name}"), value);
    }
}

pub(super) fn tasks(all: &mut Metrics, cluster: &Cluster) {
    let now = tasks_by_state(cluster);
    let counters = cluster.counters();
    for state in TaskState::ALL {
        let gauge = matches!(
            state,
            TaskState::Staging
                | TaskState::Starting
                | TaskState::Running
                | TaskState::Killing
                | TaskState::Unreachable
        );
        let value = match gauge {
            true => now.get(&state).copied(),
            false if state.is_terminal() => counters.ended_tasks.get(&state).copied(),
            false => continue,
        };
        let name = state.wire_name().trim_start_matches("TASK_").to_lowercase();
        all.insert(format!("master/tasks_{name}"), number(value.unwrap_or(0)));
    }
    for (outcome, count) in &counters.outcomes {
        all.insert(outcome.metric(), number(*count));
    }
    // No operation but a launch is carried out yet: those asked for are refused at once.
    for family in std::iter::once(String::new()).chain(OPERATIONS.map(|kind| format!("/{kind}"))) {
        for state in OPERATION_STATES {
            all.insert(format!("master/operations{family}/{state}"), 0.0);
        }
    }
    for (kind, count) in &counters.refused_operations {
        let kind = kind.as_str_name().to_lowercase();
        all.insert(format!("master/operations/{kind}/error"), number(*count));
    }
    let refused = counters.refused_operations.values().sum();
    all.insert("master/operations/error".into(), number(refused));
}

pub(super) fn messages(all: &mut Metrics, cluster: &Cluster) {
    let m = &cluster.counters().messages;
    all.insert("master/dropped_messages".into(), number(m.dropped));
    for (name, count) in [
        ("authenticate", 0),
        ("register_framework", m.register_framework),
        ("reregister_framework", m.reregister_framework),
        ("unregister_framework", m.unregister_framework),
        ("deactivate_framework", m.deactivate_framework),
        ("kill_task", m.kill_task),
        ("launch_tasks", m.launch_tasks),
        ("decline_offers", m.decline_offers),
        ("revive_offers", m.revive_offers),
        ("suppress_offers", m.suppress_offers),
        ("reconcile_tasks", m.reconcile_tasks),
        ("reconcile_operations", m.reconcile_operations),
        ("resource_request", m.resource_request),
        ("framework_to_executor", m.framework_to_executor),
        ("executor_to_framework", m.executor_to_framework),
        ("operation_status_update", 0),
        ("operation_status_update_acknowledgement", m.operation_status_update_acknowledgement),
        ("status_update", m.status_update),
        ("status_update_acknowledgement", m.status_update_acknowledgement),
        ("register_slave", m.register_agent),
        ("reregister_slave", m.reregister_agent),
        ("unregister_slave", m.unregister_agent),
        ("update_slave", 0),
        ("exited_executor", m.exited_executor),
    ] {
        all.insert(format!("master/messages_{name}"), number(count));
    }
    let v = &cluster.counters().validity;
    for (name, (valid, invalid)) in [
        ("framework_to_executor_messages", v.framework_to_executor_messages),
        ("executor_to_framework_messages", v.executor_to_framework_messages),
        ("status_updates", v.status_updates),
        ("status_update_acknowledgements", v.status_update_acknowledgements),
        ("operation_status_updates", (0, 0)),
        ("operation_status_update_acknowledgements", v.operation_status_update_acknowledgements),
    ] {
        all.insert(format!("master/valid_{name}"), number(valid));
        all.insert(format!("master/invalid_{name}"), number(invalid));
    }
}
