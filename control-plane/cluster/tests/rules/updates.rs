use tepui_link::Order;
use tepui_types::TaskState;

use crate::rig::*;

#[test]
fn an_update_is_forwarded_as_it_came_and_acknowledged_to_the_agent() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let uuid = rig.update(&agent, &framework, "t1", TaskState::Finished);
    let status = rig.statuses(&framework).remove(0);
    assert_eq!(status.uuid.as_ref(), Some(&uuid));
    assert_eq!(status.agent_id.as_ref().unwrap().value, agent.id.to_string());
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Finished), "until acknowledged");
    rig.acknowledge(&framework, &agent, "t1", uuid);
    assert!(matches!(rig.orders(&agent)[..], [Order::Acknowledge { .. }]));
    assert_eq!(rig.state(&framework, "t1"), None);
    let known = rig.cluster.framework(&framework.id).unwrap();
    assert_eq!(known.completed[0].state, TaskState::Finished);
}

#[test]
fn resources_come_back_when_the_newest_state_is_terminal() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.update_ahead(&agent, &framework, "t1", TaskState::Killing, TaskState::Killed);
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Killed));
    let offered = rig.cluster.agent(&agent.id).unwrap().offered.clone();
    let free = rig.cluster.agent(&agent.id).unwrap().free.plus(&offered);
    assert_eq!(free, rig.cluster.agent(&agent.id).unwrap().total);
    let told = rig.statuses(&framework);
    assert_eq!(summary(&told), ["t1 KILLING"]);
}

#[test]
fn only_the_acknowledgement_of_the_terminal_update_removes_the_task() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let killing = rig.update_ahead(&agent, &framework, "t1", TaskState::Killing, TaskState::Killed);
    rig.acknowledge(&framework, &agent, "t1", killing.clone());
    assert!(rig.state(&framework, "t1").is_some());
    let killed = rig.update(&agent, &framework, "t1", TaskState::Killed);
    rig.acknowledge(&framework, &agent, "t1", killing);
    assert!(rig.state(&framework, "t1").is_some(), "an old acknowledgement is only passed on");
    rig.acknowledge(&framework, &agent, "t1", killed);
    assert!(rig.state(&framework, "t1").is_none());
}

#[test]
fn a_terminal_state_is_final() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.update(&agent, &framework, "t1", TaskState::Failed);
    rig.update(&agent, &framework, "t1", TaskState::Running);
    rig.update(&agent, &framework, "t1", TaskState::Finished);
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Failed));
    assert_eq!(rig.cluster.counters().ended_tasks.values().sum::<u64>(), 1);
}

#[test]
fn an_acknowledgement_before_any_update_is_dropped() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    let offer = rig.offers(&framework).remove(0);
    rig.launch(&framework, &offer, vec![task("t1", &agent, "cpus:1;mem:32")]);
    rig.orders(&agent);
    rig.acknowledge(&framework, &agent, "t1", vec![1; 16]);
    assert!(rig.orders(&agent).is_empty());
    assert_eq!(rig.cluster.counters().validity.status_update_acknowledgements, (0, 1));
}

#[test]
fn updates_for_an_absent_framework_are_kept_by_the_agent() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.close_stream(&framework);
    rig.update(&agent, &framework, "t1", TaskState::Finished);
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Finished), "the state is known");
    let framework = rig.subscribe(framework.info).unwrap();
    assert!(rig.statuses(&framework).is_empty());
    let uuid = rig.update(&agent, &framework, "t1", TaskState::Finished);
    assert_eq!(summary(&rig.statuses(&framework)), ["t1 FINISHED"]);
    rig.acknowledge(&framework, &agent, "t1", uuid);
    assert_eq!(rig.state(&framework, "t1"), None);
}

#[test]
fn an_update_of_a_task_that_is_forgotten_still_reaches_its_framework() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let uuid = rig.update(&agent, &framework, "stranger", TaskState::Finished);
    assert_eq!(summary(&rig.statuses(&framework)), ["stranger FINISHED"]);
    rig.acknowledge(&framework, &agent, "stranger", uuid);
    assert!(matches!(rig.orders(&agent)[..], [Order::Acknowledge { .. }]));
}

#[test]
fn a_repeated_update_is_sent_again_and_counted_once() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    let status = tepui_wire::v1::TaskStatus {
        task_id: tepui_wire::v1::TaskId { value: "t1".into() },
        state: tepui_wire::v1::TaskState::TaskRunning.into(),
        source: Some(2),
        reason: Some(29),
        uuid: Some(vec![7; 16]),
        ..Default::default()
    };
    for _ in 0..2 {
        rig.report(
            &agent,
            tepui_link::Report::Update {
                framework: framework.id.clone(),
                status: Box::new(status.clone()),
                latest_state: TaskState::Running,
            },
        );
    }
    assert_eq!(rig.statuses(&framework).len(), 2);
    let outcomes = &rig.cluster.counters().outcomes;
    let (outcome, count) = outcomes.iter().next().unwrap();
    assert_eq!(*count, 1);
    assert_eq!(
        outcome.metric(),
        "master/task_running/source_executor/reason_task_health_check_status_updated"
    );
}

#[test]
fn states_that_are_not_an_agents_to_tell_are_refused() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(PLAIN);
    for state in [TaskState::Unreachable, TaskState::GoneByOperator, TaskState::Unknown] {
        rig.update(&agent, &framework, "t1", state);
    }
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Running));
    assert!(rig.statuses(&framework).is_empty());
}
