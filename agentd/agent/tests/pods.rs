//! Executors of type DEFAULT: the agent itself does what Mesos's default executor does.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, command, pod_executor, secs};
use tepui_agent::{Event, Exit, Probe, ProbeOutcome};
use tepui_link::Report;
use tepui_types::TaskState::{Dropped, Failed, Finished, Killed, Killing, Running, Starting};
use tepui_wire::v1::{
    self,
    framework_info::capability,
    task_status::{Reason, Source},
};

fn running() -> Rig {
    let mut rig = Rig::registered();
    rig.launch_pod(&["a", "b"]);
    rig
}

fn executor_exits(rig: &Rig) -> Vec<i32> {
    let exits = rig.reports.iter().filter_map(|report| match report {
        Report::ExecutorExited { status, .. } => Some(*status),
        _ => None,
    });
    exits.collect()
}

#[test]
fn a_group_runs_below_its_pod_which_has_no_process() {
    let rig = running();
    for task in ["a", "b"] {
        assert_eq!(rig.states(task), [Starting, Running]);
        let status = rig.last(task);
        assert_eq!(status.source(), Source::Executor);
        assert_eq!(status.executor_id.as_ref().unwrap().value, "p1");
        let id = status.container_status.clone().unwrap().container_id.unwrap();
        let run = rig.run_of(task);
        assert_eq!(format!("{}.{}", id.parent.unwrap().value, id.value), run.as_str());
        let sandbox = &rig.process(task).spec.sandbox;
        assert!(sandbox.ends_with(&format!("/containers/{}", id.value)), "{sandbox}");
        let task_id = ("MESOS_TASK_ID".to_owned(), task.to_owned());
        assert!(rig.process(task).spec.environment.contains(&task_id));
    }
    assert_eq!(rig.host.len(), 2, "the pod itself is no process");
    let framework = rig.agent.frameworks().next().unwrap();
    assert_eq!(framework.executors.len(), 1);
}

#[test]
fn a_group_starts_when_the_sandboxes_of_all_its_tasks_are_filled() {
    let mut rig = Rig::registered();
    rig.answers_fetch = false;
    rig.launch_pod(&["a", "b"]);
    let pod = rig.fetches[0].0.clone();
    rig.event(Event::Fetched { run: pod, outcome: Ok(()) });
    assert_eq!(rig.fetches.len(), 3);
    let (first, second) = (rig.fetches[1].0.clone(), rig.fetches[2].0.clone());
    rig.event(Event::Fetched { run: first, outcome: Ok(()) });
    rig.settle();
    assert!(rig.host.is_empty());
    rig.event(Event::Fetched { run: second, outcome: Ok(()) });
    rig.settle();
    assert_eq!(rig.host.len(), 2);
}

#[test]
fn a_sandbox_that_cannot_be_filled_ends_the_whole_group_before_its_start() {
    let mut rig = Rig::registered();
    rig.answers_fetch = false;
    rig.launch_pod(&["a", "b"]);
    let pod = rig.fetches[0].0.clone();
    rig.event(Event::Fetched { run: pod, outcome: Ok(()) });
    let first = rig.fetches[1].0.clone();
    rig.event(Event::Fetched { run: first, outcome: Err("no".into()) });
    rig.settle();
    let mut ends: Vec<_> =
        ["a", "b"].map(|task| (rig.states(task), rig.last(task).reason())).into();
    ends.sort();
    assert_eq!(
        ends,
        [
            (vec![Failed], Reason::ContainerLaunchFailed),
            (vec![Killed], Reason::TaskKilledDuringLaunch)
        ]
    );
    assert!(rig.host.is_empty());
    assert_eq!(executor_exits(&rig), [0]);
}

#[test]
fn a_task_that_fails_takes_its_group_along_and_the_pod_is_over() {
    let mut rig = running();
    rig.exit("a", Exit::Code(3));
    assert_eq!(rig.states("a"), [Starting, Running, Failed]);
    assert_eq!(rig.last("a").message(), "Command exited with status 3");
    assert_eq!(rig.process("b").terminated, 1);
    assert!(executor_exits(&rig).is_empty());
    rig.exit("b", Exit::Signal(15));
    assert_eq!(rig.states("b"), [Starting, Running, Killed]);
    assert_eq!(rig.last("b").message(), "Command terminated with signal Terminated");
    assert_eq!(rig.last("b").reason, None);
    assert_eq!(executor_exits(&rig), [0]);
    assert!(!rig.agent.frameworks().any(tepui_agent::Framework::is_active));
}

