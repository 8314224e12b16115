//! Restarts, crashes and reboots; sandboxes; reconfiguration.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, agent_info, command, framework_id, secs};
use tepui_agent::{Config, Event, Exit, Reconfiguration, Record};
use tepui_types::{ContainerId, ExecutorId, Span, TaskState::*, Wall};
use tepui_wire::v1::{self, task_status::Reason};

const WEEK: u64 = 7 * 24 * 3600;

#[test]
fn a_restart_changes_no_task() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let (pid, run) = (rig.process("t1").pid, rig.run_of("t1"));
    for _ in 0..3 {
        rig.restart();
        rig.connect();
    }
    assert_eq!(rig.states("t1"), [Starting, Running]);
    assert_eq!(rig.witness.len(), 1);
    assert_eq!(rig.agent.run(&run).unwrap().pid, Some(pid));
    rig.exit("t1", Exit::Code(0));
    assert_eq!(rig.states("t1").last(), Some(&Finished));
}

#[test]
fn an_exit_while_the_agent_was_away_is_reported_as_it_was() {
    let mut rig = Rig::registered();
    for (task, exit) in [("t1", Exit::Code(0)), ("t2", Exit::Code(7)), ("t3", Exit::Signal(9))] {
        rig.launch(command(task));
        rig.exit_unseen(task, exit);
    }
    rig.restart();
    rig.connect();
    assert_eq!(rig.last("t1").message(), "Command exited with status 0");
    assert_eq!(rig.states("t1").last(), Some(&Finished));
    assert_eq!(rig.last("t2").message(), "Command exited with status 7");
    assert_eq!(rig.last("t3").message(), "Command terminated with signal Killed");
    assert!(rig.host.is_empty(), "the launcher's records are discarded");
}

#[test]
fn a_task_whose_start_was_not_confirmed_runs_on_when_it_is_found() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1"), [Starting, Running]);
    assert_eq!(rig.witness.len(), 1);
}

#[test]
fn a_task_whose_start_left_no_trace_is_not_started_again() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.host.clear();
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1").last(), Some(&Dropped));
    assert_eq!(rig.last("t1").reason(), Reason::AgentRestarted);
    assert_eq!(rig.witness.len(), 1);
}

#[test]
fn a_task_that_the_launcher_never_began_was_dropped_and_has_not_failed() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.never_begun = true;
    rig.restart();
    rig.connect();
    let last = rig.last("t1");
    assert_eq!((rig.states("t1").last(), last.reason()), (Some(&Dropped), Reason::AgentRestarted));
    assert_eq!(rig.witness.len(), 1, "it is not started here again");
}

#[test]
fn a_task_killed_while_it_was_never_begun_is_killed() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.kill("t1");
    rig.never_begun = true;
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1").last(), Some(&Killed));
}

#[test]
fn a_task_that_was_accepted_and_not_begun_starts_after_a_restart() {
    let mut rig = Rig::registered();
    rig.answers_fetch = false;
    let mut task = command("t1");
    let uri = v1::command_info::Uri { value: "http://x/y".into(), ..Default::default() };
    task.command.as_mut().unwrap().uris = vec![uri];
    rig.launch(task);
    rig.answers_fetch = true;
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1"), [Starting, Running]);
    assert_eq!(rig.fetches.len(), 2);
    assert_eq!(rig.witness.len(), 1);
}

#[test]
fn a_task_that_has_not_said_that_it_is_ready_does_not_run_after_a_restart_either() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.unready = true;
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1"), [Starting]);
    let (run, pid) = (rig.run_of("t1"), 7);
    rig.event(Event::RunStarted { run, outcome: Ok(pid) });
    rig.settle();
    assert_eq!(rig.states("t1"), [Starting, Running]);
}

#[test]
fn a_task_that_ends_after_a_restart_without_having_been_ready_has_never_run() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.unready = true;
    rig.restart();
    rig.connect();
    let outcome = Err("Command exited with status 3".to_owned());
    rig.event(Event::RunStarted { run: rig.run_of("t1"), outcome });
    rig.settle();
    assert_eq!(rig.states("t1"), [Starting, Failed]);
    assert_eq!(rig.last("t1").reason(), Reason::ContainerLaunchFailed);
}

