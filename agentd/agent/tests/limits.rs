//! What runs are held to, and what a task is told whose run exceeds it.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;

use rig::{Rig, command, custom, duration, secs};
use tepui_agent::limits::{BLKIO, CPU, MEM, NOTIFY, PIDS};
use tepui_agent::{Cause, Certificate, Config, Event, Exit, Isolation, LimitPolicy, Limits};
use tepui_types::TaskState::*;
use tepui_wire::v1::{self, task_status::Reason};

const MB: u64 = 1 << 20;

/// An agent with every isolator and this policy.
fn agent(limits: LimitPolicy) -> Rig {
    let in_force = [CPU, MEM, PIDS, NOTIFY].map(Into::into).into();
    let missing = BTreeMap::from([(BLKIO.into(), "the kernel has no such controller".into())]);
    let isolation = Isolation { in_force, missing };
    let config = Config { limits, isolation, ..Config::new(rig::agent_info(), "10.0.0.1") };
    let mut rig = Rig::with(config);
    rig.connect();
    rig
}

/// A task with half a processor, 32 MB of memory and 10 MB of disk.
fn given(mut task: v1::TaskInfo) -> v1::TaskInfo {
    for (name, value) in [("cpus", 0.5), ("mem", 32.0), ("disk", 10.0)] {
        task.resources.push(v1::Resource {
            name: name.to_owned(),
            r#type: v1::value::Type::Scalar.into(),
            scalar: Some(v1::value::Scalar { value }),
            ..v1::Resource::default()
        });
    }
    task
}

fn with_limits(id: &str, limits: &[(&str, f64)]) -> v1::TaskInfo {
    let limit =
        |(name, value): &(&str, f64)| ((*name).to_owned(), v1::value::Scalar { value: *value });
    v1::TaskInfo { limits: limits.iter().map(limit).collect(), ..given(command(id)) }
}

fn labelled(id: &str, key: &str, value: &str) -> v1::TaskInfo {
    let label = v1::Label { key: key.to_owned(), value: Some(value.to_owned()) };
    v1::TaskInfo { labels: Some(v1::Labels { labels: vec![label] }), ..command(id) }
}

fn limits_of(rig: &Rig, executor: &str) -> Limits {
    (*rig.process(executor).spec.limits).clone()
}

#[test]
fn memory_is_a_limit_and_processors_are_a_share_unless_the_operator_says_so() {
    let mut rig = agent(LimitPolicy::default());
    rig.launch(given(command("t1")));
    let limits = limits_of(&rig, "t1");
    assert_eq!((limits.cpu_milli, limits.memory_limit), (Some(500), Some(32 * MB)));
    assert_eq!((limits.cpu_quota_milli, limits.memory_request), (None, None));
    let mut rig = agent(LimitPolicy { cpu_is_limit: true, ..LimitPolicy::default() });
    rig.launch(given(command("t1")));
    let limits = limits_of(&rig, "t1");
    assert_eq!(limits.cpu_quota_milli, limits.cpu_milli);
}

#[test]
fn a_task_may_have_limits_beyond_what_it_was_given_or_none() {
    let mut rig = agent(LimitPolicy::default());
    rig.launch(with_limits("t1", &[("cpus", 2.0), ("mem", 2048.0)]));
    let limits = limits_of(&rig, "t1");
    assert_eq!((limits.cpu_quota_milli, limits.memory_limit), (Some(2000), Some(2048 * MB)));
    assert_eq!(limits.memory_request, Some(32 * MB));
    rig.launch(with_limits("t2", &[("cpus", f64::INFINITY), ("mem", f64::INFINITY)]));
    let limits = limits_of(&rig, "t2");
    assert_eq!((limits.cpu_quota_milli, limits.memory_limit), (None, None));
}

#[test]
fn a_task_that_needs_a_missing_isolator_is_refused_with_the_reason() {
    let mut rig = agent(LimitPolicy::default());
    rig.launch(labelled("t1", "TEPUI_IO_WEIGHT", "500"));
    assert_eq!(rig.states("t1"), [Failed]);
    let status = rig.last("t1");
    assert_eq!(status.reason(), Reason::ContainerLaunchFailed);
    let message = status.message();
    assert!(message.contains("TEPUI_IO_WEIGHT") && message.contains("no such controller"));
    rig.launch(labelled("t2", "TEPUI_IO_WEIGHT", "much"));
    assert!(rig.last("t2").message().contains("from 1 to 10000"));
    rig.launch(labelled("t3", "TEPUI_WATCHDOG_SEC", "5"));
    assert_eq!(limits_of(&rig, "t3").watchdog, Some(secs(5)));
    let mut bare = Rig::registered();
    bare.launch(with_limits("t4", &[("mem", 2048.0)]));
    assert!(bare.last("t4").message().contains("cgroups/mem"));
}

