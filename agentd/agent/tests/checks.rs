//! Checks and health checks of command tasks.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, command, secs};
use tepui_agent::{Command, Event, Exit, Probe, ProbeOutcome};
use tepui_types::{Span, TaskState::*};
use tepui_wire::v1::{self, HealthCheck, check_info, health_check, task_status::Reason};

fn http_health() -> HealthCheck {
    HealthCheck {
        r#type: Some(health_check::Type::Http.into()),
        delay_seconds: Some(1.0),
        interval_seconds: Some(5.0),
        timeout_seconds: Some(2.0),
        grace_period_seconds: Some(10.0),
        consecutive_failures: Some(3),
        http: Some(health_check::HttpCheckInfo {
            port: 31000,
            path: Some("health".into()),
            scheme: Some("https".into()),
            ..health_check::HttpCheckInfo::default()
        }),
        ..HealthCheck::default()
    }
}

fn watched(check: HealthCheck) -> Rig {
    let mut rig = Rig::registered();
    rig.launch(v1::TaskInfo { health_check: Some(check.into()), ..command("t1") });
    rig
}

fn answer(rig: &mut Rig, outcome: ProbeOutcome) {
    let probe = rig.probes.last().unwrap().0;
    rig.event(Event::Probed { probe, outcome });
    rig.settle();
}

/// Lets the next probe come and answers it.
fn round(rig: &mut Rig, span: Span, outcome: ProbeOutcome) {
    let before = rig.probes.len();
    rig.advance(span);
    assert_eq!(rig.probes.len(), before + 1, "exactly one probe is due");
    answer(rig, outcome);
}

fn health(rig: &Rig) -> Vec<Option<bool>> {
    rig.statuses("t1").iter().map(|status| status.healthy).collect()
}

#[test]
fn a_healthy_task_says_so_once() {
    let mut rig = watched(http_health());
    assert!(rig.probes.is_empty());
    round(&mut rig, secs(1), ProbeOutcome::Http(200));
    let what = &rig.probes[0].1;
    let expected = Probe::Http { tls: true, ipv6: false, port: 31000, path: "/health".into() };
    assert_eq!(what, &expected);
    round(&mut rig, secs(5), ProbeOutcome::Http(399));
    assert_eq!(rig.states("t1"), [Starting, Running, Running]);
    assert_eq!(health(&rig), [None, None, Some(true)]);
    assert_eq!(rig.last("t1").reason(), Reason::TaskHealthCheckStatusUpdated);
}

#[test]
fn the_next_probe_waits_for_the_answer_and_then_for_the_interval() {
    let mut rig = watched(http_health());
    rig.advance(secs(30));
    assert_eq!(rig.probes.len(), 1);
    answer(&mut rig, ProbeOutcome::Http(200));
    rig.advance(Span::from_millis(4999));
    assert_eq!(rig.probes.len(), 1);
    rig.advance(Span::from_millis(1));
    assert_eq!(rig.probes.len(), 2);
}

#[test]
fn failures_in_the_grace_period_do_not_count_until_the_first_success() {
    let mut rig = watched(http_health());
    round(&mut rig, secs(1), ProbeOutcome::Http(500));
    assert_eq!(health(&rig), [None, None]);
    round(&mut rig, secs(5), ProbeOutcome::Http(200));
    round(&mut rig, secs(5), ProbeOutcome::Http(500));
    assert_eq!(health(&rig)[2..], [Some(true), Some(false)]);
}

#[test]
fn a_task_that_never_becomes_healthy_is_told_unhealthy_after_its_grace_period() {
    let mut rig = watched(http_health());
    round(&mut rig, secs(1), ProbeOutcome::Http(500));
    round(&mut rig, secs(5), ProbeOutcome::Http(500));
    assert_eq!(health(&rig), [None, None]);
    round(&mut rig, secs(5), ProbeOutcome::Http(500));
    assert_eq!(health(&rig)[2..], [Some(false)]);
}

#[test]
fn failures_after_the_grace_period_are_told_and_too_many_end_the_task() {
    let mut rig = watched(http_health());
    round(&mut rig, secs(1), ProbeOutcome::Http(200));
    round(&mut rig, secs(5), ProbeOutcome::Failed("timed out".into()));
    round(&mut rig, secs(5), ProbeOutcome::Http(503));
    assert_eq!(health(&rig)[2..], [Some(true), Some(false), Some(false)]);
    assert_eq!(rig.process("t1").terminated, 0);
    round(&mut rig, secs(5), ProbeOutcome::Http(503));
    assert_eq!(rig.process("t1").terminated, 1);
    rig.exit("t1", Exit::Signal(15));
    let last = rig.last("t1");
    assert_eq!((last.state(), last.healthy), (v1::TaskState::TaskKilled, Some(false)));
}

