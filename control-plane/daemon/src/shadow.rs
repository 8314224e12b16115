//! The shadow: a candidate that decides beside the allocator in charge, and is only looked at.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::bail;
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounterVec, IntGauge};
use prometheus::{histogram_opts, opts};
use tepui_allocator::{Allocate, Drf};
use tepui_api::{ShadowDifference, ShadowTimes, ShadowView};
use tepui_plugin_allocators::{binpack, priority};
use tepui_replay::{Shadow, Step, Taker, What};
use tepui_types::Entropy;

use crate::follow::Follow;

/// Rounds whose times are remembered.
const WINDOW: usize = 1000;

/// What Prometheus is told of the shadow.
struct Families {
    rounds: IntCounterVec,
    proposals: IntCounterVec,
    seconds: Histogram,
    running: IntGauge,
}

/// Made once in a process, whichever term it leads in; `None` only by a mistake in this file, which a
/// test finds.
static FAMILIES: LazyLock<Option<Families>> = LazyLock::new(|| families().ok());

fn families() -> prometheus::Result<Families> {
    let buckets = prometheus::exponential_buckets(0.0001, 2.0, 18)?;
    let families = Families {
        rounds: IntCounterVec::new(
            opts!("tepui_shadow_rounds_total", "Rounds of the shadow allocator, by outcome"),
            &["decision"],
        )?,
        proposals: IntCounterVec::new(
            opts!("tepui_shadow_proposals_total", "Proposals beside the shadow, by who made them"),
            &["by"],
        )?,
        seconds: Histogram::with_opts(
            histogram_opts!(
                "tepui_shadow_round_seconds",
                "How long one round of the shadow allocator takes"
            )
            .buckets(buckets),
        )?,
        running: IntGauge::new("tepui_shadow_running", "1 while the shadow allocator follows")?,
    };
    prometheus::register(Box::new(families.rounds.clone()))?;
    prometheus::register(Box::new(families.proposals.clone()))?;
    prometheus::register(Box::new(families.seconds.clone()))?;
    prometheus::register(Box::new(families.running.clone()))?;
    Ok(families)
}

/// What is known of the shadow, for whoever asks.
#[derive(Clone, Debug)]
pub struct Watched(Arc<Mutex<ShadowView>>);

impl Watched {
    /// How the candidate does.
    pub fn view(&self) -> ShadowView {
        self.0.lock().clone()
    }
}

/// Opens a candidate by name, with the settings it has unless told otherwise.
///
/// # Errors
/// When there is none of the name.
pub fn open(name: &str, seed: u64) -> anyhow::Result<Box<dyn Allocate + Send>> {
    let refused = |why: String| anyhow::anyhow!("{name}: {why}");
    Ok(match name {
        "drf" => Box::new(Drf::new(Entropy::seeded(seed))),
        "priority" => Box::new(priority::allocator(Default::default()).map_err(refused)?),
        "binpack" => Box::new(binpack::allocator(Default::default()).map_err(refused)?),
        other => bail!("there is no allocator {other}: drf, priority and binpack are"),
    })
}

/// Follows with a candidate.
pub struct Candidate {
    shadow: Shadow<Box<dyn Allocate + Send>>,
    times: VecDeque<Duration>,
    watched: Watched,
}

impl Candidate {
    /// A candidate of this name, and the view on it.
    pub fn new(name: &str, candidate: Box<dyn Allocate + Send>) -> (Self, Watched) {
        let allocator = name.to_owned();
        let view = ShadowView { allocator, running: true, ..ShadowView::default() };
        if let Some(families) = &*FAMILIES {
            families.running.set(1);
        }
        let watched = Watched(Arc::new(Mutex::new(view)));
        let shadow = Shadow::new(candidate);
        (Self { shadow, times: VecDeque::new(), watched: watched.clone() }, watched)
    }

    fn publish(&mut self, took: Duration) {
        if self.times.len() >= WINDOW {
            self.times.pop_front();
        }
        self.times.push_back(took);
        let mut sorted: Vec<Duration> = self.times.iter().copied().collect();
        sorted.sort_unstable();
        let at = |per_cent: usize| sorted[(sorted.len() - 1) * per_cent / 100].as_secs_f64();
        let tally = self.shadow.tally();
        let mut view = self.watched.0.lock();
        if let Some(families) = &*FAMILIES {
            let same = tally.same_rounds > view.same_rounds;
            let outcome = if same { "same" } else { "other" };
            families.rounds.with_label_values(&[outcome]).inc();
            families.seconds.observe(took.as_secs_f64());
            for (by, now, before) in [
                ("both", tally.agreed, view.proposals_both),
                ("live", tally.only_live, view.proposals_live_only),
                ("candidate", tally.only_candidate, view.proposals_candidate_only),
            ] {
                families.proposals.with_label_values(&[by]).inc_by(now - before);
            }
        }
        view.rounds = tally.rounds;
        view.same_rounds = tally.same_rounds;
        view.proposals_both = tally.agreed;
        view.proposals_live_only = tally.only_live;
        view.proposals_candidate_only = tally.only_candidate;
        view.reclaims = tally.reclaims;
        view.round_seconds = ShadowTimes { p50: at(50), p99: at(99), max: at(100) };
        view.differences = tally.recent.iter().map(difference).collect();
    }
}

fn taker((framework, role, resources): &Taker) -> String {
    format!("{framework} in {role}: {resources}")
}

fn difference(one: &tepui_replay::Difference) -> ShadowDifference {
    ShadowDifference {
        at_seconds: one.at.since(tepui_types::Mono::default()).as_secs_f64(),
        agent_id: one.agent.to_string(),
        live: one.live.iter().map(taker).collect(),
        candidate: one.candidate.iter().map(taker).collect(),
    }
}

impl Follow for Candidate {
    fn step(&mut self, step: &Step) -> bool {
        match &step.what {
            What::Told(inputs) => self.shadow.told(step.at, inputs),
            What::Planned(live) => {
                let begin = Instant::now();
                let plan = self.shadow.round(step.at);
                let took = begin.elapsed();
                self.shadow.compare(step.at, live, &plan);
                self.publish(took);
            }
        }
        true
    }

    fn end(&mut self, fell_behind: bool) {
        let mut view = self.watched.0.lock();
        view.fell_behind = fell_behind;
        view.running = false;
        if let Some(families) = &*FAMILIES {
            families.running.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tepui_allocator::Plan;
    use tepui_types::Mono;

    use super::*;

    #[test]
    fn what_a_candidate_would_decide_is_shown_and_counted() {
        let (mut candidate, watched) =
            Candidate::new("drf", Box::new(Drf::new(Entropy::seeded(1))));
        assert!(watched.view().running);
        let step = Step { at: Mono::default(), what: What::Planned(Plan::default()) };
        assert!(candidate.step(&step));
        let view = watched.view();
        assert_eq!((view.rounds, view.same_rounds), (1, 1));
        assert!(view.round_seconds.max > 0.0);
        candidate.end(true);
        assert!(!watched.view().running && watched.view().fell_behind);
        let names: Vec<String> =
            prometheus::gather().iter().map(|family| family.name().to_owned()).collect();
        for name in ["rounds_total", "round_seconds", "running"] {
            assert!(names.contains(&format!("tepui_shadow_{name}")), "{names:?}");
        }
    }
}
