// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used)]

use tepui_wire::decode_json;

use super::*;

fn container(text: &str) -> Result<Option<Container>, String> {
    let info: v1::ContainerInfo = decode_json(text.as_bytes()).unwrap();
    let command = v1::CommandInfo { value: Some("true".into()), ..v1::CommandInfo::default() };
    describe(&info, &command, Some("me"), true).map_err(|refusal| refusal.to_string())
}

fn refused(text: &str) -> String {
    container(text).unwrap_err()
}

#[test]
fn the_container_of_a_marathon_app_with_a_bridge_is_understood() {
    let found = container(
        r#"{"type": "DOCKER", "docker": {"image": "reg:5000/web:2", "network": "BRIDGE",
            "force_pull_image": true,
            "port_mappings": [{"host_port": 31005, "container_port": 80, "protocol": "tcp"},
                              {"host_port": 31006, "container_port": 53, "protocol": "udp"}],
            "parameters": [{"key": "label", "value": "MESOS_TASK_ID=x"}]}}"#,
    );
    let found = found.unwrap().unwrap();
    let image = found.image.unwrap();
    assert_eq!((image.reference.as_str(), image.fresh), ("reg:5000/web:2", true));
    assert_eq!(
        found.network,
        Network::Bridge {
            ports: vec![
                Port { host: 31005, container: 80, protocol: Protocol::Tcp },
                Port { host: 31006, container: 53, protocol: Protocol::Udp },
            ]
        }
    );
    assert!(!found.new_privileges && !found.privileged);
}

#[test]
fn a_mesos_container_that_asks_for_nothing_needs_none() {
    assert_eq!(container(r#"{"type": "MESOS"}"#), Ok(None));
    assert_eq!(container(r#"{"type": "MESOS", "network_infos": [{}]}"#), Ok(None));
    assert!(container(r#"{"type": "MESOS", "tty_info": {}}"#).unwrap().is_some());
}

#[test]
fn a_resource_limit_that_cannot_be_meant_is_refused_with_and_without_a_container() {
    for more in ["", r#""linux_info": {}, "#] {
        let limit = |limit: &str| {
            container(&format!(
                r#"{{"type": "MESOS", {more}"rlimit_info": {{"rlimits": [{{{limit}}}]}}}}"#
            ))
        };
        for (bad, why) in [
            (r#""type": "UNKNOWN", "soft": 1, "hard": 1"#, "no known type"),
            (r#""type": "RLMT_NOFILE", "soft": 1"#, "only one of"),
            (r#""type": "RLMT_NOFILE", "hard": 1"#, "only one of"),
            (r#""type": "RLMT_NOFILE", "soft": 2, "hard": 1"#, "above its hard one"),
        ] {
            let error = limit(bad).unwrap_err();
            assert!(error.contains("container.rlimit_info") && error.contains(why), "{error}");
        }
        limit(r#""type": "RLMT_NOFILE", "soft": 1, "hard": 2"#).unwrap();
        limit(r#""type": "RLMT_CORE""#).unwrap();
    }
}

#[test]
fn nothing_is_mounted_over_what_the_kernel_says_of_processes() {
    for path in ["/proc", "//proc/./", "/proc/self", "/proc/sys/kernel"] {
        let error = refused(&format!(
            r#"{{"type": "MESOS",
                "volumes": [{{"mode": "RW", "container_path": "{path}", "host_path": "/tmp"}}]}}"#
        ));
        assert!(error.contains("nothing can be mounted at '/proc"), "{error}");
    }
    let tmpfs = r#"{"type": "DOCKER", "docker": {"image": "x",
        "parameters": [{"key": "tmpfs", "value": "/proc"}]}}"#;
    assert!(refused(tmpfs).contains("'/proc'"));
    let other = r#"{"type": "MESOS",
        "volumes": [{"mode": "RW", "container_path": "/process", "host_path": "/tmp"}]}"#;
    container(other).unwrap();
}

#[test]
fn mesos_networks_go_by_name() {
    let network = |name: &str| {
        let text = format!(
            r#"{{"type": "MESOS", "network_infos": [{{"name": "{name}",
                "port_mappings": [{{"host_port": 31000, "container_port": 80}}]}}]}}"#
        );
        container(&text).unwrap().unwrap().network
    };
    let ports = vec![Port { host: 31000, container: 80, protocol: Protocol::Tcp }];
    assert_eq!(network("mesos-bridge"), Network::Bridge { ports: ports.clone() });
    assert_eq!(
        network("dmz"),
        Network::Cni { names: vec!["dmz".into()], ports, labels: NetworkLabels::new() }
    );
}

#[test]
fn volumes_are_read_in_every_form() {
    let found = container(
        r#"{"type": "MESOS", "volumes": [
            {"mode": "RO", "container_path": "/etc/x", "host_path": "/srv/x"},
            {"mode": "RW", "container_path": "data", "host_path": "kept"},
            {"mode": "RW", "container_path": "/d",
             "source": {"type": "SANDBOX_PATH", "sandbox_path": {"type": "SELF", "path": "d"}}},
            {"mode": "RO", "container_path": "/i",
             "image": {"type": "DOCKER", "docker": {"name": "data:1"}}}]}"#,
    );
    let mounts = found.unwrap().unwrap().mounts;
    let targets: Vec<_> = mounts.iter().map(|one| (one.target.as_str(), one.read_only)).collect();
    let expected =
        [("/etc/x", true), ("/mnt/mesos/sandbox/data", false), ("/d", false), ("/i", true)];
    assert_eq!(targets, expected);
    assert_eq!(mounts[1].source, MountSource::Sandbox { path: "kept".into() });
    assert!(matches!(&mounts[3].source, MountSource::Image(wish) if wish.reference == "data:1"));
}

