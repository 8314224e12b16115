//! Command tasks from launch to their last acknowledged update.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, command, duration, framework_id, secs, task_id};
use tepui_agent::{Command, Event, Exit, Place, SANDBOX_MARK};
use tepui_link::{Order, Report};
use tepui_types::{Ranges, Span, TaskState::*};
use tepui_wire::v1::{self, framework_info::capability, task_status::Reason, task_status::Source};

#[test]
fn a_command_task_starts_runs_and_finishes() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    assert_eq!(rig.states("t1"), [Starting, Running]);
    rig.exit("t1", Exit::Code(0));
    assert_eq!(rig.states("t1"), [Starting, Running, Finished]);
    let last = rig.last("t1");
    assert_eq!(last.message(), "Command exited with status 0");
    assert_eq!(last.source(), Source::Executor);
    assert_eq!(last.reason, None);
    assert_eq!(rig.agent.counters().tasks_finished, 1);
}

#[test]
fn a_status_looks_as_if_an_executor_had_sent_it() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let status = rig.last("t1");
    assert_eq!(status.source(), Source::Executor);
    assert_eq!(status.executor_id.as_ref().unwrap().value, "t1");
    assert_eq!(status.agent_id.as_ref().unwrap().value, "a1");
    let container = status.container_status.as_ref().unwrap();
    assert_eq!(container.container_id.as_ref().unwrap().value, rig.run_of("t1").as_str());
    assert_eq!(container.network_infos[0].ip_addresses[0].ip_address(), "10.0.0.1");
    assert_eq!(status.timestamp, Some(1_700_000_000.0));
}

#[test]
fn a_command_that_exits_badly_fails_with_its_status() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.exit("t1", Exit::Code(7));
    assert_eq!(rig.states("t1").last(), Some(&Failed));
    assert_eq!(rig.last("t1").message(), "Command exited with status 7");
}

#[test]
fn a_command_ended_by_a_foreign_signal_fails_and_names_it() {
    let mut rig = Rig::registered();
    for (task, signal, name) in
        [("t1", 9, "Killed"), ("t2", 15, "Terminated"), ("t3", 11, "Segmentation fault")]
    {
        rig.launch(command(task));
        rig.exit(task, Exit::Signal(signal));
        assert_eq!(rig.states(task).last(), Some(&Failed));
        let expected = format!("Command terminated with signal {name}");
        assert_eq!(rig.last(task).message(), expected);
    }
}

#[test]
fn a_process_is_started_only_after_that_is_durable() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    let run = rig.run_of("t1");
    let saved = rig.disk.iter().any(
        |record| matches!(record, tepui_agent::Record::Starting { run: saved } if *saved == run),
    );
    assert!(saved);
}

#[test]
fn the_process_gets_its_command_environment_ports_and_sandbox() {
    let mut rig = Rig::registered();
    let mut task = command("t1");
    let variable = v1::environment::Variable {
        name: "GREETING".into(),
        value: Some("hello".into()),
        ..v1::environment::Variable::default()
    };
    task.command.as_mut().unwrap().environment =
        Some(v1::Environment { variables: vec![variable] });
    rig.launch(task);
    let spec = &rig.process("t1").spec;
    assert_eq!(spec.command, Command::Shell("sleep 100".into()));
    assert_eq!(spec.user.as_deref(), Some("alice"));
    assert_eq!(spec.ports, (31000..=31001).collect::<Ranges>());
    let run = rig.run_of("t1");
    assert_eq!(*spec.sandbox, *format!("slaves/a1/frameworks/f1/executors/t1/runs/{run}"));
    let value = |name: &str| {
        spec.environment.iter().rev().find(|one| one.0 == name).map(|one| one.1.as_str())
    };
    assert_eq!(value("GREETING"), Some("hello"));
    assert_eq!(value("MESOS_SANDBOX"), Some(SANDBOX_MARK));
    assert_eq!(value("MESOS_FRAMEWORK_ID"), Some("f1"));
    assert_eq!(value("MESOS_SLAVE_ID"), Some("a1"));
    assert_eq!(value("MESOS_AGENT_ENDPOINT"), Some("10.0.0.1:5051"));
    assert_eq!(value("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"), Some("5secs"));
    assert_eq!(value("MESOS_RECOVERY_TIMEOUT"), Some("15mins"));
    assert_eq!(value("MESOS_ALLOCATION_ROLE"), Some("*"));
}

