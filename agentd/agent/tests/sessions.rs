//! Commands that somebody runs beside a task and talks to.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, command, secs};
use tepui_agent::{
    ContainerCall, ContainerLaunch, Event, Exit, Response, container_id, run_of_container,
};
use tepui_types::{ContainerId, RequestId};
use tepui_wire::v1;
use tepui_wire::v1::r_limit_info::{RLimit, r_limit::Type};

fn ask(rig: &mut Rig, number: u64, call: ContainerCall) {
    rig.event(Event::ContainerCall { request: RequestId(number), call: Box::new(call) });
    rig.settle();
}

fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

fn shell(line: &str) -> v1::CommandInfo {
    v1::CommandInfo { value: Some(line.into()), ..v1::CommandInfo::default() }
}

fn session(beside: &ContainerId, line: &str) -> ContainerCall {
    let container = id(&format!("{beside}.s"));
    let launch = ContainerLaunch {
        container,
        command: shell(line),
        info: None,
        resources: Vec::new(),
        limits: std::collections::BTreeMap::new(),
    };
    ContainerCall::Session(Box::new(launch))
}

fn refused(rig: &Rig) -> (u16, &str) {
    match rig.responses.last().unwrap() {
        Response::Refused { status, message } => (*status, message.as_str()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_has_the_sandbox_user_and_environment_of_its_task() {
    let mut rig = Rig::registered();
    let variable = v1::environment::Variable {
        name: "COLOUR".into(),
        value: Some("blue".into()),
        ..v1::environment::Variable::default()
    };
    let mut task = command("t1");
    let environment = v1::Environment { variables: vec![variable] };
    task.command.as_mut().unwrap().environment = Some(environment);
    rig.launch(task);
    let run = rig.run_of("t1");
    ask(&mut rig, 1, session(&run, "ls"));
    assert_eq!(rig.responses, [Response::Streaming]);
    let spec = &rig.sessions[0];
    assert_eq!((&spec.beside, spec.user.as_deref()), (&run, Some("alice")));
    assert_eq!(spec.sandbox, rig.process("t1").spec.sandbox);
    assert!(spec.environment.contains(&("COLOUR".into(), "blue".into())));
}

#[test]
fn whoever_waits_hears_how_a_session_or_a_task_ended() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let run = rig.run_of("t1");
    ask(&mut rig, 1, session(&run, "ls"));
    let name = rig.sessions[0].session.clone();
    ask(&mut rig, 2, ContainerCall::Wait(name.clone()));
    ask(&mut rig, 3, ContainerCall::Wait(run.clone()));
    ask(&mut rig, 4, ContainerCall::Wait(run));
    rig.event(Event::RequestGone { request: RequestId(4) });
    assert_eq!(rig.responses.len(), 1);
    rig.event(Event::SessionEnded { session: name.clone(), exit: Exit::Code(7) });
    assert_eq!(rig.responses[1], Response::Waited { exit: Exit::Code(7), verdict: None });
    // It is remembered for those who come late.
    ask(&mut rig, 5, ContainerCall::Wait(name));
    assert_eq!(rig.responses[2], Response::Waited { exit: Exit::Code(7), verdict: None });
    rig.exit("t1", Exit::Signal(9));
    assert_eq!(rig.responses[3..], [Response::Waited { exit: Exit::Signal(9), verdict: None }]);
}

#[test]
fn a_session_ends_with_its_task() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let run = rig.run_of("t1");
    ask(&mut rig, 1, session(&run, "ls"));
    rig.exit("t1", Exit::Code(0));
    assert_eq!(rig.closed_sessions, [rig.sessions[0].session.clone()]);
}

#[test]
fn signals_reach_sessions_and_tasks_and_nobody_else() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let run = rig.run_of("t1");
    ask(&mut rig, 1, session(&run, "ls"));
    let name = rig.sessions[0].session.clone();
    ask(&mut rig, 2, ContainerCall::Kill { container: name.clone(), signal: 2 });
    ask(&mut rig, 3, ContainerCall::Kill { container: run.clone(), signal: 10 });
    assert_eq!(rig.signals, [(name, 2), (run.clone(), 10)]);
    assert_eq!(rig.responses[1..], [Response::Done, Response::Done]);
    ask(&mut rig, 4, ContainerCall::Kill { container: run, signal: 65 });
    assert_eq!(refused(&rig).0, 400);
    ask(&mut rig, 5, ContainerCall::Kill { container: id("x"), signal: 9 });
    assert_eq!(refused(&rig), (404, "Container 'x' cannot be found (or is already killed)"));
}

