//! The families of the agent under Mesos's names.

use tepui_agent::Agent;
use tepui_types::{Now, ResourceName};

use super::{Metrics, number};
use crate::show;

const SCALARS: [ResourceName; 4] =
    [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk];

pub(super) fn snapshot(agent: &Agent, now: Now) -> Metrics {
    let mut all = Metrics::new();
    let uptime = now.mono.since(agent.started().mono).as_secs_f64();
    all.insert("slave/uptime_secs".into(), uptime);
    all.insert("slave/registered".into(), f64::from(u8::from(agent.is_registered())));
    let oldest = agent.max_sandbox_age().as_secs_f64();
    all.insert("slave/executor_directory_max_allowed_age_secs".into(), oldest);
    resources(&mut all, agent);
    census(&mut all, agent);
    counters(&mut all, agent);
    all
}

fn resources(all: &mut Metrics, agent: &Agent) {
    let total = show::decode(&agent.config().info.resources);
    let used = show::used(agent);
    for name in SCALARS {
        for (suffix, revocable) in [("", false), ("_revocable", true)] {
            let total = show::scalar(&total, &name, revocable);
            let used = show::scalar(&used, &name, revocable);
            let share = if total > 0.0 { used / total } else { 0.0 };
            all.insert(format!("slave/{name}{suffix}_total"), total);
            all.insert(format!("slave/{name}{suffix}_used"), used);
            all.insert(format!("slave/{name}{suffix}_percent"), share);
        }
    }
}

fn census(all: &mut Metrics, agent: &Agent) {
    let census = agent.census();
    for (name, count) in [
        ("slave/frameworks_active", census.frameworks_active),
        ("slave/tasks_staging", census.staging),
        ("slave/tasks_starting", census.starting),
        ("slave/tasks_running", census.running),
        ("slave/tasks_killing", census.killing),
        ("slave/executors_registering", census.executors_registering),
        ("slave/executors_running", census.executors_running),
        ("slave/executors_terminating", census.executors_terminating),
        ("gc/path_removals_pending", agent.garbage_count() as u64),
    ] {
        all.insert(name.into(), number(count));
    }
}

fn counters(all: &mut Metrics, agent: &Agent) {
    let counters = agent.counters();
    for (name, count) in [
        ("slave/recovery_errors", counters.recovery_errors),
        ("slave/tasks_finished", counters.tasks_finished),
        ("slave/tasks_failed", counters.tasks_failed),
        ("slave/tasks_killed", counters.tasks_killed),
        ("slave/tasks_lost", counters.tasks_lost),
        ("slave/tasks_gone", counters.tasks_gone),
        ("slave/executors_terminated", counters.executors_terminated),
        // Nothing here is oversubscribed, so nothing is preempted.
        ("slave/executors_preempted", 0),
        ("slave/container_launch_errors", counters.container_launch_errors),
        ("slave/valid_status_updates", counters.valid_status_updates),
        ("slave/invalid_status_updates", counters.invalid_status_updates),
        ("slave/valid_framework_messages", counters.valid_framework_messages),
        ("slave/invalid_framework_messages", counters.invalid_framework_messages),
        ("containerizer/fetcher/task_fetches_succeeded", counters.fetches_succeeded),
        ("containerizer/fetcher/task_fetches_failed", counters.fetches_failed),
        ("containerizer/mesos/container_destroy_errors", 0),
        ("gc/path_removals_succeeded", counters.path_removals),
        ("gc/path_removals_failed", 0),
    ] {
        all.insert(name.into(), number(count));
    }
}