#[test]
fn a_task_that_an_agent_of_other_isolators_took_on_is_refused_before_it_starts() {
    let mut rig = agent(LimitPolicy::default());
    rig.answers_fetch = false;
    let mut task = labelled("t1", "TEPUI_PIDS", "64");
    let uri = v1::command_info::Uri { value: "http://x/y".into(), ..Default::default() };
    task.command.get_or_insert_default().uris.push(uri);
    rig.launch(task);
    let why = "the controller 'pids' is not in force";
    rig.config.isolation = Isolation {
        in_force: [CPU, MEM].map(Into::into).into(),
        missing: BTreeMap::from([(PIDS.into(), why.into())]),
    };
    rig.answers_fetch = true;
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("t1").last(), Some(&Failed));
    assert!(rig.last("t1").message().contains(why), "{}", rig.last("t1").message());
    assert!(rig.witness.is_empty(), "it began");
}

#[test]
fn what_an_executor_may_use_grows_and_shrinks_with_its_tasks() {
    let mut rig = agent(LimitPolicy::default());
    rig.launch(given(custom("t1")));
    rig.subscribe("e1");
    let one = limits_of(&rig, "e1");
    rig.launch(given(custom("t2")));
    let two = limits_of(&rig, "e1");
    assert_eq!((one.memory_limit, two.memory_limit), (Some(32 * MB), Some(64 * MB)));
    rig.executor_says("t2", Finished, 9);
    assert_eq!(limits_of(&rig, "e1"), one);
}

#[test]
fn a_run_that_needs_too_much_memory_fails_with_the_limitation() {
    let mut rig = agent(LimitPolicy::default());
    rig.launch(command("t1"));
    let certificate = Certificate {
        cause: Cause::OutOfMemory,
        memory_limit: Some(40 * MB),
        memory_peak: Some(40 * MB),
        ..Certificate::default()
    };
    let (run, certificate) = (rig.run_of("t1"), Some(Box::new(certificate)));
    rig.event(Event::RunExited { run, exit: Exit::Signal(9), certificate });
    let status = rig.last("t1");
    assert_eq!(status.reason(), Reason::ContainerLimitationMemory);
    assert!(status.message().starts_with("Memory limit exceeded: Requested: 40MB Maximum Used"));
    assert_eq!(status.limitation.as_ref().unwrap().resources[0].name, "mem");
}

#[test]
fn a_run_that_was_ended_for_its_time_while_the_agent_was_away_is_told_so() {
    let mut rig = agent(LimitPolicy::default());
    let limit = Some(duration(secs(60)));
    rig.launch(v1::TaskInfo { max_completion_time: limit, ..command("t1") });
    assert_eq!(limits_of(&rig, "t1").run_time, Some(secs(60)));
    let certificate = Certificate { cause: Cause::RunTime, ..Certificate::default() };
    let (run, certificate) = (rig.run_of("t1"), Some(Box::new(certificate)));
    rig.event(Event::RunExited { run, exit: Exit::Signal(15), certificate });
    assert_eq!(rig.last("t1").reason(), Reason::MaxCompletionTimeReached);
}

#[test]
fn a_full_sandbox_ends_its_run_only_where_the_operator_wants_it() {
    for (enforce_disk, killed) in [(false, 0), (true, 1)] {
        let mut rig = agent(LimitPolicy { enforce_disk, ..LimitPolicy::default() });
        rig.launch(given(command("t1")));
        let run = rig.run_of("t1");
        rig.event(Event::SandboxMeasured { run: run.clone(), used: 10 * MB });
        assert_eq!(rig.process("t1").killed, 0, "as much as it may");
        rig.event(Event::SandboxMeasured { run, used: 11 * MB });
        assert_eq!(rig.process("t1").killed, killed);
        if enforce_disk {
            rig.exit("t1", Exit::Signal(9));
            let status = rig.last("t1");
            assert_eq!(status.reason(), Reason::ContainerLimitationDisk);
            assert_eq!(status.message(), "Disk usage (11MB) exceeds quota (10MB)");
        }
    }
}
