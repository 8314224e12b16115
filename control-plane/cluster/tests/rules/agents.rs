use tepui_cluster::{Config, RemovalRate};
use tepui_link::{Order, Report};
use tepui_types::TaskState;
use tepui_wire::v1;

use crate::rig::*;

#[test]
fn a_new_agent_gets_an_id_and_is_durable_before_it_knows() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    assert_eq!(&agent.id.to_string()[36..], "-S0");
    assert!(rig.records.iter().any(
        |record| matches!(record, tepui_cluster::Record::Agent { agent: id, .. } if *id == agent.id)
    ));
    assert!(matches!(rig.orders(&agent)[..], [Order::Registered { .. }]));
}

#[test]
fn the_shorter_the_patience_the_more_often_an_agent_is_asked_to_speak() {
    for (patience, expected) in [(75, 15), (600, 15), (5, 1)] {
        let mut rig = Rig::with(Config { patience: secs(patience), ..Config::default() });
        let agent = rig.agent("a1", "cpus:4;mem:1024");
        let [Order::Registered { heartbeat, .. }] = rig.orders(&agent)[..] else { panic!() };
        assert_eq!(heartbeat, secs(expected));
    }
}

#[test]
fn whoever_speaks_before_registering_loses_the_link() {
    let mut rig = Rig::new();
    let link = tepui_types::LinkId(rig.fresh());
    let report = Box::new(Report::Heartbeat { seen: 0, executors: 0, leftovers: Vec::new() });
    rig.act(tepui_cluster::Event::Report { link, report });
    assert!(rig.closed_links.contains(&link));
}

#[test]
fn a_broken_link_rescinds_the_offers_and_a_return_offers_again() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.advance_alive(secs(6), &[&agent]);
    assert_eq!(rig.offers(&framework).len(), 1);
    rig.break_link(&agent);
    assert!(rig.events(&framework).iter().any(|event| event.rescind.is_some()));
    assert!(rig.offers(&framework).is_empty());
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    rig.register(Some(&agent.id), agent.info.clone(), vec![known]).unwrap();
    assert_eq!(rig.offers(&framework).len(), 1);
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
}

#[test]
fn a_silent_agent_is_unreachable_after_its_patience() {
    for (capabilities, expected) in
        [(AWARE, "t1 UNREACHABLE AGENT_REMOVED"), (PLAIN, "t1 LOST AGENT_REMOVED")]
    {
        let mut rig = Rig::new();
        let (agent, framework) = rig.with_running_task(capabilities);
        rig.advance(secs(74));
        assert!(rig.cluster.agent(&agent.id).is_some());
        rig.advance(secs(2));
        assert!(rig.cluster.agent(&agent.id).is_none());
        assert_eq!(rig.cluster.unreachable_agents().len(), 1);
        assert!(rig.closed_links.contains(&agent.link));
        let events = rig.events(&framework);
        let statuses: Vec<_> =
            events.iter().filter_map(|e| e.update.as_ref()).map(|u| u.status.clone()).collect();
        assert_eq!(summary(&statuses), [expected]);
        assert!(statuses[0].unreachable_time.is_some());
        assert!(events.iter().any(|event| event.failure.is_some()));
        assert_eq!(rig.cluster.framework(&framework.id).unwrap().unreachable.len(), 1);
    }
}

#[test]
fn an_agent_that_speaks_stays() {
    let mut rig = Rig::new();
    let (agent, _) = rig.with_running_task(PLAIN);
    rig.advance_alive(secs(600), &[&agent]);
    assert!(rig.cluster.agent(&agent.id).unwrap().is_connected());
}

#[test]
fn an_unreachable_agent_that_returns_brings_its_tasks_back() {
    for capabilities in [AWARE, PLAIN] {
        let mut rig = Rig::new();
        let (agent, framework) = rig.with_running_task(capabilities);
        rig.advance(secs(80));
        rig.events(&framework);
        let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
        rig.register(Some(&agent.id), agent.info.clone(), vec![known]).unwrap();
        assert_eq!(summary(&rig.statuses(&framework)), ["t1 RUNNING AGENT_REREGISTERED"]);
        assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
        assert!(rig.cluster.framework(&framework.id).unwrap().unreachable.is_empty());
        assert!(rig.cluster.unreachable_agents().len() == 0);
    }
}

