//! Containers that somebody asks the agent's API for, below others or alone.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, command, ports, secs};
use tepui_agent::{
    Cause, Certificate, ContainerCall, ContainerLaunch, Event, Exit, Phase, Response,
};
use tepui_types::{ContainerId, RequestId, TaskState};
use tepui_wire::v1::{self, task_status::Reason};

fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

fn ask(rig: &mut Rig, call: ContainerCall) {
    rig.event(Event::ContainerCall { request: RequestId(900), call: Box::new(call) });
    rig.settle();
}

fn wanted(container: &str) -> ContainerLaunch {
    let value = Some("sleep 100".into());
    ContainerLaunch {
        container: id(container),
        command: v1::CommandInfo { value, ..v1::CommandInfo::default() },
        info: None,
        resources: Vec::new(),
        limits: std::collections::BTreeMap::new(),
    }
}

fn launch(rig: &mut Rig, container: &str) {
    ask(rig, ContainerCall::Launch(Box::new(wanted(container))));
}

fn refusal(rig: &Rig) -> (u16, &str) {
    match rig.responses.last().unwrap() {
        Response::Refused { status, message } => (*status, message.as_str()),
        other => panic!("{other:?}"),
    }
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..v1::Resource::default()
    }
}

/// A rig with the task `t1`; its container.
fn with_task() -> (Rig, ContainerId) {
    let mut rig = Rig::registered();
    let mut task = command("t1");
    task.resources.extend([scalar("cpus", 0.5), scalar("mem", 64.0)]);
    rig.launch(task);
    let run = rig.run_of("t1");
    (rig, run)
}

fn ends(rig: &mut Rig, run: &ContainerId, exit: Exit, certificate: Option<Certificate>) {
    if let Some(one) = rig.host.get_mut(run) {
        one.exit = Some(exit.clone());
    }
    rig.event(Event::RunExited { run: run.clone(), exit, certificate: certificate.map(Box::new) });
    rig.settle();
}

#[test]
fn a_nested_container_has_a_sandbox_below_its_parents_and_is_held_to_its_amounts() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.side");
    launch(&mut rig, &name);
    assert_eq!(rig.responses, [Response::Done]);
    let above = rig.process("t1").spec.clone();
    let spec = &rig.host[&id(&name)].spec;
    assert_eq!(&*spec.sandbox, format!("{}/containers/side", above.sandbox));
    assert_eq!(spec.user.as_deref(), Some("alice"));
    assert_eq!(spec.limits.memory_limit, Some(64 << 20));
    assert_eq!(spec.limits.cpu_milli, Some(500));
    assert_eq!(spec.ports, above.ports);
    assert_eq!(spec.title, name.as_str());
    launch(&mut rig, &name);
    assert_eq!(rig.responses.last(), Some(&Response::Accepted), "it is there already");
}

