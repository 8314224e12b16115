use tepui_link::Order;
use tepui_types::{ExecutorId, TaskState};
use tepui_wire::v1::{self, offer};

use crate::rig::*;

const BIG: &str = "cpus:4;mem:1024;disk:1000;ports:[31000-31009]";

fn setup(capabilities: &[Capability]) -> (Rig, AgentEnd, FrameworkEnd, v1::Offer) {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", BIG);
    let framework = rig.framework("f", capabilities);
    let offer = rig.offers(&framework).remove(0);
    rig.orders(&agent);
    (rig, agent, framework, offer)
}

#[test]
fn a_launch_reaches_the_agent_with_its_role_and_takes_what_it_needs() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let one = task("t1", &agent, "cpus:1;mem:128;ports:[31002-31003]");
    rig.launch(&framework, &offer, vec![one]);
    let orders = rig.orders(&agent);
    let [Order::Launch(order)] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(order.framework.id.as_ref().unwrap().value, framework.id.to_string());
    assert!(order.role.is_default());
    let allocation = order.tasks[0].resources[0].allocation_info.as_ref();
    assert_eq!(allocation.unwrap().role(), "*");
    assert_eq!(rig.free(&agent), "cpus:3;mem:896;disk:1000;ports:[31000-31001, 31004-31009]");
}

#[test]
fn a_bad_task_is_refused_alone_and_the_others_start() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let foreign = v1::TaskInfo {
        agent_id: v1::AgentId { value: "elsewhere".into() },
        ..task("foreign", &agent, "cpus:1;mem:32")
    };
    let both =
        v1::TaskInfo { executor: Some(executor("e", "").into()), ..task("both", &agent, "cpus:1") };
    let neither = v1::TaskInfo { command: None, ..task("neither", &agent, "cpus:1") };
    let tasks = vec![
        task("good", &agent, "cpus:1;mem:32"),
        task("good", &agent, "cpus:1;mem:32"),
        task("../x", &agent, "cpus:1;mem:32"),
        foreign,
        both,
        neither,
        task("huge", &agent, "cpus:10;mem:32"),
        v1::TaskInfo { resources: vec![], ..task("nothing", &agent, "cpus:1") },
        task("fine", &agent, "cpus:1;mem:32"),
    ];
    rig.launch(&framework, &offer, tasks);
    let statuses = rig.statuses(&framework);
    let said: Vec<_> = statuses.iter().map(v1::TaskStatus::message).collect();
    assert!(summary(&statuses).iter().all(|one| one.ends_with("ERROR TASK_INVALID")), "{said:?}");
    let expected = [
        "Task has duplicate ID: good",
        "TaskID '../x' contains invalid characters",
        "Task uses invalid agent elsewhere",
        "at least one (but not both)",
        "at least one (but not both)",
        "is more than available",
        "Task uses no resources",
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{said} lacks {expected}");
    }
    let orders = rig.orders(&agent);
    let [Order::Launch(order)] = &orders[..] else { panic!("{orders:?}") };
    let names: Vec<_> = order.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, ["good", "fine"]);
}

#[test]
fn nonsense_amounts_are_refused() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let with = |name: &str, amount: f64| {
        let mut one = task(name, &agent, "cpus:1;mem:32");
        one.resources[0].scalar = Some(v1::value::Scalar { value: amount });
        one
    };
    let mut ports = task("ports", &agent, "cpus:1;ports:[31000-31001]");
    ports.resources[1].ranges =
        Some(v1::value::Ranges { range: vec![v1::value::Range { begin: 5, end: 3 }] });
    let tasks = vec![
        with("nan", f64::NAN),
        with("infinite", f64::INFINITY),
        with("negative", -1.0),
        with("tiny", 0.000_01),
        with("large", 1e300),
        ports,
    ];
    rig.launch(&framework, &offer, tasks);
    let statuses = rig.statuses(&framework);
    assert_eq!(statuses.len(), 6);
    assert!(statuses.iter().all(|one| one.message().contains("invalid resources")), "{statuses:?}");
    assert_eq!(rig.free(&agent), BIG);
}

#[test]
fn two_tasks_cannot_have_the_same_port() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let tasks = vec![
        task("t1", &agent, "cpus:1;ports:[31000-31001]"),
        task("t2", &agent, "cpus:1;ports:[31001-31002]"),
    ];
    rig.launch(&framework, &offer, tasks);
    assert_eq!(summary(&rig.statuses(&framework)), ["t2 ERROR TASK_INVALID"]);
}

