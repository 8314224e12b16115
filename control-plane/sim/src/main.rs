//! `tepui-sim`: runs seeds of the simulator and says what broke.

// A binary has no outside: `pub` here says what a module offers to the others.
#![allow(unreachable_pub)]

mod live;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tepui_sim::{Fault, FaultCounts, Outcome};
use tepui_types::{Span, TraceHash};

/// As the control plane: half of what simulated agents do is to ask for memory and to give it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "tepui-sim", about = "Simulates clusters with faults and checks invariants")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs many seeds.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// Simulated seconds of each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Threads; by default one per processor.
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Joins a real control plane with simulated agents, until stopped.
    Agents(live::agents::Options),
    /// Launches tasks through a real control plane as fast as it can, and measures.
    LaunchRate(live::rate::Options),
    /// Launches tasks through a real control plane and holds them over changes of leader.
    Hold(live::hold::Options),
    /// What sharing is worth: the utilisation experiment of the Mesos paper (NSDI 2011, 6.1)
    ///
    /// Four frameworks (a mix of short and long Hadoop jobs, large Hadoop jobs, Spark-like
    /// iterations, MPI-like gangs) do the same work twice in virtual time, with the production
    /// control plane, allocator and agents: each on a static quarter of the hosts, then all on the
    /// whole cluster. Prints how much faster their jobs end and how much of the hosts their tasks
    /// hold, beside what the paper measured. The paper does not tell how long a task takes: that is
    /// set so that the static quarters need about the paper's time, all else follows.
    Utilisation {
        /// Decides when jobs are submitted, and in which order.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Divides hosts and tasks, for a quick look: 1, 2, 3, 4, 6, 8, 12 or 24.
        #[arg(long, default_value_t = 1)]
        scale: u32,
    },
    /// Records the allocator of a simulated mixed cluster, for `tepui allocator replay`
    ///
    /// Interactive and large batch jobs, iterations, gangs, long-running apps, and two frameworks
    /// that live on revocable processors, each in a role of its own; `urgent` and `prod` have the
    /// largest weights.
    Record {
        /// Where to write the recording.
        file: std::path::PathBuf,
        /// Decides everything that is random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many hosts, with 8 cpus each and 4 revocable ones.
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=96))]
        hosts: u32,
        /// How many minutes of virtual time.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
        minutes: u64,
    },
    /// Runs one seed and prints its transcript.
    Tell {
        /// Which.
        seed: u64,
        /// Simulated seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

/// So many seeds have every kind of fault; when one is missing, the run fails.
const ENOUGH_SEEDS: u64 = 200;

/// Everything about a batch of seeds.
#[derive(Default)]
struct Summary {
    seeds: u64,
    broken: Vec<Outcome>,
    faults: FaultCounts,
    simulated_seconds: f64,
    steps: u64,
    tasks: u64,
    executor_tasks: u64,
    traces: Vec<(u64, u64)>,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.faults.add(&outcome.faults);
        self.simulated_seconds += outcome.simulated.as_secs_f64();
        self.steps += outcome.steps;
        self.tasks += outcome.tasks;
        self.executor_tasks += outcome.executor_tasks;
        self.traces.push((outcome.seed, outcome.trace));
        if !outcome.violations.is_empty() {
            println!("seed {}:", outcome.seed);
            for violation in outcome.violations.iter().take(3) {
                println!("  {violation}");
            }
            self.broken.push(outcome);
        }
    }

    /// One hash over all seeds, whatever thread ran them.
    fn trace(&mut self) -> u64 {
        self.traces.sort_unstable();
        let mut hash = TraceHash::default();
        hash.mix(&self.traces);
        std::hash::Hasher::finish(&hash)
    }
}

fn run_seeds(first: u64, seeds: u64, seconds: u64, threads: usize) -> Summary {
    let next = AtomicU64::new(first);
    let (sender, receiver) = mpsc::channel();
    let mut summary = Summary::default();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let outcome = tepui_sim::run(seed, Span::from_secs(seconds), false);
                    if sender.send(outcome).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for outcome in receiver {
            summary.add(outcome);
        }
    });
    summary
}

fn report(summary: &mut Summary) -> ExitCode {
    println!("faults:");
    print!("{}", summary.faults);
    let trace = summary.trace();
    let hours = summary.simulated_seconds / 3600.0;
    println!(
        "{} seeds, {hours:.1} simulated hours, {} steps, {} tasks ({} with executors), trace {trace:016x}",
        summary.seeds, summary.steps, summary.tasks, summary.executor_tasks,
    );
    let missing: Vec<Fault> = summary.faults.missing();
    if !missing.is_empty() {
        println!("never happened: {missing:?}");
    }
    println!("{} seeds with violations", summary.broken.len());
    if summary.broken.is_empty() && (missing.is_empty() || summary.seeds < ENOUGH_SEEDS) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs what needs clocks and sockets; true is success.
fn live(work: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(work));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tepui-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { seeds, first, seconds, threads } => {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            let threads = threads.unwrap_or(processors).max(1);
            let mut summary = run_seeds(first, seeds, seconds, threads);
            report(&mut summary)
        }
        Command::Agents(options) => live(async { live::agents::run(options).await.map(|()| true) }),
        Command::LaunchRate(options) => live(live::rate::run(options)),
        Command::Hold(options) => live(async { live::hold::run(options).await.map(|()| true) }),
        Command::Record { file, seed, hosts, minutes } => {
            let mixed = tepui_sim::Mixed { seed, hosts, length: Span::from_secs(minutes * 60) };
            let written = mixed.record().map_err(anyhow::Error::from).and_then(|bytes| {
                std::fs::write(&file, &bytes)
                    .with_context(|| format!("failed to write {}", file.display()))?;
                Ok(bytes.len())
            });
            match written {
                Ok(bytes) => {
                    println!("{bytes} bytes in {}", file.display());
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("tepui-sim: {error:#}");
                    ExitCode::FAILURE
                }
            }
        }
        Command::Utilisation { seed, scale } => {
            match (tepui_sim::Experiment { seed, scale }).run() {
                Ok(sharing) => {
                    print!("{sharing}");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("tepui-sim: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Command::Tell { seed, seconds } => {
            let outcome = tepui_sim::run(seed, Span::from_secs(seconds), true);
            for line in &outcome.story {
                println!("{line}");
            }
            for violation in &outcome.violations {
                println!("{violation}");
            }
            if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