#[test]
fn a_task_that_ends_before_its_start_is_confirmed_is_said_to_have_run() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.exit("t1", Exit::Code(0));
    let run = rig.run_of("t1");
    rig.event(Event::RunStarted { run, outcome: Ok(5) });
    rig.settle();
    assert_eq!(rig.states("t1"), [Starting, Running, Finished]);
}

#[test]
fn a_launch_that_fails_says_why() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    let run = rig.run_of("t1");
    rig.event(Event::RunStarted { run, outcome: Err("no such user 'alice'".into()) });
    rig.settle();
    assert_eq!(rig.states("t1"), [Starting, Failed]);
    let last = rig.last("t1");
    assert_eq!(last.reason(), Reason::ContainerLaunchFailed);
    assert_eq!(last.source(), Source::Agent);
    assert_eq!(last.message(), "no such user 'alice'");
    assert_eq!(rig.agent.counters().container_launch_errors, 1);
}

#[test]
fn a_fetch_that_fails_says_why_and_nothing_is_started() {
    let mut rig = Rig::registered();
    rig.answers_fetch = false;
    let mut task = command("t1");
    let uri = v1::command_info::Uri { value: "http://x/y".into(), ..Default::default() };
    task.command.as_mut().unwrap().uris = vec![uri];
    rig.launch(task);
    assert_eq!(rig.states("t1"), []);
    let run = rig.fetches[0].0.clone();
    rig.event(Event::Fetched { run, outcome: Err("http://x/y answered 404".into()) });
    rig.settle();
    assert_eq!(rig.states("t1"), [Failed]);
    assert!(rig.last("t1").message().starts_with("Failed to fetch"));
    assert!(rig.last("t1").message().ends_with("http://x/y answered 404"));
    assert!(rig.witness.is_empty());
}

#[test]
fn a_known_task_is_never_started_again() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.launch(command("t1"));
    rig.disconnect();
    rig.connect();
    rig.launch(command("t1"));
    assert_eq!(rig.witness.len(), 1);
    assert_eq!(rig.states("t1"), [Starting, Running]);
}

#[test]
fn a_task_named_twice_in_one_order_starts_once() {
    let mut rig = Rig::registered();
    rig.launch_all(vec![command("t1"), command("t1")], None);
    assert_eq!(rig.witness.len(), 1);
    assert_eq!(rig.states("t1"), [Starting, Running]);
}

#[test]
fn the_id_of_an_ended_task_is_never_started_again_even_after_a_restart() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.exit("t1", Exit::Code(0));
    rig.restart();
    rig.connect();
    rig.launch(command("t1"));
    assert_eq!(rig.witness.len(), 1);
    let last = rig.last("t1");
    assert_eq!(last.reason(), Reason::TaskInvalid);
    assert_eq!(rig.states("t1").last(), Some(&Dropped));
}

#[test]
fn a_killed_task_is_asked_then_forced_to_end() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.kill("t1");
    assert_eq!((rig.process("t1").terminated, rig.process("t1").killed), (1, 0));
    rig.advance(Span::from_millis(2999));
    assert_eq!(rig.process("t1").killed, 0);
    rig.advance(Span::from_millis(1));
    assert_eq!((rig.process("t1").terminated, rig.process("t1").killed), (1, 1));
    rig.exit("t1", Exit::Signal(9));
    assert_eq!(rig.states("t1"), [Starting, Running, Killed]);
    assert_eq!(rig.last("t1").message(), "Command terminated with signal Killed");
}

#[test]
fn a_killed_task_that_exits_cleanly_is_killed_all_the_same() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.kill("t1");
    rig.exit("t1", Exit::Code(0));
    assert_eq!(rig.states("t1").last(), Some(&Killed));
}

