//! How fast runs start. A number is printed; the bound is loose enough for a busy debug build.

use std::time::{Duration, Instant};

use tepui_launch::Launcher;

use crate::workbench::{Bench, id};

const RUNS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_runs_start_in_a_few_seconds() {
    let mut bench = Bench::new();
    let begun = Instant::now();
    let starts: Vec<_> = (0..RUNS)
        .map(|n| {
            let launcher = bench.launcher.clone();
            let spec = bench.spec(&format!("run-{n}"), "sleep 100040");
            tokio::spawn(async move { launcher.start(spec).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    let all = begun.elapsed();
    println!("{RUNS} runs in {all:?}: {:.0} per second", RUNS as f64 / all.as_secs_f64());
    let mut single = Vec::new();
    for n in 0..50 {
        let begun = Instant::now();
        bench.start(&format!("single-{n}"), "sleep 100041").await;
        single.push(begun.elapsed());
    }
    single.sort();
    println!("one after the other: p50 {:?}, worst {:?}", single[25], single[49]);
    let begun = Instant::now();
    for n in 0..RUNS {
        bench.launcher.kill_tree(&id(&format!("run-{n}"))).unwrap();
    }
    for n in 0..50 {
        bench.launcher.kill_tree(&id(&format!("single-{n}"))).unwrap();
    }
    for _ in 0..RUNS + 50 {
        bench.ending().await;
    }
    println!("{} runs killed in {:?}", RUNS + 50, begun.elapsed());
    assert!(all < Duration::from_secs(20), "{all:?}");
}
