use crate::rig::{host, is_able, words};

#[test]
fn a_container_sees_its_layers_its_environment_and_its_folder() {
    if !is_able() {
        return;
    }
    let host = host().shell("cat /srv/second; pwd; echo $GREETING; env | wc -l").with(|order| {
        order.working_directory = "/srv".into();
        order.environment.push(("GREETING".into(), "first".into()));
        order.environment.push(("GREETING".into(), "hello".into()));
    });
    // GREETING, HOME, HOSTNAME, PATH, PWD and SHLVL: nothing of the launcher's own.
    assert_eq!(host.run().printed(), "second layer\n/srv\nhello\n6\n");
}

#[test]
fn a_working_directory_that_the_image_lacks_is_made_and_one_that_is_none_is_named() {
    if !is_able() {
        return;
    }
    let within = |folder: &str| {
        host().shell("pwd").with(|order| {
            order.working_directory = folder.to_owned();
        })
    };
    assert_eq!(within("/srv/not/there").run().printed(), "/srv/not/there\n");
    let refusal = within("/bin/text").run().refusal;
    assert!(refusal.contains("enter the working directory '/bin/text': ENOTDIR"), "{refusal}");
}

#[test]
fn a_task_begins_with_all_its_signals_whatever_its_agent_ignores() {
    if !is_able() {
        return;
    }
    for host in [host(), host().ignoring_signals()] {
        let host = host.shell("grep Sig /proc/self/status; kill -TERM $$; echo deaf");
        let ended = host.run();
        let mask = |name: &str| {
            let line = ended.out.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!((mask("SigBlk:"), mask("SigIgn:") & 0x7fff_ffff), (0, 0), "{}", ended.out);
    }
}

#[test]
fn a_program_that_the_image_lacks_is_told_before_anything_is_executed() {
    if !is_able() {
        return;
    }
    for (argv, expected) in [
        ("/bin/nothing", "'/bin/nothing' does not exist in the container"),
        ("nothing", "'nothing' is in no folder of the container's PATH (/bin)"),
        ("/bin/text", "'/bin/text' may not be executed"),
        ("/srv", "'/srv' is a folder, not a program"),
    ] {
        let ended = host().with(|order| order.argv = words(argv)).run();
        assert!(ended.refusal.ends_with(expected), "{argv}: {}", ended.refusal);
        assert_eq!(ended.status.code(), Some(125));
    }
}

#[test]
fn a_program_that_the_kernel_refuses_is_told_too() {
    if !is_able() {
        return;
    }
    let host = host().with(|order| order.argv = words("/bin/text"));
    let text = host.path("layer0/bin/text");
    std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(&text, [0x7f, b'E', b'L', b'F', 0, 0, 0, 0]).unwrap();
    let ended = host.run();
    assert!(ended.refusal.contains("failed to execute '/bin/text'"), "{}", ended.refusal);
}

#[test]
fn users_and_folders_that_are_not_there_are_named() {
    if !is_able() {
        return;
    }
    let ended = host().with(|order| order.user = Some("no-such-user".into())).run();
    assert!(ended.refusal.contains("user 'no-such-user' exists neither"), "{}", ended.refusal);
    let ended = host().with(|order| order.stop_signal = Some("SIGFOO".into())).run();
    assert!(ended.refusal.contains("'SIGFOO' is not a signal"), "{}", ended.refusal);
}

#[test]
fn a_bundle_without_an_order_is_named() {
    if !is_able() {
        return;
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tepui-runtime"))
        .args(["run", "/nowhere/at/all"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("failed to read '/nowhere/at/all/order.json'"), "{text}");
}

#[test]
fn nobody_makes_a_container_unsealed() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tepui-runtime"))
        .args(["run-sealed", "/nowhere"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("refusing to make a container"), "{text}");
}

#[test]
fn the_number_that_leaves_a_user_as_it_is_names_nobody() {
    if !is_able() {
        return;
    }
    for user in ["4294967295", "4294967295:1", "1:4294967295"] {
        let ended = host().shell("id -u").with(|order| order.user = Some(user.into())).run();
        assert_eq!(ended.out, "", "{user}");
        assert_eq!(ended.refusal, "4294967295 is the number of no user and no group", "{user}");
    }
}
