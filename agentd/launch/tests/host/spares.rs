//! Shims that wait for a run.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tepui_launch::record::StartMark;
use tepui_launch::{Ending, GroupSupport, Launcher, PlainConfig, PlainLauncher};

use crate::workbench::{Bench, Watched, config, group_of, id, watch};

fn shim_of(bench: &Bench, run: &str) -> i32 {
    match StartMark::load(&bench.known(run).run_dir) {
        Ok(Some(StartMark::Started(record))) => record.shim.pid,
        other => panic!("{other:?}"),
    }
}

fn raw(pids: &[Pid]) -> Vec<i32> {
    pids.iter().map(|pid| pid.as_raw_nonzero().get()).collect()
}

fn handle(pid: &Pid) -> Watched {
    watch(&pid.as_raw_nonzero().to_string())
}

#[tokio::test]
async fn a_run_takes_a_shim_that_waits_and_another_one_replaces_it() {
    for groups in [true, false] {
        let mut bench = Bench::with(PlainConfig { spares: 2, ..config(groups) });
        assert!(bench.launcher.spares().is_empty());
        bench.launcher.recover(Vec::new()).await;
        if matches!(bench.launcher.group_support(), GroupSupport::Without(_)) && groups {
            continue;
        }
        let before = bench.spares(2).await;
        bench.start("warm", "exit 3").await;
        assert!(raw(&before).contains(&shim_of(&bench, "warm")));
        assert_eq!(bench.ending().await, Ending::Exited(3));
        let after = bench.spares(2).await;
        assert_ne!(before, after);
    }
}

#[tokio::test]
async fn without_spares_every_run_gets_a_new_shim() {
    let mut bench = Bench::with(PlainConfig { spares: 0, ..config(true) });
    bench.launcher.recover(Vec::new()).await;
    bench.start("cold", "exit 4").await;
    assert_eq!(bench.ending().await, Ending::Exited(4));
    assert!(bench.launcher.spares().is_empty());
}

#[tokio::test]
async fn runs_that_take_spares_have_groups_of_their_own() {
    let mut bench = Bench::with(PlainConfig { spares: 3, ..config(true) });
    if let GroupSupport::Without(reason) = bench.launcher.group_support() {
        eprintln!("skipped: {reason}");
        return;
    }
    bench.spares_after_recovery(3).await;
    let runs = ["one", "two", "three", "four", "five"];
    for run in runs {
        bench.start(run, "read never < /proc/self/cgroup; cat /proc/self/cgroup; exit 0").await;
    }
    for _ in runs {
        bench.ended().await;
    }
    let mut groups: Vec<PathBuf> =
        runs.iter().filter_map(|run| group_of(&bench.known(run))).collect();
    for (run, group) in runs.iter().zip(&groups) {
        let name = group.file_name().unwrap().to_str().unwrap();
        assert!(bench.read(run, "stdout").contains(name), "{run} is not in {name}");
        assert!(!group.exists());
    }
    groups.sort();
    groups.dedup();
    assert_eq!(groups.len(), runs.len());
}

#[tokio::test]
async fn a_run_does_not_notice_that_the_shims_that_waited_were_killed() {
    let mut bench = Bench::with(PlainConfig { spares: 2, ..config(true) });
    for pid in bench.spares_after_recovery(2).await {
        kill_process(pid, Signal::KILL).unwrap();
        handle(&pid).gone();
    }
    bench.start("anyway", "exit 5").await;
    assert_eq!(bench.ending().await, Ending::Exited(5));
}

#[tokio::test]
async fn a_command_that_never_came_to_be_is_told_with_its_reason_by_a_waiting_shim() {
    let bench = Bench::with(PlainConfig { spares: 1, ..config(true) });
    bench.spares_after_recovery(1).await;
    let mut spec = bench.spec("nobody", "true");
    spec.user = Some("no-such-user-here".to_owned());
    let refused = bench.refused(spec).await.to_string();
    assert_eq!(refused, "user 'no-such-user-here' does not exist on this host");
}

const ROLE: &str = "TEPUI_TEST_SPARES_AGENT";

/// Not a test of its own: the body of the agent process that the next test kills.
#[tokio::test]
async fn agent_with_spares_to_be_killed() {
    let Ok(told) = std::env::var(ROLE) else { return };
    let bench = Bench::with(PlainConfig { spares: 2, ..config(true) });
    let spares = bench.spares_after_recovery(2).await;
    let pids: Vec<String> = raw(&spares).iter().map(ToString::to_string).collect();
    fs::write(&told, pids.join(" ")).unwrap();
    kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn shims_that_wait_end_with_their_agent_and_leave_no_group() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("pids");
    // Made first, so that what it counts cannot be its own.
    let (launcher, _events) = PlainLauncher::new(PlainConfig { spares: 0, ..config(true) });
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spares::agent_with_spares_to_be_killed", "--nocapture"])
        .env(ROLE, &told)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let agent_pid = agent.id();
    agent.wait().unwrap();
    let pids = fs::read_to_string(&told).unwrap();
    assert_eq!(pids.split(' ').count(), 2);
    for pid in pids.split(' ') {
        watch(pid).gone();
    }
    let GroupSupport::Groups(path) = launcher.group_support() else { return };
    let prefix = format!("run-{agent_pid}-");
    let left = fs::read_dir(path)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_agent_that_stops_without_tasks_leaves_no_group() {
    let group = Some(format!("tepui-test-stop-{}", std::process::id()));
    let config = PlainConfig { group, ..config(true) };
    let mut bench = Bench::with(config.clone());
    let GroupSupport::Groups(path) = bench.launcher.group_support() else { return };
    bench.spares_after_recovery(2).await;
    bench.start("busy", "sleep 1000").await;
    bench.launcher.close().await;
    assert!(path.exists(), "a task is in it");
    assert!(bench.launcher.spares().is_empty());
    bench.launcher.kill_tree(&id("busy")).unwrap();
    bench.ended().await;
    bench.launcher.close().await;
    assert!(!path.exists());
    let (next, _events) = PlainLauncher::new(config);
    assert_eq!(next.group_support(), GroupSupport::Groups(path.clone()), "it comes back");
    next.close().await;
    assert!(!path.exists());
}