#[test]
fn a_framework_that_knows_the_killing_state_is_told_it() {
    let mut rig = Rig::registered();
    rig.capabilities = vec![capability::Type::TaskKillingState];
    rig.launch(command("t1"));
    rig.kill("t1");
    rig.kill("t1");
    rig.exit("t1", Exit::Signal(15));
    assert_eq!(rig.states("t1"), [Starting, Running, Killing, Killed]);
}

#[test]
fn a_later_kill_only_shortens_the_grace() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.kill_within("t1", Some(secs(20)));
    rig.advance(secs(1));
    rig.kill_within("t1", Some(secs(30)));
    rig.kill_within("t1", Some(secs(5)));
    rig.advance(Span::from_millis(3999));
    assert_eq!(rig.process("t1").killed, 0);
    rig.advance(Span::from_millis(1));
    assert_eq!(rig.process("t1").killed, 1);
    assert_eq!(rig.process("t1").terminated, 1);
}

#[test]
fn a_later_kill_whose_grace_is_over_already_kills_at_once() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.kill_within("t1", Some(secs(20)));
    rig.advance(secs(6));
    rig.kill_within("t1", Some(secs(5)));
    assert_eq!(rig.process("t1").killed, 1);
}

#[test]
fn the_tasks_own_kill_policy_holds_unless_the_call_has_one() {
    let mut rig = Rig::registered();
    let policy = v1::KillPolicy { grace_period: Some(duration(secs(10))) };
    rig.launch(v1::TaskInfo { kill_policy: Some(policy), ..command("t1") });
    rig.kill("t1");
    rig.advance(secs(9));
    assert_eq!(rig.process("t1").killed, 0);
    rig.advance(secs(1));
    assert_eq!(rig.process("t1").killed, 1);
}

#[test]
fn a_kill_that_does_not_work_is_repeated() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.kill("t1");
    rig.advance(secs(3 + 5 + 10));
    assert_eq!(rig.process("t1").killed, 3);
}

#[test]
fn a_task_killed_before_its_start_never_starts() {
    let mut rig = Rig::registered();
    rig.answers_fetch = false;
    rig.launch(command("t1"));
    rig.kill("t1");
    let last = rig.last("t1");
    assert_eq!(last.reason(), Reason::TaskKilledDuringLaunch);
    assert_eq!(rig.states("t1"), [Starting, Killed]);
    let run = rig.fetches[0].0.clone();
    rig.event(Event::Fetched { run, outcome: Ok(()) });
    rig.settle();
    assert!(rig.witness.is_empty());
}

#[test]
fn a_task_killed_while_it_is_started_ends_as_soon_as_it_runs() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.kill("t1");
    assert_eq!(rig.process("t1").terminated, 0);
    let run = rig.run_of("t1");
    rig.event(Event::RunStarted { run, outcome: Ok(7) });
    rig.settle();
    assert_eq!(rig.process("t1").terminated, 1);
    rig.advance(secs(3));
    assert_eq!(rig.process("t1").killed, 1);
    rig.exit("t1", Exit::Signal(9));
    assert_eq!(rig.states("t1"), [Starting, Killed]);
}

#[test]
fn a_task_that_runs_too_long_is_killed_and_fails() {
    let mut rig = Rig::registered();
    let limit = Some(duration(secs(60)));
    rig.launch(v1::TaskInfo { max_completion_time: limit, ..command("t1") });
    rig.advance(secs(40));
    rig.restart();
    rig.connect();
    rig.advance(Span::from_millis(19_999));
    assert_eq!(rig.process("t1").killed, 0);
    rig.advance(Span::from_millis(1));
    assert_eq!(rig.process("t1").killed, 1);
    rig.exit("t1", Exit::Signal(9));
    assert_eq!(rig.states("t1").last(), Some(&Failed));
    assert_eq!(rig.last("t1").reason(), Reason::MaxCompletionTimeReached);
}

#[test]
fn killing_a_task_that_nobody_knows_gets_an_answer() {
    let mut rig = Rig::registered();
    rig.kill("ghost");
    assert_eq!(rig.states("ghost"), [Lost]);
    assert_eq!(rig.last("ghost").reason(), Reason::ExecutorTerminated);
}

#[test]
fn a_kill_after_the_end_changes_nothing() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.exit("t1", Exit::Code(0));
    rig.kill("t1");
    assert_eq!(rig.states("t1"), [Starting, Running, Finished]);
}

