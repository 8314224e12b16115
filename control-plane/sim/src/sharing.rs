//! What sharing a cluster is worth: four frameworks on quarters of their own, and on all hosts
//! together (NSDI 2011, section 6.1), with the production control plane, allocator and agents in
//! virtual time.

mod frameworks;
mod jobs;
mod record;
mod report;
mod workload;

pub(crate) use jobs::Jobs;
pub use record::Mixed;

use std::fmt;

use tepui_types::{Mono, Span};

use crate::run::{add_host, parse, start};
use crate::scheduler::{Behaviour, Scheduler};
use crate::world::World;
use workload::{Workload, workloads};

/// Hosts of the whole cluster at full size, and what each has.
const HOSTS: u32 = 96;
const HOST: &str = "cpus:4;mem:15360;disk:100000;ports:[31000-32000]";
const HOST_CPUS: u32 = 4;
/// Work that takes longer than this in virtual time never ends.
const LIMIT: Span = Span::from_secs(6 * 3600);
/// In runs of millions of events the books are counted afresh now and then only.
const BOOKS_EVERY: u64 = 997;

/// The experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Decides when the jobs of the interactive mix come, and everything else that is random.
    pub seed: u64,
    /// Divides the hosts and the tasks of each job: 1 is the paper's size. A divisor of 24.
    pub scale: u32,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfinishedWork {
    /// The scale leaves no whole quarter.
    #[error("the scale {0} does not divide the 24 hosts of a quarter")]
    Scale(u32),
    /// Jobs do not end.
    #[error("after {LIMIT} of virtual time, {0} still has jobs to do")]
    Endless(String),
    /// An invariant did not hold on the way.
    #[error("an invariant was broken: {0}")]
    Broken(String),
}

/// What came of one framework, or of one kind of its jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub name: &'static str,
    /// How many jobs.
    pub jobs: usize,
    /// Sum of the jobs' seconds, from submission to end, on a static quarter.
    pub alone_seconds: f64,
    /// The same on the shared cluster.
    pub shared_seconds: f64,
    /// What the paper measured on a static quarter: a framework's sum, or the mean of a kind.
    pub paper_seconds: f64,
    /// The speed-up that the paper measured.
    pub paper_speed_up: f64,
    /// Kinds of jobs, of a framework.
    pub kinds: Vec<Self>,
}

impl Row {
    /// How much less time the jobs take on the shared cluster.
    pub fn speed_up(&self) -> f64 {
        self.alone_seconds / self.shared_seconds.max(f64::MIN_POSITIVE)
    }
}

/// Parts of the cluster's resources that tasks hold, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    /// Of the processors.
    pub cpus: f64,
    /// Of the memory.
    pub memory: f64,
}

/// What sharing was worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Sharing {
    /// Hosts of the shared cluster.
    pub hosts: u32,
    /// Tasks that were run, on either.
    pub tasks: usize,
    /// A row for each framework.
    pub rows: Vec<Row>,
    /// What is held on average while the shared cluster has work, with static quarters …
    pub alone: Held,
    /// … and on the shared cluster.
    pub shared: Held,
    /// How long the last job took to end, in seconds, with static quarters …
    pub alone_seconds: f64,
    /// … and on the shared cluster.
    pub shared_seconds: f64,
}

/// A cluster that has done its work.
struct Done {
    begin: Mono,
    end: Mono,
    frameworks: Vec<Jobs>,
}

impl Experiment {
    /// Runs the work on four static quarters, then on the shared cluster.
    ///
    /// # Errors
    /// When the work does not end, or an invariant breaks.
    pub fn run(self) -> Result<Sharing, UnfinishedWork> {
        if self.scale == 0 || !(HOSTS / 4).is_multiple_of(self.scale) {
            return Err(UnfinishedWork::Scale(self.scale));
        }
        let hosts = HOSTS / self.scale;
        let all = workloads(self.seed, self.scale);
        let mut alone = Vec::new();
        for work in all.clone() {
            alone.push(self.play(hosts / 4, vec![work])?);
        }
        let shared = self.play(hosts, all)?;
        Ok(compare(hosts, &alone, &shared))
    }

