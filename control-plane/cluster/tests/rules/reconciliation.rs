use tepui_cluster::Operation;
use tepui_types::TaskState;
use tepui_wire::v1::{self, scheduler, scheduler::call::Type};

use crate::rig::*;

fn ask(tasks: &[(&str, Option<&AgentEnd>)]) -> scheduler::Call {
    let tasks = tasks.iter().map(|(task, agent)| scheduler::call::reconcile::Task {
        task_id: v1::TaskId { value: (*task).into() },
        agent_id: agent.map(|agent| v1::AgentId { value: agent.id.to_string() }),
    });
    scheduler::Call {
        reconcile: Some(scheduler::call::Reconcile { tasks: tasks.collect() }),
        ..call(Type::Reconcile)
    }
}

#[test]
fn an_implicit_question_is_answered_with_every_tracked_task() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.update_ahead(&agent, &framework, "t1", TaskState::Killing, TaskState::Killed);
    rig.events(&framework);
    rig.call(&framework, ask(&[]));
    let statuses = rig.statuses(&framework);
    assert_eq!(summary(&statuses), ["t1 KILLING RECONCILIATION"], "the last forwarded state");
    assert!(statuses[0].uuid.is_none());
}

#[test]
fn an_explicit_question_is_answered_by_what_is_known_of_the_agent() {
    for (capabilities, expected) in [
        (AWARE, ["GONE", "UNREACHABLE", "GONE_BY_OPERATOR", "UNKNOWN"]),
        (PLAIN, ["LOST", "LOST", "LOST", "LOST"]),
    ] {
        let mut rig = Rig::new();
        let silent = rig.agent("silent", "cpus:1;mem:64");
        rig.advance(secs(80));
        let gone = rig.agent("gone", "cpus:1;mem:64");
        rig.operate(Operation::MarkAgentGone { agent: gone.id.clone() });
        let (here, framework) = rig.with_running_task(capabilities);
        let questions = [
            ("t1", None),
            ("a", Some(&here)),
            ("b", Some(&silent)),
            ("c", Some(&gone)),
            ("d", None),
        ];
        rig.call(&framework, ask(&questions));
        let statuses = rig.statuses(&framework);
        let states: Vec<_> = statuses.iter().map(|s| s.state().as_str_name()).collect();
        let expected: Vec<_> = expected.iter().map(|state| format!("TASK_{state}")).collect();
        assert_eq!(states[0], "TASK_RUNNING");
        assert_eq!(states[1..], expected[..]);
        assert!(statuses[2].unreachable_time.is_some());
    }
}

#[test]
fn there_is_no_answer_while_an_agent_may_still_come_back_and_tell() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.change_leader();
    let framework = rig.subscribe(framework.info).unwrap();
    rig.call(&framework, ask(&[("t1", Some(&agent)), ("t2", None)]));
    assert!(rig.statuses(&framework).is_empty());
    rig.advance(secs(601));
    rig.events(&framework);
    rig.call(&framework, ask(&[("t1", Some(&agent)), ("t2", None)]));
    assert_eq!(rig.statuses(&framework).len(), 2);
}

#[test]
fn operations_are_answered_by_what_is_known_of_their_agent() {
    let mut rig = Rig::new();
    let framework = rig.framework("f", PLAIN);
    rig.call(
        &framework,
        scheduler::Call {
            reconcile_operations: Some(scheduler::call::ReconcileOperations {
                operations: vec![scheduler::call::reconcile_operations::Operation {
                    operation_id: v1::OperationId { value: "o".into() },
                    ..Default::default()
                }],
            }),
            ..call(Type::ReconcileOperations)
        },
    );
    let events = rig.events(&framework);
    let status = &events[0].update_operation_status.as_ref().unwrap().status;
    assert_eq!(status.state(), v1::OperationState::OperationUnknown);
}