#[test]
fn checks_and_containers_are_looked_at() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let mut tasks: Vec<_> =
        (0..6).map(|n| task(&format!("t{n}"), &agent, "cpus:0.1;mem:32")).collect();
    tasks[0].health_check = Some(Box::default());
    let http = v1::health_check::HttpCheckInfo { path: Some("x".into()), ..Default::default() };
    let health_check = v1::HealthCheck { http: Some(http), ..v1::HealthCheck::default() };
    tasks[1].health_check = Some(health_check.into());
    tasks[2].kill_policy =
        Some(v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds: -1 }) });
    let docker = v1::container_info::Type::Docker.into();
    let container = v1::ContainerInfo { r#type: docker, ..v1::ContainerInfo::default() };
    tasks[3].container = Some(container.into());
    tasks[4].limits.insert("cpus".into(), v1::value::Scalar { value: 0.05 });
    tasks[5].limits.insert("gpus".into(), v1::value::Scalar { value: 1.0 });
    rig.launch(&framework, &offer, tasks);
    let statuses = rig.statuses(&framework);
    let expected = [
        "HealthCheck must specify 'type'",
        "must start with '/'",
        "'kill_policy.grace_period' must be non-negative",
        "'docker' is not set",
        "less than its request",
        "only 'cpus' and 'mem'",
    ];
    for (status, expected) in statuses.iter().zip(expected) {
        assert!(status.message().contains(expected), "{} lacks {expected}", status.message());
    }
    assert_eq!(statuses.len(), expected.len());
}

#[test]
fn a_custom_executor_is_paid_once_and_until_it_exits() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let with = |name: &str| v1::TaskInfo {
        command: None,
        executor: Some(executor("e", "cpus:0.5;mem:64").into()),
        ..task(name, &agent, "cpus:1;mem:128")
    };
    rig.launch(&framework, &offer, vec![with("t1"), with("t2")]);
    assert_eq!(rig.free(&agent), "cpus:1.5;mem:704;disk:1000;ports:[31000-31009]");
    rig.advance(secs(6));
    let offer = rig.offers(&framework).remove(0);
    assert_eq!(offer.executor_ids[0].value, "e");
    let other = v1::TaskInfo {
        command: None,
        executor: Some(executor("e", "cpus:0.6;mem:64").into()),
        ..task("t3", &agent, "cpus:1;mem:128")
    };
    rig.launch(&framework, &offer, vec![other]);
    let statuses = rig.statuses(&framework);
    assert!(statuses[0].message().contains("not compatible with existing"), "{statuses:?}");
    for name in ["t1", "t2"] {
        rig.update(&agent, &framework, name, TaskState::Finished);
    }
    rig.report(
        &agent,
        tepui_link::Report::ExecutorExited {
            framework: framework.id.clone(),
            executor: ExecutorId::parse("e").unwrap(),
            status: 9,
        },
    );
    assert_eq!(rig.free(&agent), BIG);
    let failure = rig.events(&framework).into_iter().find_map(|event| event.failure).unwrap();
    assert_eq!((failure.executor_id.unwrap().value.as_str(), failure.status), ("e", Some(9)));
}

#[test]
fn an_executor_that_the_agent_never_started_is_not_paid_for_ever() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let with = |name: &str| v1::TaskInfo {
        command: None,
        executor: Some(executor("e", "cpus:0.5;mem:64").into()),
        ..task(name, &agent, "cpus:1;mem:128")
    };
    rig.launch(&framework, &offer, vec![with("t1"), with("t2")]);
    for name in ["t1", "t2"] {
        assert_eq!(rig.cluster.executors().count(), 1);
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: name.into() },
            state: v1::TaskState::TaskFailed.into(),
            source: Some(v1::task_status::Source::Agent.into()),
            uuid: Some(vec![5; 16]),
            ..v1::TaskStatus::default()
        };
        rig.report(
            &agent,
            tepui_link::Report::Update {
                framework: framework.id.clone(),
                status: Box::new(status),
                latest_state: TaskState::Failed,
            },
        );
    }
    assert_eq!(rig.cluster.executors().count(), 0);
    assert_eq!(rig.free(&agent), BIG);
}

#[test]
fn an_agent_that_counts_other_executors_for_long_must_register_again() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let info = v1::TaskInfo {
        command: None,
        executor: Some(executor("e", "cpus:0.5;mem:64").into()),
        ..task("t", &agent, "cpus:1;mem:128")
    };
    rig.launch(&framework, &offer, vec![info]);
    rig.update(&agent, &framework, "t", TaskState::Finished);
    let seen = rig.cluster.agent(&agent.id).unwrap().link.unwrap().sent;
    let beat = |rig: &mut Rig, executors| {
        let seen = tepui_link::Report::Heartbeat { seen, executors, leftovers: Vec::new() };
        rig.report(&agent, seen);
        rig.advance(secs(15));
    };
    // News that takes its time is no reason.
    for executors in [1, 0, 0, 1, 0, 0] {
        beat(&mut rig, executors);
    }
    assert!(!rig.closed_links.contains(&agent.link));
    beat(&mut rig, 0);
    beat(&mut rig, 0);
    assert!(rig.closed_links.contains(&agent.link));
}