#[test]
fn reconciliation_disowns_what_is_not_here_and_nothing_else() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let ask = |task: &str, aware| (framework_id(), task_id(task), aware);
    rig.order(Order::Reconcile { tasks: vec![ask("t1", true), ask("x1", true), ask("x2", false)] });
    assert_eq!(rig.states("t1"), [Starting, Running]);
    assert_eq!(rig.states("x1"), [Dropped]);
    assert_eq!(rig.states("x2"), [Lost]);
    assert_eq!(rig.last("x1").reason(), Reason::Reconciliation);
}

#[test]
fn a_torn_down_framework_leaves_no_process_and_hears_nothing() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.launch(command("t2"));
    let said = rig.reports.len();
    rig.order(Order::ShutdownFramework { framework: framework_id() });
    assert_eq!(rig.process("t1").terminated, 1);
    rig.advance(secs(3));
    assert_eq!((rig.process("t1").killed, rig.process("t2").killed), (1, 1));
    rig.exit("t1", Exit::Signal(9));
    rig.exit("t2", Exit::Signal(9));
    let updates = rig.reports[said..].iter().any(|one| matches!(one, Report::Update { .. }));
    assert!(!updates);
    assert!(rig.host.is_empty());
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn a_teardown_is_finished_after_a_restart() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.order(Order::ShutdownFramework { framework: framework_id() });
    rig.restart();
    rig.connect();
    assert!(rig.registration().tasks.is_empty());
    assert_eq!(rig.process("t1").killed, 1);
    rig.exit("t1", Exit::Signal(9));
    assert!(rig.host.is_empty());
}

#[test]
fn what_the_agent_cannot_do_yet_fails_with_its_name() {
    let mut rig = Rig::registered();
    let image = v1::container_info::MesosInfo { image: Some(v1::Image::default()) };
    let image = v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        mesos: Some(image),
        ..v1::ContainerInfo::default()
    };
    let pictured = v1::TaskInfo { container: Some(image.into()), ..command("p1") };
    rig.launch_all(vec![pictured, command("p2")], Some(rig::pod_executor()));
    assert_eq!(rig.states("p1"), [Failed]);
    assert!(rig.last("p2").message().contains("APPC"));
}

#[test]
fn a_task_that_listens_on_foreign_ports_is_noticed_once_per_change() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let run = rig.run_of("t1");
    let listening =
        |list: &[u64]| Event::Listening { run: run.clone(), ports: list.iter().copied().collect() };
    rig.event(listening(&[31000]));
    assert!(rig.notices.is_empty());
    rig.event(listening(&[31000, 8080]));
    rig.event(listening(&[31000, 8080]));
    let expected = "executor 't1' of framework 'f1' listens on ports [8080-8080] that were not \
                    given to it";
    assert_eq!(rig.notices, [expected]);
    assert_eq!(rig.agent.run(&run).unwrap().foreign_ports, Ranges::single(8080));
    assert_eq!(rig.agent.counters().foreign_ports, 1);
}

#[test]
fn the_view_follows_a_task_from_place_to_place() {
    let mut rig = Rig::registered();
    rig.acknowledges = false;
    let place = |rig: &Rig| {
        let framework = rig.agent.framework(&framework_id()).unwrap();
        framework.tasks.get(&task_id("t1")).map(|task| framework.place(task))
    };
    rig.launch(command("t1"));
    assert_eq!(place(&rig), Some(Place::Launched));
    assert_eq!(rig.agent.census().running, 1);
    rig.exit("t1", Exit::Code(0));
    assert_eq!(place(&rig), Some(Place::Terminated));
    rig.acknowledges = true;
    rig.disconnect();
    rig.connect();
    assert_eq!(place(&rig), None);
    let framework = rig.agent.framework(&framework_id()).unwrap();
    let completed: Vec<_> = framework.completed_tasks().map(|task| task.state).collect();
    assert_eq!(completed, [Finished]);
    assert!(!framework.is_active());
    assert_eq!(framework.completed[0].sandbox, rig.agent.runs().next().unwrap().1.sandbox);
}
