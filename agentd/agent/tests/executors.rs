//! Custom executors over the v1 executor API.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{
    Rig, bare_call, command, custom, custom_executor, executor_id, executor_status, framework_id,
    secs,
};
use tepui_agent::{Event, Exit, Place, Response};
use tepui_link::{Order, Report};
use tepui_types::{Span, TaskState::*};
use tepui_wire::v1::{
    executor::{self, call, event::Type},
    task_status::Reason,
};

/// An agent whose executor `e1` is subscribed and has the task `t1`.
fn subscribed() -> (Rig, tepui_types::StreamId) {
    let mut rig = Rig::registered();
    rig.launch(custom("t1"));
    let stream = rig.subscribe("e1");
    (rig, stream)
}

#[test]
fn an_executor_subscribes_and_gets_its_task() {
    let (rig, stream) = subscribed();
    assert_eq!(rig.responses, [Response::Streaming]);
    assert_eq!(rig.sent(stream), [Type::Subscribed, Type::Launch]);
    let subscribed = rig.event_of(stream, Type::Subscribed).subscribed.as_ref().unwrap();
    assert_eq!(subscribed.executor_info.executor_id.value, "e1");
    assert_eq!(subscribed.executor_info.framework_id.as_ref().unwrap().value, "f1");
    assert_eq!(subscribed.agent_info.id.as_ref().unwrap().value, "a1");
    assert_eq!(subscribed.container_id.as_ref().unwrap().value, rig.run_of("e1").as_str());
    let launch = rig.event_of(stream, Type::Launch).launch.as_ref().unwrap();
    assert_eq!(launch.task.task_id.value, "t1");
    assert_eq!(rig.states("t1"), []);
}

#[test]
fn an_executor_may_subscribe_before_its_start_is_confirmed() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(custom("t1"));
    let stream = rig.subscribe("e1");
    assert_eq!(rig.sent(stream), [Type::Subscribed, Type::Launch]);
    let run = rig.run_of("e1");
    rig.event(Event::RunStarted { run, outcome: Ok(5) });
    rig.advance(secs(120));
    assert_eq!(rig.process("e1").killed, 0);
}

#[test]
fn a_second_task_goes_to_the_same_executor() {
    let (mut rig, stream) = subscribed();
    rig.launch(custom("t2"));
    assert_eq!(rig.witness.len(), 1);
    assert_eq!(rig.sent(stream), [Type::Subscribed, Type::Launch, Type::Launch]);
}

#[test]
fn a_task_for_an_executor_of_another_description_is_dropped() {
    let (mut rig, _) = subscribed();
    let mut task = custom("t2");
    task.executor.as_mut().unwrap().name = Some("other".into());
    rig.launch(task);
    assert_eq!(rig.states("t2"), [Dropped]);
}

#[test]
fn updates_of_an_executor_are_saved_forwarded_and_acknowledged() {
    let (mut rig, stream) = subscribed();
    assert_eq!(rig.executor_says("t1", Running, 1), Response::Accepted);
    assert_eq!(rig.states("t1"), [Running]);
    let status = rig.last("t1");
    assert_eq!(status.data(), b"data");
    assert_eq!(status.timestamp, Some(5.0));
    assert_eq!(status.uuid(), [1; 16]);
    assert!(status.container_status.is_some());
    let acknowledged = rig.event_of(stream, Type::Acknowledged).acknowledged.as_ref().unwrap();
    assert_eq!((acknowledged.task_id.value.as_str(), &*acknowledged.uuid), ("t1", &[1; 16][..]));
    rig.executor_says("t1", Finished, 2);
    assert_eq!(rig.states("t1"), [Running, Finished]);
}

#[test]
fn a_repeated_update_is_acknowledged_again_and_not_forwarded() {
    let (mut rig, stream) = subscribed();
    rig.executor_says("t1", Running, 1);
    rig.executor_says("t1", Running, 1);
    assert_eq!(rig.states("t1"), [Running]);
    let acknowledged = rig.sent(stream).iter().filter(|one| **one == Type::Acknowledged).count();
    assert_eq!(acknowledged, 2);
}