#[test]
fn a_task_that_finishes_leaves_its_group_alone() {
    let mut rig = running();
    rig.exit("a", Exit::Code(0));
    assert_eq!(rig.states("a"), [Starting, Running, Finished]);
    assert_eq!(rig.process("b").terminated, 0);
    rig.exit("b", Exit::Code(0));
    assert_eq!(rig.states("b"), [Starting, Running, Finished]);
    assert_eq!(executor_exits(&rig), [0]);
}

#[test]
fn a_killed_task_gets_its_own_grace_and_takes_its_group_along() {
    let mut rig = Rig::registered();
    rig.capabilities.push(capability::Type::TaskKillingState);
    rig.launch_pod(&["a", "b"]);
    rig.kill_within("a", Some(secs(7)));
    assert_eq!(rig.states("a"), [Starting, Running, Killing]);
    assert_eq!((rig.process("a").terminated, rig.process("b").terminated), (1, 0));
    rig.advance(secs(6));
    assert_eq!(rig.process("a").killed, 0);
    rig.advance(secs(1));
    assert_eq!(rig.process("a").killed, 1);
    rig.exit("a", Exit::Signal(9));
    assert_eq!(rig.states("b"), [Starting, Running, Killing]);
    rig.advance(secs(3));
    assert_eq!(rig.process("b").killed, 1);
    rig.exit("b", Exit::Signal(9));
    assert_eq!(rig.states("b"), [Starting, Running, Killing, Killed]);
}

#[test]
fn groups_of_one_pod_are_independent_and_the_pod_ends_with_the_last() {
    let mut rig = running();
    rig.launch_pod(&["c", "d"]);
    assert_eq!(rig.states("c"), [Starting, Running]);
    rig.exit("a", Exit::Code(1));
    rig.exit("b", Exit::Signal(15));
    assert_eq!(rig.process("c").terminated, 0);
    assert!(executor_exits(&rig).is_empty());
    rig.exit("c", Exit::Code(0));
    rig.exit("d", Exit::Code(0));
    assert_eq!(executor_exits(&rig), [0]);
}

#[test]
fn a_pod_that_is_shut_down_ends_all_its_tasks_and_takes_no_more() {
    let mut rig = running();
    rig.order(tepui_link::Order::ShutdownExecutor {
        framework: rig::framework_id(),
        executor: rig::executor_id("p1"),
    });
    assert_eq!((rig.process("a").terminated, rig.process("b").terminated), (1, 1));
    rig.launch_pod(&["c"]);
    assert_eq!(rig.states("c"), [Dropped]);
    assert_eq!(rig.last("c").reason(), Reason::ExecutorTerminated);
    rig.exit("a", Exit::Signal(15));
    rig.exit("b", Exit::Signal(15));
    assert_eq!(rig.states("b"), [Starting, Running, Killed]);
    assert_eq!(executor_exits(&rig), [0]);
}

