//! What the programs cost a benchmark that does little but wake and switch, printed.
//!
//! As hackbench does: groups of senders and receivers, each receiver behind a pipe of its own, each
//! sender writing 100 bytes to every receiver of its group, again and again. Here 8 groups of 8 and 8
//! threads, so 128 threads on whatever processors there are, all in one task's group. What counts is
//! the processor time of the whole group by `cpu.stat`: other work on the host disturbs it less than
//! time by the clock. Rounds with and without programs are neighbours, whichever comes first, so that
//! what disturbs one mostly disturbs the other; of the ratios of all pairs the median is told, with the
//! interval that holds the true one 19 times in 20. Beside that stands what the kernel measures.
//!
//! `TEPUI_BENCH_PAIRS` says how many pairs (2 unless it is set, which proves nothing but that the
//! programs run; an interval needs 6).

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

/// How many pairs are asked for.
fn pairs() -> usize {
    std::env::var("TEPUI_BENCH_PAIRS").map_or(2, |text| text.parse().unwrap())
}

/// Seconds of processor time of one round, in a group of its own; longer where a figure is wanted.
fn round(leaf: &Leaf) -> f64 {
    let before = leaf.cpu().unwrap().total;
    let program = std::env::current_exe().unwrap();
    let status = command_in(leaf, program.to_str().unwrap())
        .args(["--exact", "the_task_that_exchanges_messages"])
        .env(TASK, if pairs() < 6 { "1000" } else { "4000" })
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

/// The most that a set may cost, in per cent.
const MOST: f64 = 1.0;

/// What the kernel itself measures: time within the programs, in per cent of that of the benchmark,
/// and in words. What it takes to reach a program is not in it, what it takes to measure is.
fn measured(rig: &Rig, leaf: &Leaf) -> (f64, String) {
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
    let switches = switches.map(|one| format!("; {one:?}")).unwrap_or_default();
    (share, format!("measured by the kernel: {runs} runs, {programs:.4} s, {share:.2} %{switches}"))
}

/// A round with programs at work as an agent has them, its measurement of their cost included.
fn round_with(rig: &Rig, leaf: &Leaf) -> f64 {
    let mut driver = rig.start(Policy::default());
    rig.task(&mut driver, "worker", &[]);
    let statistics = CostStatistics::start().unwrap();
    let took = round(leaf);
    drop(statistics);
    driver.remove().unwrap();
    took
}

/// Slowdown in per cent, in order.
fn slowdowns(rig: &Rig, leaf: &Leaf, pairs: usize) -> Vec<f64> {
    let mut found: Vec<f64> = (0..pairs)
        .map(|pair| {
            let (with, without) = if pair % 2 == 0 {
                let with = round_with(rig, leaf);
                (with, round(leaf))
            } else {
                let without = round(leaf);
                (round_with(rig, leaf), without)
            };
            (with / without - 1.0) * 100.0
        })
        .collect();
    found.sort_by(f64::total_cmp);
    found
}

fn median(sorted: &[f64]) -> f64 {
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// Holds the true median 19 times in 20, whatever the distribution: by the ranks of a fair coin's
/// throws. Fewer than 6 values say nothing so sure.
fn interval(sorted: &[f64]) -> Option<(f64, f64)> {
    let count = u32::try_from(sorted.len()).unwrap();
    let mut tail = 0.5_f64.powi(i32::try_from(count).unwrap());
    let (mut below, mut term) = (tail, tail);
    if below > 0.025 {
        return None;
    }
    let mut rank = 0;
    while below <= 0.025 {
        rank += 1;
        term *= f64::from(count + 1 - rank) / f64::from(rank);
        tail = below;
        below = tail + term;
    }
    let rank = usize::try_from(rank).unwrap() - 1;
    Some((sorted[rank], sorted[sorted.len() - 1 - rank]))
}

#[test]
fn the_interval_of_a_median_is_that_of_the_tables() {
    let values: Vec<f64> = (1..=30).map(f64::from).collect();
    assert_eq!(interval(&values[..5]), None);
    assert_eq!(interval(&values[..6]), Some((1.0, 6.0)));
    assert_eq!(interval(&values[..10]), Some((2.0, 9.0)));
    assert_eq!(interval(&values), Some((10.0, 21.0)));
    assert!((median(&values) - 15.5).abs() < f64::EPSILON);
}

#[test]
fn the_slowdown_of_a_scheduler_heavy_benchmark_is_printed() {
    let pairs = pairs();
    for (name, features) in sets() {
        let Some(rig) = Rig::new("bench", &features) else { return };
        let (leaf, _) = rig.leaf("worker");
        round(&leaf);
        let found = slowdowns(&rig, &leaf, pairs);
        let (share, words) = measured(&rig, &leaf);
        let middle = median(&found);
        let interval = interval(&found);
        let sure = match interval {
            Some((low, high)) => format!("{low:+.2} to {high:+.2} %"),
            None => "too few pairs".to_owned(),
        };
        let verdict = match interval {
            Some((_, high)) if high < MOST => "below 1 %",
            Some((low, _)) if low >= MOST => "not below 1 %",
            _ => "undecided by noise",
        };
        println!("{name}: median {middle:+.2} % of {pairs} pairs ({sure}): {verdict}");
        println!("  {words}");
        // Beside other work the others' share says more of that work.
        if name == "the default set" || interval.is_some() {
            assert!(share < MOST, "{name}: {words}");
            assert!(interval.is_none_or(|(low, _)| low < MOST), "{name}: {sure}");
        }
    }
}
