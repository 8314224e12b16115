//! What the four frameworks of the experiment have to do (NSDI 2011, "Mesos: A Platform for
//! Fine-Grained Resource Sharing in the Data Center", section 6.1).
//!
//! The paper tells kinds of jobs, their numbers of tasks and when they are submitted. It does not
//! tell how long a task takes: lengths here are set so that each framework alone on its quarter of
//! the hosts needs about the time that the paper measured there. What sharing makes of it follows.

use tepui_types::{Entropy, Span};

/// When a job is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Submission {
    /// So long after the start.
    At(Span),
    /// So long after the job before it ended.
    AfterPrevious(Span),
}

/// A part of a job: its tasks may all run at once, and the next part begins when all have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    /// What passes before its tasks can run: set-up, or sending parameters to everybody.
    pub(super) before: Span,
    pub(super) tasks: u32,
    /// How long a task takes, give or take a fifth.
    pub(super) length: Span,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) kind: usize,
    pub(super) submission: Submission,
    pub(super) stages: Vec<Stage>,
}

/// A kind of job, and what the paper measured of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Mean seconds on a static quarter.
    pub(super) paper_seconds: f64,
    pub(super) paper_speed_up: f64,
}

/// Everything that one framework has to do.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) kinds: &'static [Kind],
    pub(super) jobs: Vec<Job>,
    /// Megabytes of memory of a task; each has one processor.
    pub(super) memory: u64,
    /// All tasks of a job start together or not at all.
    pub(super) gang: bool,
    /// Its processors are revocable.
    pub(super) revocable: bool,
    /// Sum of its jobs' seconds in the paper, on a static quarter.
    pub(super) paper_seconds: f64,
    pub(super) paper_speed_up: f64,
}

fn secs(seconds: u64) -> Span {
    Span::from_secs(seconds)
}

/// Tasks at a part of the full size: at least one.
fn scaled(tasks: u32, scale: u32) -> u32 {
    tasks.div_ceil(scale)
}

/// How many jobs of each kind the interactive mix has, and the tasks of their two stages with
/// seconds each: 100 jobs, most of them tiny.
const MIX: [(usize, [(u32, u64); 2]); 8] = [
    (38, [(1, 16), (0, 0)]),
    (18, [(2, 22), (0, 0)]),
    (14, [(10, 26), (2, 24)]),
    (12, [(50, 19), (0, 0)]),
    (6, [(100, 29), (10, 30)]),
    (6, [(200, 19), (0, 0)]),
    (4, [(400, 12), (0, 0)]),
    (2, [(400, 46), (30, 100)]),
];

/// What Hadoop needs to set a job up.
const JOB_SET_UP: Span = Span::from_secs(8);

fn interactive_mix(scale: u32, random: &mut Entropy) -> Workload {
    static KINDS: [Kind; 8] = [
        Kind { name: "selection, 1 map", paper_seconds: 24.0, paper_speed_up: 0.84 },
        Kind { name: "text search, 2", paper_seconds: 31.0, paper_speed_up: 0.90 },
        Kind { name: "aggregation, 10+2", paper_seconds: 82.0, paper_speed_up: 0.94 },
        Kind { name: "selection, 50", paper_seconds: 65.0, paper_speed_up: 1.40 },
        Kind { name: "aggregation, 100+10", paper_seconds: 192.0, paper_speed_up: 1.26 },
        Kind { name: "selection, 200", paper_seconds: 136.0, paper_speed_up: 1.71 },
        Kind { name: "text search, 400", paper_seconds: 137.0, paper_speed_up: 2.14 },
        Kind { name: "join, 400+30", paper_seconds: 662.0, paper_speed_up: 1.35 },
    ];
    let mut order: Vec<usize> =
        MIX.iter().enumerate().flat_map(|(kind, (jobs, _))| vec![kind; *jobs]).collect();
    random.shuffle(&mut order);
    let mut at = Span::ZERO;
    let mut jobs = Vec::new();
    for kind in order {
        // 100 jobs in 25 minutes, 14 seconds apart on average.
        at = at + Span::from_millis(random.below(28_000));
        let stages = MIX[kind].1.iter().filter(|(tasks, _)| *tasks > 0);
        let stages = stages.enumerate().map(|(position, (tasks, length))| Stage {
            before: if position == 0 { JOB_SET_UP } else { secs(2) },
            tasks: scaled(*tasks, scale),
            length: secs(*length),
        });
        jobs.push(Job { kind, submission: Submission::At(at), stages: stages.collect() });
    }
    Workload {
        name: "Facebook-like Hadoop mix",
        kinds: &KINDS,
        jobs,
        memory: 1024,
        gang: false,
        revocable: false,
        paper_seconds: 7235.0,
        paper_speed_up: 1.14,
    }
}

