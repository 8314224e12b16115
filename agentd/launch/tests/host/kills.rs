//! Nobody escapes.

use rustix::process::Signal;
use tepui_launch::{Ending, GroupSupport, Launcher, LostReason, RunOutcome, SignalScope};

use crate::workbench::{Bench, Watched, group_of, id, watch};

/// Processes that do not want to go: a child that ignores signals, one in a session of its own,
/// and a daemon that lost both its parents; they tell their pids and stay.
const STUBBORN: &str = "\
    trap '' TERM INT HUP
    (trap '' TERM; exec sleep 100001) & a=$!
    setsid sh -c \"trap '' TERM; exec sleep 100002\" & b=$!
    c=$( (setsid sh -c 'sleep 100003 >/dev/null 2>&1 & echo $!' &) )
    echo $$ $a $b $c > gate
    while :; do sleep 100004 & wait $!; done";

async fn stubborn(bench: &Bench, run: &str) -> Vec<Watched> {
    let gate = bench.gate(run);
    bench.start(run, STUBBORN).await;
    let pids = gate.passed().await;
    let watched: Vec<_> = pids.split_whitespace().map(watch).collect();
    assert_eq!(watched.len(), 4, "{pids}");
    watched
}

async fn kill_a_whole_tree(mut bench: Bench) {
    let watched = stubborn(&bench, "tree").await;
    let tree = id("tree");
    assert!(bench.launcher.usage(&tree).unwrap().processes >= 4);
    bench.launcher.signal(&tree, Signal::TERM, SignalScope::Main).unwrap();
    bench.launcher.kill_tree(&tree).unwrap();
    assert_eq!(bench.ending().await, Ending::Signaled { signal: 9, core_dumped: false });
    assert!(watched.iter().all(Watched::is_gone));
    assert!(bench.launcher.kill_tree(&tree).is_err());
}

#[tokio::test]
async fn a_kill_reaches_every_descendant_with_control_groups() {
    let bench = Bench::new();
    if let GroupSupport::Without(reason) = bench.launcher.group_support() {
        eprintln!("skipped: {reason}");
        return;
    }
    kill_a_whole_tree(bench).await;
}

#[tokio::test]
async fn a_kill_reaches_every_descendant_without_control_groups() {
    let bench = Bench::without_groups();
    assert!(matches!(bench.launcher.group_support(), GroupSupport::Without(_)));
    kill_a_whole_tree(bench).await;
}

#[tokio::test]
async fn what_the_command_leaves_behind_goes_with_it() {
    for mut bench in [Bench::new(), Bench::without_groups()] {
        let gate = bench.gate("left");
        let line = "setsid sh -c 'trap \"\" TERM; sleep 100005 & echo $$ $! > gate; wait' & \
                    read never < /dev/null; sleep 0; wait_for=$!; exec 3< gate2; exit 4";
        let sandbox = bench.sandbox("left");
        let gate2 = sandbox.join("gate2");
        let fifo = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_bits_truncate(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &gate2, fifo, mode, 0).unwrap();
        bench.start("left", line).await;
        let pids = gate.passed().await;
        let watched: Vec<_> = pids.split_whitespace().map(watch).collect();
        let opened = tokio::task::spawn_blocking(move || {
            std::fs::OpenOptions::new().write(true).open(gate2).map(drop)
        });
        assert_eq!(bench.ending().await, Ending::Exited(4));
        opened.await.unwrap().unwrap();
        assert_eq!(watched.len(), 2);
        assert!(watched.iter().all(Watched::is_gone));
    }
}

#[tokio::test]
async fn a_signal_reaches_the_whole_tree_or_the_first_process_only() {
    let mut bench = Bench::new();
    let line = "sh -c 'trap \"echo child > heard; exit\" TERM; echo ready > gate; while :; do sleep 0.01; done' & \
                trap 'wait $!; exit 5' TERM; wait $!; wait $!; exit 6";
    let gate = bench.gate("both");
    bench.start("both", line).await;
    gate.passed().await;
    bench.launcher.signal(&id("both"), Signal::TERM, SignalScope::Tree).unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(5));
    assert_eq!(bench.read("both", "heard"), "child\n");

    let gate = bench.gate("first");
    bench.start("first", "sleep 100006 & trap 'exit 9' USR1; echo $! > gate; wait; exit 1").await;
    let child = watch(&gate.passed().await);
    bench.launcher.signal(&id("first"), Signal::USR1, SignalScope::Main).unwrap();
    assert_eq!(bench.ending().await, Ending::Exited(9));
    assert!(child.is_gone());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_stubborn_trees_leave_no_orphan() {
    let mut bench = Bench::new();
    let runs: Vec<String> = (0..200).map(|n| format!("run-{n}")).collect();
    let gates: Vec<_> = runs.iter().map(|run| bench.gate(run)).collect();
    let starts: Vec<_> = runs
        .iter()
        .map(|run| {
            let launcher = bench.launcher.clone();
            let spec = bench.spec(run, STUBBORN);
            tokio::spawn(async move { launcher.start(spec).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    let groups: Vec<_> = runs.iter().filter_map(|run| group_of(&bench.known(run))).collect();
    let mut watched = Vec::new();
    for gate in gates {
        watched.extend(gate.passed().await.split_whitespace().map(watch));
    }
    assert_eq!(watched.len(), 800);
    for run in &runs {
        bench.launcher.signal(&id(run), Signal::TERM, SignalScope::Tree).unwrap();
        bench.launcher.kill_tree(&id(run)).unwrap();
    }
    for _ in &runs {
        let (run, outcome) = bench.over().await;
        assert!(matches!(outcome, RunOutcome::Ended(_)), "{run}: {outcome:?}");
    }
    let alive = watched.iter().filter(|process| !process.is_gone()).count();
    assert_eq!(alive, 0, "orphans");
    if let GroupSupport::Groups(_) = bench.launcher.group_support() {
        assert_eq!(groups.len(), runs.len());
        let left = groups.iter().filter(|group| group.exists()).count();
        assert_eq!(left, 0, "control groups");
    }
}

#[tokio::test]
async fn a_run_whose_records_cannot_be_written_is_cleared_up_and_counts_as_lost() {
    let mut bench = Bench::new();
    let gate = bench.gate("homeless");
    bench.start("homeless", "setsid sleep 100007 & echo $$ $! > gate; wait").await;
    let pids = gate.passed().await;
    let watched: Vec<_> = pids.split_whitespace().map(watch).collect();
    bench.launcher.signal(&id("homeless"), Signal::CONT, SignalScope::Main).unwrap();
    std::fs::remove_dir_all(bench.known("homeless").run_dir).unwrap();
    rustix::process::kill_process(
        pids.split_whitespace().next().and_then(|pid| pid.parse().ok()).map(raw).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    assert_eq!(bench.over().await.1, RunOutcome::Lost(LostReason::Damaged));
    assert!(watched.iter().all(Watched::is_gone));
}

fn raw(pid: i32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid).unwrap()
}
