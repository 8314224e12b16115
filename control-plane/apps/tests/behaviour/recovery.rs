use tepui_apps::{Config, Event, Record};
use tepui_wire::v1::TaskState;
use tepui_wire::v1::scheduler::call;

use crate::rig::{Habit, Rig, path};

const WEB: &str = r#"{"id":"/web","cmd":"v 1","cpus":0.1,"mem":1,"instances":4}"#;

fn big() -> Rig {
    let mut rig = Rig::new();
    for number in 0..6 {
        rig.add_agent(&format!("h{number}"), 10.0, &[]);
    }
    rig
}

#[test]
fn a_new_leader_knows_the_same_tasks_and_versions_and_kills_nothing() {
    let mut rig = big();
    rig.create(WEB).unwrap();
    rig.advance(20);
    let (tasks, version) = (rig.live_ids(), rig.version_of("/web"));
    rig.fail_over();
    assert_eq!(rig.version_of("/web"), version);
    assert_eq!(rig.running("/web"), 4);
    rig.advance(1000);
    assert_eq!(rig.live_ids(), tasks);
    assert!(rig.killed.is_empty());
    rig.put("/web", r#"{"instances":6}"#).unwrap();
    rig.advance(20);
    assert_eq!(rig.running("/web"), 6);
    let subscribe = rig.calls.iter().rev().find_map(|call| call.subscribe.as_ref()).unwrap();
    assert_eq!(subscribe.framework_info.id.as_ref().unwrap().value, "F-1");
}

#[test]
fn a_scale_down_before_the_agents_are_back_kills_as_soon_as_they_are() {
    let mut rig = big();
    rig.create(WEB).unwrap();
    rig.advance(20);
    rig.agents_unheard = true;
    rig.fail_over();
    rig.put("/web", r#"{"instances":1}"#).unwrap();
    rig.advance(2);
    assert_eq!(rig.live_ids().len(), 4, "nobody could be told");
    rig.agents_unheard = false;
    for task in rig.live_ids() {
        rig.report(&task, TaskState::TaskRunning);
    }
    rig.settle();
    assert_eq!(rig.live_ids().len(), 1, "not only when kills are repeated");
    assert!(!rig.deploying());
}

#[test]
fn tasks_are_asked_about_until_their_agents_are_back_and_then_no_more() {
    let mut rig = big();
    rig.create(WEB).unwrap();
    rig.advance(20);
    rig.agents_unheard = true;
    rig.fail_over();
    rig.advance(20);
    let asked = |rig: &Rig| rig.count_calls(call::Type::Reconcile);
    let (before, last) = (asked(&rig), rig.calls.len());
    rig.advance(1);
    assert_eq!(asked(&rig), before + 1, "every second");
    assert_eq!(rig.calls[last].reconcile.as_ref().unwrap().tasks.len(), 4);
    rig.agents_unheard = false;
    // They are confirmed within one second; one whole reconciliation follows.
    rig.advance(2);
    let settled = asked(&rig);
    rig.advance(500);
    assert_eq!(asked(&rig), settled);
}

#[test]
fn a_running_deployment_goes_on_under_a_new_leader() {
    let mut rig = big();
    rig.create(WEB).unwrap();
    rig.advance(20);
    rig.habit = Habit::Manual;
    rig.put("/web", r#"{"cmd":"v 2"}"#).unwrap();
    rig.advance(6);
    let id = rig.apps.deployments()[0].id;
    rig.fail_over();
    assert_eq!(rig.apps.deployments()[0].id, id);
    rig.habit = Habit::Prompt;
    for task in rig.live_ids() {
        rig.report(&task, TaskState::TaskRunning);
    }
    rig.advance(60);
    assert!(!rig.deploying());
    assert_eq!(rig.running("/web"), 4);
    assert_eq!(rig.live_ids().len(), 4);
}

#[test]
fn tasks_that_ended_meanwhile_are_replaced() {
    let mut rig = big();
    rig.create(WEB).unwrap();
    rig.advance(20);
    let lost = rig.live_ids().remove(0);
    rig.tasks.remove(&lost);
    rig.fail_over();
    rig.advance(30);
    assert_eq!(rig.live_ids().len(), 4);
    assert_eq!(rig.running("/web"), 4);
}

#[test]
fn without_its_framework_id_a_leader_refuses_to_register() {
    let mut rig = big();
    rig.create(WEB).unwrap();
    rig.store.retain(|_, record| !matches!(record, Record::Framework(_)));
    let subscribes = rig.count_calls(call::Type::Subscribe);
    rig.fail_over();
    assert!(rig.halted);
    assert_eq!(rig.count_calls(call::Type::Subscribe), subscribes);
}

#[test]
fn a_store_that_lost_its_instances_does_not_cost_every_task() {
    let mut rig = big();
    rig.create(&WEB.replace(r#""instances":4"#, r#""instances":40"#)).unwrap();
    rig.advance(60);
    assert_eq!(rig.live_ids().len(), 40);
    rig.store.retain(|_, record| !matches!(record, Record::Instance(_)));
    rig.fail_over();
    assert_eq!(rig.killed.len(), 20, "the budget for unknown tasks");
    assert!(rig.alarms > 0);
}

#[test]
fn an_empty_store_kills_only_within_the_budget() {
    let mut rig = big();
    rig.create(&WEB.replace(r#""instances":4"#, r#""instances":40"#)).unwrap();
    rig.advance(60);
    rig.store.clear();
    rig.fail_over();
    rig.advance(100);
    assert_eq!(rig.killed.len(), 20);
}

#[test]
fn instances_whose_app_is_not_stored_are_left_alone() {
    let mut rig = big();
    rig.create(WEB).unwrap();
    rig.advance(20);
    rig.store.retain(|_, record| !matches!(record, Record::App(_)));
    rig.fail_over();
    rig.advance(2000);
    assert_eq!(rig.live_ids().len(), 4);
    assert!(rig.killed.is_empty());
}

#[test]
fn a_broken_stream_is_opened_again_and_waiting_kills_are_repeated() {
    let mut rig = big();
    rig.create(WEB).unwrap();
    rig.advance(20);
    rig.habit = Habit::Manual;
    rig.delete("/web").unwrap();
    let kills = rig.count_calls(call::Type::Kill);
    rig.connected = false;
    rig.feed(Event::Disconnected);
    assert_eq!(rig.saw("scheduler_disconnected_event"), 1);
    rig.advance(2);
    assert_eq!(rig.saw("scheduler_reregistered_event"), 1);
    assert_eq!(rig.count_calls(call::Type::Kill), kills + 4);
}

#[test]
fn history_is_kept_and_pruned() {
    let config = Config { max_versions: 5, ..Config::default() };
    let mut rig = Rig::unelected(3, config);
    rig.feed(Event::Elected { records: Vec::new() });
    rig.add_agent("a", 10.0, &[]);
    rig.settle();
    rig.create(&WEB.replace("4", "1")).unwrap();
    for number in 0..12 {
        rig.put("/web", &format!(r#"{{"cmd":"v {number}"}}"#)).unwrap();
        rig.advance(30);
    }
    assert_eq!(rig.apps.app_versions(&path("/web")).len(), 5);
    rig.delete("/web").unwrap();
    for number in 0..12 {
        rig.create(&format!(r#"{{"id":"/x{number}","cmd":"a b"}}"#)).unwrap();
        rig.advance(30);
    }
    let traces = rig.store.keys().filter(|key| format!("{key:?}").contains("/web")).count();
    assert_eq!(traces, 0, "a deleted app leaves no trace in the end");
    rig.fail_over();
    assert_eq!(rig.apps.app_versions(&path("/x3")).len(), 1);
}

#[test]
fn what_was_acknowledged_survives_a_death_at_any_effect() {
    // How many effects the whole story has.
    let mut after = 0;
    loop {
        let mut rig = big();
        rig.dies_after = Some(after);
        let made = rig.create(WEB).is_ok();
        rig.advance(10);
        let changed = rig.put_quietly("/web", r#"{"cmd":"v 2","instances":3}"#, false).is_ok();
        rig.advance(20);
        let died = rig.died;
        rig.fail_over();
        rig.advance(400);
        let app = rig.apps.app(&path("/web"));
        assert!(app.is_some() || !made, "lost after {after} effects");
        if changed {
            assert_eq!(app.unwrap().instances, 3, "lost after {after} effects");
        }
        let wanted = app.map_or(0, |app| app.instances);
        assert_eq!(rig.live_ids().len(), wanted as usize, "after {after} effects");
        assert_eq!(rig.running("/web"), wanted, "after {after} effects");
        assert!(!rig.deploying(), "after {after} effects");
        if !died {
            break;
        }
        after += 1;
    }
    assert!(after > 50, "{after}");
}