fn large_jobs(scale: u32) -> Workload {
    static KINDS: [Kind; 1] =
        [Kind { name: "text search, 2400", paper_seconds: 314.0, paper_speed_up: 2.21 }];
    let stage = Stage { before: JOB_SET_UP, tasks: scaled(2400, scale), length: secs(12) };
    let job =
        Job { kind: 0, submission: Submission::AfterPrevious(Span::ZERO), stages: vec![stage] };
    Workload {
        name: "large Hadoop jobs",
        kinds: &KINDS,
        jobs: vec![job; 10],
        memory: 1024,
        gang: false,
        revocable: false,
        paper_seconds: 3143.0,
        paper_speed_up: 2.10,
    }
}

fn iterative(scale: u32) -> Workload {
    static KINDS: [Kind; 1] =
        [Kind { name: "ALS, iterations", paper_seconds: 337.0, paper_speed_up: 1.36 }];
    // Before each iteration the parameters go to every host.
    let stage = Stage { before: secs(4), tasks: scaled(240, scale), length: secs(10) };
    let job =
        Job { kind: 0, submission: Submission::AfterPrevious(secs(120)), stages: vec![stage; 10] };
    Workload {
        name: "Spark-like iterations",
        kinds: &KINDS,
        jobs: vec![job; 5],
        memory: 3072,
        gang: false,
        revocable: false,
        paper_seconds: 1684.0,
        paper_speed_up: 1.26,
    }
}

fn gangs(scale: u32) -> Workload {
    static KINDS: [Kind; 2] = [
        Kind { name: "small tachyon, 24", paper_seconds: 261.0, paper_speed_up: 0.91 },
        Kind { name: "large tachyon, 24", paper_seconds: 822.0, paper_speed_up: 0.88 },
    ];
    const LENGTHS: [u64; 2] = [261, 822];
    // Six small jobs and two large ones at fixed times, never more than a quarter can run.
    let plan = [(30, 0), (90, 1), (240, 0), (400, 0), (560, 0), (640, 1), (720, 0), (900, 0)];
    let jobs = plan.into_iter().map(|(at, kind)| Job {
        kind,
        submission: Submission::At(secs(at)),
        stages: vec![Stage {
            before: Span::ZERO,
            tasks: scaled(24, scale),
            length: secs(LENGTHS[kind]),
        }],
    });
    Workload {
        name: "MPI-like gangs",
        kinds: &KINDS,
        jobs: jobs.collect(),
        memory: 1024,
        gang: true,
        revocable: false,
        paper_seconds: 3210.0,
        paper_speed_up: 0.96,
    }
}

/// The four frameworks, with a part of the tasks: `scale` divides them.
pub(super) fn workloads(seed: u64, scale: u32) -> Vec<Workload> {
    let mut random = Entropy::seeded(seed);
    vec![interactive_mix(scale, &mut random), large_jobs(scale), iterative(scale), gangs(scale)]
}

/// Jobs of one stage, which takes what revocable processors there are.
fn revocable(name: &'static str, tasks: u32, seconds: u64, jobs: Vec<Submission>) -> Workload {
    static KINDS: [Kind; 1] = [Kind { name: "revocable", paper_seconds: 0.0, paper_speed_up: 0.0 }];
    let stage = Stage { before: Span::ZERO, tasks, length: secs(seconds) };
    let job = |submission| Job { kind: 0, submission, stages: vec![stage] };
    Workload {
        name,
        kinds: &KINDS,
        jobs: jobs.into_iter().map(job).collect(),
        memory: 512,
        gang: false,
        revocable: true,
        paper_seconds: 0.0,
        paper_speed_up: 0.0,
    }
}

/// How long the paper's experiment submits jobs.
const CYCLE: u64 = 25 * 60;

/// The frameworks of a mixed cluster with the roles that they are in: the experiment's, as often as
/// they fit into `length`, and two that live on revocable processors.
pub(super) fn mixed(seed: u64, hosts: u32, length: Span) -> Vec<(&'static str, Workload)> {
    let cycles = length.as_millis().div_ceil(CYCLE * 1000).max(1);
    let scale = (48 / hosts.max(1)).max(1);
    let repeated = |mut work: Workload| {
        let once = work.jobs.clone();
        for cycle in 1..cycles {
            work.jobs.extend(once.iter().cloned().map(|mut job| {
                if let Submission::At(at) = &mut job.submission {
                    *at = *at + secs(cycle * CYCLE);
                }
                job
            }));
        }
        work
    };
    let roles = ["prod", "batch", "ml", "hpc"];
    let mut all: Vec<_> =
        roles.into_iter().zip(workloads(seed, scale).into_iter().map(repeated)).collect();
    let bursts = (1..cycles * CYCLE / 300).map(|at| Submission::At(secs(at * 300))).collect();
    all.push(("urgent", revocable("urgent bursts", hosts * 2, 40, bursts)));
    let always = vec![Submission::AfterPrevious(Span::ZERO); 100];
    all.push(("scavenger", revocable("scavenger", hosts * 8, 60, always)));
    all
}