#[test]
fn what_cannot_have_a_session_says_why() {
    let mut rig = Rig::registered();
    ask(&mut rig, 1, session(&id("gone"), "ls"));
    assert_eq!(refused(&rig), (400, "Container gone cannot be found"));
    rig.launch_pod(&["a"]);
    let task = rig.run_of("a");
    let pod = id(task.as_str().split('.').next().unwrap());
    ask(&mut rig, 2, session(&pod, "ls"));
    assert!(refused(&rig).1.contains("is a pod"), "{}", refused(&rig).1);
    ask(&mut rig, 3, session(&task, "ls"));
    assert_eq!(rig.responses.last(), Some(&Response::Streaming));
    ask(&mut rig, 4, session(&task, "ls"));
    assert_eq!(rig.responses.last(), Some(&Response::Accepted), "it is there already");
    ask(&mut rig, 5, ContainerCall::Remove(task.clone()));
    assert_eq!(refused(&rig).0, 500);
    ask(&mut rig, 6, ContainerCall::Remove(id("never-was")));
    assert_eq!(rig.responses.last(), Some(&Response::Done));
    rig.exit("a", Exit::Code(0));
    let name = rig.closed_sessions[0].clone();
    rig.event(Event::SessionEnded { session: name, exit: Exit::Signal(9) });
    rig.advance(secs(1));
    ask(&mut rig, 7, session(&task, "ls"));
    assert_eq!(refused(&rig).0, 400);
}

#[test]
fn a_resource_limit_that_cannot_be_meant_is_refused_by_name_for_sessions_too() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let run = rig.run_of("t1");
    let limited = |kind: Type, soft, hard| {
        let rlimits = vec![RLimit { r#type: Some(kind.into()), soft, hard }];
        let mut call = session(&run, "ls");
        if let ContainerCall::Session(launch) = &mut call {
            launch.info = Some(v1::ContainerInfo {
                r#type: v1::container_info::Type::Mesos.into(),
                rlimit_info: Some(v1::RLimitInfo { rlimits }),
                ..v1::ContainerInfo::default()
            });
        }
        call
    };
    for (number, call, why) in [
        (1, limited(Type::Unknown, Some(1), Some(1)), "no known type"),
        (
            2,
            limited(Type::RlmtNofile, Some(2), Some(1)),
            "NOFILE (container.rlimit_info) has a soft",
        ),
    ] {
        ask(&mut rig, number, call);
        let (status, message) = refused(&rig);
        assert_eq!(status, 400);
        assert!(message.contains(why), "{message}");
    }
    ask(&mut rig, 3, limited(Type::RlmtNofile, Some(1), Some(2)));
    assert_eq!(rig.responses.last(), Some(&Response::Streaming));
}

#[test]
fn a_session_in_a_container_is_refused_what_only_its_container_says() {
    let mut rig = Rig::registered();
    let linux_info = Some(v1::LinuxInfo::default());
    let mut info = v1::ContainerInfo { linux_info, ..v1::ContainerInfo::default() };
    info.set_type(v1::container_info::Type::Mesos);
    rig.launch(v1::TaskInfo { container: Some(info.clone().into()), ..command("t1") });
    let run = rig.run_of("t1");
    info.linux_info = None;
    info.rlimit_info = Some(v1::RLimitInfo::default());
    let mut call = session(&run, "ls");
    if let ContainerCall::Session(launch) = &mut call {
        launch.info = Some(info);
    }
    ask(&mut rig, 1, call);
    let (status, message) = refused(&rig);
    assert_eq!(status, 400);
    assert!(message.contains("leave 'container.rlimit_info' out"), "{message}");
    ask(&mut rig, 2, session(&run, "ls"));
    assert_eq!(rig.responses.last(), Some(&Response::Streaming));
}

#[test]
fn the_wire_names_a_container_with_those_that_it_is_below() {
    let run = id("a.b.c");
    let wire = container_id(&run);
    assert_eq!(wire.value, "c");
    assert_eq!(wire.parent.as_ref().unwrap().parent.as_ref().unwrap().value, "a");
    assert_eq!(run_of_container(&wire).unwrap(), run);
    for bad in ["", "a.b", "a b", "a/b", "..", &"x".repeat(243)] {
        let faulty = v1::ContainerId { value: bad.to_owned(), parent: None };
        assert!(run_of_container(&faulty).is_err(), "{bad:?}");
        let below = v1::ContainerId { value: "x".into(), parent: Some(Box::new(faulty)) };
        assert!(run_of_container(&below).is_err(), "{bad:?}");
    }
    let mut deep = v1::ContainerId { value: "x".into(), parent: None };
    for _ in 0..10_000 {
        deep = v1::ContainerId { value: "x".into(), parent: Some(Box::new(deep)) };
    }
    assert!(run_of_container(&deep).is_err());
    // A chain of boxes ends one by one: dropping it at once would need as many stack frames.
    while let Some(parent) = deep.parent.take() {
        deep = *parent;
    }
}
