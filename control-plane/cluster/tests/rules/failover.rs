//! What a new leader knows and does.

use tepui_cluster::{Config, Standing};
use tepui_types::TaskState;
use tepui_wire::v1;

use crate::rig::*;

#[test]
fn nothing_is_offered_of_an_agent_before_it_registers_with_its_tasks() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.change_leader();
    let framework = rig.subscribe(framework.info).unwrap();
    assert!(rig.offers(&framework).is_empty());
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    rig.register(Some(&agent.id), agent.info.clone(), vec![known]).unwrap();
    let offers = rig.offers(&framework);
    let cpus = offers[0].resources.iter().find(|one| one.name == "cpus").unwrap();
    assert!((cpus.scalar.as_ref().unwrap().value - 3.0).abs() < 1e-9);
    assert!(rig.statuses(&framework).is_empty(), "it was never lost");
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
}

#[test]
fn an_agent_that_obeys_a_later_leader_is_left_to_it() {
    let mut rig = Rig::new();
    assert!(rig.register_of_term("a1", 7).is_none());
    assert!(rig.register_of_term("a2", 3).is_none());
    assert_eq!(rig.closed_links.len(), 2, "they look for their leader");
    assert!(rig.orders.is_empty(), "and were told nothing");
    assert_eq!(rig.cluster.counters().agents.term_above, 7);
    assert!(rig.register_of_term("a3", 0).is_some());
}

#[test]
fn ids_are_never_handed_out_twice() {
    let mut rig = Rig::new();
    let first = rig.agent("a1", "cpus:1;mem:64");
    let framework = rig.framework("f", PLAIN);
    rig.change_leader();
    let second = rig.agent("a2", "cpus:1;mem:64");
    let other = rig.framework("g", PLAIN);
    let tail = |id: String| id[36..].to_owned();
    assert_ne!(tail(first.id.to_string()), tail(second.id.to_string()));
    assert_ne!(tail(framework.id.to_string()), tail(other.id.to_string()));
}

#[test]
fn a_failover_timeout_goes_on_under_the_new_leader() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.close_stream(&framework);
    rig.advance_alive(secs(400), &[&agent]);
    rig.change_leader();
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let agent = rig.register(Some(&agent.id), agent.info, vec![known]).unwrap();
    assert!(rig.cluster.framework(&framework.id).unwrap().is_recovered());
    rig.advance_alive(secs(190), &[&agent]);
    assert!(rig.cluster.framework(&framework.id).is_some());
    rig.advance_alive(secs(20), &[&agent]);
    assert!(rig.cluster.framework(&framework.id).is_none());
}

#[test]
fn a_framework_that_was_connected_has_at_least_as_long_as_agents_have() {
    let mut rig = Rig::new();
    let info = v1::FrameworkInfo { failover_timeout: None, ..framework_info("f", PLAIN) };
    let framework = rig.subscribe(info).unwrap();
    rig.change_leader();
    rig.advance(secs(599));
    let framework = rig.subscribe(framework.info).unwrap();
    assert!(rig.cluster.framework(&framework.id).unwrap().is_connected());
    rig.change_leader();
    rig.advance(secs(601));
    assert!(rig.cluster.framework(&framework.id).is_none());
}

#[test]
fn a_leap_of_the_wall_clock_removes_no_framework_at_once() {
    let mut rig = Rig::new();
    let framework = rig.framework("f", PLAIN);
    rig.close_stream(&framework);
    rig.now.wall = rig.now.wall + secs(365 * 24 * 3600);
    rig.change_leader();
    rig.advance(secs(70));
    assert!(rig.subscribe(framework.info).is_ok());
}

#[test]
fn a_framework_known_only_to_agents_is_recovered_and_never_timed_out() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.records.retain(|one| !matches!(one, tepui_cluster::Record::Framework { .. }));
    rig.change_leader();
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let agent = rig.register(Some(&agent.id), agent.info, vec![known]).unwrap();
    rig.advance_alive(secs(5000), &[&agent]);
    let recovered = rig.cluster.framework(&framework.id).unwrap();
    assert!(recovered.is_recovered());
    assert_eq!(recovered.tasks.len(), 1);
    let framework = rig.subscribe(framework.info).unwrap();
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
}

#[test]
fn agents_that_do_not_come_back_are_unreachable_after_ten_minutes() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:1;mem:64");
    rig.change_leader();
    assert_eq!(rig.cluster.recovered_agents().len(), 1);
    rig.advance(secs(599));
    assert_eq!(rig.cluster.unreachable_agents().len(), 0);
    rig.advance(secs(2));
    assert_eq!(rig.cluster.unreachable_agents().len(), 1);
    assert!(rig.records.iter().any(|record| matches!(
        record,
        tepui_cluster::Record::Agent { agent: id, standing: Standing::Unreachable { .. }, .. }
            if *id == agent.id
    )));
}

#[test]
fn too_many_missing_agents_are_not_given_up() {
    let config = Config { recovery_agent_removal_limit_percent: 40, ..Config::default() };
    let mut rig = Rig::with(config);
    let agents: Vec<_> = (0..4).map(|n| rig.agent(&format!("a{n}"), "cpus:1;mem:64")).collect();
    rig.change_leader();
    let back = rig.register(Some(&agents[0].id), agents[0].info.clone(), vec![]).unwrap();
    rig.advance_alive(secs(700), &[&back]);
    assert_eq!(rig.cluster.recovered_agents().len(), 3, "nothing is removed");
    assert!(rig.cluster.counters().agents.removals_held_back > 0);
}

#[test]
fn a_recovered_agent_from_another_address_is_refused() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:1;mem:64");
    rig.change_leader();
    let moved = agent_info("elsewhere", "cpus:1;mem:64");
    assert!(rig.register(Some(&agent.id), moved, vec![]).is_none());
    assert_eq!(rig.cluster.recovered_agents().len(), 1);
}

#[test]
fn a_removed_framework_that_an_agent_still_serves_is_shut_down_there() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.break_link(&agent);
    rig.call(&framework, call(tepui_wire::v1::scheduler::call::Type::Teardown));
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let agent = rig.register(Some(&agent.id), agent.info, vec![known]).unwrap();
    let orders = rig.orders(&agent);
    assert!(
        orders.iter().any(|order| matches!(order, tepui_link::Order::ShutdownFramework { .. })),
        "{orders:?}"
    );
    assert_eq!(rig.cluster.tasks().count(), 0);
}
