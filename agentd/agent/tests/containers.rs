//! Tasks in containers: what is prepared, what is started, what is refused, what is said.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Rig, command, custom, custom_executor};
use tepui_agent::{Config, Event, Exit};
use tepui_container::{Network, Port, Protocol};
use tepui_types::TaskState::*;
use tepui_wire::v1::{
    self, container_info::DockerInfo, container_info::docker_info, task_status::Reason,
};

fn docker(image: &str, network: docker_info::Network) -> v1::ContainerInfo {
    let mut docker = DockerInfo { image: image.into(), ..DockerInfo::default() };
    docker.set_network(network);
    if network == docker_info::Network::Bridge {
        docker.port_mappings =
            vec![docker_info::PortMapping { host_port: 31000, container_port: 80, protocol: None }];
    }
    let mut info = v1::ContainerInfo { docker: Some(docker), ..v1::ContainerInfo::default() };
    info.set_type(v1::container_info::Type::Docker);
    info
}

fn web(id: &str) -> v1::TaskInfo {
    let container = Some(docker("web:1", docker_info::Network::Bridge).into());
    v1::TaskInfo { container, ..command(id) }
}

fn addressed(rig: &mut Rig, task: &str) {
    let run = rig.run_of(task);
    let addresses = vec!["10.88.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
    rig.event(Event::Networked { run, addresses });
}

fn addresses(rig: &Rig, task: &str) -> Vec<String> {
    let status = rig.last(task).container_status.clone().unwrap();
    let infos = status.network_infos.iter().flat_map(|info| &info.ip_addresses);
    infos.map(|one| one.ip_address().to_owned()).collect()
}

#[test]
fn a_container_is_started_after_its_image_is_here() {
    let mut rig = Rig::registered();
    rig.answers_fetch = false;
    rig.launch(web("t1"));
    assert_eq!(rig.images, ["web:1"]);
    assert!(rig.states("t1").is_empty());
    let run = rig.fetches[0].0.clone();
    rig.event(Event::Fetched { run, outcome: Ok(()) });
    rig.settle();
    assert_eq!(rig.states("t1"), [Starting, Running]);
    let spec = &rig.process("t1").spec;
    let container = spec.container.as_ref().unwrap();
    let port = Port { host: 31000, container: 80, protocol: Protocol::Tcp };
    assert_eq!(container.network, Network::Bridge { ports: vec![port] });
    let variable = |name: &str| {
        spec.environment.iter().rev().find(|one| one.0 == name).map(|one| one.1.as_str())
    };
    assert_eq!(variable("MESOS_SANDBOX"), Some("/mnt/mesos/sandbox"));
    assert_eq!(variable("MESOS_CONTAINER_NAME"), Some(&*format!("mesos-{}", spec.run)));
    // The host's own is not the image's.
    assert_eq!(variable("PATH"), None);
}

#[test]
fn an_image_that_cannot_be_had_fails_the_task_in_its_own_words() {
    let mut rig = Rig::registered();
    rig.answers_fetch = false;
    rig.launch(web("t1"));
    let run = rig.fetches[0].0.clone();
    let outcome = Err("Failed to pull image 'web:1': no such tag".into());
    rig.event(Event::Fetched { run, outcome });
    assert_eq!(rig.states("t1"), [Failed]);
    assert_eq!(rig.last("t1").reason(), Reason::ContainerLaunchFailed);
    assert_eq!(rig.last("t1").message(), "Failed to pull image 'web:1': no such tag");
}

#[test]
fn a_container_that_never_began_fails_its_task_as_not_launched() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(web("t1"));
    let run = rig.run_of("t1");
    let outcome = Err("'/bin/web' does not exist in the container".into());
    rig.event(Event::RunStarted { run, outcome });
    assert_eq!(rig.states("t1"), [Starting, Failed]);
    assert_eq!(rig.last("t1").reason(), Reason::ContainerLaunchFailed);
}

#[test]
fn statuses_carry_the_addresses_of_a_network_of_its_own() {
    let mut rig = Rig::registered();
    rig.answers_start = false;
    rig.launch(web("t1"));
    assert_eq!(addresses(&rig, "t1"), ["10.0.0.1"]);
    addressed(&mut rig, "t1");
    let run = rig.run_of("t1");
    rig.event(Event::RunStarted { run, outcome: Ok(5) });
    assert_eq!(rig.states("t1"), [Starting, Running]);
    assert_eq!(addresses(&rig, "t1"), ["10.88.0.2", "fd00::2"]);
}

