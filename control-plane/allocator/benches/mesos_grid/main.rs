//! Mesos's allocator benchmarks on the grid of figures measured with Mesos itself.
//!
//! `cargo bench -p tepui-allocator --bench mesos_grid [-- --quick] [-- NAME…]` runs the rows whose
//! names contain a NAME, each in a process of its own, and prints each beside Mesos's figure,
//! corrected by a calibration loop that ran on both machines, here right before the row. Times are
//! CPU times of the one thread that works; Mesos's allocator is one actor too, so its wall time is
//! close to its CPU time. Whoever else works on the machine takes caches and clock from a row, and
//! nothing gives it any, so a row that missed is measured again, at most twice. Ends with 1 when a
//! row then still needs more than 1/20 of Mesos's time, when memory needs more than 1/10 where
//! that is asked, or when tasks stay unplaced.

mod cluster;
mod rows;

use std::process::{Command, ExitCode};

use rustix::time::{ClockId, clock_gettime};

use rows::{Row, rows};

/// Seconds of CPU that the calibration loop took where Mesos was measured.
const CALIBRATION_OF_MESOS: f64 = 0.70;
/// Steps of the calibration loop.
const CALIBRATION_STEPS: u64 = 500_000_000;
/// How often a row is measured before its miss counts.
const TRIES: u32 = 3;
/// The largest part of Mesos's time that a phase may take.
const TIME_GOAL: f64 = 1.0 / 20.0;
/// The largest part of Mesos's memory, in rows where memory counts.
const MEMORY_GOAL: f64 = 1.0 / 10.0;

/// CPU seconds of this thread so far.
#[allow(clippy::cast_precision_loss)]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Runs `work` and returns its CPU seconds.
fn timed(work: impl FnOnce()) -> f64 {
    let before = cpu_seconds();
    work();
    cpu_seconds() - before
}

fn calibrate() -> f64 {
    timed(|| {
        let mut x = 0x9E37_79B9_7F4A_7C15_u64;
        let mut sum = 0_u64;
        for _ in 0..CALIBRATION_STEPS {
            x ^= x >> 12;
            x ^= x << 25;
            x ^= x >> 27;
            sum = sum.wrapping_add(x.wrapping_mul(0x2545_F491_4F6C_DD1D));
        }
        std::hint::black_box(sum);
    })
}

/// The largest resident size of this process so far, in megabytes.
fn peak_rss_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

/// Runs one row here and prints its numbers for the parent: phases, then memory.
fn run_here(row: &Row) {
    let phases = (row.run)();
    for seconds in phases {
        print!("{seconds:e} ");
    }
    println!("{:e}", peak_rss_megabytes());
}

/// Runs one row in a process of its own.
fn run_apart(row: &Row) -> Option<Vec<f64>> {
    let exe = std::env::current_exe().ok()?;
    let output = Command::new(exe).args(["--row", row.name]).output().ok()?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().map(|number| number.parse().ok()).collect()
}

fn verdict(ok: bool) -> &'static str {
    if ok { "ok" } else { "MISSED" }
}

/// Prints a row's phases beside Mesos's; true when all goals are met.
fn report(row: &Row, numbers: &[f64], correction: f64) -> bool {
    let Some((memory, phases)) = numbers.split_last() else { return false };
    let mut all = phases.len() == row.phases.len();
    for (seconds, (phase, mesos_ms)) in phases.iter().zip(row.phases) {
        let theirs = mesos_ms * correction;
        let ours = seconds * 1000.0;
        let ok = ours <= theirs * TIME_GOAL;
        all &= ok;
        println!(
            "{:34} {:30} {:>10.3} ms {:>10.2} ms   1/{:<7.1} {}",
            row.name,
            phase,
            ours,
            theirs,
            theirs / ours,
            verdict(ok)
        );
    }
    if let Some(theirs) = row.mesos_megabytes {
        let ok = !row.memory_counts || *memory <= theirs * MEMORY_GOAL;
        all &= ok;
        let mark = if row.memory_counts { verdict(ok) } else { "" };
        println!(
            "{:34} {:30} {:>10.1} MB {:>10.0} MB   1/{:<7.1} {}",
            row.name,
            "peak memory",
            memory,
            theirs,
            theirs / memory,
            mark
        );
    }
    all
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rows = rows();
    if let [first, name] = args.as_slice()
        && first == "--row"
    {
        let Some(row) = rows.iter().find(|row| row.name == name) else {
            return ExitCode::FAILURE;
        };
        run_here(row);
        return ExitCode::SUCCESS;
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let names: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    println!(
        "{:34} {:30} {:>13} {:>13}   part",
        "benchmark (agents x frameworks)", "phase", "Tepui", "Mesos"
    );
    let mut missed = 0;
    let (mut fastest, mut slowest) = (f64::INFINITY, 0.0_f64);
    for row in &rows {
        let wanted = names.is_empty() || names.iter().any(|name| row.name.contains(name.as_str()));
        if !wanted || (quick && !row.quick) {
            continue;
        }
        let ok = (1..=TRIES).any(|attempt| {
            let calibration = calibrate();
            slowest = slowest.max(calibration);
            fastest = fastest.min(calibration);
            if attempt > 1 {
                println!("{:34} measured again, calibration {calibration:.3} s", row.name);
            }
            let correction = calibration / CALIBRATION_OF_MESOS;
            run_apart(row).is_some_and(|numbers| report(row, &numbers, correction))
        });
        if !ok {
            missed += 1;
            println!("{:34} missed its goal", row.name);
        }
    }
    println!(
        "calibration: {fastest:.3} to {slowest:.3} s here, {CALIBRATION_OF_MESOS:.2} s where Mesos \
         was measured"
    );
    println!("{missed} rows missed their goals (time at most 1/20, memory 1/10 where marked)");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
