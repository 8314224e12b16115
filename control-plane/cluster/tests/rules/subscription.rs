use tepui_cluster::{Config, Event, RefusalKind};
use tepui_link::Report;
use tepui_types::{RequestId, TaskState};
use tepui_wire::v1::{self, scheduler};

use crate::rig::*;

#[test]
fn a_framework_gets_an_id_with_four_digits_and_a_stream() {
    let mut rig = Rig::new();
    let framework = rig.framework("f", PLAIN);
    let id = framework.id.to_string();
    assert_eq!(&id[36..], "-0000", "{id}");
    assert_eq!(rig.framework("g", PLAIN).id.to_string()[36..], *"-0001");
    assert!(rig.cluster.framework(&framework.id).unwrap().is_connected());
}

#[test]
fn a_bad_description_gets_200_and_one_error_event() {
    let mut rig = Rig::with(Config { root_submissions: false, ..Config::default() });
    let root = v1::FrameworkInfo { user: "root".into(), ..framework_info("f", PLAIN) };
    assert!(rig.subscribe(root).unwrap_err().contains("root"));
    let roles = v1::FrameworkInfo { roles: vec!["a".into()], ..framework_info("f", PLAIN) };
    assert!(rig.subscribe(roles).unwrap_err().contains("MULTI_ROLE"));
    let multi = &[Capability::MultiRole];
    let twice =
        v1::FrameworkInfo { roles: vec!["a".into(), "a".into()], ..framework_info("f", multi) };
    assert!(rig.subscribe(twice).unwrap_err().contains("duplicate"));
    for timeout in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
        let info =
            v1::FrameworkInfo { failover_timeout: Some(timeout), ..framework_info("f", PLAIN) };
        assert!(rig.subscribe(info).unwrap_err().contains("failover_timeout"), "{timeout}");
    }
    let error = rig.subscribe_suppressed(framework_info("f", PLAIN), &["other"]).unwrap_err();
    assert!(error.contains("other"), "{error}");
    assert_eq!(rig.cluster.frameworks().len(), 0);
}

#[test]
fn unequal_ids_are_a_bad_request() {
    let mut rig = Rig::new();
    let request = RequestId(rig.fresh());
    rig.act(Event::Subscribe {
        request,
        framework: Some(tepui_types::FrameworkId::parse("x").unwrap()),
        call: Box::new(scheduler::call::Subscribe {
            framework_info: framework_info("f", PLAIN),
            ..scheduler::call::Subscribe::default()
        }),
        principal: None,
    });
    assert_eq!(rig.cluster.frameworks().len(), 0);
}

#[test]
fn another_subscription_with_the_id_takes_over_and_kills_nothing() {
    let mut rig = Rig::new();
    let (agent, old) = rig.with_running_task(PLAIN);
    rig.advance(secs(6));
    let held = rig.offers(&old);
    assert_eq!(held.len(), 1);
    let new = rig.subscribe(old.info.clone()).unwrap();
    assert_eq!(new.id, old.id);
    assert_ne!(new.stream, old.stream);
    let last = rig.events(&old);
    let errors: Vec<_> = last.iter().filter_map(|event| event.error.as_ref()).collect();
    assert_eq!(errors[0].message, "Framework failed over");
    assert!(last.iter().all(|event| event.rescind.is_none()), "offers go without RESCIND");
    assert!(rig.closed_streams.contains(&old.stream));
    assert_eq!(rig.state(&new, "t1"), Some(TaskState::Running));
    assert!(rig.orders(&agent).is_empty());
    let fresh = rig.offers(&new);
    assert_ne!(fresh[0].id, held[0].id);
    let stale = rig.call_as(Some(old.stream), &new, call(scheduler::call::Type::Teardown));
    assert_eq!(refusal(stale).0, RefusalKind::Invalid);
}

#[test]
fn the_old_stream_closing_late_does_not_hurt_the_new_one() {
    let mut rig = Rig::new();
    let old = rig.framework("f", PLAIN);
    let new = rig.subscribe(old.info.clone()).unwrap();
    rig.act(Event::StreamClosed { stream: old.stream });
    assert!(rig.cluster.framework(&new.id).unwrap().is_connected());
}

#[test]
fn a_framework_that_does_not_come_back_in_time_is_removed_with_its_tasks() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.close_stream(&framework);
    rig.advance_alive(secs(599), &[&agent]);
    assert!(rig.cluster.framework(&framework.id).is_some());
    rig.advance_alive(secs(2), &[&agent]);
    assert!(rig.cluster.framework(&framework.id).is_none());
    let orders = rig.orders(&agent);
    assert!(matches!(orders[..], [tepui_link::Order::ShutdownFramework { .. }]), "{orders:?}");
    assert_eq!(rig.free(&agent), "cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
    assert_eq!(rig.subscribe(framework.info).unwrap_err(), "Framework has been removed");
}

