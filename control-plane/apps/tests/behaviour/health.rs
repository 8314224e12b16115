use tepui_apps::{ProbeKind, ProbeOutcome};
use tepui_marathon::EventPayload;
use tepui_wire::v1::TaskState;

use crate::rig::{Habit, Rig, path};

const CHECKED: &str = r#"{"id":"/web","cmd":"serve it","cpus":0.1,"instances":1,
    "healthChecks":[{"protocol":"HTTP","path":"/ok","portIndex":0,"gracePeriodSeconds":10,
        "intervalSeconds":10,"timeoutSeconds":20,"maxConsecutiveFailures":3}]}"#;

fn answer(status: u16) -> ProbeOutcome {
    ProbeOutcome::Answered { status, content_type: "text/plain".into(), body: String::new() }
}

fn failure() -> ProbeOutcome {
    ProbeOutcome::Failed { reason: "connection refused".into() }
}

#[test]
fn a_checked_app_is_deployed_once_its_check_passes() {
    let mut rig = Rig::new().agent("node", 10.0);
    rig.create(CHECKED).unwrap();
    rig.advance(4);
    assert!(rig.probes.is_empty());
    rig.advance(2);
    let probe = rig.probes.values().next().unwrap().clone();
    assert_eq!(probe.host, "node");
    assert_eq!(probe.port, rig.tasks_of("/web")[0].ports[0]);
    let ProbeKind::Http { tls: false, path: asked, .. } = probe.kind else { panic!() };
    assert_eq!(asked, "/ok");
    assert!(rig.deploying());
    rig.answer_probes(|_| answer(200));
    assert!(!rig.deploying());
    let counts = rig.apps.counts(&path("/web"));
    assert_eq!((counts.tasks_healthy, counts.tasks_unhealthy), (1, 0));
    assert_eq!(rig.saw("health_status_changed_event"), 1);
    assert_eq!(rig.saw("instance_health_changed_event"), 1);
    assert!(rig.tasks_of("/web")[0].health_check_results[0].alive);
}

#[test]
fn failures_count_after_the_grace_period_and_three_of_them_kill() {
    let mut rig = Rig::new().agent("node", 10.0);
    rig.create(CHECKED).unwrap();
    let task = rig.live_ids();
    rig.advance(6);
    rig.answer_probes(|_| failure());
    assert_eq!(rig.apps.counts(&path("/web")).tasks_unhealthy, 0, "in grace");
    for _ in 0..2 {
        rig.advance(10);
        rig.answer_probes(|_| failure());
        assert_eq!(rig.live_ids(), task);
        assert_eq!(rig.apps.counts(&path("/web")).tasks_unhealthy, 1);
    }
    rig.advance(10);
    rig.answer_probes(|_| failure());
    rig.advance(10);
    assert_ne!(rig.live_ids(), task, "killed and replaced");
    assert_eq!(rig.saw("failed_health_check_event"), 3);
    let text = "Task was killed since health check failed. Reason: connection refused";
    assert_eq!(rig.apps.last_task_failure(&path("/web")).unwrap().message, text);
    assert!(rig.published.iter().any(|payload| {
        matches!(payload, EventPayload::UnhealthyInstanceKill { reason, .. }
            if reason == "connection refused")
    }));
}

#[test]
fn after_a_first_success_failures_count_at_once_and_a_success_starts_over() {
    let mut rig = Rig::new().agent("node", 10.0);
    rig.create(CHECKED).unwrap();
    rig.advance(6);
    rig.answer_probes(|_| answer(302));
    let task = rig.live_ids();
    for round in 0..10 {
        rig.advance(10);
        rig.answer_probes(|_| if round % 3 == 2 { answer(200) } else { answer(500) });
    }
    assert_eq!(rig.live_ids(), task);
}