#[test]
fn a_task_that_is_to_end_before_it_is_ready_is_killed_after_a_restart_in_its_time() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(command("t1"));
    rig.kill("t1");
    rig.unready = true;
    rig.restart();
    rig.connect();
    rig.advance(secs(3));
    assert_eq!(rig.process("t1").killed, 1);
    rig.exit("t1", Exit::Signal(9));
    assert_eq!(rig.states("t1"), [Starting, Killed]);
}

#[test]
fn a_kill_is_carried_out_after_a_restart() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.kill("t1");
    rig.restart();
    rig.connect();
    assert_eq!(rig.process("t1").terminated, 2);
    rig.advance(secs(3));
    assert_eq!(rig.process("t1").killed, 1);
    rig.exit("t1", Exit::Signal(9));
    assert_eq!(rig.states("t1").last(), Some(&Killed));
}

#[test]
fn a_reboot_ends_every_task() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.launch(rig::custom("t2"));
    rig.subscribe("e1");
    rig.executor_says("t2", Running, 1);
    rig.reboot();
    rig.connect();
    assert_eq!(rig.registration().agent.as_ref().unwrap().as_str(), "a1");
    for task in ["t1", "t2"] {
        assert_eq!(rig.states(task).last(), Some(&Failed), "{task}");
        assert_eq!(rig.last(task).reason(), Reason::ExecutorTerminated);
    }
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn an_end_that_nobody_saw_is_told_with_its_reason() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.exit_unseen("t1", Exit::Unknown("the host was restarted".into()));
    rig.boot = "boot-2".into();
    rig.restart();
    rig.connect();
    let last = rig.last("t1");
    assert_eq!(
        (last.state(), last.reason()),
        (v1::TaskState::TaskFailed, Reason::ExecutorTerminated)
    );
    assert!(last.message().contains("the host was restarted"));
}

#[test]
fn a_process_with_a_known_number_after_a_reboot_is_not_adopted() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let host = rig.host.clone();
    rig.boot = "boot-2".into();
    rig.host = host;
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1").last(), Some(&Failed));
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn a_task_that_ended_before_the_reboot_keeps_its_true_end() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.exit_unseen("t1", Exit::Code(0));
    rig.boot = "boot-2".into();
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1").last(), Some(&Finished));
}

#[test]
fn a_run_that_no_record_knows_is_ended_and_forgotten() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let (run, stranger) = (rig.run_of("t1"), ContainerId::parse("stranger").unwrap());
    let copy = rig.host[&run].clone();
    rig.host.insert(stranger.clone(), copy);
    rig.restart();
    assert_eq!(rig.host[&stranger].killed, 1);
    assert_eq!(rig.host[&run].killed, 0);
    rig.event(Event::RunExited { run: stranger.clone(), exit: Exit::Signal(9), certificate: None });
    assert_eq!(rig.discarded, [stranger]);
    assert!(rig.removed.is_empty());
}

#[test]
fn a_snapshot_means_the_same_as_the_records() {
    let mut rig = Rig::registered();
    rig.launch(command("done"));
    rig.exit("done", Exit::Code(0));
    rig.launch(rig::custom("c1"));
    rig.launch_all(
        vec![command("g1"), command("g2")],
        Some(v1::ExecutorInfo {
            executor_id: v1::ExecutorId { value: "e2".into() },
            ..rig::custom_executor()
        }),
    );
    rig.subscribe("e1");
    rig.executor_says("c1", Running, 1);
    rig.acknowledges = false;
    rig.launch(command("t1"));
    rig.launch(command("t2"));
    rig.kill("t2");
    rig.exit("t2", Exit::Signal(15));
    rig.kill("ghost");
    let snapshot = rig.agent.snapshot();
    rig.disk.clone_from(&snapshot);
    rig.restart();
    assert!(rig.agent.snapshot() == snapshot, "a snapshot of a snapshot is the same");
    rig.link_up();
    rig.advance(secs(2));
    let mut tasks: Vec<_> =
        rig.registration().tasks.iter().map(|task| task.task_id.value.clone()).collect();
    tasks.sort();
    assert_eq!(tasks, ["c1", "g1", "g2", "ghost", "t1", "t2"]);
    rig.acknowledges = true;
    rig.answer_registration();
    rig.launch(command("done"));
    assert_eq!(rig.witness.iter().filter(|one| one.0 == "done").count(), 1);
}

