//! What is measured of a cluster while demand is played to it.

use std::collections::{BTreeMap, BTreeSet};

use tepui_types::{AgentId, FrameworkId, Mono, ResourceName, Resources, Span, Value};

use crate::Item;

/// What came of playing a demand to an allocator, or of the recording itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Whose decisions these are.
    pub name: String,
    /// Tasks that got their resources.
    pub placed: u64,
    /// Tasks that never did.
    pub unplaced: u64,
    /// Half of the tasks waited no longer than this from being wanted to being placed …
    pub wait_p50: Span,
    /// … 99 of 100 no longer than this …
    pub wait_p99: Span,
    /// … and none longer than this.
    pub wait_max: Span,
    /// Part of the cluster's processors in use by tasks, on average over time.
    pub cpus: f64,
    /// Part of the cluster's memory in use by tasks, on average over time.
    pub memory: f64,
    /// Part of the agents with nothing in use, on average over time.
    pub idle_agents: f64,
    /// Jain's index of the frameworks' dominant shares, of those that have or want something, on
    /// average over the time in which there are at least two: 1 is perfectly even.
    pub jain: f64,
    /// How far the largest dominant share is above that of the framework with the smallest one of
    /// those that wait, on average over the time in which somebody waits.
    pub gap: f64,
    /// The same at its largest.
    pub gap_max: f64,
    /// Offers made.
    pub offers: u64,
    /// Offers declined whole.
    pub declined: u64,
    /// Offers taken back for somebody else.
    pub rescinded: u64,
    /// Tasks killed for somebody else; they are placed again.
    pub preempted: u64,
    /// Proposals of what is not there: an allocator that makes one is wrong.
    pub misfits: u64,
    /// Rounds planned.
    pub rounds: u64,
    /// Pairs of an agent and a framework's role looked at.
    pub pairs: u64,
}

/// A sum over time.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    seconds: f64,
}

impl Mean {
    fn add(&mut self, value: f64, seconds: f64) {
        self.sum += value * seconds;
        self.seconds += seconds;
    }

    fn value(self) -> f64 {
        if self.seconds > 0.0 { self.sum / self.seconds } else { 0.0 }
    }
}

/// Measures while time passes.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) outcome: Outcome,
    now: Mono,
    total: Resources,
    used: Resources,
    agents: BTreeMap<AgentId, u64>,
    busy: usize,
    shares: BTreeMap<FrameworkId, Resources>,
    /// How many tasks each framework waits for.
    waiting: BTreeMap<FrameworkId, u64>,
    waits: Vec<Span>,
    cpus: Mean,
    memory: Mean,
    idle: Mean,
    jain: Mean,
    gap: Mean,
}

/// The largest part of `total` that `held` is of any scalar.
fn dominant(held: &Resources, total: &Resources) -> f64 {
    let names: BTreeSet<&ResourceName> =
        held.scalars().map(|(identity, _)| &identity.name).collect();
    let part = |name: &ResourceName| {
        let all = total.scalar(name).as_f64();
        if all > 0.0 { held.scalar(name).as_f64() / all } else { 0.0 }
    };
    names.into_iter().map(part).fold(0.0, f64::max)
}

fn scalars(all: &Resources) -> Resources {
    all.filter(|one| matches!(one.value, Value::Scalar(_)))
}

