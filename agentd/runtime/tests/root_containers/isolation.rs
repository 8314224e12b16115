use crate::rig::{Host, host, is_able, words};

use tepui_container::{Capabilities, ExecOrder, Rlimit, Root, Seccomp};

fn status_line(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

#[test]
fn a_task_sees_only_its_own_processes_name_and_network() {
    if !is_able() {
        return;
    }
    let ended = host().shell("echo $$; hostname; echo /proc/[0-9]*; ls /sys/class/net");
    // The shell looks by itself, when all that it has started has ended.
    assert_eq!(ended.run().printed(), "1\nbox\n/proc/1\nlo\n");
}

#[test]
fn only_three_descriptors_are_open_and_the_seal_holds() {
    if !is_able() {
        return;
    }
    // ls has one of its own for the folder.
    let ended = host().with(|order| order.argv = words("ls /proc/self/fd")).run();
    assert_eq!(ended.printed(), "0\n1\n2\n3\n");
}

#[test]
fn capabilities_are_the_usual_ones_and_nothing_is_inherited() {
    if !is_able() {
        return;
    }
    let text = host().with(|order| order.argv = words("cat /proc/self/status")).run().printed();
    // Docker's, 0xa80425fb, without CAP_MKNOD and CAP_NET_RAW.
    assert_eq!(status_line(&text, "CapBnd:"), 0xa004_05fb);
    assert_eq!(status_line(&text, "CapEff:"), 0xa004_05fb);
    assert_eq!(status_line(&text, "CapInh:"), 0);
    assert_eq!(status_line(&text, "CapAmb:"), 0);
    assert_eq!(status_line(&text, "NoNewPrivs:"), 1);
    assert_eq!(status_line(&text, "Seccomp:"), 2);
}

#[test]
fn an_ordinary_user_has_no_capability_unless_it_was_named() {
    if !is_able() {
        return;
    }
    let user = |order: &mut tepui_container::Order| {
        order.user = Some("web".into());
        order.argv = words("cat /proc/self/status");
    };
    let text = host().with(user).run().printed();
    assert_eq!(status_line(&text, "CapEff:"), 0);
    let named = host().with(user).with(|order| {
        let only = vec!["NET_BIND_SERVICE".to_owned()];
        order.capabilities = Capabilities::Exactly { effective: only.clone(), bounding: only };
    });
    let text = named.run().printed();
    assert_eq!(status_line(&text, "CapEff:"), 1 << 10);
    assert_eq!(status_line(&text, "CapBnd:"), 1 << 10);
}

#[test]
fn users_and_groups_are_the_images() {
    if !is_able() {
        return;
    }
    let host = host().shell("id; echo $HOME; touch /mnt/mesos/sandbox/mine").with(|order| {
        order.user = Some("web".into());
    });
    let text = host.run().printed();
    assert!(text.starts_with("uid=1234(web) gid=1235(web) groups=77(log)"), "{text}");
    assert!(text.ends_with("/srv\n"), "{text}");
    let meta = std::fs::metadata(host.path("sandbox/mine")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 1234);
}

#[test]
fn the_filter_refuses_what_containers_are_not_meant_to_do() {
    if !is_able() {
        return;
    }
    let line = "mount -t tmpfs none /tmp && echo mounted; true";
    assert_eq!(host().shell(line).run().printed(), "");
    let open = host().shell(line).with(|order| {
        order.seccomp = Seccomp::Unconfined;
        order.capabilities =
            Capabilities::Usual { add: vec!["SYS_ADMIN".into()], drop: Vec::new() };
    });
    assert_eq!(open.run().printed(), "mounted\n");
    let filtered = host().shell("id; true").with(|order| {
        order.seccomp = Seccomp::Profile("mine".into());
        order.seccomp_profile = Some(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
               [{"names": ["getuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}"#
                .into(),
        );
    });
    filtered.run();
}

#[test]
fn the_hosts_disks_are_out_of_reach() {
    if !is_able() {
        return;
    }
    let text = host().shell("mknod /tmp/disk b 8 0 && cat /tmp/disk; echo x > /proc/sys/kernel/core_pattern; cat /proc/keys; echo done");
    let ended = text.run();
    assert!(ended.out.ends_with("done\n"), "{}", ended.out);
    assert!(ended.err.contains("Operation not permitted"), "{}", ended.err);
    assert!(ended.err.contains("Read-only file system"), "{}", ended.err);
}

#[test]
fn limits_of_processes_are_set() {
    if !is_able() {
        return;
    }
    let host = host().shell("ulimit -n; ulimit -Hn").with(|order| {
        order.rlimits = vec![Rlimit { name: "NOFILE".into(), soft: Some(77), hard: Some(99) }];
    });
    assert_eq!(host.run().printed(), "77\n99\n");
}

#[test]
fn the_runtime_cannot_be_written_through_a_containers_view_of_it() {
    if !is_able() {
        return;
    }
    // The entry point is the runtime itself, which finds nothing to do and stays visible.
    let host = host().shell("echo up; while :; do sleep 0.01; done").with(|order| {
        order.isolation.shares_processes = true;
        order.privileged = true;
    });
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    let exe = format!("/proc/{}/exe", running.pid());
    let found = nix::sys::statvfs::statvfs(exe.as_str()).unwrap();
    assert!(found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.end();
}

#[test]
fn a_privileged_container_has_everything() {
    if !is_able() {
        return;
    }
    let host =
        host().shell("mount -t tmpfs none /tmp && echo mounted; ls /dev/null").with(|order| {
            order.privileged = true;
            order.new_privileges = true;
        });
    assert_eq!(host.run().printed(), "mounted\n/dev/null\n");
}

#[test]
fn nobody_in_a_container_makes_namespaces() {
    if !is_able() {
        return;
    }
    let clone = if cfg!(target_arch = "x86_64") { 56 } else { 220 };
    // CLONE_NEWUSER and SIGCHLD; a child ends at once.
    let line = format!(
        "perl -e '$r = syscall({clone}, 0x10000011, 0, 0, 0, 0); exit if $r == 0; \
         print $r < 0 ? \"refused\\n\" : \"made\\n\"'"
    );
    for new_privileges in [false, true] {
        let on_host = |host: Host| {
            host.with(|order| {
                order.root = Root::Host;
                order.environment = vec![("PATH".into(), "/usr/bin:/bin".into())];
                order.new_privileges = new_privileges;
            })
        };
        assert_eq!(on_host(host().shell(&line)).run().printed(), "refused\n");
        let lasting = on_host(host().shell("echo up; sleep 100"));
        let mut running = lasting.start();
        assert_eq!(running.line(), "up");
        let argv = vec!["/bin/sh".into(), "-c".into(), line.clone()];
        let order = ExecOrder { argv, environment: Vec::new(), working_directory: None, tty: None };
        assert_eq!(lasting.join_with(&order).printed(), "refused\n");
        running.signal(nix::sys::signal::Signal::SIGKILL);
        running.end();
    }
}
