//! A framework's own scheduling: which of its jobs gets the next task. It knows nothing of offers
//! but how many tasks fit.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;

use tepui_types::{Entropy, Mono, Span, TraceHash};

use super::workload::{Job, Submission, Workload};

/// A task to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) length: Span,
}

/// A task by job, stage and number in the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    job: usize,
    stage: usize,
    task: u32,
}

impl Part {
    fn name(self) -> String {
        format!("job{}-stage{}-task{}", self.job, self.stage, self.task)
    }
}

#[derive(Debug, Default)]
struct Progress {
    submitted: Option<Mono>,
    ended: Option<Mono>,
    stage: usize,
    /// Tasks of the stage that nobody runs; empty until the stage begins.
    pending: BTreeSet<u32>,
    running: usize,
    /// When the stage's tasks may run; `None` once they may.
    begins: Option<Mono>,
}

/// How a job went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) kind: usize,
    pub(super) took: Span,
}

/// A framework with its jobs under way.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(super) work: Workload,
    start: Mono,
    progress: Vec<Progress>,
    tasks: BTreeMap<String, (Part, Mono)>,
    /// From when to when a task held its resources.
    pub(super) held: Vec<(Mono, Mono)>,
    /// Tries of a task that did not end well are told apart.
    tries: u64,
}

impl Jobs {
    pub(super) fn new(work: Workload, start: Mono) -> Self {
        let progress = work.jobs.iter().map(|_| Progress::default()).collect();
        Self { work, start, progress, tasks: BTreeMap::new(), held: Vec::new(), tries: 0 }
    }

    fn submitted_at(&self, at: usize, job: &Job) -> Option<Mono> {
        match job.submission {
            Submission::At(span) => Some(self.start + span),
            Submission::AfterPrevious(pause) => match at.checked_sub(1) {
                None => Some(self.start),
                Some(before) => self.progress[before].ended.map(|ended| ended + pause),
            },
        }
    }

    /// Submits jobs and begins stages that are due; when the next one is.
    pub(crate) fn advance(&mut self, now: Mono) -> Option<Mono> {
        let mut next: Option<Mono> = None;
        let mut earliest = |at: Mono| next = Some(next.map_or(at, |next| next.min(at)));
        for at in 0..self.progress.len() {
            let job = &self.work.jobs[at];
            if self.progress[at].submitted.is_none() {
                let Some(due) = self.submitted_at(at, job) else { continue };
                if due > now {
                    earliest(due);
                    continue;
                }
                self.progress[at].submitted = Some(due);
                self.progress[at].begins = job.stages.first().map(|stage| due + stage.before);
            }
            let progress = &mut self.progress[at];
            if let Some(begins) = progress.begins {
                if begins > now {
                    earliest(begins);
                } else if let Some(stage) = job.stages.get(progress.stage) {
                    progress.begins = None;
                    progress.pending = (0..stage.tasks).collect();
                }
            }
        }
        next
    }

    /// How many tasks could start at once; of a gang, all of the first job that waits.
    pub(crate) fn wanted(&self) -> usize {
        let mut pending = self.progress.iter().map(|job| job.pending.len());
        if self.work.gang { pending.find(|tasks| *tasks > 0).unwrap_or(0) } else { pending.sum() }
    }

    /// Takes up to `room` tasks to start now; of a gang, all of one job or none. Jobs have fair
    /// shares: the one with the fewest running tasks comes first.
    pub(crate) fn take(&mut self, now: Mono, room: usize) -> Vec<Start> {
        if self.work.gang && room < self.wanted() {
            return Vec::new();
        }
        let mut starts = Vec::new();
        let room = if self.work.gang { self.wanted() } else { room };
        while starts.len() < room {
            let waiting =
                self.progress.iter().enumerate().filter(|(_, job)| !job.pending.is_empty());
            let first = if self.work.gang {
                waiting.map(|(at, _)| at).next()
            } else {
                waiting.min_by_key(|(at, job)| (job.running, *at)).map(|(at, _)| at)
            };
            let Some(job) = first else { break };
            let progress = &mut self.progress[job];
            let Some(task) = progress.pending.pop_first() else { break };
            progress.running += 1;
            starts.push(self.start_of(now, Part { job, stage: self.progress[job].stage, task }));
        }
        starts
    }

    fn start_of(&mut self, now: Mono, part: Part) -> Start {
        let stage = self.work.jobs[part.job].stages[part.stage];
        let mut hash = TraceHash::default();
        hash.write(self.work.name.as_bytes());
        hash.write(part.name().as_bytes());
        let whole = stage.length.as_millis();
        // The same task takes the same time wherever and whenever it runs.
        let length = match self.work.gang {
            true => whole,
            false => whole * 4 / 5 + Entropy::seeded(hash.finish()).below(whole * 2 / 5 + 1),
        };
        self.tries += 1;
        let name = format!("{}.{}", part.name(), self.tries);
        self.tasks.insert(name.clone(), (part, now));
        Start { name, length: Span::from_millis(length) }
    }

    /// A task ended; one that did not finish has to run again.
    pub(crate) fn ended(&mut self, now: Mono, name: &str, finished: bool) {
        let Some((part, started)) = self.tasks.remove(name) else { return };
        self.held.push((started, now));
        let stages = &self.work.jobs[part.job].stages;
        let progress = &mut self.progress[part.job];
        progress.running -= 1;
        if !finished {
            progress.pending.insert(part.task);
        } else if progress.running == 0 && progress.pending.is_empty() {
            progress.stage += 1;
            match stages.get(progress.stage) {
                Some(next) => progress.begins = Some(now + next.before),
                None => progress.ended = Some(now),
            }
        }
    }

    /// What a task holds of memory.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn megabytes(&self) -> f64 {
        self.work.memory as f64
    }

    /// True when all jobs have ended.
    pub(crate) fn is_done(&self) -> bool {
        self.progress.iter().all(|job| job.ended.is_some())
    }

    /// How the jobs went that have ended.
    pub(super) fn results(&self) -> impl Iterator<Item = Ended> + '_ {
        self.work.jobs.iter().zip(&self.progress).filter_map(|(job, progress)| {
            let took = progress.ended?.since(progress.submitted?);
            Some(Ended { kind: job.kind, took })
        })
    }
}
