//! Metrics under Mesos's names and under our own (`spec/mesos-metrics.md`).

use serde_json::Value as Json;

use crate::client::Rig;
use crate::scenes::busy;

fn number(all: &Json, name: &str) -> f64 {
    all[name].as_f64().unwrap_or_else(|| panic!("no metric {name}"))
}

/// Every name of the reference that needs no task, framework or quota to exist.
fn always() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut family = |prefix: &str, names: &str| {
        all.extend(names.split_whitespace().map(|name| format!("{prefix}{name}")));
    };
    family(
        "master/",
        "elected uptime_secs event_queue_messages event_queue_dispatches \
         event_queue_http_requests operator_event_stream_subscribers http_cache_hits \
         slaves_connected slaves_disconnected slaves_active slaves_inactive slaves_unreachable \
         slave_registrations slave_reregistrations slave_removals \
         slave_removals/reason_unhealthy slave_removals/reason_unregistered \
         slave_removals/reason_registered slave_unreachable_scheduled slave_unreachable_canceled \
         slave_unreachable_completed slave_shutdowns_scheduled slave_shutdowns_canceled \
         slave_shutdowns_completed recovery_slave_removals frameworks_connected \
         frameworks_disconnected frameworks_active frameworks_inactive outstanding_offers \
         tasks_staging tasks_starting tasks_running tasks_killing tasks_unreachable \
         tasks_finished tasks_failed tasks_killed tasks_lost tasks_error tasks_dropped tasks_gone \
         tasks_gone_by_operator dropped_messages",
    );
    for resource in ["cpus", "gpus", "mem", "disk"] {
        for kind in ["", "_revocable"] {
            family(&format!("master/{resource}{kind}_"), "total used percent");
        }
    }
    family(
        "master/messages_",
        "authenticate register_framework reregister_framework unregister_framework \
         deactivate_framework kill_task launch_tasks decline_offers revive_offers \
         suppress_offers reconcile_tasks reconcile_operations resource_request \
         framework_to_executor executor_to_framework operation_status_update \
         operation_status_update_acknowledgement status_update status_update_acknowledgement \
         register_slave reregister_slave unregister_slave update_slave exited_executor",
    );
    for judged in ["valid", "invalid"] {
        family(
            &format!("master/{judged}_"),
            "framework_to_executor_messages executor_to_framework_messages status_updates \
             status_update_acknowledgements operation_status_updates \
             operation_status_update_acknowledgements",
        );
    }
    family(
        "master/operations/",
        "total pending recovering unreachable finished failed error dropped gone_by_operator",
    );
    for kind in
        "reserve unreserve create destroy grow_volume shrink_volume create_disk destroy_disk"
            .split_whitespace()
    {
        family(
            &format!("master/operations/{kind}/"),
            "total pending finished failed error dropped",
        );
    }
    family("registrar/", "queued_operations registry_size_bytes log/recovered log/ensemble_size");
    family("allocator/", "event_queue_dispatches mesos/event_queue_dispatches");
    family("system/", "load_1min load_5min load_15min cpus_total mem_total_bytes mem_free_bytes");
    for resource in ["cpus", "mem", "disk"] {
        family(&format!("allocator/mesos/resources/{resource}/"), "total offered_or_allocated");
    }
    all
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_has_the_names_of_mesos() {
    let rig = Rig::new();
    let all = rig.get("/metrics/snapshot").await.json();
    let missing: Vec<String> = always().into_iter().filter(|name| !all[name].is_number()).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    assert!(all.as_object().unwrap().values().all(Json::is_number));
}

