use tepui_cluster::{RefusalKind, Response};
use tepui_link::{Order, Report};
use tepui_types::{ExecutorId, StreamId, TaskState};
use tepui_wire::v1::{self, scheduler, scheduler::call::Type};

use crate::rig::*;

#[test]
fn calls_are_checked_in_the_order_of_the_protocol() {
    let mut rig = Rig::new();
    let framework = rig.framework("f", PLAIN);
    let some = Some(framework.stream);
    let no_id = rig.raw_call(some, call(Type::Teardown));
    assert_eq!(refusal(no_id).0, RefusalKind::Invalid);
    let shape = rig.call(&framework, call(Type::Accept));
    assert!(refusal(shape).1.contains("accept"));
    let stranger = scheduler::Call {
        framework_id: Some(v1::FrameworkId { value: "nobody".into() }),
        ..call(Type::Teardown)
    };
    assert_eq!(
        refusal(rig.raw_call(some, stranger)),
        (RefusalKind::Invalid, "Framework cannot be found".into())
    );
    let unnamed = rig.call_as(None, &framework, call(Type::Teardown));
    assert!(refusal(unnamed).1.contains("Mesos-Stream-Id"));
    let other = rig.call_as(Some(StreamId(no_uuid())), &framework, call(Type::Teardown));
    assert_eq!(refusal(other).0, RefusalKind::Invalid);
    rig.close_stream(&framework);
    let away = rig.call(&framework, call(Type::Teardown));
    assert_eq!(refusal(away), (RefusalKind::Forbidden, "Framework is not subscribed".into()));
    let unknown = rig.call(&framework, call(Type::Unknown));
    assert_eq!(refusal(unknown).0, RefusalKind::NotSupported);
}

#[test]
fn a_short_uuid_in_an_acknowledgement_is_a_bad_request() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let response = rig.acknowledge(&framework, &agent, "t1", vec![1, 2, 3]);
    assert_eq!(refusal(response).0, RefusalKind::Invalid);
}

#[test]
fn a_kill_goes_to_the_agent_every_time() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    for _ in 0..2 {
        assert_eq!(rig.call(&framework, kill("t1")), Response::Accepted);
        assert!(matches!(rig.orders(&agent)[..], [Order::Kill { .. }]));
    }
}

#[test]
fn a_kill_for_a_disconnected_agent_waits_for_its_return() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.break_link(&agent);
    rig.call(&framework, kill("t1"));
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let agent = rig.register(Some(&agent.id), agent.info, vec![known]).unwrap();
    let orders = rig.orders(&agent);
    assert!(matches!(orders[..], [Order::Registered { .. }, Order::Kill { .. }]), "{orders:?}");
}

#[test]
fn a_kill_of_an_unknown_task_is_answered_as_a_question_about_it() {
    let mut rig = Rig::new();
    let framework = rig.framework("f", AWARE);
    rig.call(&framework, kill("nothing"));
    let answers = rig.statuses(&framework);
    assert_eq!(summary(&answers), ["nothing UNKNOWN RECONCILIATION"]);
}

#[test]
fn messages_pass_both_ways_between_framework_and_executor() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let executor = ExecutorId::parse("e").unwrap();
    rig.call(
        &framework,
        scheduler::Call {
            message: Some(scheduler::call::Message {
                agent_id: v1::AgentId { value: agent.id.to_string() },
                executor_id: v1::ExecutorId { value: "e".into() },
                data: vec![1],
            }),
            ..call(Type::Message)
        },
    );
    let orders = rig.orders(&agent);
    assert!(matches!(&orders[..], [Order::Message { data, .. }] if *data == [1]), "{orders:?}");
    rig.report(
        &agent,
        Report::ExecutorMessage { framework: framework.id.clone(), executor, data: vec![2] },
    );
    let events = rig.events(&framework);
    assert_eq!(events[0].message.as_ref().unwrap().data, [2]);
}

#[test]
fn teardown_ends_the_stream_and_every_task() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    assert_eq!(rig.call(&framework, call(Type::Teardown)), Response::Accepted);
    assert!(rig.closed_streams.contains(&framework.stream));
    assert!(rig.statuses(&framework).is_empty(), "no update of a removed framework is sent");
    let completed = rig.cluster.completed_frameworks().next().unwrap();
    assert_eq!(completed.completed[0].state, TaskState::Killed);
    assert!(matches!(rig.orders(&agent)[..], [Order::ShutdownFramework { .. }]));
}

#[test]
fn answers_to_inverse_offers_and_requests_are_taken_and_ignored() {
    let mut rig = Rig::new();
    let framework = rig.framework("f", PLAIN);
    let calls = [
        scheduler::Call {
            accept_inverse_offers: Some(scheduler::call::AcceptInverseOffers::default()),
            ..call(Type::AcceptInverseOffers)
        },
        scheduler::Call {
            decline_inverse_offers: Some(scheduler::call::DeclineInverseOffers::default()),
            ..call(Type::DeclineInverseOffers)
        },
        scheduler::Call {
            request: Some(scheduler::call::Request::default()),
            ..call(Type::Request)
        },
    ];
    for one in calls {
        assert_eq!(rig.call(&framework, one), Response::Accepted);
    }
    assert!(rig.events(&framework).is_empty());
}

pub(crate) fn kill(task: &str) -> scheduler::Call {
    scheduler::Call {
        kill: Some(scheduler::call::Kill {
            task_id: v1::TaskId { value: task.into() },
            ..scheduler::call::Kill::default()
        }),
        ..call(Type::Kill)
    }
}
