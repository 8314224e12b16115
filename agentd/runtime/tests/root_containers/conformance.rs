//! What the OCI runtime specification promises a container, shown where `tepui-runtime` embeds a
//! runtime, and images that lie. The groups are those of youki's suite `contest` that say something
//! of an embedding: agentd/runtime/README.md has the map.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};

use tepui_container::{Namespace, OrderMount, OrderSource, Rlimit, Root};

use crate::rig::{Ended, Host, host, is_able, words};

const SECRET: &str = "the host's own";

/// The lowest layer of a host's image.
fn layer(host: &Host) -> std::path::PathBuf {
    match &host.order.root {
        Root::Layers(layers) => layers[0].clone(),
        Root::Host => panic!("no image"),
    }
}

/// A host whose image has a link where a folder or file should be; what it leads to is the host's.
fn lying(place: &str, target: &str) -> Host {
    let host = host();
    let link = layer(&host).join(place);
    let _ = fs::remove_dir_all(&link);
    let _ = fs::remove_file(&link);
    symlink(target, &link).unwrap();
    host
}

/// Nothing of the host was seen or changed, whether or not the container was started.
fn harmless(ended: &Ended) {
    for text in [&ended.out, &ended.err, &ended.refusal] {
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn links_for_proc_sys_and_dev_are_refused_or_lead_nowhere_else() {
    if !is_able() {
        return;
    }
    for (place, target) in [
        ("proc", "/etc"),
        ("proc", "../../../../../../../../tmp"),
        ("sys", "/srv"),
        ("dev", "/etc"),
        ("etc", "/../../../../../../../../etc"),
        ("mnt", "/../../../../../../../../mnt"),
    ] {
        let host = lying(place, target);
        let ended = host
            .shell("cat /proc/self/status | grep -c ^Name; test -c /dev/null && echo null")
            .run();
        if ended.status.success() {
            assert_eq!(ended.out, "1\nnull\n", "{place} is {target}");
        } else {
            assert!(!ended.refusal.is_empty(), "{place} is {target}: {}", ended.err);
        }
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn a_link_for_passwd_is_followed_within_the_image_only() {
    if !is_able() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("passwd");
    fs::write(&file, format!("evil:x:0:0:{SECRET}:/:/bin/sh\n")).unwrap();
    let climbing = format!("../../../../../../../../..{}", file.display());
    for target in [file.display().to_string(), climbing] {
        let host = lying("etc/passwd", &target).shell("id -u; cat /etc/passwd");
        let ended = host.with(|order| order.user = Some("evil".into())).run();
        harmless(&ended);
        assert!(!ended.status.success(), "a user of the host's file: {}", ended.out);
    }
}

#[test]
fn no_descriptor_of_the_runtime_is_a_folder_to_begin_in() {
    if !is_able() {
        return;
    }
    for number in 3..24 {
        for who in ["self", "1"] {
            let folder = format!("/proc/{who}/fd/{number}");
            let line = "ls -d ../../../../../../../../etc/shadow ../../../../../../../../bin/text";
            let host = host().shell(line).with(|order| order.working_directory = folder.clone());
            let ended = host.run();
            assert!(!ended.out.contains("shadow"), "{folder}: {}", ended.out);
        }
    }
}

#[test]
fn a_null_device_of_the_image_unmasks_nothing() {
    if !is_able() {
        return;
    }
    let host = lying("dev", "/proc/sys/kernel");
    harmless(&host.shell("cat /dev/core_pattern").run());
    let host = host_with_null_link();
    let ended = host
        .shell(
            "head -c 8 /proc/kcore | wc -c; cat /proc/keys | wc -c; test -c /dev/null && echo null",
        )
        .run();
    assert_eq!(ended.printed(), "0\n0\nnull\n");
}

fn host_with_null_link() -> Host {
    let host = host();
    symlink("/proc/sys/kernel/core_pattern", layer(&host).join("dev/null")).unwrap();
    host
}

/// A container whose volume another one changes while it starts (CVE-2021-30465, CVE-2023-27561).
#[test]
fn a_folder_that_is_swapped_for_a_link_during_the_start_lets_nothing_out() {
    if !is_able() {
        return;
    }
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering};
    let host = host();
    let shared = host.path("sandbox/shared");
    fs::create_dir_all(shared.join("a")).unwrap();
    symlink("/../../../../../../../..", shared.join("b")).unwrap();
    let over = AtomicBool::new(false);
    let host = host.shell("ls / /vol/a; cat /etc/passwd").with(|order| {
        let sandbox = order.sandbox.clone();
        let below = |path: &str| OrderSource::Below { folder: sandbox.clone(), path: path.into() };
        order.mounts = vec![
            OrderMount { source: below("shared"), target: "/vol".into(), read_only: false },
            OrderMount {
                source: OrderSource::Tmpfs(Vec::new()),
                target: "/vol/a/etc".into(),
                read_only: false,
            },
        ];
    });
    let before = fs::read_to_string("/proc/mounts").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (a, b) = (shared.join("a"), shared.join("b"));
            while !over.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
            }
        });
        for _ in 0..20 {
            let ended = host.run();
            // The image's own root, never the host's, which has many more users.
            assert!(!ended.out.contains("daemon:"), "{}", ended.out);
        }
        over.store(true, Ordering::Relaxed);
    });
    let after = fs::read_to_string("/proc/mounts").unwrap();
    let own = |text: &str| text.matches(&host.path("").display().to_string()).count();
    assert_eq!(own(&after), own(&before), "nothing is mounted where the host sees it");
}

