//! Registration, heartbeats, numbered directives, status update streams.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, command, secs};
use tepui_agent::{Event, Exit, Record};
use tepui_link::{Directive, Order, Report};
use tepui_types::{AgentId, Span, TaskState::*, Term, Uuid};

fn registered(agent: &str) -> Order {
    let agent = AgentId::parse(agent).unwrap();
    Order::Registered { agent, heartbeat: secs(15), patience: secs(75), pace: secs(0) }
}

fn directive(term: u64, generation: u64, order: Order) -> Event {
    Event::Directive(Box::new(Directive { term: Term(term), generation, order }))
}

#[test]
fn a_new_agent_connects_at_once_registers_and_keeps_its_id() {
    let mut rig = Rig::started();
    assert_eq!(rig.pauses, [Span::ZERO]);
    rig.link_up();
    assert_eq!(rig.registration().agent, None);
    assert!(!rig.agent.is_registered());
    rig.answer_registration();
    assert!(rig.agent.is_registered());
    assert_eq!(rig.agent.id().unwrap().as_str(), "a1");
    rig.restart();
    rig.link_up();
    assert_eq!(rig.registration().agent.as_ref().unwrap().as_str(), "a1");
    assert_eq!(rig.registration().info.id.as_ref().unwrap().value, "a1");
}

#[test]
fn pauses_between_attempts_are_random_within_a_doubling_bound() {
    let mut rig = Rig::started();
    let mut longest = Span::ZERO;
    for attempt in 0..12 {
        rig.link_up();
        rig.disconnect();
        let bound = secs((1 << attempt.min(6)).min(60));
        let pause = *rig.pauses.last().unwrap();
        assert!(pause <= bound, "attempt {attempt}: {pause}");
        longest = longest.max(pause);
    }
    assert!(longest > secs(10));
    rig.connect();
    rig.disconnect();
    assert!(*rig.pauses.last().unwrap() <= secs(1));
}

#[test]
fn a_registration_without_an_answer_is_tried_on_a_new_link() {
    let mut rig = Rig::started();
    rig.link_up();
    let before = rig.pauses.len();
    rig.advance(secs(15));
    assert_eq!(rig.pauses.len(), before + 1);
}

#[test]
fn the_end_of_a_link_that_the_agent_gave_up_needs_no_other_one() {
    let mut rig = Rig::started();
    rig.link_up();
    rig.advance(secs(15));
    let before = rig.pauses.len();
    rig.disconnect();
    assert_eq!(rig.pauses.len(), before);
}

#[test]
fn heartbeats_say_what_was_handled() {
    let mut rig = Rig::registered();
    rig.advance(secs(15));
    assert_eq!(rig.heartbeats(), [1]);
    rig.order(Order::Reconcile { tasks: Vec::new() });
    rig.advance(secs(30));
    assert_eq!(rig.heartbeats(), [1, 2, 2]);
    rig.disconnect();
    rig.advance(secs(60));
    assert_eq!(rig.heartbeats().len(), 3);
}

#[test]
fn a_deposed_leader_is_refused_even_after_a_restart() {
    let mut rig = Rig::registered();
    rig.term = 5;
    rig.order(Order::Reconcile { tasks: Vec::new() });
    assert_eq!(rig.agent.term(), Term(5));
    rig.restart();
    rig.link_up();
    rig.event(directive(4, 1, registered("a1")));
    assert!(!rig.agent.is_registered());
    assert!(!rig.link);
    rig.link_up();
    rig.event(directive(5, 1, registered("a1")));
    assert!(rig.agent.is_registered());
    assert_eq!(rig.agent.counters().refused_terms, 1);
}

#[test]
fn a_repeated_directive_is_ignored() {
    let mut rig = Rig::registered();
    let order = rig.launch_order(vec![command("t1")], None);
    rig.order(order.clone());
    let before = rig.disk.len();
    rig.event(directive(1, 2, order));
    rig.settle();
    assert_eq!(rig.disk.len(), before);
}

#[test]
fn a_gap_between_directives_makes_the_agent_register_again() {
    let mut rig = Rig::registered();
    let order = rig.launch_order(vec![command("t1")], None);
    rig.event(directive(1, 3, order));
    assert!(!rig.link);
    assert!(!rig.agent.is_registered());
    assert!(rig.witness.is_empty());
    rig.connect();
    assert_eq!(rig.registrations(), 2);
}

#[test]
fn nothing_is_obeyed_before_the_registration_is_answered() {
    let mut rig = Rig::started();
    rig.link_up();
    let order = rig.launch_order(vec![command("t1")], None);
    rig.event(directive(1, 1, order));
    assert!(!rig.link);
    assert!(rig.witness.is_empty());
}