#[test]
fn a_sandbox_stays_for_a_week() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    let sandbox = rig.process("t1").spec.sandbox.to_string();
    rig.exit("t1", Exit::Code(0));
    rig.advance(secs(WEEK / 2));
    rig.restart();
    rig.connect();
    rig.advance(secs(WEEK / 2 - 1));
    assert!(rig.removed.is_empty());
    rig.advance(secs(1));
    assert_eq!(rig.removed, [sandbox]);
    assert_eq!(rig.agent.garbage_count(), 0);
}

#[test]
fn a_full_disk_shortens_the_life_of_sandboxes() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.launch(command("t2"));
    rig.exit("t1", Exit::Code(0));
    rig.advance(secs(WEEK / 2));
    rig.exit("t2", Exit::Code(0));
    rig.event(Event::DiskUsage { thousandths: 390 });
    assert!(rig.removed.is_empty());
    rig.event(Event::DiskUsage { thousandths: 410 });
    assert_eq!(rig.removed.len(), 1);
    assert_eq!(rig.agent.max_sandbox_age(), Span::from_secs(WEEK * 49 / 100));
    rig.event(Event::DiskUsage { thousandths: 950 });
    assert_eq!(rig.removed.len(), 2);
}

#[test]
fn a_changed_description_is_refused_with_advice() {
    let mut changed = Rig::registered();
    changed.config.info.resources = vec![rig::ports(31000, 31100)];
    changed.restart();
    let reason = changed.quit.clone().unwrap();
    assert!(reason.starts_with("the agent's resources changed incompatibly"), "{reason}");
    assert!(reason.contains("additive"));
    assert!(changed.agent.compatibility().is_err());
}

#[test]
fn an_additive_policy_lets_resources_grow_and_never_shrink() {
    let mut config = Config::new(agent_info(), "10.0.0.1");
    config.reconfiguration = Reconfiguration::Additive;
    config.info.resources = vec![rig::ports(31000, 31100)];
    let mut rig = Rig::with(config);
    rig.connect();
    rig.config.info.resources = vec![rig::ports(31000, 32000)];
    rig.restart();
    assert_eq!(rig.quit, None);
    rig.connect();
    rig.config.info.resources = vec![rig::ports(31000, 31500)];
    rig.restart();
    assert!(rig.quit.is_some());
}

#[test]
fn a_reboot_with_an_incompatible_description_makes_a_new_agent() {
    let mut rig = Rig::registered();
    rig.launch(command("t1"));
    rig.config.info.hostname = "other".into();
    rig.reboot();
    assert_eq!(rig.quit, None);
    rig.link_up();
    let registration = rig.registration();
    assert_eq!(registration.agent, None);
    assert!(registration.tasks.is_empty());
    rig.restart();
    assert_eq!(rig.quit, None);
}

#[test]
fn records_that_end_in_the_middle_of_a_launch_leave_nothing_hanging() {
    let mut rig = Rig::registered();
    let record = Record::Executor {
        framework: framework_id(),
        executor: ExecutorId::parse("t1").unwrap(),
        info: None,
        run: ContainerId::parse("r1").unwrap(),
        sandbox: "slaves/a1/x".into(),
        created: Wall::from_nanos(1),
    };
    rig.disk.push(Record::Framework(Box::new(rig::framework(&[]))));
    rig.disk.push(record);
    rig.restart();
    rig.connect();
    assert_eq!(rig.agent.live_runs().count(), 0);
    assert!(rig.registration().tasks.is_empty());
}