#[test]
fn a_framework_that_is_gone_holds_what_it_has_until_its_pods_have_ended() {
    let mut rig = running();
    rig.order(tepui_link::Order::ShutdownFramework { framework: rig::framework_id() });
    rig.advance(secs(15));
    assert_eq!(rig.leftovers().unwrap(), [rig::framework_id()]);
    let runs: Vec<_> = rig.host.keys().cloned().collect();
    for run in &runs {
        assert_eq!(rig.host[run].terminated, 1);
        rig.event(Event::RunExited { run: run.clone(), exit: Exit::Signal(15), certificate: None });
        rig.settle();
    }
    assert!(rig.leftovers().unwrap().is_empty());
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn a_restart_of_the_agent_touches_no_task_of_a_pod() {
    let mut rig = running();
    let pids = ["a", "b"].map(|task| rig.process(task).pid);
    rig.restart();
    rig.connect();
    assert_eq!(["a", "b"].map(|task| rig.process(task).pid), pids);
    assert_eq!(rig.registration().tasks.len(), 2);
    assert_eq!(rig.registration().executors.len(), 1);
    assert_eq!(rig.states("a"), [Starting, Running]);
    rig.exit("a", Exit::Code(0));
    rig.exit("b", Exit::Code(0));
    assert_eq!(executor_exits(&rig), [0]);
}

#[test]
fn what_failed_while_the_agent_was_away_takes_its_group_along_afterwards() {
    let mut rig = running();
    rig.exit_unseen("b", Exit::Code(1));
    rig.restart();
    rig.connect();
    assert_eq!(rig.last("b").message(), "Command exited with status 1");
    assert_eq!(rig.process("a").terminated, 1);
    rig.exit("a", Exit::Signal(15));
    assert_eq!(rig.states("a"), [Starting, Running, Killed]);
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn both_ends_while_the_agent_was_away_are_told_as_they_were() {
    let mut rig = running();
    rig.exit_unseen("a", Exit::Code(1));
    rig.exit_unseen("b", Exit::Code(0));
    rig.restart();
    rig.connect();
    assert_eq!(rig.states("a"), [Starting, Running, Failed]);
    assert_eq!(rig.states("b"), [Starting, Running, Finished]);
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn a_reboot_ends_a_pod_with_all_its_tasks() {
    let mut rig = running();
    rig.reboot();
    rig.connect();
    for task in ["a", "b"] {
        assert_eq!(rig.states(task), [Starting, Running, Failed]);
        assert_eq!(rig.last(task).reason(), Reason::ExecutorTerminated);
    }
    assert_eq!(rig.agent.live_runs().count(), 0);
}

#[test]
fn each_task_of_a_pod_is_checked_by_itself() {
    let mut rig = Rig::registered();
    let health = v1::HealthCheck {
        r#type: Some(v1::health_check::Type::Tcp.into()),
        tcp: Some(v1::health_check::TcpCheckInfo { port: 31000, ..Default::default() }),
        delay_seconds: Some(0.0),
        grace_period_seconds: Some(0.0),
        consecutive_failures: Some(1),
        ..v1::HealthCheck::default()
    };
    let checked = v1::TaskInfo { health_check: Some(health.into()), ..command("a") };
    rig.launch_all(vec![checked, command("b")], Some(pod_executor()));
    rig.advance(secs(1));
    let (probe, what) = rig.probes.pop().unwrap();
    assert_eq!(what, Probe::Tcp { ipv6: false, port: 31000 });
    rig.event(Event::Probed { probe, outcome: ProbeOutcome::Tcp(false) });
    rig.settle();
    assert_eq!((rig.process("a").terminated, rig.process("b").terminated), (1, 0));
    rig.exit("a", Exit::Signal(15));
    assert_eq!(rig.last("a").healthy, Some(false));
    assert_eq!(rig.states("a").last(), Some(&Killed));
    assert_eq!(rig.process("b").terminated, 1);
}

#[test]
fn a_volume_that_leads_elsewhere_ends_its_group_with_a_reason() {
    let mut rig = Rig::registered();
    let volume = v1::Volume {
        mode: v1::volume::Mode::Ro.into(),
        container_path: "../data".into(),
        host_path: Some("/data".into()),
        ..v1::Volume::default()
    };
    let container = v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        volumes: vec![volume],
        ..v1::ContainerInfo::default()
    };
    let faulty = v1::TaskInfo { container: Some(container.into()), ..command("a") };
    rig.launch_all(vec![faulty, command("b")], Some(pod_executor()));
    assert_eq!(rig.states("a"), [Failed]);
    assert!(rig.last("a").message().contains("'../data'"), "{}", rig.last("a").message());
    assert_eq!(rig.states("b"), [Failed]);
}

/// The pod `p1` on the bridge, with a port of the host that leads to it.
fn networked_pod() -> v1::ExecutorInfo {
    let mapping = v1::network_info::PortMapping {
        host_port: 31000,
        container_port: 80,
        ..v1::network_info::PortMapping::default()
    };
    let bridge = v1::NetworkInfo {
        name: Some("mesos-bridge".into()),
        port_mappings: vec![mapping],
        ..v1::NetworkInfo::default()
    };
    let container = v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        network_infos: vec![bridge],
        ..v1::ContainerInfo::default()
    };
    v1::ExecutorInfo { container: Some(container.into()), ..pod_executor() }
}

fn addresses(status: &v1::TaskStatus) -> Vec<&str> {
    let infos = &status.container_status.as_ref().unwrap().network_infos;
    infos[0].ip_addresses.iter().map(v1::network_info::IpAddress::ip_address).collect()
}

#[test]
fn a_port_that_leads_to_a_pod_is_one_of_its_own_or_of_any_of_its_tasks() {
    let without = |id| {
        let mut task = command(id);
        task.resources.retain(|one| one.name != "ports");
        task
    };
    let bare = || {
        let mut pod = networked_pod();
        pod.resources.retain(|one| one.name != "ports");
        pod
    };
    let mut rig = Rig::registered();
    rig.launch_all(vec![without("a"), without("b")], Some(bare()));
    assert_eq!(rig.states("b"), [Failed]);
    assert_eq!(rig.last("a").message(), "Port [31000] not included in resources");
    rig.launch_all(vec![without("c"), command("d")], Some(bare()));
    assert_ne!(rig.states("c"), [Failed]);
}

#[test]
fn the_tasks_of_a_pod_share_its_network() {
    let mut rig = Rig::registered();
    rig.network = Some("10.218.0.2".parse().unwrap());
    rig.launch_all(vec![command("a"), command("b")], Some(networked_pod()));
    let pod = rig.fetches[0].0.clone();
    assert_eq!(rig.networks.len(), 1, "one for all of them");
    assert_eq!(rig.networks[0].0, pod);
    assert_eq!(rig.networks[0].1.ports()[0].container, 80);
    for task in ["a", "b"] {
        let spec = &rig.process(task).spec;
        assert_eq!(spec.network.as_ref(), Some(&pod));
        assert!(spec.environment.contains(&("MESOS_CONTAINER_IP".into(), "10.218.0.2".into())));
        assert_eq!(addresses(rig.last(task)), ["10.218.0.2"]);
    }
    // After a restart it is the same network, and every port in it the pod's.
    rig.former_network = Some(pod.clone());
    rig.restart();
    rig.connect();
    rig.exit("a", Exit::Code(0));
    assert_eq!(addresses(rig.last("a")), ["10.218.0.2"]);
    assert!(rig.ports_told.is_empty(), "{:?}", rig.ports_told);
    rig.exit("b", Exit::Code(0));
    assert!(rig.discarded.contains(&pod), "its network goes with it");
}

#[test]
fn a_network_that_cannot_be_made_ends_a_pod_before_its_tasks() {
    let mut rig = Rig::registered();
    rig.answers_fetch = false;
    rig.launch_all(vec![command("a")], Some(networked_pod()));
    let pod = rig.fetches[0].0.clone();
    let outcome = Err("Failed to make a network: no free address".into());
    rig.event(Event::Fetched { run: pod.clone(), outcome });
    rig.settle();
    assert_eq!(rig.states("a"), [Failed]);
    assert!(rig.last("a").message().contains("no free address"));
    assert!(rig.discarded.contains(&pod));
}

#[test]
fn a_pod_on_a_network_that_the_host_lacks_is_refused_with_the_reason() {
    let mut rig = Rig::registered_with(|config| {
        config.containers.bridge = Err("nft is not installed".into());
    });
    rig.launch_all(vec![command("a")], Some(networked_pod()));
    assert_eq!(rig.states("a"), [Failed]);
    assert!(rig.last("a").message().contains("nft is not installed"));
}

#[test]
fn a_container_below_a_pod_is_in_its_network() {
    let mut rig = Rig::registered();
    rig.network = Some("10.218.0.2".parse().unwrap());
    rig.launch_all(vec![command("a")], Some(networked_pod()));
    let (pod, task) = (rig.fetches[0].0.clone(), rig.run_of("a"));
    let name = tepui_types::ContainerId::parse(&format!("{task}.tool")).unwrap();
    let launch = tepui_agent::ContainerLaunch {
        container: name.clone(),
        command: command("x").command.unwrap(),
        info: None,
        resources: Vec::new(),
        limits: std::collections::BTreeMap::new(),
    };
    let call = Box::new(tepui_agent::ContainerCall::Launch(Box::new(launch)));
    rig.event(Event::ContainerCall { request: tepui_types::RequestId(1), call });
    rig.settle();
    assert_eq!(rig.host[&name].spec.network.as_ref(), Some(&pod));
}
