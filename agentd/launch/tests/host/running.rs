//! Starting, ending, and what the command finds around it.

use tepui_launch::{Ending, LaunchError, Launcher, Program, Rlimit, RlimitKind};

use crate::workbench::{Bench, is_root};

#[tokio::test]
async fn exit_codes_and_signals_are_reported_as_they_were() {
    let mut bench = Bench::new();
    for (run, line, ending) in [
        ("zero", "true", Ending::Exited(0)),
        ("seven", "exit 7", Ending::Exited(7)),
        ("high", "exit 255", Ending::Exited(255)),
        ("killed", "kill -9 $$", Ending::Signaled { signal: 9, core_dumped: false }),
        ("term", "kill -15 $$", Ending::Signaled { signal: 15, core_dumped: false }),
    ] {
        bench.start(run, line).await;
        assert_eq!(bench.ending().await, ending, "{line}");
    }
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_asked_for_and_a_path() {
    let mut bench = Bench::new();
    let mut spec = bench.spec("env", "");
    spec.program = Program::Exec { path: "env".to_owned(), argv: vec!["env".to_owned()] };
    spec.env = vec![
        ("TWICE".to_owned(), "first".to_owned()),
        ("B".to_owned(), "two words\u{e4}".to_owned()),
        ("TWICE".to_owned(), "second".to_owned()),
    ];
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0));
    let mut lines: Vec<_> = bench.read("env", "stdout").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines[0], "B=two words\u{e4}");
    assert!(lines[1].starts_with("PATH=/usr/local/sbin:"), "{lines:?}");
    assert_eq!(&lines[2..], ["TWICE=second"]);
}

#[tokio::test]
async fn secrets_are_found_where_systemd_would_have_put_them() {
    let mut bench = Bench::new();
    let mut spec = bench.spec("secret", "cat \"$CREDENTIALS_DIRECTORY/key\"; echo \" $TOKEN\"");
    let file = spec.sandbox.join("key");
    std::fs::write(&file, "hush").unwrap();
    spec.credentials = vec![("key".to_owned(), file)];
    spec.env = vec![("TOKEN".to_owned(), "quiet".to_owned())];
    spec.secret_variables = ["TOKEN".to_owned()].into();
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0));
    assert_eq!(bench.read("secret", "stdout"), "hush quiet\n");
}

#[tokio::test]
async fn arguments_arrive_one_by_one_with_the_name_of_choice() {
    let mut bench = Bench::new();
    let mut spec = bench.spec("argv", "");
    let argv = ["odd name", "-c", "echo \"$0|$1|$2\"", "a b", "", "$HOME"];
    spec.program = Program::Exec {
        path: "/bin/sh".to_owned(),
        argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
    };
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0));
    assert_eq!(bench.read("argv", "stdout"), "a b||$HOME\n");
}

#[tokio::test]
async fn a_program_is_found_relative_to_the_sandbox() {
    let mut bench = Bench::new();
    let mut spec = bench.spec("relative", "");
    let script = spec.sandbox.join("tool");
    std::fs::write(&script, "#!/bin/sh\npwd\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    spec.program = Program::Exec { path: "./tool".to_owned(), argv: Vec::new() };
    let sandbox = spec.sandbox.clone();
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0));
    assert_eq!(bench.read("relative", "stdout").trim(), sandbox.to_str().unwrap());
}

#[tokio::test]
async fn the_command_has_its_own_session_no_foreign_descriptor_and_no_blocked_signal() {
    let mut bench = Bench::new();
    let line = "ls /proc/$$/fd; cut -d' ' -f1,6 /proc/$$/stat; umask; readlink /proc/$$/fd/0; \
                grep Sig /proc/self/status";
    let started = bench.start("clean", line).await;
    assert_eq!(bench.ending().await, Ending::Exited(0));
    let output = bench.read("clean", "stdout");
    let pid = started.main.pid;
    let expected = format!("0\n1\n2\n{pid} {pid}\n0022\n/dev/null\n");
    assert!(output.starts_with(&expected), "{output}");
    let mask = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0, "{output}");
    // Above the first 31 are the C library's own.
    assert_eq!(mask("SigIgn:") & 0x7fff_ffff, 0, "{output}");
}

/// Runs a test of this file as under an agent that was started by `nohup` in the background.
#[test]
fn a_command_begins_with_all_its_signals_whatever_its_agent_ignores() {
    let test =
        "running::the_command_has_its_own_session_no_foreign_descriptor_and_no_blocked_signal";
    let ignoring = "trap '' HUP INT QUIT USR1 TERM CHLD; exec \"$0\" --exact \"$1\"";
    let agent = std::process::Command::new("/bin/sh")
        .args(["-c", ignoring])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&agent.stdout);
    assert!(agent.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn resource_limits_hold_for_the_command() {
    let mut bench = Bench::new();
    let mut spec = bench.spec("limits", "ulimit -n; ulimit -Hn; ulimit -c");
    spec.rlimits = vec![
        Rlimit { kind: RlimitKind::Nofile, soft: Some(77), hard: Some(99) },
        Rlimit { kind: RlimitKind::Core, soft: Some(0), hard: Some(0) },
    ];
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0));
    assert_eq!(bench.read("limits", "stdout"), "77\n99\n0\n");
}