#[test]
fn the_addresses_survive_a_restart_of_the_daemon() {
    let mut rig = Rig::registered();
    rig.launch(web("t1"));
    rig.addresses = Some(vec!["10.88.0.2".parse().unwrap()]);
    rig.restart();
    rig.connect();
    rig.exit("t1", Exit::Code(0));
    assert_eq!(rig.states("t1").last(), Some(&Finished));
    assert_eq!(addresses(&rig, "t1"), ["10.88.0.2"]);
}

#[test]
fn ports_inside_a_network_of_its_own_are_nobody_elses() {
    let mut rig = Rig::registered();
    rig.launch(web("t1"));
    addressed(&mut rig, "t1");
    let run = rig.run_of("t1");
    rig.event(Event::Listening { run, ports: [80, 8080].into_iter().collect() });
    assert!(rig.notices.is_empty());
}

#[test]
fn a_port_of_the_host_that_was_not_given_leads_into_no_container() {
    let mut rig = Rig::registered();
    let mut greedy = web("t1");
    let docker = greedy.container.as_mut().unwrap().docker.as_mut().unwrap();
    docker.port_mappings[0].host_port = 22;
    rig.launch(greedy);
    assert_eq!(rig.states("t1"), [Failed]);
    assert_eq!(rig.last("t1").reason(), Reason::ContainerLaunchFailed);
    assert_eq!(rig.last("t1").message(), "Port [22] not included in resources");
    let mut bare = web("t2");
    bare.resources.retain(|one| one.name != "ports");
    rig.launch(bare);
    assert_eq!(rig.last("t2").message(), "Port [31000] not included in resources");
    rig.launch(web("t3"));
    assert_ne!(rig.states("t3"), [Failed]);
}

#[test]
fn what_cannot_be_done_here_is_refused_with_the_reason() {
    let lacking = |change: fn(&mut Config)| {
        let mut rig = Rig::registered_with(change);
        rig.launch(web("t1"));
        assert_eq!(rig.states("t1"), [Failed]);
        assert_eq!(rig.last("t1").reason(), Reason::ContainerLaunchFailed);
        rig.last("t1").message().to_owned()
    };
    assert_eq!(
        lacking(|config| config.containers.any = Err("the agent is not root".into())),
        "This host cannot run containers: the agent is not root"
    );
    assert_eq!(
        lacking(|config| config.containers.bridge = Err("no nft".into())),
        "This host has no bridge for containers: no nft"
    );
    let mut rig = Rig::registered();
    let mut user = docker("web:1", docker_info::Network::User);
    user.network_infos = vec![v1::NetworkInfo { name: Some("dmz".into()), ..Default::default() }];
    rig.launch(v1::TaskInfo { container: Some(user.into()), ..command("t2") });
    assert_eq!(rig.last("t2").message(), "This host has no CNI network 'dmz'");
}

#[test]
fn a_flag_of_docker_without_an_equivalent_is_refused_by_name() {
    let mut rig = Rig::registered();
    let mut odd = web("t1");
    let docker = odd.container.as_mut().unwrap().docker.as_mut().unwrap();
    docker.parameters = vec![v1::Parameter { key: "log-driver".into(), value: "x".into() }];
    rig.launch(odd);
    assert_eq!(rig.states("t1"), [Failed]);
    assert_eq!(rig.last("t1").message(), "Docker parameter 'log-driver' has no equivalent here");
}

#[test]
fn an_executor_may_be_in_a_container_and_its_tasks_are_its_own_business() {
    let mut rig = Rig::registered();
    let executor = v1::ExecutorInfo {
        container: Some(docker("exec:1", docker_info::Network::Host).into()),
        ..custom_executor()
    };
    rig.launch(v1::TaskInfo { executor: Some(executor.into()), ..custom("t1") });
    assert_eq!(rig.images, ["exec:1"]);
    assert!(rig.process("e1").spec.container.is_some());
    rig.launch(v1::TaskInfo {
        container: Some(docker("web:1", docker_info::Network::Host).into()),
        ..custom("t2")
    });
    assert_eq!(rig.states("t2"), [Failed]);
    assert!(rig.last("t2").message().contains("its executor's to make"));
}

#[test]
fn a_mesos_container_that_asks_for_nothing_is_a_process() {
    let mut rig = Rig::registered();
    let mut plain = v1::ContainerInfo::default();
    plain.set_type(v1::container_info::Type::Mesos);
    rig.launch(v1::TaskInfo { container: Some(plain.into()), ..command("t1") });
    assert!(rig.process("t1").spec.container.is_none());
    assert!(rig.images.is_empty());
}
