//! What the programs cost a benchmark that does little but wake and switch, printed.
//!
//! As hackbench does: groups of senders and receivers, each receiver behind a pipe of its own, each
//! sender writing 100 bytes to every receiver of its group, again and again. Here 8 groups of 8 and 8
//! threads, so 128 threads on whatever processors there are, all in one task's group. What counts is
//! the processor time of the whole group by `cpu.stat`: other work on the host disturbs it less than
//! time by the clock. Rounds with and without programs alternate, and the cheapest of each are compared; beside
//! that stands what the kernel itself measures.

#![allow(clippy::unwrap_used)]

mod rig;

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

use rig::{Rig, command_in};
use tepui_accounting::{CostStatistics, Feature, Policy};
use tepui_cgroup::Leaf;

/// Says to a copy of this program that it is the task.
const TASK: &str = "TEPUI_TEST_MESSAGES";
const GROUPS: usize = 8;
const PEERS: usize = 8;

fn exchange(rounds: usize) {
    let mut threads = Vec::new();
    for _ in 0..GROUPS {
        let (readers, writers): (Vec<_>, Vec<_>) =
            (0..PEERS).map(|_| std::io::pipe().unwrap()).unzip();
        for mut reader in readers {
            threads.push(thread::spawn(move || {
                let mut message = [0; 100];
                for _ in 0..PEERS * rounds {
                    reader.read_exact(&mut message).unwrap();
                }
            }));
        }
        let writers = Arc::new(writers);
        for _ in 0..PEERS {
            let writers = Arc::clone(&writers);
            threads.push(thread::spawn(move || {
                for _ in 0..rounds {
                    for writer in writers.iter() {
                        (&*writer).write_all(&[0; 100]).unwrap();
                    }
                }
            }));
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// No test by itself: what the other one starts as a task.
#[test]
fn the_task_that_exchanges_messages() {
    if let Ok(rounds) = std::env::var(TASK) {
        exchange(rounds.parse().unwrap());
    }
}

/// Seconds of processor time of one round, in a group of its own.
fn round(leaf: &Leaf) -> f64 {
    let before = leaf.cpu().unwrap().total;
    let program = std::env::current_exe().unwrap();
    let status = command_in(leaf, program.to_str().unwrap())
        .args(["--exact", "the_task_that_exchanges_messages"])
        .env(TASK, "1000")
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    (leaf.cpu().unwrap().total - before).as_secs_f64()
}

/// The agent's default, and more.
fn sets() -> [(&'static str, Vec<Feature>); 4] {
    let ports = [Feature::Ports];
    let default = [Feature::Exits, Feature::Network, Feature::Drops, Feature::Tcp, Feature::Block];
    let default: Vec<_> = ports.iter().chain(&default).copied().collect();
    let with = |more: &[Feature]| default.iter().chain(more).copied().collect::<Vec<_>>();
    [
        ("the default set", default.clone()),
        ("and run_queue", with(&[Feature::RunQueue])),
        ("and cpu", with(&[Feature::Cpu])),
        ("everything", Feature::ALL.to_vec()),
    ]
}

/// What the kernel itself measures: time within the programs, of that of the benchmark. What it
/// takes to reach a program is not in it, what it takes to measure is.
fn measured(rig: &Rig, leaf: &Leaf) -> String {
    let mut driver = rig.start(Policy::default());
    let (_, group) = rig.task(&mut driver, "worker", &[]);
    let statistics = CostStatistics::start().unwrap();
    let took = round(leaf);
    drop(statistics);
    let costs = driver.costs().unwrap();
    let programs: f64 = costs.iter().map(|cost| cost.run_time.as_secs_f64()).sum();
    let runs: u64 = costs.iter().map(|cost| cost.runs).sum();
    let switches = driver.read(group).unwrap().switches.map(|figure| figure.value);
    driver.remove().unwrap();
    let share = programs / took * 100.0;
    format!("measured by the kernel: {runs} runs, {programs:.4} s, {share:.2} %; {switches:?}")
}

#[test]
fn the_slowdown_of_a_scheduler_heavy_benchmark_is_printed() {
    let rounds = std::env::var("TEPUI_BENCH_ROUNDS").map_or(2, |text| text.parse().unwrap());
    for (name, features) in sets() {
        let Some(rig) = Rig::new("bench", &features) else { return };
        let (leaf, _) = rig.leaf("worker");
        round(&leaf);
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut driver = rig.start(Policy::default());
            rig.task(&mut driver, "worker", &[]);
            with.push(round(&leaf));
            driver.remove().unwrap();
            without.push(round(&leaf));
        }
        // The quietest rounds are compared: other work on the host only ever adds.
        let least = |times: &[f64]| times.iter().copied().fold(f64::MAX, f64::min);
        let (with, without) = (least(&with), least(&without));
        let share = (with / without - 1.0) * 100.0;
        println!("{name}: {with:.3} s against {without:.3} s of processors, {share:+.2} %");
        println!("  {}", measured(&rig, &leaf));
    }
}