#[test]
fn a_task_that_an_unreachable_agent_returns_without_is_gone() {
    for (capabilities, expected) in [(AWARE, &["t1 GONE RECONCILIATION"][..]), (PLAIN, &[])] {
        let mut rig = Rig::new();
        let (agent, framework) = rig.with_running_task(capabilities);
        rig.advance(secs(80));
        rig.events(&framework);
        rig.register(Some(&agent.id), agent.info.clone(), vec![]).unwrap();
        assert_eq!(summary(&rig.statuses(&framework)), expected);
        let known = rig.cluster.framework(&framework.id).unwrap();
        assert!(known.unreachable.is_empty());
        assert_eq!(known.completed.len(), 1);
    }
}

#[test]
fn refusals_outlive_a_reconnection_but_not_new_attributes() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    let offers = rig.offers(&framework);
    rig.call(&framework, decline(&offers, Some(1000.0)));
    let agent = rig.register(Some(&agent.id), agent.info, vec![]).unwrap();
    assert!(rig.offers(&framework).is_empty());
    let mut info = agent.info;
    info.attributes =
        tepui_wire::attributes::encode(&tepui_wire::attributes::parse_text("rack:r1").unwrap());
    rig.register(Some(&agent.id), info, vec![]).unwrap();
    assert_eq!(rig.offers(&framework).len(), 1);
}

#[test]
fn registering_often_leaves_no_timers_behind() {
    let mut rig = Rig::new();
    let mut agent = rig.agent("a1", "cpus:4;mem:1024");
    for _ in 0..20 {
        rig.advance(secs(1));
        agent = rig.register(Some(&agent.id), agent.info, vec![]).unwrap();
    }
    rig.advance_alive(secs(100), &[&agent]);
    let mut wakeups = 0;
    for _ in 0..300 {
        let due = rig.cluster.next_wakeup().unwrap();
        rig.heartbeat(&agent);
        rig.advance(secs(1));
        wakeups += u32::from(rig.cluster.next_wakeup().unwrap() != due);
    }
    assert!(wakeups <= 5, "{wakeups} timers fired in 300 s");
}

#[test]
fn a_task_that_the_returning_agent_does_not_name_must_be_explained() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(AWARE);
    rig.break_link(&agent);
    let agent = rig.register(Some(&agent.id), agent.info, Vec::new()).unwrap();
    let orders = rig.orders(&agent);
    let [Order::Registered { .. }, Order::Reconcile { tasks }] = &orders[..] else {
        panic!("{orders:?}")
    };
    assert_eq!(tasks.len(), 1);
    assert!(tasks[0].2, "the framework is partition aware");
    let uuid = rig.update(&agent, &framework, "t1", TaskState::Dropped);
    rig.acknowledge(&framework, &agent, "t1", uuid);
    assert_eq!(rig.state(&framework, "t1"), None);
}

#[test]
fn an_ended_task_that_the_returning_agent_does_not_name_is_done() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.update(&agent, &framework, "t1", TaskState::Finished);
    rig.break_link(&agent);
    let agent = rig.register(Some(&agent.id), agent.info, Vec::new()).unwrap();
    assert_eq!(rig.state(&framework, "t1"), None);
    assert_eq!(rig.orders(&agent).len(), 1);
}

#[test]
fn tasks_of_frameworks_that_do_not_checkpoint_are_lost_with_the_link() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let info = v1::FrameworkInfo { checkpoint: Some(false), ..framework_info("f", AWARE) };
    let framework = rig.subscribe(info).unwrap();
    let offer = rig.offers(&framework).remove(0);
    rig.launch(&framework, &offer, vec![task("t1", &agent, "cpus:1;mem:32")]);
    rig.break_link(&agent);
    assert_eq!(summary(&rig.statuses(&framework)), ["t1 LOST AGENT_DISCONNECTED"]);
    assert_eq!(rig.state(&framework, "t1"), None);
}

#[test]
fn an_id_in_use_at_another_address_is_refused_for_good() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let clone = agent_info("a2", "cpus:4;mem:1024");
    assert!(rig.register(Some(&agent.id), clone, Vec::new()).is_none());
    let told: Vec<_> = rig.orders.values().flatten().map(|one| &one.order).collect();
    assert!(told.iter().any(|order| matches!(order, Order::Shutdown { .. })), "{told:?}");
    assert!(rig.cluster.agent(&agent.id).unwrap().is_connected());
}

#[test]
fn the_same_agent_on_a_new_link_replaces_its_half_open_one() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let again = rig.register(Some(&agent.id), agent.info.clone(), vec![known]).unwrap();
    assert_eq!(again.id, agent.id);
    assert!(rig.closed_links.contains(&agent.link));
    rig.act(tepui_cluster::Event::LinkClosed { link: agent.link });
    assert!(rig.cluster.agent(&agent.id).unwrap().is_connected());
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
}