    fn play(self, hosts: u32, work: Vec<Workload>) -> Result<Done, UnfinishedWork> {
        let mut world = World::new(self.seed);
        world.steady = true;
        world.checks.books_every = BOOKS_EVERY;
        let begin = world.now.mono + Span::from_secs(10);
        for host in 0..hosts {
            add_host(&mut world, &format!("host{host}"), parse(HOST));
        }
        for work in work {
            let mut scheduler = Scheduler::new(work.name, Behaviour::Worker, 0);
            // Frameworks are compared by role in the cluster's fair order.
            scheduler.role = work.name.to_lowercase().replace([' ', '-'], "_");
            scheduler.jobs = Some(Box::new(Jobs::new(work, begin)));
            world.schedulers.push(scheduler);
        }
        start(&mut world);
        let mut at = begin;
        loop {
            while world.step(at) {}
            let left = world.schedulers.iter().find(|one| !is_done(one));
            let Some(left) = left else { break };
            if let Some(violation) = world.checks.violations.first() {
                return Err(UnfinishedWork::Broken(violation.to_string()));
            }
            if at.since(begin) > LIMIT {
                return Err(UnfinishedWork::Endless(left.name.clone()));
            }
            at += Span::from_secs(10);
        }
        let frameworks: Vec<Jobs> =
            world.schedulers.into_iter().filter_map(|one| one.jobs).map(|jobs| *jobs).collect();
        let end = frameworks.iter().flat_map(|jobs| &jobs.held).map(|(_, end)| *end).max();
        Ok(Done { begin, end: end.unwrap_or(begin), frameworks })
    }
}

fn is_done(scheduler: &Scheduler) -> bool {
    scheduler.jobs.as_ref().is_none_or(|jobs| jobs.is_done())
}

fn compare(hosts: u32, alone: &[Done], shared: &Done) -> Sharing {
    let pairs = alone.iter().flat_map(|done| &done.frameworks).zip(&shared.frameworks);
    let window = shared.end.since(shared.begin);
    let last = |done: &Done| done.end.since(done.begin).as_secs_f64();
    Sharing {
        hosts,
        tasks: shared.frameworks.iter().map(|jobs| jobs.held.len()).sum(),
        rows: pairs.map(|(alone, shared)| framework_row(alone, shared)).collect(),
        alone: held(alone, hosts, window),
        shared: held(std::slice::from_ref(shared), hosts, window),
        alone_seconds: alone.iter().map(last).fold(0.0, f64::max),
        shared_seconds: last(shared),
    }
}

fn seconds(jobs: &Jobs, kind: Option<usize>) -> f64 {
    let wanted = jobs.results().filter(|job| kind.is_none_or(|kind| job.kind == kind));
    wanted.map(|job| job.took.as_secs_f64()).sum()
}

fn framework_row(alone: &Jobs, shared: &Jobs) -> Row {
    let kinds = alone.work.kinds.iter().enumerate().map(|(at, kind)| Row {
        name: kind.name,
        jobs: alone.results().filter(|job| job.kind == at).count(),
        alone_seconds: seconds(alone, Some(at)),
        shared_seconds: seconds(shared, Some(at)),
        paper_seconds: kind.paper_seconds,
        paper_speed_up: kind.paper_speed_up,
        kinds: Vec::new(),
    });
    Row {
        name: alone.work.name,
        jobs: alone.results().count(),
        alone_seconds: seconds(alone, None),
        shared_seconds: seconds(shared, None),
        paper_seconds: alone.work.paper_seconds,
        paper_speed_up: alone.work.paper_speed_up,
        kinds: kinds.collect(),
    }
}

/// What tasks held on average over the first `window` of each cluster's work.
fn held(clusters: &[Done], hosts: u32, window: Span) -> Held {
    let (mut cpus, mut memory) = (0.0, 0.0);
    for cluster in clusters {
        let end = cluster.begin + window;
        for jobs in &cluster.frameworks {
            let spans = jobs.held.iter().map(|(from, to)| (*to).min(end).since(*from));
            let seconds: f64 = spans.map(Span::as_secs_f64).sum();
            cpus += seconds;
            memory += seconds * jobs.megabytes();
        }
    }
    let whole = window.as_secs_f64() * f64::from(hosts);
    Held {
        cpus: cpus / (whole * f64::from(HOST_CPUS)),
        memory: memory / (whole * parse(HOST).mem().as_f64()),
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} % of the processors", self.cpus * 100.0)?;
        write!(f, ", {:.0} % of the memory", self.memory * 100.0)
    }
}