#[test]
fn what_a_removed_framework_holds_is_free_when_its_processes_are_gone() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let before = rig.free(&agent);
    rig.operate(tepui_cluster::Operation::Teardown { framework: framework.id.clone() });
    assert_eq!(rig.free(&agent), before);
    let seen = rig.cluster.agent(&agent.id).unwrap().link.unwrap().sent;
    let beat = |seen, leftovers| Report::Heartbeat { seen, executors: 0, leftovers };
    // It has not heard of the end yet, and then its processes take their time.
    rig.report(&agent, beat(seen - 1, Vec::new()));
    rig.report(&agent, beat(seen, vec![framework.id.clone()]));
    assert_eq!(rig.free(&agent), before);
    rig.report(&agent, beat(seen, Vec::new()));
    assert_eq!(rig.free(&agent), "cpus:4;mem:1024;disk:1000;ports:[31000-31009]");
}

#[test]
fn leftovers_that_are_more_than_an_agent_has_are_given_back_exactly_once() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let framework = tepui_types::FrameworkId::parse("gone").unwrap();
    let leftover = |resources| tepui_link::Leftover {
        framework: framework.clone(),
        resources: wire_resources(resources),
    };
    let leftovers = ["cpus:3;mem:100", "cpus:3;mem:200", "cpus:1;mem:100"].map(leftover);
    let again = rig.register_leftovers(&agent, leftovers.to_vec());
    assert_eq!(rig.free(&again), "mem:624");
    rig.heartbeat(&again);
    assert_eq!(rig.free(&again), "cpus:4;mem:1024");
}

#[test]
fn a_removed_framework_stays_removed_for_the_next_leader_and_for_agents_that_were_away() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.operate(tepui_cluster::Operation::Teardown { framework: framework.id.clone() });
    rig.change_leader();
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let again = rig.register(Some(&agent.id), agent.info.clone(), vec![known]).unwrap();
    assert!(rig.cluster.framework(&framework.id).is_none());
    let orders = rig.orders(&again);
    assert!(matches!(orders[..], [_, tepui_link::Order::ShutdownFramework { .. }]), "{orders:?}");
    assert_eq!(rig.subscribe(framework.info).unwrap_err(), "Framework has been removed");
}

#[test]
fn a_framework_that_comes_back_in_time_keeps_its_tasks() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.close_stream(&framework);
    rig.advance_alive(secs(500), &[&agent]);
    let framework = rig.subscribe(framework.info).unwrap();
    rig.advance_alive(secs(500), &[&agent]);
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
}

#[test]
fn a_framework_without_failover_timeout_is_removed_when_its_stream_ends() {
    let mut rig = Rig::new();
    let info = v1::FrameworkInfo { failover_timeout: None, ..framework_info("f", PLAIN) };
    let framework = rig.subscribe(info).unwrap();
    rig.close_stream(&framework);
    assert!(rig.cluster.framework(&framework.id).is_none());
    assert_eq!(rig.cluster.completed_frameworks().len(), 1);
    assert!(rig.records.iter().all(|r| !matches!(r, tepui_cluster::Record::Framework { .. })));
}

#[test]
fn the_principal_of_a_framework_cannot_change() {
    let mut rig = Rig::new();
    let info = v1::FrameworkInfo { principal: Some("alice".into()), ..framework_info("f", PLAIN) };
    let framework = rig.subscribe(info).unwrap();
    let other = v1::FrameworkInfo { principal: Some("bob".into()), ..framework.info };
    assert!(rig.subscribe(other).unwrap_err().contains("principal"));
}

#[test]
fn a_framework_update_rescinds_the_offers_of_roles_it_leaves() {
    let mut rig = Rig::new();
    rig.agent("a1", "cpus:4;mem:1024");
    let multi = &[Capability::MultiRole];
    let info =
        v1::FrameworkInfo { roles: vec!["a".into(), "b".into()], ..framework_info("f", multi) };
    let framework = rig.subscribe(info).unwrap();
    let offers = rig.offers(&framework);
    let held = offers[0].allocation_info.as_ref().unwrap().role().to_owned();
    let other = if held == "a" { "b" } else { "a" };
    let update = |info: v1::FrameworkInfo| scheduler::Call {
        update_framework: Some(scheduler::call::UpdateFramework {
            framework_info: info,
            ..scheduler::call::UpdateFramework::default()
        }),
        ..call(scheduler::call::Type::UpdateFramework)
    };
    let renamed = v1::FrameworkInfo { user: "else".into(), ..framework.info.clone() };
    assert_eq!(refusal(rig.call(&framework, update(renamed))).0, RefusalKind::Invalid);
    let left = v1::FrameworkInfo { roles: vec![other.into()], ..framework.info.clone() };
    assert_eq!(rig.call(&framework, update(left)), tepui_cluster::Response::Done);
    let events = rig.events(&framework);
    assert!(events.iter().any(|event| event.rescind.is_some()), "{events:?}");
    let offers = rig.offers(&framework);
    assert_eq!(offers[0].allocation_info.as_ref().unwrap().role(), other);
}
