//! What the programs cost, printed; prints why it was skipped where that cannot be.

#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rig::{Rig, python};
use tepui_accounting::{CostStatistics, Feature, Policy};
use tepui_cgroup::Leaf;

/// One measurement at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Two processes on one processor that pass a byte back and forth: switches and nothing else.
const PING_PONG: &str = "
import os, resource
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
a, b = os.pipe(); c, d = os.pipe()
rounds = 20000
if os.fork() == 0:
    for i in range(rounds): os.read(a, 1); os.write(d, b'x')
    os._exit(0)
for i in range(rounds): os.write(b, b'x'); os.read(c, 1)
os.wait()
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(sum(u.ru_utime + u.ru_stime for u in used))
";

fn ping_pong(leaf: &Leaf) -> f64 {
    python(leaf, PING_PONG).parse().unwrap()
}

/// Processor seconds of the cheapest of some rounds with these features, and with none.
fn with_and_without(
    name: &str,
    features: &[Feature],
    work: fn(&Leaf) -> f64,
) -> Option<(f64, f64)> {
    let rig = Rig::new(name, features)?;
    let (leaf, _) = rig.leaf("worker");
    let best = |old: f64, new: f64| if new < old { new } else { old };
    let (mut with, mut without) = (f64::MAX, f64::MAX);
    for _ in 0..5 {
        let mut driver = rig.start(Policy::default());
        rig.task(&mut driver, "worker", &[]);
        with = best(with, work(&leaf));
        driver.remove().unwrap();
        without = best(without, work(&leaf));
    }
    Some((with, without))
}

#[test]
fn the_slowdown_of_a_task_that_only_switches_is_printed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sets: [(&str, &[Feature]); 4] = [
        ("cpu", &[Feature::Cpu]),
        ("run queue", &[Feature::RunQueue]),
        (
            "faults, ends, network, block",
            &[
                Feature::Faults,
                Feature::Exits,
                Feature::Network,
                Feature::Tcp,
                Feature::Block,
                Feature::Ports,
            ],
        ),
        ("all", Feature::ALL),
    ];
    for (name, features) in sets {
        let Some((with, without)) = with_and_without("slow", features, ping_pong) else { return };
        let share = (with / without - 1.0) * 100.0;
        let each = (with - without) * 1e9 / 40_000.0;
        println!(
            "{name}: {with:.3} s against {without:.3} s, {share:+.1} %, {each:.0} ns a switch"
        );
    }
}

#[test]
fn the_programs_own_cost_is_measured() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(rig) = Rig::new("cost", Feature::ALL) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, group) = rig.task(&mut driver, "pingpong", &[]);
    let statistics = CostStatistics::start().unwrap();
    let took = ping_pong(&leaf);
    drop(statistics);
    let switches = driver.read(group).unwrap().switches.unwrap().value;
    let mut total = Duration::ZERO;
    for cost in driver.costs().unwrap().into_iter().filter(|cost| cost.runs > 0) {
        let each = cost.run_time.as_nanos() / u128::from(cost.runs);
        println!("{:20} {:8} runs, {each} ns each", cost.program, cost.runs);
        total += cost.run_time;
    }
    println!("in all {total:?} of {took:.2} s of a processor, {switches:?}");
    assert!(total > Duration::ZERO && total.as_secs_f64() < took);
}

const TRAFFIC: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); s.settimeout(1)
for i in range(20000):
    s.sendto(b'x' * 100, s.getsockname()); s.recv(200)
for i in range(20000):
    t = socket.socket()
    try: t.bind(('127.0.0.1', 9))
    except PermissionError: pass
    t.close()
";

#[test]
fn the_cost_of_a_packet_and_of_a_refused_bind_is_printed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(rig) = Rig::new("traffic", &[Feature::Ports, Feature::Network]) else { return };
    let mut driver = rig.start(Policy::default());
    let (leaf, _) = rig.task(&mut driver, "traffic", &[]);
    let statistics = CostStatistics::start().unwrap();
    python(&leaf, TRAFFIC);
    drop(statistics);
    for cost in driver.costs().unwrap().into_iter().filter(|cost| cost.runs > 1000) {
        let each = cost.run_time.as_nanos() / u128::from(cost.runs);
        println!("{:20} {:8} runs, {each} ns each", cost.program, cost.runs);
        assert!(each < 100_000);
    }
}