#[test]
fn masked_and_read_only_paths_are_so_for_a_further_process_too() {
    if !is_able() {
        return;
    }
    let line = "cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | wc -c; \
                for f in firmware dev/block devices/virtual/powercap devices/system/cpu/cpu0/thermal_throttle; \
                do ls /sys/$f 2>/dev/null; done | wc -l; \
                for f in core_pattern hostname; do (echo 0 >/proc/sys/kernel/$f) 2>&1 | grep -c Read-only; done";
    let host = host().shell("echo up; while :; do sleep 0.01; done");
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    assert_eq!(host.join(line).printed(), "0\n0\n1\n1\n");
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.end();
}

#[test]
fn namespaces_are_those_of_the_order() {
    if !is_able() {
        return;
    }
    let line = "for n in mnt pid ipc uts net cgroup user; do readlink /proc/self/ns/$n; done";
    let of = |host: Host| host.shell(line).run().printed();
    let own: Vec<_> = ["mnt", "pid", "ipc", "uts", "net", "cgroup", "user"]
        .iter()
        .map(|name| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string())
        .collect();
    let inside = of(host());
    let inside: Vec<_> = inside.lines().collect();
    assert!(inside.iter().zip(&own).take(6).all(|(theirs, ours)| theirs != ours), "{inside:?}");
    assert_eq!(inside[6], own[6], "users are the host's");
    let shared = of(host().with(|order| {
        order.isolation.network = Namespace::Host;
        order.isolation.hostname = None;
        order.isolation.shares_processes = true;
    }));
    let shared: Vec<_> = shared.lines().collect();
    for at in [1, 3, 4] {
        assert_eq!(shared[at], own[at]);
    }
}

#[test]
fn the_devices_that_every_container_has_are_there_and_no_other() {
    if !is_able() {
        return;
    }
    let line = "for d in null zero full random urandom tty; do stat -c '%n %t:%T' /dev/$d; done; \
                for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; ls /dev | wc -l";
    let told = host().shell(line).run().printed();
    assert!(told.starts_with("/dev/null 1:3\n/dev/zero 1:5\n/dev/full 1:7\n/dev/random 1:8\n/dev/urandom 1:9\n/dev/tty 5:0\n"), "{told}");
    assert!(
        told.contains("/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n"),
        "{told}"
    );
    assert_eq!(told.lines().last(), Some("14"), "those, pts, shm and mqueue");
}

#[test]
fn a_kernel_parameter_is_the_containers_own() {
    if !is_able() {
        return;
    }
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let host = host().shell("cat /proc/sys/net/ipv4/ip_default_ttl").with(|order| {
        order.sysctls = vec![("net.ipv4.ip_default_ttl".into(), "77".into())];
    });
    assert_eq!(host.run().printed(), "77\n");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), before);
}

#[test]
fn a_limit_that_nobody_may_have_is_refused_before_anything_runs() {
    if !is_able() {
        return;
    }
    let host = host().shell("echo ran").with(|order| {
        let rlimit = Rlimit { name: "NO_SUCH".into(), soft: Some(1), hard: Some(1) };
        order.rlimits = vec![rlimit];
    });
    let ended = host.run();
    assert!(ended.refusal.contains("NO_SUCH") && ended.out.is_empty(), "{}", ended.refusal);
}

#[test]
fn what_the_runtime_was_given_to_hold_reaches_nobody() {
    if !is_able() {
        return;
    }
    // The rig leaves an answer channel open at 3, and its own environment.
    // The fourth one is the folder that is being listed.
    let held = host().with(|order| order.argv = words("ls /proc/self/fd")).run();
    assert_eq!(held.out, "0\n1\n2\n3\n");
    let known = host().with(|order| order.argv = words("env")).run().printed();
    assert!(!known.contains("LISTEN") && !known.contains("LD_"), "{known}");
}