#[test]
fn a_late_registration_on_an_older_link_is_not_believed() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let old = tepui_types::LinkId(rig.fresh());
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let agent = rig.register(Some(&agent.id), agent.info, vec![known.clone()]).unwrap();
    let uuid = rig.update(&agent, &framework, "t1", TaskState::Finished);
    rig.acknowledge(&framework, &agent, "t1", uuid);
    let registration = tepui_link::Registration {
        agent: Some(agent.id.clone()),
        info: agent.info.clone(),
        boot: None,
        version: "1".into(),
        term: tepui_types::Term(1),
        frameworks: vec![],
        executors: vec![],
        tasks: vec![known],
        leftovers: vec![],
    };
    let report = Box::new(Report::Register(Box::new(registration)));
    rig.act(tepui_cluster::Event::Report { link: old, report });
    assert!(rig.closed_links.contains(&old));
    assert!(rig.cluster.agent(&agent.id).unwrap().is_connected());
    assert_eq!(rig.state(&framework, "t1"), None);
}

#[test]
fn a_new_agent_at_the_address_of_a_lost_one_replaces_it() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(AWARE);
    rig.break_link(&agent);
    rig.events(&framework);
    let new = rig.register(None, agent.info.clone(), Vec::new()).unwrap();
    assert_ne!(new.id, agent.id);
    assert!(rig.cluster.agent(&agent.id).is_none());
    let statuses = rig.statuses(&framework);
    assert_eq!(summary(&statuses), ["t1 LOST AGENT_REMOVED"], "also when partition aware");
    assert_eq!(rig.cluster.counters().agents.removed_registered, 1);
}

#[test]
fn a_newcomer_waits_while_a_working_agent_has_its_address() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    assert!(rig.register(None, agent.info.clone(), Vec::new()).is_none());
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
}

#[test]
fn a_task_id_that_lives_elsewhere_is_killed_where_it_came_second() {
    let mut rig = Rig::new();
    let (_, framework) = rig.with_running_task(PLAIN);
    let second = rig.agent("a2", "cpus:4;mem:1024");
    rig.break_link(&second);
    let double = reported("t1", &framework, &second, v1::TaskState::TaskRunning);
    let second = rig.register(Some(&second.id), second.info, vec![double]).unwrap();
    let orders = rig.orders(&second);
    assert!(matches!(orders[..], [Order::Registered { .. }, Order::Kill { .. }]), "{orders:?}");
    assert_eq!(rig.free(&second), "cpus:4;mem:1024");
    rig.update(&second, &framework, "t1", TaskState::Killed);
    assert!(rig.statuses(&framework).is_empty(), "its updates are nobody's");
    assert!(matches!(rig.orders(&second)[..], [Order::Acknowledge { .. }]));
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
}

#[test]
fn an_agent_that_says_goodbye_is_removed_and_may_return_as_unknown() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.report(&agent, Report::Unregister);
    assert_eq!(summary(&rig.statuses(&framework)), ["t1 LOST AGENT_REMOVED"]);
    assert!(rig.cluster.agent(&agent.id).is_none());
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    rig.register(Some(&agent.id), agent.info.clone(), vec![known]).unwrap();
    assert_eq!(summary(&rig.statuses(&framework)), ["t1 RUNNING AGENT_REREGISTERED"]);
}

#[test]
fn an_agent_that_misses_its_directives_must_register_again() {
    let mut rig = Rig::new();
    let (agent, _) = rig.with_running_task(PLAIN);
    for _ in 0..4 {
        rig.report(&agent, Report::Heartbeat { seen: 0, executors: 0, leftovers: Vec::new() });
        rig.advance(secs(15));
    }
    assert!(rig.closed_links.contains(&agent.link));
    assert!(!rig.cluster.agent(&agent.id).unwrap().is_connected());
    assert_eq!(rig.cluster.counters().agents.lagging_links, 1);
}

#[test]
fn directives_of_a_link_are_numbered_without_gaps() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    let offer = rig.offers(&framework).remove(0);
    rig.launch(&framework, &offer, vec![task("t1", &agent, "cpus:1;mem:32")]);
    rig.call(&framework, crate::calls::kill("t1"));
    let numbers: Vec<_> = rig.orders[&agent.link].iter().map(|one| one.generation).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn a_leader_that_stood_still_blames_nobody() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(AWARE);
    let other = v1::FrameworkInfo { failover_timeout: Some(60.0), ..framework_info("g", PLAIN) };
    let other = rig.subscribe(other).unwrap();
    rig.close_stream(&other);
    rig.now = rig.now + secs(300);
    rig.act(tepui_cluster::Event::Tick);
    assert!(rig.cluster.agent(&agent.id).is_some());
    assert!(rig.cluster.framework(&other.id).is_some());
    rig.advance(secs(20));
    rig.heartbeat(&agent);
    rig.advance(secs(60));
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
    assert!(rig.cluster.framework(&other.id).is_none(), "its time goes on after that");
    rig.advance(secs(60));
    assert!(rig.cluster.agent(&agent.id).is_none(), "silence still counts");
}