#[test]
fn the_end_of_an_executor_that_never_subscribed_is_told_after_its_tasks_last_words() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let info = v1::TaskInfo {
        command: None,
        executor: Some(executor("e", "cpus:0.5;mem:64").into()),
        ..task("t", &agent, "cpus:1;mem:128")
    };
    rig.launch(&framework, &offer, vec![info]);
    let status = v1::TaskStatus {
        task_id: v1::TaskId { value: "t".into() },
        state: v1::TaskState::TaskFailed.into(),
        source: Some(v1::task_status::Source::Agent.into()),
        reason: Some(v1::task_status::Reason::ExecutorTerminated.into()),
        uuid: Some(vec![5; 16]),
        ..v1::TaskStatus::default()
    };
    let update = tepui_link::Report::Update {
        framework: framework.id.clone(),
        status: Box::new(status),
        latest_state: TaskState::Failed,
    };
    let exited = tepui_link::Report::ExecutorExited {
        framework: framework.id.clone(),
        executor: ExecutorId::parse("e").unwrap(),
        status: 3 << 8,
    };
    rig.report(&agent, update);
    rig.report(&agent, exited);
    let failure = rig.events(&framework).into_iter().find_map(|event| event.failure).unwrap();
    assert_eq!(failure.status, Some(3 << 8));
    assert_eq!(rig.free(&agent), BIG);
}

#[test]
fn a_task_group_starts_whole_or_not_at_all() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let mut executor = v1::ExecutorInfo {
        r#type: Some(v1::executor_info::Type::Default.into()),
        command: None,
        ..executor("pod", "cpus:0.1;mem:32;disk:10")
    };
    let group = |executor: &v1::ExecutorInfo, second: &str| offer::Operation {
        r#type: Some(offer::operation::Type::LaunchGroup.into()),
        launch_group: Some(offer::operation::LaunchGroup {
            executor: executor.clone(),
            task_group: v1::TaskGroupInfo {
                tasks: vec![task("g1", &agent, "cpus:1;mem:64"), task("g2", &agent, second)],
            },
        }),
        ..offer::Operation::default()
    };
    let offers = [offer];
    rig.accept(
        &framework,
        &[&offers[0]],
        vec![
            group(&executor, "cpus:1;mem:64"),
            {
                executor.framework_id = Some(v1::FrameworkId { value: framework.id.to_string() });
                group(&executor, "cpus:9;mem:64")
            },
            group(&executor, "cpus:1;mem:64"),
        ],
    );
    let statuses = rig.statuses(&framework);
    assert_eq!(
        summary(&statuses),
        [
            "g1 ERROR TASK_GROUP_INVALID",
            "g2 ERROR TASK_GROUP_INVALID",
            "g1 ERROR TASK_GROUP_INVALID",
            "g2 ERROR TASK_GROUP_INVALID",
        ]
    );
    assert!(statuses[0].message().contains("'ExecutorInfo.framework_id' must be set"));
    assert!(statuses[2].message().contains("more than available"));
    let orders = rig.orders(&agent);
    let [Order::Launch(order)] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(order.group_executor.as_ref().unwrap().executor_id.value, "pod");
    assert_eq!(order.tasks.len(), 2);
    assert_eq!(rig.free(&agent), "cpus:1.9;mem:864;disk:990;ports:[31000-31009]");
}

#[test]
fn an_operation_that_is_not_there_yet_gets_an_error_by_its_id() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let reserve = offer::Operation {
        r#type: Some(offer::operation::Type::Reserve.into()),
        id: Some(v1::OperationId { value: "r1".into() }),
        reserve: Some(offer::operation::Reserve::default()),
        ..offer::Operation::default()
    };
    let start = launch(vec![task("t1", &agent, "cpus:1;mem:32")]);
    rig.accept(&framework, &[&offer], vec![reserve, start]);
    let events = rig.events(&framework);
    let status = &events[0].update_operation_status.as_ref().unwrap().status;
    assert_eq!(status.operation_id.as_ref().unwrap().value, "r1");
    assert_eq!(status.state(), v1::OperationState::OperationError);
    assert!(status.message().contains("RESERVE is not supported"));
    assert_eq!(rig.state(&framework, "t1"), Some(TaskState::Staging), "the others still run");
}

#[test]
fn an_id_on_a_launch_is_a_task_error() {
    let (mut rig, agent, framework, offer) = setup(PLAIN);
    let with_id = offer::Operation {
        id: Some(v1::OperationId { value: "l1".into() }),
        ..launch(vec![task("t1", &agent, "cpus:1;mem:32")])
    };
    rig.accept(&framework, &[&offer], vec![with_id]);
    assert_eq!(summary(&rig.statuses(&framework)), ["t1 ERROR TASK_INVALID"]);
}

fn executor(name: &str, resources: &str) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: name.into() },
        command: Some(v1::CommandInfo { value: Some("run".into()), ..Default::default() }),
        resources: if resources.is_empty() { vec![] } else { wire_resources(resources) },
        ..v1::ExecutorInfo::default()
    }
}