#[test]
fn linux_info_says_what_processes_may_do() {
    let found = container(
        r#"{"type": "MESOS", "linux_info": {
            "effective_capabilities": {"capabilities": ["NET_ADMIN"]},
            "seccomp": {"profile_name": "strict.json"}, "share_pid_namespace": true,
            "ipc_mode": "PRIVATE", "shm_size": 8}}"#,
    );
    let found = found.unwrap().unwrap();
    let only = vec!["NET_ADMIN".to_owned()];
    let exactly = Capabilities::Exactly { effective: only.clone(), bounding: only };
    assert_eq!(found.capabilities, exactly);
    assert_eq!(found.seccomp, Seccomp::Profile("strict.json".into()));
    assert!(found.shares_processes);
    assert_eq!(found.shm_bytes, Some(8 << 20));
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    for (text, what) in [
        (r#"{"type": "DOCKER"}"#, "needs container.docker"),
        (
            r#"{"type": "DOCKER", "docker": {"image": "x", "volume_driver": "rexray"}}"#,
            "volume driver",
        ),
        (
            r#"{"type": "DOCKER", "docker": {"image": "x", "network": "USER"}}"#,
            "needs a network's name",
        ),
        (
            r#"{"type": "DOCKER", "docker": {"image": "x", "network": "HOST",
               "port_mappings": [{"host_port": 1, "container_port": 1}]}}"#,
            "port mappings need network BRIDGE",
        ),
        (
            r#"{"type": "DOCKER", "docker": {"image": "x", "network": "BRIDGE",
               "port_mappings": [{"host_port": 1, "container_port": 1, "protocol": "sctp"}]}}"#,
            "'sctp' is neither",
        ),
        (
            r#"{"type": "DOCKER", "docker": {"image": "x",
               "parameters": [{"key": "memory", "value": "1g"}]}}"#,
            "'memory' has no equivalent",
        ),
        (
            r#"{"type": "MESOS", "mesos": {"image": {"type": "APPC", "appc": {"name": "x"}}}}"#,
            "APPC is not supported",
        ),
        (
            r#"{"type": "MESOS", "network_infos": [{"name": "n", "groups": ["g"]}]}"#,
            "network groups",
        ),
        (r#"{"type": "MESOS", "network_infos": [{"groups": ["g"]}]}"#, "network groups"),
        (
            r#"{"type": "MESOS", "docker": {"image": "x",
               "parameters": [{"key": "cap-drop", "value": "ALL"}]}}"#,
            "container.docker has no effect with container type MESOS",
        ),
        (
            r#"{"type": "DOCKER", "docker": {"image": "x"},
               "mesos": {"image": {"type": "DOCKER", "docker": {"name": "y"}}}}"#,
            "container.mesos has no effect",
        ),
        (
            r#"{"type": "DOCKER", "docker": {"image": "x",
               "parameters": [{"key": "pids-limit", "value": "10"}]}}"#,
            "the label TEPUI_PIDS says it",
        ),
        (
            r#"{"type": "MESOS", "volumes": [{"mode": "RW", "container_path": "x",
               "source": {"type": "DOCKER_VOLUME", "docker_volume": {"name": "v"}}}]}"#,
            "DOCKER_VOLUME is not supported",
        ),
        (
            r#"{"type": "MESOS", "volumes": [{"mode": "RW", "container_path": "x",
               "host_path": "../out"}]}"#,
            "not one below the sandbox",
        ),
        (
            r#"{"type": "MESOS", "linux_info": {"ipc_mode": "SHARE_PARENT", "shm_size": 8}}"#,
            "shm_size needs",
        ),
    ] {
        let answer = refused(text);
        assert!(answer.contains(what), "{text}: {answer}");
    }
}

