// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::capability_names;
use crate::order::EtcFiles;
use crate::order::Isolation;
use crate::wish::{Capabilities, Rlimit, Tty};

fn order() -> Order {
    Order {
        filters: None,
        run: "run-1".into(),
        root: Root::Layers(vec!["/layers/a".into()]),
        read_only: true,
        argv: vec!["/bin/web".into(), "--port=80".into()],
        environment: vec![("A".into(), "1".into()), ("A".into(), "2".into())],
        working_directory: "/srv".into(),
        user_of_host: false,
        user: Some("web".into()),
        groups: Vec::new(),
        sandbox: "/var/lib/tepui/sandbox".into(),
        isolation: Isolation {
            network: Namespace::At("/run/netns/x".into()),
            hostname: Some("box".into()),
            ipc: Ipc::Private,
            shm_bytes: Some(1 << 20),
            shares_processes: false,
            processes_of: None,
            ipc_of: None,
        },
        mounts: vec![OrderMount {
            source: OrderSource::Host {
                path: "/srv/data".into(),
                create: false,
                follows_host: false,
            },
            target: "/data".into(),
            read_only: true,
        }],
        etc: Some(EtcFiles {
            resolver: String::new(),
            hosts: String::new(),
            hostname: String::new(),
        }),
        privileged: false,
        capabilities: Capabilities::Usual { add: Vec::new(), drop: Vec::new() },
        seccomp: Seccomp::Unconfined,
        seccomp_profile: None,
        scratch: None,
        hidden: Vec::new(),
        host_folders: None,
        new_privileges: false,
        rlimits: vec![Rlimit { name: "NOFILE".into(), soft: Some(64), hard: None }],
        devices: Vec::new(),
        sysctls: Vec::new(),
        tty: None,
        stop_signal: None,
    }
}

fn facts() -> Facts {
    Facts {
        processes: None,
        ipc: None,
        user: UserFacts { uid: 33, gid: 34, groups: vec![7], home: Some("/home/web".into()) },
        devices: Vec::new(),
        capabilities: capability_names(u64::MAX),
        machine: "x86_64".into(),
        root: "/bundle/rootfs".into(),
        sandbox: Some("/bundle/shown/sandbox".into()),
        sources: vec!["/srv/data".into()],
        etc: "/bundle/etc".into(),
        masked: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
    }
}

/// With its sets in order, so that it can be compared.
fn spec(order: &Order) -> serde_json::Value {
    let mut value = serde_json::to_value(runtime_spec(order, &facts()).unwrap()).unwrap();
    if let Some(sets) = value["process"]["capabilities"].as_object_mut() {
        for set in sets.values_mut() {
            if let Some(names) = set.as_array_mut() {
                names.sort_by_key(ToString::to_string);
            }
        }
    }
    value
}

#[test]
fn the_specification_of_a_web_server() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&spec(&order())).unwrap());
}

#[test]
fn the_usual_filter() {
    let order = Order { seccomp: Seccomp::Usual, ..order() };
    let filter = &spec(&order)["linux"]["seccomp"];
    assert_eq!(filter["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = filter["syscalls"].as_array().unwrap();
    let allowed = |name: &str| {
        rules.iter().any(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW"
                && rule["names"].as_array().unwrap().iter().any(|one| one == name)
        })
    };
    for name in ["read", "execve", "chroot", "futex_waitv", "clone", "socket", "modify_ldt"] {
        assert!(allowed(name), "{name}");
    }
    for name in [
        "mount",
        "unshare",
        "setns",
        "bpf",
        "perf_event_open",
        "keyctl",
        "add_key",
        "kexec_load",
        "io_uring_setup",
        "userfaultfd",
        "pivot_root",
        "reboot",
        "swapon",
        "init_module",
        "clone3",
    ] {
        assert!(!allowed(name), "{name}");
    }
}

#[test]
fn a_capability_opens_its_system_calls() {
    let add = vec!["SYS_ADMIN".to_owned()];
    let order = Order {
        seccomp: Seccomp::Usual,
        capabilities: Capabilities::Usual { add, drop: Vec::new() },
        ..order()
    };
    let text = spec(&order)["linux"]["seccomp"].to_string();
    assert!(text.contains("\"mount\"") && text.contains("\"clone3\""));
}

#[test]
fn a_privileged_container_is_told_nothing_of_limits() {
    let value = spec(&Order { privileged: true, ..order() });
    let linux = &value["linux"];
    assert!(linux.get("maskedPaths").is_none() && linux.get("readonlyPaths").is_none());
    assert!(linux.get("seccomp").is_none());
    assert_eq!(value["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 41);
}

/// As Docker 28 (`oci/defaults.go`), containerd 2 (`oci/spec_opts.go`) and Podman 5 (`config.DefaultMaskedPaths`)
/// have them.
#[test]
fn everything_is_hidden_that_others_hide_by_default() {
    let order = Order { hidden: vec!["/run/dbus".into()], ..order() };
    let linux = &spec(&order)["linux"];
    let has =
        |list: &str, path: &str| linux[list].as_array().unwrap().iter().any(|one| one == path);
    for path in [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/run/dbus",
        "/sys/dev/block",
        "/sys/devices/system/cpu/cpu0/thermal_throttle",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
        "/sys/fs/selinux",
    ] {
        assert!(has("maskedPaths", path), "{path} can be read");
    }
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
        assert!(has("readonlyPaths", path), "{path} can be written");
    }
}

#[test]
fn no_control_group_is_ever_described() {
    for privileged in [false, true] {
        let value = spec(&Order { privileged, ..order() });
        assert!(value["linux"].get("resources").is_none());
        assert_eq!(value["linux"]["cgroupsPath"], "/");
    }
}

#[test]
fn a_profile_that_is_none_is_refused() {
    let named = |text: Option<&str>| {
        let order = Order {
            seccomp: Seccomp::Profile("mine".into()),
            seccomp_profile: text.map(str::to_owned),
            ..order()
        };
        runtime_spec(&order, &facts()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(named(None).unwrap_err(), "this host has no seccomp profile 'mine'");
    assert_eq!(named(Some("{]")).unwrap_err(), "seccomp profile 'mine' is not one");
    assert!(named(Some(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#)).is_ok());
}

#[test]
fn an_order_survives_its_file() {
    let order = Order { tty: Some(Tty { rows: 1, columns: 2 }), ..order() };
    let text = serde_json::to_vec(&order).unwrap();
    assert_eq!(serde_json::from_slice::<Order>(&text).unwrap(), order);
}
