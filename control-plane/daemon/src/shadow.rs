//! The shadow: a candidate that decides beside the allocator in charge, and is only looked at.

use std::any::Any;
use std::collections::VecDeque;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounterVec, IntGauge};
use prometheus::{histogram_opts, opts};
use tepui_allocator::{Allocate, Drf};
use tepui_api::{ShadowDifference, ShadowTimes, ShadowView};
use tepui_plugin_allocators::{binpack, priority};
use tepui_plugin_host::{Beside, Board, Fault, Shelf};
use tepui_replay::{Shadow, Step, Taker, What};
use tepui_types::Entropy;
use tracing::error;

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

/// Candidates that are built in; a plugin of the name comes first.
const BUILT_IN: [&str; 3] = ["drf", "priority", "binpack"];

/// Whether a candidate of this name is a plugin: one that is there, or that something is said of,
/// comes before what is built in.
pub fn is_plugin(name: &str, shelf: &Shelf) -> bool {
    shelf.has(name) || !BUILT_IN.contains(&name)
}

/// Whether a candidate of this name could be here at all.
///
/// # Errors
/// Why not, and what would be right.
pub fn check_name(name: &str, shelf: &Shelf) -> Result<(), String> {
    if !is_plugin(name, shelf) {
        return Ok(());
    }
    let built_in = BUILT_IN.join(", ");
    shelf.check_name(name).map_err(|why| format!("{why}; built in are {built_in}"))
}

/// Somebody who decides beside the allocator in charge.
pub struct Decider {
    shadow: Shadow<Box<dyn Allocate + Send>>,
    /// How it fails, where it can.
    fault: Fault,
}

/// How a candidate is opened, when it is needed: libraries take their time, and an election has none.
pub type Opening = Box<dyn FnOnce() -> Result<Decider, String> + Send>;

/// The candidate of this name: a plugin, or one that is built in, with the settings it has unless told
/// otherwise.
pub fn opening(shelf: Shelf, name: &str, seed: u64, board: &Arc<Board>) -> Opening {
    let (name, board) = (name.to_owned(), board.clone());
    Box::new(move || {
        let built_in: Box<dyn Allocate + Send> = match name.as_str() {
            name if is_plugin(name, &shelf) => return plugin(&shelf, name, seed, &board),
            "drf" => Box::new(Drf::new(Entropy::seeded(seed))),
            "priority" => Box::new(priority::allocator(Default::default())?),
            "binpack" => Box::new(binpack::allocator(Default::default())?),
            name => return plugin(&shelf, name, seed, &board),
        };
        Ok(Decider { shadow: Shadow::new(built_in), fault: Fault::default() })
    })
}

fn plugin(shelf: &Shelf, name: &str, seed: u64, board: &Arc<Board>) -> Result<Decider, String> {
    let plugin = Beside::open(shelf, name, seed, board).map_err(|why| why.to_string())?;
    let fault = plugin.fault();
    Ok(Decider { shadow: Shadow::new(Box::new(plugin)), fault })
}

/// Follows with a candidate.
pub struct Candidate {
    opening: Option<Opening>,
    decider: Option<Decider>,
    times: VecDeque<Duration>,
    watched: Watched,
}

impl Candidate {
    /// A candidate of this name, opened with its first step, and the view on it.
    pub fn new(name: &str, opening: Opening) -> (Self, Watched) {
        let allocator = name.to_owned();
        let view = ShadowView { allocator, running: true, ..ShadowView::default() };
        if let Some(families) = &*FAMILIES {
            families.running.set(1);
        }
        let watched = Watched(Arc::new(Mutex::new(view)));
        let opening = Some(opening);
        (Self { opening, decider: None, times: VecDeque::new(), watched: watched.clone() }, watched)
    }

    /// It failed, or could not be opened: nobody waits for it.
    fn fail(&self, reason: &str) {
        let mut view = self.watched.0.lock();
        error!(allocator = view.allocator, reason, "shadow allocator failed, follows no more");
        view.failed = Some(reason.to_owned());
        view.running = false;
        if let Some(families) = &*FAMILIES {
            families.running.set(0);
        }
    }