#[test]
fn a_registration_tells_every_task_that_is_not_over() {
    let mut rig = Rig::registered();
    rig.launch(command("done"));
    rig.exit("done", Exit::Code(0));
    rig.acknowledges = false;
    rig.launch(command("running"));
    rig.launch(command("ended"));
    rig.exit("ended", Exit::Code(1));
    rig.disconnect();
    rig.link_up();
    let told = rig.registration();
    let find = |id: &str| told.tasks.iter().find(|task| task.task_id.value == id);
    assert!(find("done").is_none());
    let running = find("running").unwrap();
    assert_eq!(running.state().as_str_name(), "TASK_RUNNING");
    assert_eq!(running.status_update_state().as_str_name(), "TASK_STARTING");
    assert_eq!(running.status_update_uuid().len(), 16);
    assert_eq!(running.executor_id, None);
    assert_eq!(find("ended").unwrap().state().as_str_name(), "TASK_FAILED");
    assert_eq!(told.frameworks.len(), 1);
    assert!(told.executors.is_empty());
}

#[test]
fn the_next_update_waits_for_the_acknowledgement_of_the_one_before() {
    let mut rig = Rig::registered();
    rig.acknowledges = false;
    rig.launch(command("t1"));
    rig.exit("t1", Exit::Code(0));
    let states = rig.states("t1");
    assert!(states.iter().all(|state| *state == Starting), "{states:?}");
    rig.acknowledge("t1", rig.last_uuid("t1"));
    assert_eq!(rig.states("t1").last(), Some(&Running));
    rig.acknowledge("t1", rig.last_uuid("t1"));
    assert_eq!(rig.states("t1").last(), Some(&Finished));
}

#[test]
fn the_newest_state_travels_with_the_oldest_update() {
    let mut rig = Rig::registered();
    rig.acknowledges = false;
    rig.launch(command("t1"));
    rig.exit("t1", Exit::Code(0));
    rig.advance(secs(10));
    let told = rig.reports.iter().rev().find_map(|report| match report {
        Report::Update { status, latest_state, .. } => Some((status.state(), *latest_state)),
        _ => None,
    });
    assert_eq!(told, Some((tepui_wire::v1::TaskState::TaskStarting, Finished)));
}

#[test]
fn an_update_is_repeated_after_ten_seconds_doubling_to_ten_minutes() {
    let mut rig = Rig::registered();
    rig.acknowledges = false;
    rig.launch(command("t1"));
    let mut sent = 1;
    let mut pause = 10;
    for _ in 0..9 {
        rig.advance(Span::from_millis(pause * 1000 - 1));
        assert_eq!(rig.statuses("t1").len(), sent);
        rig.advance(Span::from_millis(1));
        sent += 1;
        assert_eq!(rig.statuses("t1").len(), sent);
        pause = (pause * 2).min(600);
    }
    let uuid = rig.last_uuid("t1");
    let same = rig.statuses("t1").iter().all(|one| one.uuid.as_deref() == Some(uuid.as_bytes()));
    assert!(same);
}

#[test]
fn nothing_is_sent_while_the_agent_is_not_registered() {
    let mut rig = Rig::registered();
    rig.acknowledges = false;
    rig.launch(command("t1"));
    rig.disconnect();
    rig.link = true;
    rig.advance(secs(3600));
    assert_eq!(rig.statuses("t1").len(), 1);
    rig.connect();
    assert_eq!(rig.states("t1"), [Starting, Starting]);
}

#[test]
fn acknowledgements_of_anything_but_the_oldest_update_change_nothing() {
    let mut rig = Rig::registered();
    rig.acknowledges = false;
    rig.launch(command("t1"));
    let first = rig.last_uuid("t1");
    let before = rig.disk.len();
    rig.acknowledge("t1", Uuid::from_bytes([9; 16]));
    rig.acknowledge("other", first);
    assert_eq!(rig.disk.len(), before);
    rig.acknowledge("t1", first);
    let after = rig.disk.len();
    rig.acknowledge("t1", first);
    assert_eq!(rig.disk.len(), after);
    assert_eq!(rig.states("t1"), [Starting, Running]);
}

#[test]
fn an_acknowledged_update_stays_acknowledged_after_a_restart() {
    let mut rig = Rig::registered();
    rig.acknowledges = false;
    rig.launch(command("t1"));
    rig.acknowledge("t1", rig.last_uuid("t1"));
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1"), [Starting, Running, Running]);
}

#[test]
fn a_new_id_is_taken_and_kept() {
    let mut rig = Rig::registered();
    rig.link_up();
    rig.event(directive(1, 1, registered("a2")));
    assert_eq!(rig.agent.id().unwrap().as_str(), "a2");
    assert!(matches!(rig.disk.last(), Some(Record::Identity { .. })));
}

#[test]
fn an_unwanted_agent_ends_everything_and_then_itself() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.order(Order::Shutdown { reason: "marked gone".into() });
    assert_eq!(rig.quit, None);
    rig.advance(secs(3));
    assert_eq!(rig.process("t1").killed, 1);
    rig.exit("t1", Exit::Signal(9));
    assert_eq!(rig.quit.as_deref(), Some("marked gone"));
    rig.restart();
    rig.link_up();
    assert_eq!(rig.registration().agent, None);
}

#[test]
fn an_agent_that_leaves_says_so() {
    let mut rig = Rig::registered();
    rig.event(Event::Leave);
    assert_eq!(rig.reports.last(), Some(&Report::Unregister));
    assert!(rig.quit.is_some());
}