#[tokio::test(start_paused = true)]
async fn the_numbers_are_those_of_the_cluster() {
    let busy = busy().await;
    let all = busy.rig.get("/metrics/snapshot").await.json();
    for (name, value) in [
        ("master/elected", 1.0),
        ("master/slaves_active", 1.0),
        ("master/frameworks_active", 1.0),
        ("master/tasks_running", 2.0),
        ("master/tasks_finished", 1.0),
        ("master/cpus_total", 4.0),
        ("master/cpus_used", 2.1),
        ("master/uptime_secs", 6.0),
        ("master/outstanding_offers", 1.0),
        ("master/messages_register_framework", 2.0),
        ("master/messages_launch_tasks", 1.0),
        ("master/valid_status_updates", 3.0),
        ("master/operator_event_stream_subscribers", 0.0),
    ] {
        assert!((number(&all, name) - value).abs() < 1e-9, "{name} is {}", all[name]);
    }
    let prefix = format!("master/frameworks/busy/{}/", busy.framework.id);
    for (name, value) in [
        ("subscribed", 1.0),
        ("calls/accept", 1.0),
        ("events/update", 3.0),
        ("operations/launch", 1.0),
        ("tasks/active/task_running", 2.0),
        ("tasks/terminal/task_finished", 1.0),
        ("offers/accepted", 1.0),
        ("roles/*/suppressed", 0.0),
    ] {
        let name = format!("{prefix}{name}");
        assert!((number(&all, &name) - value).abs() < 1e-9, "{name} is {}", all[&*name]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_operator_api_has_the_same_numbers() {
    let rig = Rig::new();
    let snapshot = rig.get("/metrics/snapshot").await.json();
    let listed = rig.ask("GET_METRICS").await;
    let listed = listed["get_metrics"]["metrics"].as_array().unwrap();
    assert_eq!(listed.len(), snapshot.as_object().unwrap().len());
    for metric in listed {
        assert!(snapshot.get(metric["name"].as_str().unwrap()).is_some(), "{metric}");
    }
}

#[tokio::test(start_paused = true)]
async fn watchers_are_counted() {
    let rig = Rig::new();
    let events = crate::scenes::watch(&rig).await;
    let count = async || {
        let all = rig.get("/metrics/snapshot").await.json();
        number(&all, "master/operator_event_stream_subscribers")
    };
    assert!((count().await - 1.0).abs() < 1e-9);
    drop(events);
    assert!(count().await.abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn the_timeout_is_a_duration() {
    let rig = Rig::new();
    assert_eq!(rig.get("/metrics/snapshot?timeout=5secs").await.status, 200);
    for bad in ["5", "soon", "-1secs", ""] {
        assert_eq!(rig.get(&format!("/metrics/snapshot?timeout={bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_process_measures_is_shown_under_both_names() {
    let rig = Rig::new();
    rig.plane.timings.stored(std::time::Duration::from_millis(4));
    rig.plane.timings.allocated(std::time::Duration::ZERO, std::time::Duration::from_millis(2));
    let all = rig.get("/metrics/snapshot").await.json();
    assert!((number(&all, "registrar/state_store_ms/p99") - 4.0).abs() < 1e-9);
    assert!((number(&all, "allocator/mesos/allocation_run_ms") - 2.0).abs() < 1e-9);
    assert!((number(&all, "allocator/mesos/allocation_runs") - 1.0).abs() < 1e-9);
    let text = rig.get("/metrics").await.text();
    for family in ["tepui_log_commit_seconds", "tepui_allocation_cycle_seconds"] {
        assert!(text.contains(&format!("{family}_count 1")), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn prometheus_reads_our_own_families() {
    let busy = busy().await;
    let answer = busy.rig.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    for line in [
        "tepui_leader 1",
        "tepui_term 1",
        "tepui_agents{state=\"active\"} 1",
        "tepui_tasks{state=\"running\"} 2",
        "tepui_tasks_ended_total{state=\"finished\"} 1",
        "tepui_frameworks{state=\"connected\"} 1",
        "tepui_placement_latency_seconds_count 2",
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
    }
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        let ours = name.starts_with("tepui_") || name.starts_with("process_");
        assert!(ours, "{name} has another prefix");
    }
}

/// What dashboards and alerts made for Mesos ask for.
#[tokio::test(start_paused = true)]
async fn dashboards_for_mesos_find_the_names_of_its_exporter() {
    let busy = busy().await;
    let timings = &busy.rig.plane.timings;
    timings.stored(std::time::Duration::from_millis(4));
    timings.loaded(std::time::Duration::from_millis(3));
    timings.allocated(std::time::Duration::ZERO, std::time::Duration::from_millis(2));
    let text = busy.rig.get("/metrics/mesos").await.text();
    for line in [
        "mesos_master_elected 1",
        "mesos_master_slaves_state{state=\"connected_active\"} 1",
        "mesos_master_slaves_state{state=\"disconnected_inactive\"} 0",
        "mesos_master_task_states_current{state=\"running\"} 2",
        "mesos_master_task_states_current{state=\"unreachable\"} 0",
        "mesos_master_event_queue_length{type=\"message\"} 0",
        "mesos_master_allocation_run_ms{type=\"mean\"} 2",
        "mesos_master_allocation_run_ms_count 1",
        "mesos_registrar_state_store_ms{type=\"mean\"} 4",
        "mesos_registrar_state_fetch_ms 3",
        "mesos_registrar_log_recovered 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
    }
    for start in [
        "mesos_master_uptime_seconds ",
        "mesos_master_cpus{type=\"total\"} ",
        "mesos_master_mem{type=\"percent\"} ",
        "mesos_master_disk{type=\"percent\"} ",
        "mesos_master_gpus{type=\"total\"} ",
        "mesos_master_messages{type=\"status_update\"} ",
        "mesos_master_event_queue_dispatches ",
        "mesos_master_allocation_run_latency_ms{type=\"mean\"} ",
        "mesos_slave_mem_bytes{slave=\"",
        "mesos_slave_mem_used_bytes{slave=\"",
        "mesos_slave_disk_used_bytes{slave=\"",
    ] {
        assert!(text.lines().any(|found| found.starts_with(start)), "no {start:?} in\n{text}");
    }
}
