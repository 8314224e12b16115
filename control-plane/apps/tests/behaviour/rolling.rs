use tepui_apps::{Command, Reply};
use tepui_marathon::ActionKind;
use tepui_wire::v1::TaskState;

use crate::rig::{Habit, Rig, deployment_of, path};

fn app(instances: u32, min: &str, over: &str) -> String {
    format!(
        r#"{{"id":"/web","cmd":"v 1","cpus":0.1,"mem":1,"instances":{instances},
            "upgradeStrategy":{{"minimumHealthCapacity":{min},"maximumOverCapacity":{over}}}}}"#
    )
}

/// A rig with the app running on it, that does nothing by itself any more.
fn settled(instances: u32, min: &str, over: &str) -> Rig {
    let mut rig = Rig::new();
    for number in 0..10 {
        rig.add_agent(&format!("h{number}"), 10.0, &[]);
    }
    rig.create(&app(instances, min, over)).unwrap();
    rig.advance(20);
    assert_eq!(rig.running("/web"), instances);
    rig.habit = Habit::Manual;
    rig
}

fn started_since(rig: &Rig, old: &[String]) -> Vec<String> {
    rig.live_of("/web").into_iter().filter(|id| !old.contains(id)).collect()
}

#[test]
fn with_full_capacity_on_top_each_healthy_new_task_ends_one_old_one() {
    let mut rig = settled(10, "1", "1");
    let old = rig.live_of("/web");
    rig.put("/web", r#"{"cmd":"v 2"}"#).unwrap();
    rig.advance(20);
    let new = started_since(&rig, &old);
    assert_eq!((new.len(), rig.pending_kills.len()), (10, 0));
    for (number, id) in new.iter().enumerate() {
        rig.report(id, TaskState::TaskRunning);
        rig.advance(1);
        assert_eq!(rig.pending_kills.len(), number + 1);
    }
    rig.habit = Habit::Prompt;
    old.iter().for_each(|id| rig.report(id, TaskState::TaskKilled));
    rig.advance(1);
    assert!(!rig.deploying());
    assert_eq!(rig.live_of("/web"), new);
}

#[test]
fn with_half_capacity_half_goes_at_once_and_the_rest_one_for_one() {
    let mut rig = settled(10, "0.5", "0");
    let old = rig.live_of("/web");
    rig.put("/web", r#"{"cmd":"v 2"}"#).unwrap();
    rig.advance(20);
    assert_eq!(rig.pending_kills.len(), 5);
    assert_eq!(started_since(&rig, &old).len(), 0);
    for id in rig.pending_kills.clone() {
        rig.report(&id, TaskState::TaskKilled);
    }
    rig.advance(20);
    let new = started_since(&rig, &old);
    assert_eq!((new.len(), rig.pending_kills.len()), (5, 0));
    rig.report(&new[0], TaskState::TaskRunning);
    rig.advance(1);
    assert_eq!(rig.pending_kills.len(), 1);
}

#[test]
fn without_room_above_one_more_is_started_and_the_update_goes_one_by_one() {
    let mut rig = settled(3, "1", "0");
    let old = rig.live_of("/web");
    rig.put("/web", r#"{"cmd":"v 2"}"#).unwrap();
    rig.advance(20);
    assert_eq!(started_since(&rig, &old).len(), 1);
    rig.habit = Habit::Prompt;
    rig.report(&started_since(&rig, &old)[0], TaskState::TaskRunning);
    rig.advance(60);
    assert!(!rig.deploying());
    assert_eq!(rig.running("/web"), 3);
}

#[test]
fn a_new_version_that_never_runs_leaves_the_old_one_alone() {
    let mut rig = settled(4, "1", "0.5");
    let old = rig.live_of("/web");
    rig.put("/web", r#"{"cmd":"v 2"}"#).unwrap();
    for _ in 0..20 {
        rig.advance(30);
        for id in started_since(&rig, &old) {
            rig.report(&id, TaskState::TaskFailed);
        }
    }
    assert!(rig.deploying(), "a plan never times out by itself");
    assert_eq!(rig.running("/web"), 4);
    assert!(old.iter().all(|id| rig.live_of("/web").contains(id)));
}

#[test]
fn a_second_change_of_a_deploying_app_is_refused_unless_forced() {
    let mut rig = settled(4, "1", "1");
    let first = deployment_of(&rig.put("/web", r#"{"cmd":"v 2"}"#));
    let refused = rig.put("/web", r#"{"instances":2}"#).unwrap_err();
    assert_eq!(refused.status, 409);
    assert_eq!(refused.body.deployments[0].id, first);
    assert_eq!(rig.apps.app(&path("/web")).unwrap().instances, 4, "refused means not applied");
    rig.force("/web", r#"{"cmd":"v 3"}"#).unwrap();
    assert_eq!(rig.saw("deployment_failed"), 1);
    assert_eq!(rig.apps.deployments().len(), 1);
    rig.habit = Habit::Prompt;
    for id in rig.live_of("/web") {
        rig.report(&id, TaskState::TaskRunning);
    }
    rig.advance(120);
    assert!(!rig.deploying());
    assert_eq!(rig.running("/web"), 4);
    let version = rig.version_of("/web");
    assert!(rig.tasks_of("/web").iter().all(|task| task.version == Some(version)));
}

#[test]
fn cancelling_a_deployment_brings_the_earlier_definition_back() {
    let mut rig = settled(3, "1", "1");
    let first = deployment_of(&rig.put("/web", r#"{"cmd":"v 2"}"#));
    rig.advance(10);
    let back = rig.command(Command::CancelDeployment { id: first, force: false });
    assert_ne!(deployment_of(&back), first);
    assert_eq!(rig.apps.app(&path("/web")).unwrap().cmd.as_deref(), Some("v 1"));
    rig.habit = Habit::Prompt;
    for id in rig.live_of("/web") {
        rig.report(&id, TaskState::TaskRunning);
    }
    rig.advance(120);
    assert!(!rig.deploying());
    assert_eq!(rig.running("/web"), 3);
}

#[test]
fn cancelling_the_creation_of_an_app_removes_it_and_its_empty_groups() {
    let mut rig = Rig::new().agent("a", 1.0);
    let made = rig.create(r#"{"id":"/x/y/web","cmd":"a b","cpus":100}"#);
    let id = deployment_of(&made);
    rig.command(Command::CancelDeployment { id, force: false }).unwrap();
    rig.settle();
    assert!(rig.apps.app(&path("/x/y/web")).is_none());
    assert!(rig.apps.root().group(&path("/x")).is_none());
    assert!(!rig.deploying());
}

#[test]
fn a_forced_cancellation_leaves_things_half_done() {
    let mut rig = settled(3, "1", "1");
    let first = deployment_of(&rig.put("/web", r#"{"cmd":"v 2"}"#));
    let reply = rig.command(Command::CancelDeployment { id: first, force: true }).unwrap();
    assert_eq!(reply, Reply::Done);
    assert!(!rig.deploying());
    assert_eq!(rig.apps.app(&path("/web")).unwrap().cmd.as_deref(), Some("v 2"));
    let gone = rig.command(Command::CancelDeployment { id: first, force: true }).unwrap_err();
    assert_eq!(gone.status, 404);
}

#[test]
fn a_restart_replaces_every_task_and_keeps_the_time_of_the_last_scaling() {
    let mut rig = settled(2, "1", "1");
    rig.habit = Habit::Prompt;
    let old = rig.live_of("/web");
    let before = rig.apps.app(&path("/web")).unwrap().version_info;
    rig.command(Command::RestartApp { id: path("/web"), force: false }).unwrap();
    rig.advance(30);
    let now = rig.live_of("/web");
    assert!(old.iter().all(|id| !now.contains(id)));
    let after = rig.apps.app(&path("/web")).unwrap().version_info;
    assert_eq!(after.last_scaling_at, before.last_scaling_at);
    assert!(after.last_config_change_at > before.last_config_change_at);
}

#[test]
fn a_rollback_brings_a_version_back_and_an_unknown_one_is_not_found() {
    let mut rig = settled(2, "1", "1");
    rig.habit = Habit::Prompt;
    let first = rig.version_of("/web");
    rig.put("/web", r#"{"cmd":"v 2"}"#).unwrap();
    rig.advance(30);
    assert_eq!(rig.apps.app_versions(&path("/web")).len(), 2);
    rig.put("/web", &format!(r#"{{"version":"{first}"}}"#)).unwrap();
    rig.advance(30);
    assert_eq!(rig.apps.app(&path("/web")).unwrap().cmd.as_deref(), Some("v 1"));
    let none = rig.put("/web", r#"{"version":"2001-01-01T00:00:00.000Z"}"#).unwrap_err();
    assert_eq!(none.status, 404);
}

#[test]
fn a_write_that_changes_nothing_still_names_a_deployment() {
    let mut rig = settled(2, "1", "1");
    let version = rig.version_of("/web");
    let reply = rig.put("/web", r#"{"cmd":"v 1"}"#);
    deployment_of(&reply);
    assert!(!rig.deploying());
    assert_eq!(rig.version_of("/web"), version);
    assert_eq!(rig.saw("deployment_success"), 2);
}

#[test]
fn a_single_instance_app_is_gone_before_it_starts_again() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.create(r#"{"id":"/web","cmd":"v 1","labels":{"MARATHON_SINGLE_INSTANCE_APP":"true"}}"#)
        .unwrap();
    rig.habit = Habit::Manual;
    let old = rig.live_of("/web");
    rig.put("/web", r#"{"cmd":"v 2"}"#).unwrap();
    rig.advance(20);
    assert_eq!(rig.live_of("/web"), old);
    rig.habit = Habit::Prompt;
    rig.report(&old[0], TaskState::TaskKilled);
    rig.advance(20);
    assert_eq!(rig.running("/web"), 1);
    assert!(!rig.deploying());
}

#[test]
fn more_deployments_than_allowed_are_refused() {
    let mut rig = Rig::new();
    for number in 0..100 {
        rig.create(&format!(r#"{{"id":"/a{number}","cmd":"a b"}}"#)).unwrap();
    }
    let refused = rig.create(r#"{"id":"/one-more","cmd":"a b"}"#).unwrap_err();
    assert_eq!(refused.status, 403);
    assert!(rig.apps.app(&path("/one-more")).is_none());
}

#[test]
fn readiness_is_asked_again_by_a_deployment_after_a_cancelled_one() {
    let mut rig = Rig::new().agent("a", 10.0);
    let ready = r#""readinessChecks":[{"portName":"default","path":"/ready"}]"#;
    let made = rig.create(&format!(r#"{{"id":"/web","cmd":"v 1",{ready}}}"#));
    let refused = |rig: &mut Rig| {
        rig.answer_probes(|_| tepui_apps::ProbeOutcome::Failed { reason: "refused".into() });
    };
    refused(&mut rig);
    let id = deployment_of(&made);
    rig.command(Command::CancelDeployment { id, force: true }).unwrap();
    rig.advance(100);
    assert!(rig.probes.is_empty(), "no later effect");
    rig.put("/web", r#"{"instances":2}"#).unwrap();
    rig.advance(10);
    assert_eq!(rig.probes.len(), 2);
    rig.answer_probes(|_| tepui_apps::ProbeOutcome::Answered {
        status: 200,
        content_type: "text/plain".into(),
        body: String::new(),
    });
    assert!(!rig.deploying());
}

#[test]
fn a_readiness_check_holds_up_the_update_until_it_answers() {
    let mut rig = Rig::new().agent("a", 10.0);
    let ready = r#""readinessChecks":[{"portName":"default","path":"/ready"}]"#;
    rig.create(&format!(r#"{{"id":"/web","cmd":"v 1",{ready}}}"#)).unwrap();
    assert!(rig.deploying());
    let wait = |rig: &mut Rig, status| {
        rig.answer_probes(|_| tepui_apps::ProbeOutcome::Answered {
            status,
            content_type: "text/plain".into(),
            body: String::new(),
        });
    };
    wait(&mut rig, 503);
    assert!(rig.deploying());
    assert!(!rig.apps.readiness(&path("/web"))[0].ready);
    assert_eq!(rig.apps.deployments()[0].current_actions[0].action, ActionKind::ScaleApplication);
    rig.advance(31);
    wait(&mut rig, 200);
    assert!(!rig.deploying());
    assert!(rig.apps.readiness(&path("/web")).is_empty());
}