#[tokio::test]
async fn the_agents_own_protection_is_not_inherited() {
    // As the agent's service has it: many files, and spared by the out-of-memory killer.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum },
    )
    .unwrap();
    let score = "/proc/self/oom_score_adj";
    let spared = is_root() && std::fs::write(score, "-500").is_ok();
    let mut bench = Bench::new();
    bench.start("plain", "ulimit -n; cat /proc/self/oom_score_adj").await;
    assert_eq!(bench.ending().await, Ending::Exited(0));
    let output = bench.read("plain", "stdout");
    assert!(output.starts_with("1024\n"), "{output}");
    if spared {
        std::fs::write(score, "0").unwrap();
        assert_eq!(output, "1024\n0\n");
    }
}

#[tokio::test]
async fn the_command_runs_as_the_user_with_its_groups() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let mut spec = bench.spec("user", "id -un; id -Gn; echo x > mine");
    spec.user = Some("nobody".to_owned());
    std::os::unix::fs::chown(&spec.sandbox, Some(65534), Some(65534)).unwrap();
    open_the_way_to(bench.dir.path());
    let sandbox = spec.sandbox.clone();
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0), "{}", bench.read("user", "stderr"));
    assert_eq!(bench.read("user", "stdout"), "nobody\nnogroup\n");
    use std::os::unix::fs::MetadataExt;
    for file in ["stdout", "stderr", "mine"] {
        let owner = std::fs::metadata(sandbox.join(file)).unwrap().uid();
        assert_eq!(owner, 65534, "{file}");
    }
}

/// Temporary directories are private to their maker.
fn open_the_way_to(dir: &std::path::Path) {
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let mut missing = bench.spec("missing", "");
    missing.program = Program::Exec { path: "/no/such/file".to_owned(), argv: Vec::new() };
    let mut stranger = bench.spec("stranger", "true");
    stranger.user = Some("no-such-user".to_owned());
    let mut nowhere = bench.spec("nowhere", "true");
    nowhere.sandbox = "/no/such/sandbox".into();
    let mut odd = bench.spec("odd", "true");
    odd.env = vec![("A\0B".to_owned(), String::new())];
    let mut huge = bench.spec("huge", "true");
    huge.env = vec![("A".to_owned(), "x".repeat(1 << 20))];
    let mut beyond = bench.spec("beyond", "true");
    beyond.env = vec![("A".to_owned(), "x".repeat(20 << 20))];
    for (spec, text) in [
        (missing, "failed to execute '/no/such/file': No such file or directory"),
        (stranger, "user 'no-such-user' does not exist on this host"),
        (nowhere, "failed to open 'stdout' in sandbox '/no/such/sandbox': No such file"),
        (odd, "contains a NUL byte"),
        (huge, "failed to execute '/bin/sh': Argument list too long"),
        (beyond, "larger than 16777216 bytes"),
    ] {
        let known = bench.known(spec.run_id.as_str());
        let error = bench.refused(spec).await;
        assert!(error.to_string().contains(text), "{error}");
        assert!(!known.run_dir.exists(), "{error}");
        assert!(bench.launcher.kill_tree(&known.run_id).is_err());
    }
}

#[tokio::test]
async fn a_run_that_exists_is_not_started_twice() {
    let mut bench = Bench::new();
    bench.start("once", "sleep 1000").await;
    let error = bench.refused(bench.spec("once", "true")).await;
    assert!(matches!(error, LaunchError::Exists(_)), "{error}");
    bench.launcher.kill_tree(&crate::workbench::id("once")).unwrap();
    bench.ending().await;
}

#[tokio::test]
async fn a_command_may_say_itself_that_it_has_begun_or_why_it_never_will() {
    let mut bench = Bench::new();
    let mut spec = bench.spec("silent", "exec 3>&-; exit 4");
    spec.answers = true;
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(4));
    let mut spec = bench.spec("loud", "printf 'no such image' >&3; exit 9");
    spec.answers = true;
    let error = bench.launcher.start(spec).await.unwrap_err();
    assert!(matches!(&error, LaunchError::NotStarted(why) if why == "no such image"), "{error}");
}

#[tokio::test]
async fn a_run_is_in_the_network_that_it_was_given() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    // A thread keeps the namespace for as long as the test needs it.
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let keeper = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        tell.send(format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid()))
            .unwrap();
        let _ = ends.recv();
    });
    let network = std::path::PathBuf::from(told.recv().unwrap());
    let expected = std::fs::read_link(&network).unwrap().to_string_lossy().into_owned();
    let mut spec = bench.spec("netted", "readlink /proc/self/ns/net");
    spec.network = Some(network);
    bench.launcher.start(spec).await.unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(0));
    assert_eq!(bench.read("netted", "stdout").trim(), expected);
    let mut spec = bench.spec("lost", "true");
    spec.network = Some("/no/such/namespace".into());
    let error = bench.launcher.start(spec).await.unwrap_err().to_string();
    assert!(error.contains("network namespace '/no/such/namespace'"), "{error}");
    drop(end);
    keeper.join().unwrap();
}