#[test]
fn nothing_follows_a_terminal_update() {
    let (mut rig, stream) = subscribed();
    rig.acknowledges = false;
    rig.executor_says("t1", Failed, 1);
    rig.executor_says("t1", Finished, 2);
    assert_eq!(rig.states("t1"), [Failed]);
    assert_eq!(rig.agent.counters().invalid_status_updates, 1);
    let acknowledged = rig.sent(stream).iter().filter(|one| **one == Type::Acknowledged).count();
    assert_eq!(acknowledged, 2);
}

#[test]
fn calls_are_refused_as_the_protocol_says() {
    let mut rig = Rig::registered();
    let refusal = |response: Response| match response {
        Response::Refused { status, .. } => status,
        other => panic!("{other:?}"),
    };
    let update = || executor::Call {
        update: Some(call::Update { status: executor_status("t1", Running, 1) }),
        ..bare_call(call::Type::Update)
    };
    assert_eq!(refusal(rig.call(update())), 400);
    rig.launch(custom("t1"));
    assert_eq!(refusal(rig.call(update())), 403);
    rig.subscribe("nobody");
    assert_eq!(refusal(rig.responses.last().unwrap().clone()), 400);
    assert_eq!(rig.call(bare_call(call::Type::Heartbeat)), Response::Accepted);
}

#[test]
fn messages_pass_both_ways() {
    let (mut rig, stream) = subscribed();
    let framework = framework_id();
    let executor = executor_id("e1");
    rig.order(Order::Message { framework, executor, data: vec![1, 2] });
    let message = rig.event_of(stream, Type::Message).message.as_ref().unwrap();
    assert_eq!(message.data, [1, 2]);
    rig.call(executor::Call {
        message: Some(call::Message { data: vec![3] }),
        ..bare_call(call::Type::Message)
    });
    let expected = Report::ExecutorMessage {
        framework: framework_id(),
        executor: executor_id("e1"),
        data: vec![3],
    };
    assert_eq!(rig.reports.last(), Some(&expected));
    let nobody = executor_id("nobody");
    rig.order(Order::Message { framework: framework_id(), executor: nobody, data: vec![] });
    assert_eq!(rig.agent.counters().invalid_framework_messages, 1);
}

#[test]
fn a_group_arrives_in_one_piece() {
    let mut rig = Rig::registered();
    rig.launch_all(vec![command("g1"), command("g2")], Some(custom_executor()));
    let stream = rig.subscribe("e1");
    assert_eq!(rig.sent(stream), [Type::Subscribed, Type::LaunchGroup]);
    let group = rig.event_of(stream, Type::LaunchGroup).launch_group.as_ref().unwrap();
    let tasks: Vec<_> =
        group.task_group.tasks.iter().map(|task| task.task_id.value.as_str()).collect();
    assert_eq!(tasks, ["g1", "g2"]);
}

#[test]
fn a_queued_group_is_killed_in_one_piece_and_its_useless_executor_ends() {
    let mut rig = Rig::registered();
    rig.launch_all(vec![command("g1"), command("g2")], Some(custom_executor()));
    rig.kill("g2");
    assert_eq!((rig.states("g1"), rig.states("g2")), (vec![Killed], vec![Killed]));
    assert_eq!(rig.last("g1").reason(), Reason::TaskKilledDuringLaunch);
    assert_eq!(rig.process("e1").terminated, 1);
    rig.advance(secs(5));
    assert_eq!(rig.process("e1").killed, 1);
    rig.exit("e1", Exit::Signal(9));
    assert_eq!(rig.states("g1"), [Killed]);
}

#[test]
fn every_kill_reaches_the_executor_and_the_answer_is_its_own() {
    let (mut rig, stream) = subscribed();
    rig.executor_says("t1", Running, 1);
    rig.kill("t1");
    rig.kill_within("t1", Some(secs(9)));
    let kills = rig.sent(stream).iter().filter(|one| **one == Type::Kill).count();
    assert_eq!(kills, 2);
    let kill = rig.event_of(stream, Type::Kill).kill.as_ref().unwrap();
    let grace = kill.kill_policy.as_ref().unwrap().grace_period.as_ref().unwrap();
    assert_eq!(grace.nanoseconds, 9_000_000_000);
    assert_eq!(rig.states("t1"), [Running]);
    rig.executor_says("t1", Killed, 2);
    assert_eq!(rig.states("t1"), [Running, Killed]);
}