#[test]
fn a_check_that_the_agent_runs_travels_with_the_task_and_comes_back_with_its_updates() {
    let mut rig = Rig::new().agent("node", 10.0);
    rig.habit = Habit::Manual;
    rig.create(
        r#"{"id":"/web","cmd":"serve it","healthChecks":[{"protocol":"COMMAND",
            "command":{"value":"test -e ok"},"maxConsecutiveFailures":2}]}"#,
    )
    .unwrap();
    let id = rig.live_ids().remove(0);
    let check = rig.tasks[&id].info.health_check.clone().unwrap();
    assert_eq!(check.command.unwrap().value.as_deref(), Some("test -e ok"));
    assert_eq!(check.consecutive_failures, Some(2));
    rig.report(&id, TaskState::TaskRunning);
    rig.advance(30);
    assert!(rig.deploying(), "running, but nobody said healthy");
    assert!(rig.probes.is_empty());
    rig.tasks.get_mut(&id).unwrap().healthy = Some(true);
    rig.report(&id, TaskState::TaskRunning);
    rig.settle();
    assert!(!rig.deploying());
    rig.tasks.get_mut(&id).unwrap().healthy = Some(false);
    rig.report(&id, TaskState::TaskRunning);
    rig.settle();
    assert_eq!(rig.apps.counts(&path("/web")).tasks_unhealthy, 1);
    rig.report(&id, TaskState::TaskKilled);
    rig.settle();
    assert_eq!(rig.saw("unhealthy_instance_kill_event"), 1, "the agent killed it for its health");
    let failure = rig.apps.last_task_failure(&path("/web")).unwrap();
    assert_eq!(failure.state, tepui_types::TaskState::Killed);
    let text = "Task was killed since health check failed. Reason: ";
    assert!(failure.message.starts_with(text), "{}", failure.message);
}

#[test]
fn a_task_that_somebody_killed_did_not_fail_its_check() {
    let mut rig = Rig::new().agent("node", 10.0);
    rig.habit = Habit::Manual;
    rig.create(
        r#"{"id":"/web","cmd":"serve it","healthChecks":[{"protocol":"COMMAND",
            "command":{"value":"test -e ok"}}]}"#,
    )
    .unwrap();
    let id = rig.live_ids().remove(0);
    rig.tasks.get_mut(&id).unwrap().healthy = Some(false);
    rig.report(&id, TaskState::TaskRunning);
    rig.settle();
    rig.delete("/web").unwrap();
    rig.report(&id, TaskState::TaskKilled);
    rig.settle();
    assert_eq!(rig.saw("unhealthy_instance_kill_event"), 0);
}

#[test]
fn a_check_has_one_probe_in_line_however_slow_the_probes_are() {
    let mut rig = Rig::new();
    for number in 0..5 {
        rig.add_agent(&format!("h{number}"), 10.0, &[]);
    }
    rig.create(&CHECKED.replace(r#""instances":1"#, r#""instances":300"#)).unwrap();
    rig.advance(300);
    assert_eq!(rig.probes.len(), 256, "so many at once, and none of them is answered");
    for _ in 0..3 {
        let asked = rig.probes.len();
        rig.answer_probes(|_| answer(200));
        assert!(asked <= 256);
    }
    assert!(rig.probes.is_empty(), "300 checks wait for 300 probes, not for 20 times as many");
}

#[test]
fn a_rolling_update_waits_for_health_and_never_ends_too_many_healthy_tasks() {
    let mut rig = Rig::new();
    for number in 0..4 {
        rig.add_agent(&format!("h{number}"), 10.0, &[]);
    }
    rig.create(&CHECKED.replace(
        r#""instances":1"#,
        r#""instances":4,
        "upgradeStrategy":{"minimumHealthCapacity":0.5,"maximumOverCapacity":0}"#,
    ))
    .unwrap();
    rig.advance(12);
    rig.answer_probes(|_| answer(200));
    assert!(!rig.deploying());
    rig.put("/web", r#"{"cmd":"serve that"}"#).unwrap();
    let mut least = 4;
    for _ in 0..20 {
        rig.advance(5);
        least = least.min(rig.apps.counts(&path("/web")).tasks_healthy);
        rig.answer_probes(|_| answer(200));
        least = least.min(rig.apps.counts(&path("/web")).tasks_healthy);
    }
    assert_eq!(least, 2);
    assert!(!rig.deploying());
}

#[test]
fn probes_of_a_task_end_with_it() {
    let mut rig = Rig::new().agent("node", 10.0);
    rig.create(CHECKED).unwrap();
    rig.advance(6);
    assert_eq!(rig.probes.len(), 1);
    rig.delete("/web").unwrap();
    assert!(rig.probes.is_empty());
    rig.advance(100);
    assert!(rig.probes.is_empty());
}
