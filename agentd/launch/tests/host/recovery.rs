//! The agent goes and comes back; its runs do not notice.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tepui_launch::record::StartMark;
use tepui_launch::{
    Ending, Launcher, LostReason, PlainLauncher, RunOutcome, RunState, list_run_dirs,
};

use crate::workbench::{Bench, config, id, known, spec, watch};

/// The state of the only run that is found.
async fn recovered(bench: &Bench) -> RunState {
    let runs = list_run_dirs(&bench.dir.path().join("runs")).unwrap();
    assert_eq!(runs.len(), 1);
    let mut found = bench.launcher.recover(runs).await;
    found.pop().expect("one run").state
}

#[tokio::test]
async fn a_new_launcher_finds_the_same_process_and_hears_of_its_end() {
    let bench = Bench::new();
    let started = bench.start("kept", "sleep 100010").await;
    let mut bench = bench.restart();
    assert_eq!(recovered(&bench).await, RunState::Running(started));
    assert!(bench.launcher.usage(&id("kept")).unwrap().memory_bytes > 0);
    bench.launcher.kill_tree(&id("kept")).unwrap();
    assert_eq!(bench.ending().await, Ending::Signaled { signal: 9, core_dumped: false });
    bench.launcher.forget(&bench.known("kept")).unwrap();
    assert!(!bench.known("kept").run_dir.exists());
}

#[tokio::test]
async fn recovering_twice_reports_the_end_once() {
    let bench = Bench::new();
    bench.start("twice", "sleep 100011").await;
    let mut bench = bench.restart();
    recovered(&bench).await;
    recovered(&bench).await;
    bench.launcher.kill_tree(&id("twice")).unwrap();
    bench.ending().await;
    assert!(bench.events.try_recv().is_err());
}

const ROLE: &str = "TEPUI_TEST_AGENT_DIRECTORY";

/// Not a test of its own: the body of the agent process that the next test kills.
#[tokio::test]
async fn agent_to_be_killed() {
    let Ok(dir) = std::env::var(ROLE) else { return };
    let (launcher, _events) = PlainLauncher::new(config(true));
    let line = "echo $$ > pid; exec 3< gate; exit 42";
    launcher.start(spec(Path::new(&dir), "survivor", line)).await.unwrap();
    kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_run_survives_the_kill_of_its_agent_and_its_true_exit_status_is_found_later() {
    let mut bench = Bench::new();
    let gate = bench.gate("survivor");
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "recovery::agent_to_be_killed", "--nocapture"])
        .env(ROLE, bench.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let died = agent.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&died), Some(9));
    let RunState::Running(started) = recovered(&bench).await else { panic!("it does not run") };
    let sandbox = bench.sandbox("survivor");
    // The command waits until somebody opens the gate for writing.
    drop(tokio::task::spawn_blocking(move || gate).await.unwrap());
    let opened = tokio::task::spawn_blocking(move || {
        std::fs::OpenOptions::new().write(true).open(sandbox.join("gate")).map(drop)
    });
    assert_eq!(bench.ending().await, Ending::Exited(42));
    opened.await.unwrap().unwrap();
    assert_eq!(bench.read("survivor", "pid").trim(), started.main.pid.to_string());
    let RunState::Over(RunOutcome::Ended(status)) = recovered(&bench).await else {
        panic!("the record is gone")
    };
    assert_eq!(status.ending, Ending::Exited(42));
}

#[tokio::test]
async fn an_exit_while_nobody_listened_is_found_with_its_status() {
    let bench = Bench::new();
    bench.start("alone", "exit 17").await;
    let shim = shim_of(&bench, "alone");
    let bench = bench.restart();
    watch(&shim).gone();
    let RunState::Over(RunOutcome::Ended(status)) = recovered(&bench).await else {
        panic!("no exit status")
    };
    assert_eq!(status.ending, Ending::Exited(17));
}