#[test]
fn mounts_of_the_host_are_followed_where_that_is_asked_for_and_never_made_from_within() {
    let volume = |propagation: &str| {
        let text = format!(
            r#"{{"type": "MESOS", "volumes": [{{"mode": "RO", "container_path": "/d", "source":
                {{"type": "HOST_PATH", "host_path": {{"path": "/d"{propagation}}}}}}}]}}"#
        );
        container(&text).map(|found| found.unwrap().mounts.remove(0).source)
    };
    let follows =
        |follows_host| MountSource::Host { path: "/d".into(), create: false, follows_host };
    assert_eq!(volume(""), Ok(follows(false)));
    let wanted = |mode: &str| volume(&format!(r#", "mount_propagation": {mode}"#));
    assert_eq!(wanted(r#"{"mode": "HOST_TO_CONTAINER"}"#), Ok(follows(true)));
    for (mode, why) in [
        (r#"{"mode": "BIDIRECTIONAL"}"#, "BIDIRECTIONAL is not supported"),
        (r#"{"mode": "UNKNOWN"}"#, "is not known"),
        ("{}", "has no mode"),
    ] {
        let error = wanted(mode).unwrap_err();
        assert!(error.contains(why), "{mode}: {error}");
    }
    let docker = |mode: &str| {
        let text = format!(
            r#"{{"type": "DOCKER", "docker": {{"image": "x", "parameters":
                [{{"key": "volume", "value": "/d:/d:{mode}"}}]}}}}"#
        );
        container(&text).map(|found| found.unwrap().mounts.remove(0))
    };
    let slave = docker("ro,rslave").unwrap();
    assert!(slave.read_only);
    assert_eq!(
        slave.source,
        MountSource::Host { path: "/d".into(), create: true, follows_host: true }
    );
    assert!(docker("rshared").unwrap_err().contains("volume=/d:/d:rshared is not"));
}

#[test]
fn a_registry_is_told_what_a_secret_or_a_credential_says() {
    let auth = |fields: &str| {
        let text = format!(
            r#"{{"type": "MESOS", "mesos": {{"image": {{"type": "DOCKER",
                "docker": {{"name": "x"{fields}}}}}}}}}"#
        );
        container(&text).map(|found| found.unwrap().image.unwrap().auth)
    };
    assert_eq!(auth(""), Ok(None));
    let config = r#", "config": {"type": "VALUE", "value": {"data": "e30="}}"#;
    assert_eq!(auth(config), Ok(Some(RegistryAuth::DockerConfig("{}".into()))));
    let credential = r#", "credential": {"principal": "me", "secret": "hush"}"#;
    let basic = RegistryAuth::Basic { name: "me".into(), password: "hush".into() };
    assert_eq!(auth(credential), Ok(Some(basic)));
    let elsewhere = r#", "config": {"type": "REFERENCE", "reference": {"name": "s"}}"#;
    assert!(auth(elsewhere).unwrap_err().contains("no secret resolver"));
}

#[test]
fn plugins_of_networks_hear_what_their_labels_say() {
    let found = container(
        r#"{"type": "MESOS", "network_infos": [
            {"name": "dmz", "labels": {"labels": [{"key": "tier", "value": "web"}]}},
            {"name": "lan"}]}"#,
    );
    let Network::Cni { names, labels, .. } = found.unwrap().unwrap().network else { panic!() };
    assert_eq!(names, ["dmz", "lan"]);
    let told = vec![("tier".to_owned(), "web".to_owned())];
    assert_eq!(labels, NetworkLabels::from([("dmz".to_owned(), told)]));
}

#[test]
fn paths_in_a_container_stay_there() {
    assert_eq!(target("a/./b//c").unwrap(), "/mnt/mesos/sandbox/a/b/c");
    assert_eq!(target("/a/").unwrap(), "/a");
    for bad in ["..", "/a/../b", "", "/", ".", "a\0b"] {
        assert!(target(bad).is_err(), "{bad:?}");
    }
}