#[allow(clippy::cast_precision_loss)]
fn part(some: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

impl Meter {
    pub(crate) fn new(name: &str, begin: Mono) -> Self {
        let outcome = Outcome { name: name.to_owned(), ..Outcome::default() };
        Self { outcome, now: begin, ..Self::default() }
    }

    /// Time passes; what holds now held since the last call.
    pub(crate) fn pass(&mut self, now: Mono) {
        let seconds = now.since(self.now).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        self.now = now;
        let of = |name: &ResourceName| {
            let all = self.total.scalar(name).as_f64();
            if all > 0.0 { self.used.scalar(name).as_f64() / all } else { 0.0 }
        };
        let (cpus, memory) = (of(&ResourceName::Cpus), of(&ResourceName::Mem));
        self.cpus.add(cpus, seconds);
        self.memory.add(memory, seconds);
        let all = self.agents.len();
        self.idle.add(part(all - self.busy.min(all), all), seconds);
        self.fairness(seconds);
    }

    #[allow(clippy::cast_precision_loss)]
    fn fairness(&mut self, seconds: f64) {
        let names: BTreeSet<&FrameworkId> = self.shares.keys().chain(self.waiting.keys()).collect();
        let share = |name: &FrameworkId| {
            self.shares.get(name).map_or(0.0, |held| dominant(held, &self.total))
        };
        let shares: Vec<f64> = names.iter().map(|name| share(name)).collect();
        let squares: f64 = shares.iter().map(|one| one * one).sum();
        if shares.len() >= 2 && squares > 0.0 {
            let sum: f64 = shares.iter().sum();
            self.jain.add(sum * sum / (shares.len() as f64 * squares), seconds);
        }
        let least = self.waiting.keys().map(share).fold(f64::INFINITY, f64::min);
        if least.is_finite() {
            let most = shares.iter().copied().fold(0.0, f64::max);
            self.gap.add(most - least, seconds);
            self.outcome.gap_max = self.outcome.gap_max.max(most - least);
        }
    }

    pub(crate) fn agent_added(&mut self, agent: &AgentId, total: &Resources) {
        self.total.add_all(&scalars(total));
        self.agents.insert(agent.clone(), 0);
    }

    /// The agent is gone; what was used there was given back before.
    pub(crate) fn agent_removed(&mut self, agent: &AgentId, total: &Resources) {
        self.total.remove(&scalars(total));
        if self.agents.remove(agent).is_some_and(|used| used > 0) {
            self.busy -= 1;
        }
    }

    pub(crate) fn agent_changed(&mut self, before: &Resources, now: &Resources) {
        self.total.remove(&scalars(before));
        self.total.add_all(&scalars(now));
    }

    pub(crate) fn take(&mut self, framework: &FrameworkId, agent: &AgentId, what: &Resources) {
        self.used.add_all(&scalars(what));
        self.shares.entry(framework.clone()).or_default().add_all(&scalars(what));
        if let Some(count) = self.agents.get_mut(agent) {
            *count += 1;
            self.busy += usize::from(*count == 1);
        }
    }

    /// Part of what was in use when its agent came is given back; `last` when nothing is left.
    pub(crate) fn unpin(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        what: &Resources,
        last: bool,
    ) {
        let count = self.agents.get(agent).copied();
        self.give(framework, agent, what);
        if let Some(count) = count.filter(|count| *count > 0 && !last) {
            self.busy += usize::from(count == 1);
            self.agents.insert(agent.clone(), count);
        }
    }

    pub(crate) fn give(&mut self, framework: &FrameworkId, agent: &AgentId, what: &Resources) {
        self.used.remove(&scalars(what));
        if let Some(held) = self.shares.get_mut(framework) {
            held.remove(&scalars(what));
            if held.is_empty() {
                self.shares.remove(framework);
            }
        }
        if let Some(count) = self.agents.get_mut(agent).filter(|count| **count > 0) {
            *count -= 1;
            self.busy -= usize::from(*count == 0);
        }
    }

    pub(crate) fn wants(&mut self, framework: &FrameworkId) {
        *self.waiting.entry(framework.clone()).or_default() += 1;
    }

    pub(crate) fn placed(&mut self, item: &Item, wanted: Mono, at: Mono) {
        self.outcome.placed += 1;
        self.waits.push(at.since(wanted));
        self.satisfied(&item.client.0);
    }

    pub(crate) fn satisfied(&mut self, framework: &FrameworkId) {
        if let Some(count) = self.waiting.get_mut(framework) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(framework);
            }
        }
    }

    pub(crate) fn finish(mut self) -> Outcome {
        self.waits.sort_unstable();
        let at = |per_cent: usize| {
            let last = self.waits.len().saturating_sub(1);
            self.waits.get(last * per_cent / 100).copied().unwrap_or_default()
        };
        Outcome {
            wait_p50: at(50),
            wait_p99: at(99),
            wait_max: at(100),
            cpus: self.cpus.value(),
            memory: self.memory.value(),
            idle_agents: self.idle.value(),
            jain: self.jain.value(),
            gap: self.gap.value(),
            ..self.outcome
        }
    }
}