#[test]
fn the_end_of_an_executor_ends_its_tasks_and_is_reported() {
    let (mut rig, _) = subscribed();
    rig.executor_says("t1", Running, 1);
    rig.exit("e1", Exit::Code(3));
    assert_eq!(rig.states("t1"), [Running, Failed]);
    let last = rig.last("t1");
    assert_eq!(last.reason(), Reason::ExecutorTerminated);
    assert!(last.message().ends_with("exited with status 3"));
    let expected = Report::ExecutorExited {
        framework: framework_id(),
        executor: executor_id("e1"),
        status: 3 << 8,
    };
    assert!(rig.reports.contains(&expected));
    assert_eq!(rig.agent.counters().executors_terminated, 1);
}

#[test]
fn an_executor_that_does_not_subscribe_is_killed_after_a_minute() {
    let mut rig = Rig::registered();
    rig.launch(custom("t1"));
    rig.advance(Span::from_millis(59_999));
    assert_eq!(rig.process("e1").killed, 0);
    rig.advance(Span::from_millis(1));
    assert_eq!(rig.process("e1").killed, 1);
    rig.exit("e1", Exit::Signal(9));
    assert_eq!(rig.states("t1"), [Failed]);
    assert_eq!(rig.last("t1").reason(), Reason::ExecutorRegistrationTimeout);
}

#[test]
fn an_executor_is_asked_to_shut_down_then_killed() {
    let (mut rig, stream) = subscribed();
    rig.executor_says("t1", Running, 1);
    let (framework, executor) = (framework_id(), executor_id("e1"));
    rig.order(Order::ShutdownExecutor { framework, executor });
    assert_eq!(rig.sent(stream).last(), Some(&Type::Shutdown));
    rig.launch(custom("t2"));
    assert_eq!(rig.states("t2"), [Dropped]);
    assert_eq!(rig.last("t2").reason(), Reason::ExecutorTerminated);
    rig.advance(Span::from_millis(4999));
    assert_eq!(rig.process("e1").killed, 0);
    rig.advance(Span::from_millis(1));
    assert_eq!(rig.process("e1").killed, 1);
    rig.exit("e1", Exit::Signal(9));
    assert_eq!(rig.states("t1"), [Running, Failed]);
}

#[test]
fn an_executor_that_comes_back_while_it_is_terminated_is_told_to_end() {
    let (mut rig, _) = subscribed();
    let (framework, executor) = (framework_id(), executor_id("e1"));
    rig.order(Order::ShutdownExecutor { framework, executor });
    let late = rig.subscribe("e1");
    assert_eq!(rig.sent(late), [Type::Shutdown]);
    assert!(rig.closed.contains(&late));
}

#[test]
fn a_new_subscription_replaces_the_old_one() {
    let (mut rig, first) = subscribed();
    rig.executor_says("t1", Running, 1);
    let second = rig.subscribe("e1");
    assert_eq!(rig.closed, [first]);
    rig.event(Event::ExecutorStreamClosed { stream: first });
    rig.launch(custom("t2"));
    assert_eq!(rig.sent(second), [Type::Subscribed, Type::Launch]);
}

#[test]
fn an_executor_is_shown_every_half_hour_that_its_stream_lives() {
    let (mut rig, stream) = subscribed();
    rig.advance(secs(3600));
    assert_eq!(rig.sent(stream)[2..], [Type::Heartbeat, Type::Heartbeat]);
}

#[test]
fn an_executor_has_two_seconds_to_come_back_after_a_restart() {
    let (mut rig, _) = subscribed();
    rig.executor_says("t1", Running, 1);
    rig.restart();
    rig.link_up();
    let before = rig.registrations();
    assert!(rig.agent.is_recovering());
    rig.advance(Span::from_millis(1999));
    assert_eq!((rig.process("e1").killed, rig.registrations()), (0, before));
    rig.advance(Span::from_millis(1));
    assert_eq!((rig.process("e1").killed, rig.registrations()), (1, before + 1));
    rig.answer_registration();
    rig.exit("e1", Exit::Signal(9));
    assert_eq!(rig.states("t1"), [Running, Gone]);
    assert_eq!(rig.last("t1").reason(), Reason::ExecutorReregistrationTimeout);
}