fn shim_of(bench: &Bench, run: &str) -> String {
    match StartMark::load(&bench.known(run).run_dir) {
        Ok(Some(StartMark::Started(record))) => record.shim.pid.to_string(),
        other => panic!("{other:?}"),
    }
}

fn kill(pid: &str) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_killed_shim_takes_its_command_along_and_nobody_pretends_to_know_the_status() {
    for mut bench in [Bench::new(), Bench::without_groups()] {
        let gate = bench.gate("shimless");
        let line = "(trap '' TERM; exec sleep 100012) & echo $$ $! > gate; wait";
        bench.start("shimless", line).await;
        let pids = gate.passed().await;
        let watched: Vec<_> = pids.split_whitespace().map(watch).collect();
        kill(&shim_of(&bench, "shimless"));
        let (_, outcome) = bench.over().await;
        assert_eq!(outcome, RunOutcome::Lost(LostReason::ShimDied));
        for process in &watched {
            process.gone();
        }
    }
}

#[tokio::test]
async fn a_run_of_another_boot_is_lost_even_when_its_pid_is_in_use_again() {
    let bench = Bench::new();
    let run = bench.known("rebooted");
    std::fs::create_dir_all(&run.run_dir).unwrap();
    let me = rustix::process::getpid();
    let mark = tepui_launch::record::ProcessMark {
        pid: me.as_raw_nonzero().get(),
        start_time: tepui_launch::procfs::stat(me).unwrap().start_time,
    };
    tepui_launch::record::StartRecord {
        run_id: "rebooted".to_owned(),
        boot_id: "another boot".to_owned(),
        shim: mark,
        main: mark,
        group: None,
        started_at: std::time::SystemTime::UNIX_EPOCH,
    }
    .create(&run.run_dir)
    .unwrap();
    let lost = RunState::Over(RunOutcome::Lost(LostReason::HostRestarted));
    assert_eq!(recovered(&bench).await, lost);
}

#[tokio::test]
async fn a_pid_that_was_reused_is_not_taken_for_the_shim() {
    let bench = Bench::new();
    let run = bench.known("reused");
    std::fs::create_dir_all(&run.run_dir).unwrap();
    let me = rustix::process::getpid();
    let start_time = tepui_launch::procfs::stat(me).unwrap().start_time;
    let mark = tepui_launch::record::ProcessMark {
        pid: me.as_raw_nonzero().get(),
        start_time: start_time - 1,
    };
    tepui_launch::record::StartRecord {
        run_id: "reused".to_owned(),
        boot_id: tepui_launch::procfs::boot_id().unwrap(),
        shim: mark,
        main: mark,
        group: None,
        started_at: std::time::SystemTime::UNIX_EPOCH,
    }
    .create(&run.run_dir)
    .unwrap();
    // Nobody was killed in its place, or this line would not be reached.
    let lost = RunState::Over(RunOutcome::Lost(LostReason::ShimDied));
    assert_eq!(recovered(&bench).await, lost);
}

#[tokio::test]
async fn a_run_that_had_not_begun_never_will() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.known("early").run_dir).unwrap();
    let lost = RunState::Over(RunOutcome::Lost(LostReason::NeverStarted));
    assert_eq!(recovered(&bench).await, lost);
    assert_eq!(recovered(&bench).await, lost);
}

#[tokio::test]
async fn damaged_records_are_no_panic_and_no_guess() {
    let bench = Bench::new();
    let run = known(bench.dir.path(), "damaged");
    std::fs::create_dir_all(&run.run_dir).unwrap();
    std::fs::write(run.run_dir.join("started"), b"\xff\xfe rubbish").unwrap();
    std::fs::write(run.run_dir.join("exit"), b"tepui-run-exit 1\nexited 0\ncrc32 0\n").unwrap();
    let lost = RunState::Over(RunOutcome::Lost(LostReason::Damaged));
    assert_eq!(recovered(&bench).await, lost);
}
