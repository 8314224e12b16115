use serde_json::json;

use super::*;
use crate::model::Queue;

fn huge() -> App {
    serde_json::from_value(json!({
        "id": "/t/huge", "cmd": "sleep 1", "cpus": 10000, "mem": 10, "instances": 1,
        "tasksRunning": 0, "role": "*"
    }))
    .unwrap()
}

fn agents() -> Vec<Agent> {
    serde_json::from_value(json!([
        {"id": "S0", "hostname": "node1", "active": true,
         "resources": {"cpus": 2.0, "mem": 1000, "ports": "[31000-32000]"},
         "used_resources": {"cpus": 0.5, "mem": 900}},
        {"id": "S1", "hostname": "node2", "active": true,
         "resources": {"cpus": 4, "mem": 1000}, "used_resources": {"cpus": 3.9, "mem": 990}}
    ]))
    .unwrap()
}

fn queue() -> QueueItem {
    let queue: Queue = serde_json::from_value(json!({"queue": [{
        "count": 1, "since": "2030-01-02T03:04:06.000Z",
        "delay": {"timeLeftSeconds": 0, "overdue": true},
        "processedOffersSummary": {"processedOffersCount": 3, "unusedOffersCount": 3,
            "rejectSummaryLastOffers": [
                {"reason": "UnfulfilledRole", "declined": 0, "processed": 2},
                {"reason": "InsufficientCpus", "declined": 2, "processed": 2},
                {"reason": "InsufficientMemory", "declined": 0, "processed": 0}],
            "rejectSummaryLaunchAttempt": []},
        "lastUnusedOffers": [
            {"offer": {"id": "O1", "hostname": "node1", "agentId": "S0", "attributes": [],
                "resources": [{"name": "cpus", "role": "*", "scalar": 1.5},
                              {"name": "ports", "role": "*", "ranges": [{"begin": 1, "end": 2}]}]},
             "reason": ["InsufficientCpus"], "timestamp": "2030-01-02T03:04:06.000Z"},
            {"offer": {"id": "O2", "hostname": "node2", "agentId": "S1", "attributes": [],
                "resources": [{"name": "cpus", "role": "*", "scalar": 0.1}]},
             "reason": ["InsufficientCpus", "InsufficientMemory"],
             "timestamp": "2030-01-02T03:04:06.000Z"}],
        "app": {"id": "/t/huge", "cpus": 10000, "mem": 10}
    }]}))
    .unwrap();
    queue.queue[0].clone()
}

#[test]
fn an_app_too_large_for_every_agent_is_told_so_with_numbers() {
    let text = render(&explain(&huge(), Some(&queue()), Some(&agents())));
    assert_eq!(
        text,
        "/t/huge: 0 of 1 running, 1 waiting
  needs 10000 cpus, best has 1.5 on node1

Offers refused, by the first check that failed:
  InsufficientCpus                 2 of 2

Agents:
  node1: needs 10000 cpus, has 1.5
  node2: needs 10000 cpus, has 0.1; needs 10 MiB of memory, has 0

What would help:
  - no agent is so large: ask for at most 4 cpus per instance, or add an agent with 10000
  - node1 has 100 MiB of memory free now, but they are offered to someone else
"
    );
}

#[test]
fn an_app_that_would_fit_an_empty_agent_is_told_how_much_is_in_the_way() {
    let mut app = huge();
    app.cpus = 3.0;
    let explanation = explain(&app, Some(&queue()), Some(&agents()));
    assert_eq!(explanation.verdict, "needs 3 cpus, best has 1.5 on node1");
    assert_eq!(
        explanation.unblock[0],
        "free 1.5 more cpus on node1 (0.5 of 2 used), or add an agent"
    );
}

#[test]
fn an_app_that_fails_is_told_when_it_starts_again_and_why_it_ended() {
    let mut app = huge();
    app.last_task_failure = serde_json::from_value(json!({
        "appId": "/t/huge", "host": "node1", "message": "Command exited with status 7",
        "state": "TASK_FAILED", "taskId": "x", "timestamp": "", "version": ""
    }))
    .unwrap();
    let mut item = queue();
    item.delay.overdue = false;
    item.delay.time_left_seconds = 9;
    let explanation = explain(&app, Some(&item), Some(&agents()));
    assert_eq!(
        explanation.verdict,
        "it fails and is started again in 9 s; last failure: Command exited with status 7"
    );
    assert_eq!(explanation.delay_seconds, Some(9));
    assert!(explanation.unblock[0].contains("tepui app logs /t/huge --stderr"));
    assert!(!is_placement(&item));
}

#[test]
fn an_app_without_entry_is_told_that_nothing_waits() {
    let mut app = huge();
    app.tasks_running = 1;
    let text = render(&explain(&app, None, Some(&agents())));
    assert_eq!(text, "/t/huge: 1 of 1 running\n  nothing waits: 1 of 1 instances run\n");
    app.instances = 0;
    app.tasks_running = 0;
    assert!(explain(&app, None, None).verdict.starts_with("it is suspended"));
}

#[test]
fn without_agents_nothing_else_is_blamed() {
    let explanation = explain(&huge(), Some(&queue()), Some(&[]));
    assert_eq!(explanation.verdict, "no agent is registered and active");
    assert_eq!(explanation.unblock.len(), 1);
}

#[test]
fn constraints_roles_and_ports_are_named() {
    let app: App = serde_json::from_value(json!({
        "id": "/a", "constraints": [["rack", "LIKE", "a.*"], ["hostname", "UNIQUE"]],
        "acceptedResourceRoles": ["prod"], "requirePorts": true,
        "portDefinitions": [{"port": 80}, {"port": 443}]
    }))
    .unwrap();
    let mut item = queue();
    for (reason, verdict) in [
        ("UnfulfilledConstraint", "its constraints are not met (rack LIKE a.*; hostname UNIQUE)"),
        ("UnfulfilledRole", "no offered resources are of a role it may use (prod)"),
        ("InsufficientPorts", "the ports it wants are not free (80, 443)"),
    ] {
        item.processed_offers_summary.reject_summary_last_offers =
            vec![Rejects { reason: reason.into(), declined: 2, processed: 2 }];
        assert_eq!(explain(&app, Some(&item), Some(&agents())).verdict, verdict);
    }
}

#[test]
fn without_knowledge_of_agents_the_queue_still_tells() {
    let explanation = explain(&huge(), Some(&queue()), None);
    assert_eq!(explanation.verdict, "needs 10000 cpus, best has 1.5 on node1");
}