#[test]
fn an_executor_that_comes_back_keeps_its_tasks_and_ends_the_wait() {
    let (mut rig, _) = subscribed();
    rig.executor_says("t1", Running, 1);
    rig.restart();
    rig.link_up();
    let before = rig.registrations();
    let update = call::Update { status: executor_status("t1", Finished, 2) };
    let stream = rig.subscribe_with(
        "e1",
        call::Subscribe { unacknowledged_tasks: Vec::new(), unacknowledged_updates: vec![update] },
    );
    assert_eq!(rig.registrations(), before + 1);
    rig.answer_registration();
    assert_eq!(rig.sent(stream), [Type::Subscribed, Type::Acknowledged]);
    assert_eq!(rig.states("t1"), [Running, Finished]);
    rig.advance(secs(60));
    assert_eq!(rig.process("e1").killed, 0);
}

#[test]
fn a_task_lost_on_the_way_to_its_executor_is_dropped() {
    let (mut rig, _) = subscribed();
    rig.launch(custom("t2"));
    rig.restart();
    rig.link_up();
    rig.subscribe_with(
        "e1",
        call::Subscribe {
            unacknowledged_tasks: vec![custom("t2")],
            unacknowledged_updates: Vec::new(),
        },
    );
    rig.answer_registration();
    assert_eq!(rig.states("t1"), [Dropped]);
    assert_eq!(rig.last("t1").reason(), Reason::AgentRestarted);
    assert_eq!(rig.states("t2"), []);
}

#[test]
fn a_kill_asked_before_a_restart_reaches_the_executor_after_it() {
    let (mut rig, _) = subscribed();
    rig.executor_says("t1", Running, 1);
    rig.kill("t1");
    rig.restart();
    rig.link_up();
    let stream = rig.subscribe("e1");
    assert_eq!(rig.sent(stream), [Type::Subscribed, Type::Kill]);
}

#[test]
fn a_queued_task_is_delivered_after_a_restart() {
    let mut rig = Rig::registered();
    rig.launch_all(vec![command("g1"), command("g2")], Some(custom_executor()));
    rig.restart();
    rig.link_up();
    let stream = rig.subscribe("e1");
    assert_eq!(rig.sent(stream), [Type::Subscribed, Type::LaunchGroup]);
}

#[test]
fn a_torn_down_framework_shuts_its_executors_down() {
    let (mut rig, stream) = subscribed();
    rig.order(Order::ShutdownFramework { framework: framework_id() });
    assert_eq!(rig.sent(stream).last(), Some(&Type::Shutdown));
    rig.advance(secs(5));
    assert_eq!(rig.process("e1").killed, 1);
    let reports = rig.reports.len();
    rig.exit("e1", Exit::Signal(9));
    assert_eq!(rig.reports.len(), reports + 1);
    assert_eq!(rig.leftovers(), Some(Vec::new()));
}

#[test]
fn what_a_shut_down_framework_holds_is_told_until_its_last_process_has_ended() {
    let (mut rig, _) = subscribed();
    rig.order(Order::ShutdownFramework { framework: framework_id() });
    rig.restart();
    rig.link_up();
    let held = rig.registration().leftovers.clone();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].framework, framework_id());
    assert_eq!(held[0].resources[0].name, "ports");
    rig.answer_registration();
    rig.advance(secs(16));
    assert_eq!(rig.leftovers(), Some(vec![framework_id()]));
    rig.exit("e1", Exit::Signal(9));
    assert_eq!(rig.leftovers(), Some(Vec::new()));
}

#[test]
fn the_view_shows_queued_and_launched_tasks() {
    let mut rig = Rig::registered();
    rig.launch(custom("t1"));
    let place = |rig: &Rig| {
        let framework = rig.agent.framework(&framework_id()).unwrap();
        framework.place(&framework.tasks[&rig::task_id("t1")])
    };
    assert_eq!(place(&rig), Place::Queued);
    assert_eq!(rig.agent.census().executors_registering, 1);
    rig.subscribe("e1");
    assert_eq!(place(&rig), Place::Launched);
    assert_eq!(rig.agent.census().executors_running, 1);
    rig.disconnect();
    rig.link_up();
    assert_eq!(rig.registration().executors.len(), 1);
    let task = &rig.registration().tasks[0];
    assert_eq!(task.executor_id.as_ref().unwrap().value, "e1");
}
