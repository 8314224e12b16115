use super::*;

fn job() -> Job {
    Job {
        name: "a_mesos_job".into(),
        command: "sleep 100".into(),
        cpus: 1.0,
        mem: 128.0,
        disk: 0.0,
        gpus: 0.0,
        env: vec![("A".into(), "1".into())],
        role: "*".into(),
        user: "u".into(),
        kill_grace_nanos: None,
    }
}

fn event(kind: event::Type) -> Event {
    Event { r#type: Some(kind.into()), ..Event::default() }
}

fn subscribed() -> Event {
    Event {
        subscribed: Some(event::Subscribed {
            framework_id: v1::FrameworkId { value: "c-0001".into() },
            ..event::Subscribed::default()
        }),
        ..event(event::Type::Subscribed)
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

fn offers(resources: Vec<v1::Resource>) -> Event {
    let offer = v1::Offer {
        id: v1::OfferId { value: "O1".into() },
        framework_id: v1::FrameworkId { value: "c-0001".into() },
        agent_id: v1::AgentId { value: "S0".into() },
        hostname: "node1".into(),
        resources,
        ..v1::Offer::default()
    };
    Event { offers: Some(event::Offers { offers: vec![offer] }), ..event(event::Type::Offers) }
}

fn update(state: v1::TaskState, message: &str, uuid: Option<Vec<u8>>) -> Event {
    let status = v1::TaskStatus {
        task_id: v1::TaskId { value: "a_mesos_job".into() },
        state: state.into(),
        message: (!message.is_empty()).then(|| message.to_owned()),
        source: Some(v1::task_status::Source::Executor.into()),
        agent_id: Some(v1::AgentId { value: "S0".into() }),
        uuid,
        ..v1::TaskStatus::default()
    };
    Event { update: Some(event::Update { status }), ..event(event::Type::Update) }
}

fn calls(steps: &[Step]) -> Vec<call::Type> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Call(call) => call::Type::try_from(call.r#type?).ok(),
            _ => None,
        })
        .collect()
}

fn lines(steps: &[Step]) -> Vec<&str> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Say(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn ending(steps: &[Step]) -> Option<u8> {
    steps.iter().find_map(|step| match step {
        Step::End(code) => Some(*code),
        _ => None,
    })
}

fn launched() -> Launcher {
    let mut launcher = Launcher::new(job());
    launcher.handle(subscribed());
    let steps = launcher.handle(offers(vec![scalar("cpus", 4.0), scalar("mem", 1024.0)]));
    assert_eq!(calls(&steps), [call::Type::Accept, call::Type::Suppress]);
    launcher
}

#[test]
fn the_first_fitting_offer_is_taken_and_only_what_is_needed_of_it() {
    let mut launcher = Launcher::new(job());
    launcher.handle(subscribed());
    let steps = launcher.handle(offers(vec![
        scalar("cpus", 0.4),
        scalar("cpus", 4.0),
        scalar("mem", 1024.0),
        scalar("disk", 10.0),
    ]));
    let Some(Step::Call(accept)) = steps.first() else { panic!("{steps:?}") };
    let operation = &accept.accept.as_ref().unwrap().operations[0];
    let task = &operation.launch.as_ref().unwrap().task_infos[0];
    let taken: Vec<(&str, f64)> = task
        .resources
        .iter()
        .map(|r| (r.name.as_str(), r.scalar.as_ref().unwrap().value))
        .collect();
    assert_eq!(taken, [("cpus", 0.4), ("cpus", 0.6), ("mem", 128.0)]);
    assert_eq!(task.command.as_ref().unwrap().value.as_deref(), Some("sleep 100"));
    assert_eq!(lines(&steps), ["Submitted task 'a_mesos_job' to agent 'S0' on node1"]);
    assert!(!launcher.is_waiting());
    let later = launcher.handle(offers(vec![scalar("cpus", 4.0), scalar("mem", 1024.0)]));
    assert_eq!(calls(&later), [call::Type::Decline]);
}

#[test]
fn an_offer_that_is_too_small_is_declined_and_remembered_with_numbers() {
    let mut launcher = Launcher::new(Job { cpus: 10_000.0, ..job() });
    assert_eq!(launcher.why_waiting(), "not subscribed yet");
    launcher.handle(subscribed());
    assert!(launcher.why_waiting().starts_with("no offer has come yet"));
    let steps = launcher.handle(offers(vec![scalar("cpus", 2.0), scalar("mem", 1024.0)]));
    assert_eq!(calls(&steps), [call::Type::Decline]);
    assert_eq!(
        launcher.why_waiting(),
        "needs 10000 cpus, best offer has 2 on node1 (1 agent offered)"
    );
    assert!(launcher.is_waiting());
}

#[test]
fn updates_are_printed_and_acknowledged_when_they_ask_for_it() {
    let mut launcher = launched();
    let steps = launcher.handle(update(v1::TaskState::TaskRunning, "", Some(vec![1; 16])));
    assert_eq!(calls(&steps), [call::Type::Acknowledge]);
    assert_eq!(
        lines(&steps),
        ["Received status update TASK_RUNNING for task 'a_mesos_job'", "  source: SOURCE_EXECUTOR"]
    );
    let steps = launcher.handle(update(v1::TaskState::TaskRunning, "", None));
    assert_eq!(calls(&steps), []);
    assert_eq!(ending(&steps), None);
}

#[test]
fn the_exit_code_is_the_commands_status() {
    let end = |state, message| {
        let steps = launched().handle(update(state, message, Some(vec![1; 16])));
        assert_eq!(calls(&steps), [call::Type::Acknowledge]);
        ending(&steps)
    };
    use v1::TaskState as S;
    assert_eq!(end(S::TaskFinished, "Command exited with status 0"), Some(0));
    assert_eq!(end(S::TaskFailed, "Command exited with status 7"), Some(7));
    assert_eq!(end(S::TaskFailed, "Command terminated with signal Killed"), Some(137));
    assert_eq!(end(S::TaskFailed, "Container destroyed"), Some(1));
    assert_eq!(end(S::TaskKilled, ""), Some(1));
    assert_eq!(end(S::TaskError, "Task uses invalid resources"), Some(1));
    assert_eq!(end(S::TaskUnreachable, ""), None);
}

#[test]
fn a_task_that_never_started_is_launched_again_but_not_for_ever() {
    let mut launcher = launched();
    for _ in 1..MOST_LAUNCHES {
        let steps = launcher.handle(update(v1::TaskState::TaskDropped, "", None));
        assert_eq!(calls(&steps), [call::Type::Revive]);
        launcher.handle(offers(vec![scalar("cpus", 4.0), scalar("mem", 1024.0)]));
    }
    let steps = launcher.handle(update(v1::TaskState::TaskDropped, "", None));
    assert_eq!(ending(&steps), Some(1));
}

#[test]
fn an_interrupt_kills_the_task_and_ends_when_it_is_dead() {
    let mut launcher = launched();
    assert_eq!(calls(&launcher.interrupt()), [call::Type::Kill]);
    let steps = launcher.handle(update(v1::TaskState::TaskKilled, "", Some(vec![1; 16])));
    assert_eq!(ending(&steps), Some(130));
    assert_eq!(ending(&launched().interrupt()), None);
    assert_eq!(ending(&Launcher::new(job()).interrupt()), Some(130));
    let mut twice = launched();
    twice.interrupt();
    assert_eq!(ending(&twice.interrupt()), Some(130));
}

#[test]
fn coming_back_asks_what_became_of_the_task() {
    let mut launcher = launched();
    let again = launcher.subscribe();
    assert_eq!(again.framework_id.as_ref().unwrap().value, "c-0001");
    assert_eq!(again.subscribe.unwrap().framework_info.id.unwrap().value, "c-0001");
    assert_eq!(calls(&launcher.handle(subscribed())), [call::Type::Reconcile]);
}

#[test]
fn an_error_of_the_cluster_ends_it() {
    let mut launcher = Launcher::new(job());
    let error = Event {
        error: Some(event::Error { message: "Role '%' is invalid".into() }),
        ..event(event::Type::Error)
    };
    let steps = launcher.handle(error);
    assert_eq!(lines(&steps), ["The cluster refused: Role '%' is invalid"]);
    assert_eq!(ending(&steps), Some(1));
}