#[test]
fn an_agent_that_comes_back_unchanged_costs_no_write() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    rig.change_leader();
    let saves = rig.saves;
    let agent = rig.register(Some(&agent.id), agent.info, vec![]).unwrap();
    rig.register(Some(&agent.id), agent.info, vec![]).unwrap();
    assert_eq!(rig.saves, saves);
    rig.register(Some(&agent.id), agent_info("a1", "cpus:8;mem:1024"), vec![]).unwrap();
    assert_eq!(rig.saves, saves + 1);
}

#[test]
fn a_task_that_was_lost_with_a_link_and_still_runs_is_told_of() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let info = v1::FrameworkInfo { checkpoint: Some(false), ..framework_info("f", PLAIN) };
    let framework = rig.subscribe(info).unwrap();
    let offer = rig.offers(&framework).remove(0);
    rig.launch(&framework, &offer, vec![task("t1", &agent, "cpus:1;mem:128")]);
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    rig.register(Some(&agent.id), agent.info.clone(), vec![known]).unwrap();
    let statuses = rig.statuses(&framework);
    assert_eq!(summary(&statuses), ["t1 LOST AGENT_DISCONNECTED", "t1 RUNNING AGENT_REREGISTERED"]);
}

#[test]
fn agents_are_removed_no_faster_than_allowed() {
    let rate = RemovalRate { agents: 1, per: secs(60) };
    let mut rig = Rig::with(Config { agent_removal_rate: Some(rate), ..Config::default() });
    let agents: Vec<_> = (0..4).map(|n| rig.agent(&format!("a{n}"), "cpus:1;mem:64")).collect();
    rig.advance(secs(76));
    assert_eq!(rig.cluster.unreachable_agents().len(), 1);
    rig.advance(secs(60));
    assert_eq!(rig.cluster.unreachable_agents().len(), 2);
    agents.iter().for_each(|agent| rig.heartbeat(agent));
    rig.advance(secs(60));
    assert_eq!(rig.cluster.unreachable_agents().len(), 2, "a sign of life cancels it");
    assert_eq!(rig.cluster.counters().agents.unreachable_canceled, 2);
}

#[test]
fn a_mass_of_silent_agents_is_not_believed() {
    let config = Config { silent_agents_limit_percent: 50, ..Config::default() };
    let mut rig = Rig::with(config);
    let agents: Vec<_> = (0..4).map(|n| rig.agent(&format!("a{n}"), "cpus:1;mem:64")).collect();
    rig.advance(secs(300));
    assert_eq!(rig.cluster.unreachable_agents().len(), 0);
    assert!(rig.cluster.counters().agents.removals_held_back > 0);
    rig.advance_alive(secs(300), &[&agents[0], &agents[1]]);
    assert_eq!(rig.cluster.unreachable_agents().len(), 2, "half of them may go");
}

#[test]
fn a_few_silent_agents_are_no_mass_in_a_small_cluster() {
    let config = Config {
        silent_agents_limit_percent: 50,
        agent_removal_limit_floor: 2,
        ..Config::default()
    };
    let mut rig = Rig::with(config);
    let agents: Vec<_> = (0..4).map(|n| rig.agent(&format!("a{n}"), "cpus:1;mem:64")).collect();
    rig.advance(secs(300));
    assert_eq!(rig.cluster.unreachable_agents().len(), 0, "all four are");
    rig.advance_alive(secs(300), &[&agents[0], &agents[1]]);
    assert_eq!(rig.cluster.unreachable_agents().len(), 2);
}

#[test]
fn an_agent_with_more_work_than_it_has_is_offered_to_nobody_until_it_fits() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let small = agent_info("a1", "cpus:0.5;mem:1024");
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let agent = rig.register(Some(&agent.id), small, vec![known]).unwrap();
    assert!(rig.cluster.agent(&agent.id).unwrap().overbooked);
    rig.update(&agent, &framework, "t1", TaskState::Finished);
    assert_eq!(rig.cluster.agent(&agent.id).unwrap().total.to_string(), "cpus:0.5;mem:1024");
    assert!(!rig.cluster.agent(&agent.id).unwrap().overbooked);
}
