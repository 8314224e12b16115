// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tepui_wire::v1;

use super::*;
use crate::describe;

fn container() -> Container {
    let mut info = v1::ContainerInfo::default();
    info.set_type(v1::container_info::Type::Docker);
    info.docker = Some(v1::container_info::DockerInfo { image: "i".into(), ..Default::default() });
    describe(&info, &v1::CommandInfo::default(), None, false).unwrap().unwrap()
}

fn with(key: &str, value: &str) -> Container {
    let mut container = container();
    apply(&mut container, key, value).unwrap();
    container
}

fn refusal(key: &str, value: &str) -> String {
    apply(&mut container(), key, value).unwrap_err().to_string()
}

#[test]
fn flags_of_docker_run_mean_here_what_they_mean_there() {
    assert_eq!(with("env", "A=b=c").environment, [("A".to_owned(), "b=c".to_owned())]);
    assert_eq!(with("hostname", "box").hostname.as_deref(), Some("box"));
    assert_eq!(with("user", "1:2").user.as_deref(), Some("1:2"));
    assert_eq!(with("workdir", "/w").working_directory.as_deref(), Some("/w"));
    assert_eq!(with("shm-size", "2g").shm_bytes, Some(2 << 30));
    assert_eq!(with("network", "none").network, Network::None);
    assert_eq!(with("ipc", "host").ipc, Ipc::Above);
    assert!(with("pid", "host").shares_processes);
    assert!(with("read-only", "true").read_only);
    assert!(!with("security-opt", "no-new-privileges").new_privileges);
    assert!(with("security-opt", "no-new-privileges:false").new_privileges);
    assert_eq!(with("security-opt", "seccomp=unconfined").seccomp, Seccomp::Unconfined);
    let limit = Rlimit { name: "NOFILE".into(), soft: Some(10), hard: None };
    assert_eq!(with("ulimit", "nofile=10:-1").rlimits, [limit]);
    let hosts = with("add-host", "db:fd00::1").dns.hosts;
    assert_eq!(hosts, [("db".to_owned(), "fd00::1".to_owned())]);
}

#[test]
fn volumes_and_devices_are_read() {
    let mount = &with("volume", "/a:/b:ro,Z").mounts[0];
    assert_eq!((mount.target.as_str(), mount.read_only), ("/b", true));
    let device = |container: &str, write| Device {
        host: "/dev/fuse".into(),
        container: container.into(),
        read: true,
        write,
    };
    assert_eq!(with("device", "/dev/fuse").devices, [device("/dev/fuse", true)]);
    assert_eq!(with("device", "/dev/fuse:r").devices, [device("/dev/fuse", false)]);
    assert_eq!(with("device", "/dev/fuse:/dev/x:rm").devices, [device("/dev/x", false)]);
    let tmpfs = &with("tmpfs", "/run:size=1m").mounts[0];
    assert_eq!(tmpfs.source, MountSource::Tmpfs { options: vec!["size=1m".into()] });
}

#[test]
fn what_has_no_equivalent_is_refused_by_name() {
    for key in ["log-driver", "cgroup-parent", "gpus", "link"] {
        assert_eq!(refusal(key, "x"), format!("Docker parameter '{key}' has no equivalent here"));
    }
    for (key, instead) in [
        ("memory", "a task's memory is its mem, or its limit of mem"),
        ("cpus", "a task's processors are its cpus, or its limit of cpus"),
        ("pids-limit", "the label TEPUI_PIDS says it"),
        ("cpuset-cpus", "the label TEPUI_CPUSET says it"),
        ("restart", "the agent sees to it"),
    ] {
        let said = format!("Docker parameter '{key}' has no equivalent here; {instead}");
        assert_eq!(refusal(key, "x"), said);
    }
}

#[test]
fn values_that_make_no_sense_are_refused_with_what_would() {
    for (key, value, right) in [
        ("env", "A", "NAME=value"),
        ("volume", "name:/x", "only host paths"),
        ("volume", "/a:/b/../c", "leads elsewhere"),
        ("volume", "/a:/", "the container itself"),
        ("tmpfs", "/run:uid=0,foo", "known options"),
        ("ulimit", "nofile", "name=soft"),
        ("dns", "example.org", "an address"),
        ("add-host", "db", "name:address"),
        ("add-host", "db\n1.1.1.1 x:10.0.0.1", "name:address"),
        ("add-host", "db:10.0.0.1\n1.1.1.1 x", "name:address"),
        ("hostname", "a b", "a host's name"),
        ("ulimit", "nothing=1", "name=soft"),
        ("ulimit", "nofile=20:10", "at most its hard one"),
        ("ulimit", "nofile=-1:10", "at most its hard one"),
        ("cap-add", "FLY", "a capability"),
        ("device", "/etc/passwd", "below /dev"),
        ("device", "/dev/fuse:/dev/x:m", "'rw'"),
        ("device", "/dev/fuse:rx", "'rw'"),
        ("sysctl", "kernel.core_pattern=x", "network or of IPC"),
        ("shm-size", "much", "a size"),
        ("pid", "container:x", "host"),
        ("security-opt", "apparmor=x", "known"),
    ] {
        let text = refusal(key, value);
        assert!(text.contains(right), "{key}={value}: {text}");
    }
}

proptest! {
    #[test]
    fn no_flag_is_ever_a_panic(key in "[a-z-]{1,12}", value in ".{0,40}") {
        let _ = apply(&mut container(), &key, &value);
    }

    #[test]
    fn known_flags_with_any_value_are_no_panic(
        at in 0..16_usize,
        value in "[a-z0-9:=,./-]{0,24}|.{0,24}",
    ) {
        const KEYS: [&str; 16] = [
            "env", "volume", "tmpfs", "network", "cap-add", "security-opt", "ulimit", "device",
            "sysctl", "shm-size", "ipc", "pid", "tty", "add-host", "user", "entrypoint",
        ];
        let _ = apply(&mut container(), KEYS[at], &value);
    }
}
