use tepui_apps::{Command, KillTarget, Reply};
use tepui_marathon::RejectReason;
use tepui_wire::v1::TaskState;
use tepui_wire::v1::scheduler::call;

use crate::rig::{Habit, RUNNING, Rig, path, ports_of, scalar_of};

const WEB: &str = r#"{"id":"/web","cmd":"sleep 1000","cpus":0.5,"mem":64,"instances":3}"#;

#[test]
fn a_created_app_runs_all_its_instances_and_its_deployment_ends() {
    let mut rig = Rig::new().agent("a", 4.0).agent("b", 4.0);
    let reply = rig.create(WEB).unwrap();
    let Reply::AppCreated { app, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(app.service_ports().collect::<Vec<_>>(), [10_000]);
    assert_eq!(rig.running("/web"), 3);
    assert!(!rig.deploying());
    assert_eq!(rig.saw("deployment_success"), 1);
    assert_eq!(rig.saw("deployment_info"), 2);
    assert_eq!(rig.saw("deployment_step_success"), 2);
    for task in rig.tasks_of("/web") {
        assert_eq!(task.state, RUNNING);
        assert!(task.id.as_str().starts_with("web.instance-"), "{}", task.id);
        assert!(task.id.as_str().ends_with("._app.1"));
        assert_eq!(task.service_ports, [10_000]);
        assert_eq!(task.ports.len(), 1);
    }
    assert!(rig.suppressed, "nothing waits, so no offers are wanted");
    assert!(rig.apps.queue(rig.now, true).queue.is_empty());
}

#[test]
fn scaling_up_and_down_touches_only_what_is_missing_or_too_many() {
    let mut rig = Rig::new().agent("a", 40.0);
    rig.create(WEB).unwrap();
    let first = rig.live_of("/web");
    rig.advance(10);
    rig.put("/web", r#"{"instances":7}"#).unwrap();
    rig.advance(10);
    assert_eq!(rig.running("/web"), 7);
    let more = rig.live_of("/web");
    assert!(first.iter().all(|task| more.contains(task)), "scaling restarts nothing");
    rig.put("/web", r#"{"instances":3}"#).unwrap();
    rig.advance(10);
    assert_eq!(rig.live_of("/web"), first, "the youngest go first");
    assert!(!rig.deploying());
}

#[test]
fn a_deleted_app_takes_its_tasks_with_it() {
    let mut rig = Rig::new().agent("a", 40.0);
    rig.create(WEB).unwrap();
    rig.delete("/web").unwrap();
    assert!(rig.live_ids().is_empty());
    assert!(rig.apps.app(&path("/web")).is_none());
    assert_eq!(rig.saw("app_terminated_event"), 1);
    assert_eq!(rig.delete("/web").unwrap_err().status, 404);
}

#[test]
fn a_task_gets_its_documented_environment_and_resources() {
    let mut rig = Rig::new().agent("node1", 4.0);
    rig.create(
        r#"{"id":"/t/web","cmd":"run it","cpus":0.1,"mem":10,"user":"nobody",
            "env":{"PORT":"mine","X":"y"},"labels":{"a.b-c":"v"},
            "portDefinitions":[{"port":0,"name":"http"},{"port":5000,"name":"admin"}],
            "taskKillGracePeriodSeconds":7,
            "fetch":[{"uri":"http://x/y.tgz"}]}"#,
    )
    .unwrap();
    let id = rig.live_ids().remove(0);
    let info = rig.tasks[&id].info.clone();
    let ports = ports_of(&info);
    let env = rig.env_of(&id);
    let get = |name: &str| env.get(name).cloned().unwrap_or_else(|| format!("no {name}"));
    let host_ports = rig.tasks_of("/t/web")[0].ports.clone();
    assert_eq!(get("MESOS_TASK_ID"), id);
    assert_eq!(get("MARATHON_APP_ID"), "/t/web");
    assert_eq!(get("MARATHON_APP_VERSION"), rig.version_of("/t/web").to_string());
    assert_eq!(get("MARATHON_APP_RESOURCE_CPUS"), "0.1");
    assert_eq!(get("MARATHON_APP_RESOURCE_MEM"), "10.0");
    assert_eq!(get("MARATHON_APP_RESOURCE_GPUS"), "0");
    assert_eq!(get("MARATHON_APP_LABELS"), "A_B_C");
    assert_eq!(get("MARATHON_APP_LABEL_A_B_C"), "v");
    assert_eq!(get("HOST"), "node1");
    assert_eq!(get("PORT0"), host_ports[0].to_string());
    assert_eq!(get("PORT1"), host_ports[1].to_string());
    assert_eq!(get("PORT_HTTP"), host_ports[0].to_string());
    assert_eq!(get("PORT_5000"), host_ports[1].to_string());
    assert_eq!(get("PORTS"), format!("{},{}", host_ports[0], host_ports[1]));
    assert_eq!(get("PORT"), "mine", "the user's variables win");
    assert_eq!(ports.len(), 2);
    assert!((scalar_of(&info, "cpus") - 0.1).abs() < 1e-9);
    assert_eq!(info.name, "web.t");
    let command = info.command.unwrap();
    assert_eq!((command.shell, command.value.as_deref()), (Some(true), Some("run it")));
    assert_eq!(command.user.as_deref(), Some("nobody"));
    assert_eq!(command.uris[0].extract, Some(true));
    let grace = info.kill_policy.unwrap().grace_period.unwrap().nanoseconds;
    assert_eq!(grace, 7_000_000_000);
    assert_eq!(info.discovery.unwrap().ports.unwrap().ports.len(), 2);
}

#[test]
fn an_app_that_fits_nowhere_says_why_with_numbers() {
    let mut rig = Rig::new().agent("a", 4.0).agent("b", 8.0);
    rig.create(r#"{"id":"/huge","cmd":"x y","cpus":10000}"#).unwrap();
    let queue = rig.apps.queue(rig.now, true);
    let item = &queue.queue[0];
    assert_eq!((item.count, item.delay.overdue), (1, true));
    let summary = &item.processed_offers_summary;
    assert_eq!(summary.processed_offers_count, 2);
    assert_eq!(summary.unused_offers_count, 2);
    let row =
        |reason| summary.reject_summary_last_offers.iter().find(|r| r.reason == reason).unwrap();
    assert_eq!(row(RejectReason::InsufficientCpus).declined, 2);
    assert_eq!(row(RejectReason::AgentMaintenance).processed, 2);
    assert_eq!(row(RejectReason::InsufficientMemory).processed, 0);
    let unused = item.last_unused_offers.as_ref().unwrap();
    assert_eq!(unused.len(), 2);
    assert_eq!(unused[0].reason, [RejectReason::InsufficientCpus]);
    assert_eq!(rig.count_calls(call::Type::Decline), 1);
    let declined = rig.calls.iter().find_map(|call| call.decline.as_ref()).unwrap();
    assert_eq!(declined.filters.as_ref().unwrap().refuse_seconds, Some(120.0));
}

#[test]
fn at_most_five_tasks_are_launched_from_one_offer() {
    let mut rig = Rig::new().agent("a", 40.0);
    rig.create(r#"{"id":"/web","cmd":"sleep 1","cpus":0.1,"instances":12}"#).unwrap();
    assert_eq!(rig.live_ids().len(), 5);
    rig.advance(11);
    assert_eq!(rig.live_ids().len(), 12);
    let accepts = rig.calls.iter().filter_map(|call| call.accept.as_ref());
    assert!(
        accepts
            .into_iter()
            .all(|accept| { accept.operations[0].launch.as_ref().unwrap().task_infos.len() <= 5 })
    );
}

#[test]
fn launch_tokens_slow_down_tasks_that_do_not_start() {
    let mut rig = Rig::new();
    rig.habit = Habit::Manual;
    for name in 0..40 {
        rig.add_agent(&format!("h{name}"), 100.0, &[]);
    }
    rig.create(r#"{"id":"/web","cmd":"sleep 1","cpus":0.1,"mem":1,"instances":150}"#).unwrap();
    assert_eq!(rig.live_ids().len(), 100);
    rig.advance(40);
    assert_eq!(rig.live_ids().len(), 150);
}

#[test]
fn revives_keep_their_distance() {
    let mut rig = Rig::new().agent("a", 40.0);
    for number in 0..4 {
        rig.create(&format!(r#"{{"id":"/a{number}","cmd":"sleep 1","cpus":0.1}}"#)).unwrap();
    }
    let revives = rig.count_calls(call::Type::Revive);
    assert!(revives <= 1, "{revives}");
    rig.advance(30);
    assert_eq!(rig.live_ids().len(), 4);
}

#[test]
fn required_ports_are_given_exactly_or_the_app_waits() {
    let mut rig = Rig::new().agent("a", 40.0);
    let app = r#"{"id":"/web","cmd":"sleep 1","cpus":0.1,"requirePorts":true,"instances":2,
        "portDefinitions":[{"port":31005}]}"#;
    rig.create(app).unwrap();
    assert_eq!(rig.tasks_of("/web").len(), 1);
    assert_eq!(rig.tasks_of("/web")[0].ports, [31_005]);
    rig.advance(10);
    let queue = rig.apps.queue(rig.now, true);
    let unused = queue.queue[0].last_unused_offers.as_ref().unwrap();
    assert_eq!(unused[0].reason, [RejectReason::InsufficientPorts]);
}

#[test]
fn a_killed_task_comes_back_as_the_next_incarnation_of_its_instance() {
    let mut rig = Rig::new().agent("a", 40.0);
    rig.create(WEB).unwrap();
    let victim = rig.tasks_of("/web")[1].id.clone();
    let reply = rig.kill(KillTarget::Tasks(vec![victim.clone()]), false).unwrap();
    let Reply::Killed(killed) = reply else { panic!("{reply:?}") };
    assert_eq!(killed[0].id, victim);
    rig.advance(10);
    let tasks = rig.tasks_of("/web");
    assert_eq!(tasks.len(), 3);
    assert!(tasks.iter().any(|task| task.id == victim.next_incarnation()), "{tasks:?}");
    assert!(rig.apps.last_task_failure(&path("/web")).is_none());
}

#[test]
fn kill_and_scale_ends_just_the_named_tasks() {
    let mut rig = Rig::new().agent("a", 40.0);
    rig.create(WEB).unwrap();
    let victim = rig.tasks_of("/web")[0].id.clone();
    rig.kill(KillTarget::TaskOf(path("/web"), victim.clone()), true).unwrap();
    rig.advance(10);
    assert_eq!(rig.running("/web"), 2);
    assert_eq!(rig.apps.app(&path("/web")).unwrap().instances, 2);
    assert!(!rig.live_ids().contains(&victim.to_string()));
    let both = Command::KillTasks {
        tasks: KillTarget::Tasks(Vec::new()),
        scale: true,
        wipe: true,
        force: false,
    };
    assert_eq!(rig.command(both).unwrap_err().status, 400);
}

#[test]
fn a_launch_that_takes_too_long_is_killed_and_tried_again() {
    let mut rig = Rig::new().agent("a", 40.0);
    rig.habit = Habit::Manual;
    rig.create(r#"{"id":"/web","cmd":"sleep 1","cpus":0.1}"#).unwrap();
    let first = rig.live_ids().remove(0);
    rig.advance(290);
    assert_eq!(rig.pending_kills.len(), 0);
    rig.advance(30);
    assert!(rig.pending_kills.contains(&first));
    rig.report(&first, TaskState::TaskKilled);
    rig.advance(10);
    assert_ne!(rig.live_ids(), [first]);
}

#[test]
fn every_update_is_acknowledged() {
    let mut rig = Rig::new().agent("a", 40.0);
    rig.create(WEB).unwrap();
    assert_eq!(rig.acknowledged.len(), 3);
}

#[test]
fn a_waiting_app_that_is_made_smaller_gets_its_offer_at_once() {
    let mut rig = Rig::new().agent("a", 4.0);
    rig.create(r#"{"id":"/web","cmd":"x y","cpus":10000}"#).unwrap();
    rig.advance(10);
    let before = rig.apps.queue(rig.now, false).queue[0].since;
    rig.put_quietly("/web", r#"{"cpus":5000}"#, true).unwrap();
    let queue = rig.apps.queue(rig.now, false).queue;
    assert!(queue[0].since > before, "another configuration is another launch attempt");
    assert_eq!(queue[0].processed_offers_summary.processed_offers_count, 0);
    rig.advance(10);
    rig.force("/web", r#"{"cpus":1}"#).unwrap();
    rig.advance(6);
    assert_eq!(rig.running("/web"), 1, "it does not wait until declined offers come back");
}

#[test]
fn an_absurd_number_of_instances_costs_no_memory_and_can_be_taken_back() {
    let mut rig = Rig::new().agent("a", 1.0).agent("b", 1.0);
    rig.create(r#"{"id":"/web","cmd":"x y","cpus":0.5,"mem":1,"instances":2147483647}"#).unwrap();
    rig.advance(20);
    assert_eq!(rig.running("/web"), 4);
    assert_eq!(rig.apps.queue(rig.now, false).queue[0].count, 2_147_483_643);
    assert!(rig.published.len() < 2_000, "{} events", rig.published.len());
    rig.force("/web", r#"{"cmd":"y z"}"#).unwrap();
    rig.advance(20);
    rig.fail_over();
    rig.advance(20);
    assert!(rig.deploying());
    rig.force("/web", r#"{"instances":2}"#).unwrap();
    rig.advance(60);
    assert_eq!(rig.running("/web"), 2);
    assert!(!rig.deploying());
    assert!(rig.apps.queue(rig.now, false).queue.is_empty());
}

#[test]
fn more_instances_than_are_made_at_once_all_come_in_the_end() {
    let mut rig = Rig::new();
    for number in 0..20 {
        rig.add_agent(&format!("h{number}"), 100.0, &[]);
    }
    rig.create(r#"{"id":"/web","cmd":"x y","cpus":0.1,"mem":1,"instances":700}"#).unwrap();
    rig.advance(120);
    assert_eq!(rig.running("/web"), 700);
    assert!(!rig.deploying());
    // Outside of a deployment too.
    for task in rig.live_of("/web") {
        rig.report(&task, TaskState::TaskKilled);
    }
    rig.advance(200);
    assert_eq!(rig.running("/web"), 700);
}
