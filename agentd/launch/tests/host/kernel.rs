//! What is read from the kernel about live runs.

use tepui_launch::Launcher;
use tepui_launch::record::StartMark;

use crate::workbench::{Bench, id};

#[tokio::test]
async fn listening_ports_are_found_for_the_tree_that_holds_them() {
    if !has_python() {
        return;
    }
    let mut bench = Bench::new();
    let server = "python3 -c 'import socket,sys,time\n\
                  s=socket.socket(); s.bind((\"127.0.0.1\",0)); s.listen()\n\
                  open(\"gate\",\"w\").write(str(s.getsockname()[1])); time.sleep(100030)' & wait";
    let gate = bench.gate("server");
    bench.start("server", server).await;
    let port: u16 = gate.passed().await.trim().parse().unwrap();
    bench.start("silent", "sleep 100031").await;
    let runs = [id("server"), id("silent"), id("unknown")];
    let ports = bench.launcher.listening_ports(&runs);
    assert_eq!(ports[&runs[0]].iter().copied().collect::<Vec<_>>(), [port]);
    assert!(ports[&runs[1]].is_empty());
    assert!(!ports.contains_key(&runs[2]));
    for run in &runs[..2] {
        bench.launcher.kill_tree(run).unwrap();
        bench.ending().await;
    }
}

fn has_python() -> bool {
    let found = std::process::Command::new("python3").arg("-V").output().is_ok();
    if !found {
        eprintln!("skipped: no python3 to open a port with");
    }
    found
}

#[tokio::test]
async fn usage_counts_living_and_ended_processes() {
    for mut bench in [Bench::new(), Bench::without_groups()] {
        let gate = bench.gate("busy");
        let line =
            "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo on > gate; sleep 100032";
        bench.start("busy", line).await;
        gate.passed().await;
        let usage = bench.launcher.usage(&id("busy")).unwrap();
        assert!(usage.cpu.as_millis() >= 20, "{usage:?}");
        assert!(usage.memory_bytes > 100_000, "{usage:?}");
        bench.launcher.kill_tree(&id("busy")).unwrap();
        let spent = bench.ended().await.spent;
        assert!((spent.user_cpu + spent.system_cpu).as_millis() >= 20, "{spent:?}");
        assert!(spent.max_resident_bytes > 100_000, "{spent:?}");
    }
}

#[tokio::test]
async fn a_shim_and_its_sleeper_cost_less_than_a_megabyte_of_private_memory() {
    let mut bench = Bench::new();
    let gate = bench.gate("lean");
    let started = bench.start("lean", "echo on > gate; exec sleep 100033").await;
    gate.passed().await;
    let shim = match StartMark::load(&bench.known("lean").run_dir) {
        Ok(Some(StartMark::Started(record))) => record.shim.pid,
        other => panic!("{other:?}"),
    };
    let (shim, task) = (private_kib(shim), private_kib(started.main.pid));
    println!("private memory: shim {shim} KiB, command {task} KiB");
    assert!(shim + task < 1024, "shim {shim} KiB, command {task} KiB");
    bench.launcher.kill_tree(&id("lean")).unwrap();
    bench.ending().await;
}

fn private_kib(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    text.lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}