#[test]
fn a_success_between_failures_begins_the_count_anew() {
    let mut rig = watched(http_health());
    round(&mut rig, secs(1), ProbeOutcome::Http(200));
    for outcome in [503, 503, 200, 503, 503, 200] {
        round(&mut rig, secs(5), ProbeOutcome::Http(outcome));
    }
    assert_eq!(rig.process("t1").terminated, 0);
    let told: Vec<_> = health(&rig).into_iter().flatten().collect();
    assert_eq!(told, [true, false, false, true, false, false, true]);
}

#[test]
fn a_tcp_check_counts_a_refusal_as_a_failure() {
    let ipv6 = v1::network_info::Protocol::IPv6.into();
    let tcp = health_check::TcpCheckInfo { port: 31001, protocol: Some(ipv6) };
    let mut rig = watched(HealthCheck {
        r#type: Some(health_check::Type::Tcp.into()),
        http: None,
        tcp: Some(tcp),
        grace_period_seconds: Some(0.0),
        ..http_health()
    });
    round(&mut rig, secs(1), ProbeOutcome::Tcp(false));
    assert_eq!(rig.probes[0].1, Probe::Tcp { ipv6: true, port: 31001 });
    assert_eq!(rig.last("t1").healthy, Some(false));
}

#[test]
fn a_command_check_runs_with_the_tasks_environment_and_user() {
    let script = v1::CommandInfo { value: Some("test -f ok".into()), ..Default::default() };
    let mut rig = watched(HealthCheck {
        r#type: Some(health_check::Type::Command.into()),
        http: None,
        command: Some(script),
        ..http_health()
    });
    round(&mut rig, secs(1), ProbeOutcome::Command(0));
    let Probe::Command { command, environment, user } = &rig.probes[0].1 else { panic!() };
    assert_eq!(*command, Command::Shell("test -f ok".into()));
    assert!(environment.iter().any(|one| one.0 == "MESOS_SANDBOX"));
    assert_eq!(user.as_deref(), Some("alice"));
    assert_eq!(rig.last("t1").healthy, Some(true));
}

#[test]
fn a_check_tells_each_new_result_and_nothing_else() {
    let mut rig = Rig::registered();
    let check = v1::CheckInfo {
        r#type: Some(check_info::Type::Http.into()),
        http: Some(check_info::Http { port: 31000, path: None }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(1.0),
        ..v1::CheckInfo::default()
    };
    rig.launch(v1::TaskInfo { check: Some(check.into()), ..command("t1") });
    let code = |rig: &Rig| {
        let status = rig.last("t1").check_status.unwrap();
        status.http.unwrap().status_code
    };
    assert_eq!(code(&rig), None);
    round(&mut rig, secs(0), ProbeOutcome::Http(200));
    assert_eq!(code(&rig), Some(200));
    assert_eq!(rig.last("t1").reason(), Reason::TaskCheckStatusUpdated);
    round(&mut rig, secs(1), ProbeOutcome::Http(200));
    assert_eq!(rig.statuses("t1").len(), 3);
    round(&mut rig, secs(1), ProbeOutcome::Http(500));
    round(&mut rig, secs(1), ProbeOutcome::Failed("timed out".into()));
    assert_eq!(code(&rig), None);
    assert_eq!(rig.statuses("t1").len(), 5);
    assert_eq!(rig.process("t1").terminated, 0);
}

#[test]
fn a_task_that_ends_is_not_asked_any_more() {
    let mut rig = watched(http_health());
    rig.advance(secs(1));
    rig.exit("t1", Exit::Code(0));
    assert_eq!(rig.cancelled, [rig.probes[0].0]);
    answer(&mut rig, ProbeOutcome::Http(200));
    rig.advance(secs(100));
    assert_eq!(rig.probes.len(), 1);
    assert_eq!(rig.states("t1").last(), Some(&Finished));
}

#[test]
fn a_killed_task_is_not_asked_any_more() {
    let mut rig = watched(http_health());
    rig.kill("t1");
    rig.advance(secs(100));
    assert!(rig.probes.is_empty());
}

#[test]
fn checks_go_on_after_a_restart() {
    let mut rig = watched(http_health());
    round(&mut rig, secs(1), ProbeOutcome::Http(200));
    rig.restart();
    rig.connect();
    let before = rig.statuses("t1").len();
    rig.advance(secs(0));
    answer(&mut rig, ProbeOutcome::Http(200));
    assert_eq!(rig.statuses("t1").len(), before, "it is still healthy: nothing new");
    round(&mut rig, secs(5), ProbeOutcome::Http(500));
    assert_eq!(rig.last("t1").healthy, Some(false));
}