#[test]
fn containers_are_nested_deeper_and_end_with_the_outermost() {
    let (mut rig, task) = with_task();
    let names = [format!("{task}.a"), format!("{task}.a.b"), format!("{task}.a.b.c")];
    for name in &names {
        launch(&mut rig, name);
        assert_eq!(rig.responses.last(), Some(&Response::Done));
    }
    rig.exit("t1", Exit::Code(0));
    for name in &names {
        assert!(rig.host[&id(name)].killed > 0, "{name}");
        ends(&mut rig, &id(name), Exit::Signal(9), None);
    }
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn a_standalone_container_is_nobodys_and_has_what_it_was_given() {
    let mut rig = Rig::started();
    let mut own = wanted("tool");
    own.resources = vec![scalar("cpus", 0.2), scalar("mem", 32.0), ports(31_500, 31_501)];
    own.limits.insert("mem".into(), v1::value::Scalar { value: 48.0 });
    ask(&mut rig, ContainerCall::Launch(Box::new(own.clone())));
    assert_eq!(refusal(&rig).0, 400, "nobody here holds it to a limit");
    own.limits.clear();
    ask(&mut rig, ContainerCall::Launch(Box::new(own)));
    assert_eq!(rig.responses.last(), Some(&Response::Done));
    let spec = &rig.host[&id("tool")].spec;
    assert_eq!((&*spec.sandbox, spec.user.as_deref()), ("containers/tool", None));
    assert_eq!((spec.limits.memory_limit, spec.limits.cpu_milli), (Some(32 << 20), Some(200)));
    assert_eq!(spec.ports.to_string(), "[31500-31501]");
    launch(&mut rig, "tool.inner");
    assert_eq!(&*rig.host[&id("tool.inner")].spec.sandbox, "containers/tool/containers/inner");
    assert_eq!(rig.host[&id("tool.inner")].spec.limits.memory_limit, Some(32 << 20));
}

#[test]
fn what_cannot_be_launched_says_why_and_leaves_nothing() {
    type Fault = fn(&mut ContainerLaunch);
    let (mut rig, task) = with_task();
    launch(&mut rig, "gone.x");
    assert_eq!(refusal(&rig), (400, "Container gone cannot be found"));
    let name = format!("{task}.x");
    let faulty = |change: fn(&mut ContainerLaunch)| {
        let mut one = wanted(&name);
        change(&mut one);
        ContainerCall::Launch(Box::new(one))
    };
    let cases: [(Fault, &str); 6] = [
        (|one| one.command.value = None, "nothing to execute"),
        (
            |one| {
                let kind = v1::container_info::Type::Docker.into();
                one.info = Some(v1::ContainerInfo { r#type: kind, ..Default::default() });
            },
            "has to be MESOS",
        ),
        (|one| one.resources = vec![scalar("gpus", 0.5)], "not a whole number"),
        (
            |one| {
                let revocable = Some(v1::resource::RevocableInfo {});
                one.resources = vec![v1::Resource { revocable, ..scalar("cpus", 1.0) }];
            },
            "revocable",
        ),
        (
            |one| {
                let reservation = v1::resource::ReservationInfo::default();
                let reservations = vec![reservation];
                one.resources = vec![v1::Resource { reservations, ..scalar("cpus", 1.0) }];
            },
            "'cpus'",
        ),
        (
            |one| {
                one.limits.insert("disk".into(), v1::value::Scalar { value: 1.0 });
            },
            "The limit of 'disk' is not supported",
        ),
    ];
    for (change, expected) in cases {
        ask(&mut rig, faulty(change));
        let (status, message) = refusal(&rig);
        assert_eq!(status, 400);
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(rig.host.len(), 1);
    assert!(rig.agent.run(&id(&name)).is_none());
}

#[test]
fn a_launch_that_fails_is_a_refusal_and_its_id_is_free_again() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.x");
    rig.answers_fetch = false;
    launch(&mut rig, &name);
    assert!(rig.responses.is_empty(), "answered once it runs");
    ask(&mut rig, ContainerCall::Wait(id(&name)));
    rig.event(Event::Fetched { run: id(&name), outcome: Err("no such file".into()) });
    assert_eq!(refusal_of(&rig.responses[0]).0, 400);
    assert!(refusal_of(&rig.responses[0]).1.contains("no such file"));
    assert!(matches!(rig.responses[1], Response::Waited { .. }));
    assert!(rig.agent.run(&id(&name)).is_none());
    assert_eq!(rig.removed.len(), 1);
    rig.answers_fetch = true;
    launch(&mut rig, &name);
    assert_eq!(rig.responses.last(), Some(&Response::Done));
}

fn refusal_of(response: &Response) -> (u16, &str) {
    match response {
        Response::Refused { status, message } => (*status, message.as_str()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_container_that_is_killed_while_it_is_launched_never_runs() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.x");
    rig.answers_fetch = false;
    launch(&mut rig, &name);
    ask(&mut rig, ContainerCall::Kill { container: id(&name), signal: 9 });
    assert_eq!(
        refusal_of(&rig.responses[0]).1,
        "The container was killed while it was being launched"
    );
    assert_eq!(rig.responses[1], Response::Done);
    rig.event(Event::Fetched { run: id(&name), outcome: Ok(()) });
    assert_eq!(rig.host.len(), 1);
    assert_eq!(rig.discarded.iter().filter(|run| **run == id(&name)).count(), 2);
}

#[test]
fn whoever_waits_hears_how_and_why_a_container_ended_after_a_restart_too() {
    let (mut rig, task) = with_task();
    let (small, large) = (format!("{task}.small"), format!("{task}.large"));
    launch(&mut rig, &small);
    launch(&mut rig, &large);
    ask(&mut rig, ContainerCall::Wait(id(&small)));
    ends(&mut rig, &id(&small), Exit::Code(3), None);
    let plain = Response::Waited { exit: Exit::Code(3), verdict: None };
    assert_eq!(rig.responses.last(), Some(&plain));
    let certificate = Certificate {
        cause: Cause::OutOfMemory,
        memory_limit: Some(64 << 20),
        ..Default::default()
    };
    ends(&mut rig, &id(&large), Exit::Signal(9), Some(certificate));
    for restarted in [false, true] {
        if restarted {
            rig.disk = rig.agent.snapshot();
            rig.restart();
        }
        ask(&mut rig, ContainerCall::Wait(id(&small)));
        assert_eq!(rig.responses.last(), Some(&plain));
        ask(&mut rig, ContainerCall::Wait(id(&large)));
        let Some(Response::Waited { exit, verdict: Some(verdict) }) = rig.responses.last() else {
            panic!("{:?}", rig.responses.last());
        };
        assert_eq!(*exit, Exit::Signal(9));
        assert_eq!(
            (verdict.state, verdict.reason),
            (TaskState::Failed, Reason::ContainerLimitationMemory)
        );
        assert!(verdict.message.starts_with("Memory limit exceeded"), "{}", verdict.message);
        assert_eq!(verdict.limitation.as_ref().unwrap().resources[0].name, "mem");
    }
}

#[test]
fn a_restart_of_the_agent_touches_no_container() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.x");
    launch(&mut rig, &name);
    launch(&mut rig, "alone");
    for compacted in [false, true] {
        if compacted {
            rig.disk = rig.agent.snapshot();
        }
        rig.restart();
        rig.connect();
        for name in [name.as_str(), "alone"] {
            assert_eq!(rig.agent.run(&id(name)).unwrap().phase, Phase::Running);
            assert_eq!((rig.host[&id(name)].terminated, rig.host[&id(name)].killed), (0, 0));
        }
    }
    ask(&mut rig, ContainerCall::Kill { container: id("alone"), signal: 15 });
    assert_eq!(rig.signals, [(id("alone"), 15)]);
    rig.exit("t1", Exit::Code(0));
    assert!(rig.host[&id(&name)].killed > 0);
    assert_eq!(rig.host[&id("alone")].killed, 0);
}

#[test]
fn what_lost_its_parent_while_the_agent_was_away_ends_afterwards() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.x");
    launch(&mut rig, &name);
    rig.exit_unseen("t1", Exit::Code(0));
    rig.restart();
    assert!(rig.host[&id(&name)].killed > 0);
    assert!(rig.agent.run(&id(&name)).unwrap().exit.is_none(), "until it is gone");
}

#[test]
fn what_is_nested_deeper_is_ended_as_soon_as_the_outermost_is_known_to_be_gone() {
    let (mut rig, run) = with_task();
    let (outer, inner) = (format!("{run}.shell"), format!("{run}.shell.deep"));
    launch(&mut rig, &outer);
    launch(&mut rig, &inner);
    rig.exit_unseen("t1", Exit::Code(0));
    rig.restart();
    for one in [&outer, &inner] {
        assert!(rig.host[&id(one)].killed > 0, "{one}");
    }
}

#[test]
fn a_reboot_ends_every_container() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.x");
    launch(&mut rig, &name);
    launch(&mut rig, "alone");
    rig.reboot();
    assert_eq!(rig.agent.live_runs().count(), 0);
    ask(&mut rig, ContainerCall::Wait(id("alone")));
    assert!(matches!(rig.responses.last(), Some(Response::Waited { exit: Exit::Unknown(_), .. })));
}

#[test]
fn a_container_that_was_accepted_and_not_started_starts_after_a_restart() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.x");
    rig.answers_fetch = false;
    launch(&mut rig, &name);
    rig.answers_fetch = true;
    rig.restart();
    assert_eq!(rig.agent.run(&id(&name)).unwrap().phase, Phase::Running);
}

#[test]
fn a_removed_container_leaves_nothing_and_one_that_runs_is_not_removed() {
    let (mut rig, task) = with_task();
    let (outer, inner) = (format!("{task}.a"), format!("{task}.a.b"));
    launch(&mut rig, &outer);
    launch(&mut rig, &inner);
    ask(&mut rig, ContainerCall::Remove(id(&outer)));
    let expected = format!("Nested container has not terminated yet: {outer}");
    assert_eq!(refusal(&rig), (500, expected.as_str()));
    ends(&mut rig, &id(&outer), Exit::Code(0), None);
    ask(&mut rig, ContainerCall::Remove(id(&outer)));
    assert_eq!(refusal(&rig).0, 500, "what is below it is still there");
    ends(&mut rig, &id(&inner), Exit::Signal(9), None);
    rig.restart();
    ask(&mut rig, ContainerCall::Remove(id(&outer)));
    assert_eq!(rig.responses.last(), Some(&Response::Done));
    assert_eq!(rig.removed.len(), 1);
    assert!(rig.removed[0].ends_with("/containers/a"));
    ask(&mut rig, ContainerCall::Remove(id(&outer)));
    assert_eq!(rig.responses.last(), Some(&Response::Done), "already gone is what was wanted");
    assert_eq!(rig.removed.len(), 1);
    for gone in [outer, inner] {
        ask(&mut rig, ContainerCall::Wait(id(&gone)));
        assert_eq!(refusal(&rig).0, 404);
    }
}

#[test]
fn containers_below_a_pod_do_not_keep_it_and_end_with_it() {
    let mut rig = Rig::registered();
    rig.launch_pod(&["a"]);
    let task = rig.run_of("a");
    let pod = task.as_str().split('.').next().unwrap().to_owned();
    let (of_pod, of_task) = (format!("{pod}.tool"), format!("{task}.tool"));
    launch(&mut rig, &of_pod);
    launch(&mut rig, &of_task);
    assert_eq!(rig.responses, [Response::Done, Response::Done]);
    // Whatever such a container ends as is nothing to the tasks.
    ends(&mut rig, &id(&of_task), Exit::Code(1), None);
    assert_eq!(rig.process("a").terminated, 0);
    rig.exit("a", Exit::Code(0));
    assert!(rig.host[&id(&of_pod)].killed > 0);
    ends(&mut rig, &id(&of_pod), Exit::Signal(9), None);
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn a_framework_that_is_gone_takes_its_containers_along_and_no_others() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.x");
    launch(&mut rig, &name);
    launch(&mut rig, "alone");
    rig.order(tepui_link::Order::ShutdownFramework { framework: rig::framework_id() });
    rig.restart();
    ends(&mut rig, &task, Exit::Signal(15), None);
    assert!(rig.host[&id(&name)].killed > 0);
    assert_eq!(rig.host[&id("alone")].killed, 0);
}

#[test]
fn an_agent_that_leaves_ends_what_is_nobodys_first() {
    let mut rig = Rig::registered();
    launch(&mut rig, "alone");
    rig.event(Event::Leave);
    assert!(rig.host[&id("alone")].killed > 0);
    assert_eq!(rig.quit, None);
    ends(&mut rig, &id("alone"), Exit::Signal(9), None);
    assert!(rig.quit.is_some());
    launch(&mut rig, "late");
    rig.advance(secs(1));
    assert!(rig.agent.run(&id("late")).is_none() || rig.quit.is_some());
}

#[test]
fn a_session_is_opened_beside_a_container_too() {
    let (mut rig, task) = with_task();
    let name = format!("{task}.x");
    launch(&mut rig, &name);
    let session = ContainerLaunch { container: id(&format!("{name}.s")), ..wanted("s") };
    ask(&mut rig, ContainerCall::Session(Box::new(session)));
    assert_eq!(rig.responses.last(), Some(&Response::Streaming));
    assert_eq!(rig.sessions[0].sandbox, rig.host[&id(&name)].spec.sandbox);
    assert_eq!(rig.sessions[0].user.as_deref(), Some("alice"));
}