    /// Takes a step, or says why it takes no more.
    fn take(&mut self, step: &Step) -> Result<(), String> {
        if let Some(opening) = self.opening.take() {
            self.decider = Some(opening()?);
        }
        let Some(Decider { shadow, fault }) = &mut self.decider else { return Ok(()) };
        match &step.what {
            What::Told(inputs) => shadow.told(step.at, inputs),
            What::Planned(live) => {
                let begin = Instant::now();
                let plan = shadow.round(step.at);
                let took = begin.elapsed();
                if let Some(failure) = fault.seen() {
                    return Err(failure.to_string());
                }
                shadow.compare(step.at, live, &plan);
                self.publish(took);
            }
        }
        Ok(())
    }

    fn publish(&mut self, took: Duration) {
        let Some(decider) = &self.decider else { return };
        if self.times.len() >= WINDOW {
            self.times.pop_front();
        }
        self.times.push_back(took);
        let mut sorted: Vec<Duration> = self.times.iter().copied().collect();
        sorted.sort_unstable();
        let at = |per_cent: usize| sorted[(sorted.len() - 1) * per_cent / 100].as_secs_f64();
        let tally = decider.shadow.tally();
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

/// What somebody panicked with.
fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word")
}

impl Follow for Candidate {
    fn step(&mut self, step: &Step) -> bool {
        if self.opening.is_none() && self.decider.is_none() {
            return false;
        }
        // Plugins are guarded by their host; one that is built in may be as wrong.
        let taken = catch_unwind(AssertUnwindSafe(|| self.take(step)));
        let taken = taken.unwrap_or_else(|payload| {
            let why = format!("it panicked: {}", words(&*payload));
            // Nobody knows what state it is in, and dropping either may panic again.
            forget((payload, self.decider.take()));
            Err(why)
        });
        taken.inspect_err(|why| self.fail(why)).is_ok()
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
    use std::collections::BTreeMap;

    use tepui_allocator::{Input, Plan, Reason};
    use tepui_types::{FrameworkId, Mono, Role};

    use super::*;

    fn candidate(name: &str) -> (Candidate, Watched) {
        let board = Arc::new(Board::new().unwrap());
        Candidate::new(name, opening(Shelf::default(), name, 1, &board))
    }

    #[test]
    fn a_candidate_that_is_not_there_follows_no_more_and_says_why() {
        let (mut candidate, watched) = candidate("fifo");
        let step = Step { at: Mono::default(), what: What::Told(Vec::new()) };
        assert!(!candidate.step(&step));
        let view = watched.view();
        assert!(!view.running && view.failed.unwrap().contains("plugin_dir"));
        assert!(check_name("priority", &Shelf::default()).is_ok());
        assert!(check_name("fifo", &Shelf::default()).unwrap_err().contains("drf, priority"));
    }

    /// Panics when it is asked for a plan, and again when it is dropped.
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    impl Allocate for Panics {
        fn apply(&mut self, _: Mono, _: Input) {}
        fn is_dirty(&self) -> bool {
            true
        }
        fn next_wakeup(&self) -> Option<Mono> {
            None
        }
        fn round(&mut self, _: Mono) -> Plan {
            panic!("lost the plan")
        }
        fn explain(&self, _: Mono, _: &FrameworkId) -> Vec<Reason> {
            Vec::new()
        }
        fn refusals(&self, _: Mono) -> BTreeMap<Role, u64> {
            BTreeMap::new()
        }
    }

    fn built_in(name: &str, candidate: impl Allocate + Send + 'static) -> (Candidate, Watched) {
        let shadow = Shadow::new(Box::new(candidate) as Box<dyn Allocate + Send>);
        let decider = Decider { shadow, fault: Fault::default() };
        Candidate::new(name, Box::new(|| Ok(decider)))
    }

    #[test]
    fn a_candidate_that_is_built_in_and_panics_follows_no_more_and_says_why() {
        let (mut candidate, watched) = built_in("drf", Panics);
        let told = Step { at: Mono::default(), what: What::Told(Vec::new()) };
        let planned = Step { at: Mono::default(), what: What::Planned(Plan::default()) };
        assert!(candidate.step(&told));
        assert!(!candidate.step(&planned));
        let view = watched.view();
        assert_eq!(view.failed.as_deref(), Some("it panicked: lost the plan"));
        assert!(!view.running && !view.fell_behind);
        assert!(!candidate.step(&planned), "it is asked nothing any more");
    }

    #[test]
    fn what_a_candidate_would_decide_is_shown_and_counted() {
        let (mut candidate, watched) = candidate("drf");
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
