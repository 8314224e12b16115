//! A plugin that is played to, without a daemon: what it meets and how it fails is as if it were in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_allocator::{Allocate, Input, Plan, Reason};
use tepui_types::{Entropy, FrameworkId, Mono, Role};

use crate::{Board, Kind, Live, PluginAllocator, Shelf, Standing};

/// An allocator in a library, held to what a control plane holds it to: its file, its time budget, and
/// that it offers what is there. Nobody takes over when it fails: from then on it plans nothing, and
/// [`Rehearsal::failure`] says when and how.
#[derive(Debug)]
pub struct Rehearsal {
    live: Live,
    name: String,
    board: Arc<Board>,
    rounds: u64,
    failure: Option<Stumble>,
}

/// Where a plugin failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stumble {
    /// The round in which it did, or which was next; the first is 1.
    pub round: u64,
    /// The time of that round.
    pub at: Mono,
    /// How, in one line.
    pub reason: String,
}

impl Rehearsal {
    /// Loads and opens a plugin.
    ///
    /// # Errors
    ///
    /// Why a control plane would not take it, in one line.
    pub fn open(shelf: &Shelf, name: &str, seed: u64) -> Result<Self, String> {
        let board = Arc::new(Board::new().map_err(|error| error.to_string())?);
        let plugin = PluginAllocator::open(shelf, name, seed, &board);
        let plugin = plugin.map_err(|why| why.to_string())?;
        let mut live = Live::new(Entropy::seeded(seed), board.clone());
        let seated = live.seat(Mono::from_nanos(0), plugin);
        seated.map_err(|why| format!("plugin {name}: {why}"))?;
        Ok(Self { live, name: name.to_owned(), board, rounds: 0, failure: None })
    }

    /// How it failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Stumble> {
        self.failure.as_ref()
    }

    fn reason(&self) -> String {
        let reports = self.board.reports();
        let mut own = reports.into_iter().filter(|one| one.name == self.name);
        let report = own.find(|one| one.kind == Kind::Allocator.name());
        match report.map(|report| report.standing) {
            Some(Standing::Failed { reason, .. } | Standing::Refused { reason }) => reason,
            _ => "it failed".to_owned(),
        }
    }
}

impl Allocate for Rehearsal {
    fn apply(&mut self, now: Mono, input: Input) {
        self.live.apply(now, input);
    }

    /// Asked of the plugin itself, which is told everything first: so its rounds are due when those of the
    /// same allocator built in would be.
    fn is_dirty(&self) -> bool {
        if self.failure.is_some() {
            return false;
        }
        self.live.tell();
        self.live.is_dirty()
    }

    fn next_wakeup(&self) -> Option<Mono> {
        self.live.next_wakeup().filter(|_| self.failure.is_none())
    }

    fn round(&mut self, now: Mono) -> Plan {
        if self.failure.is_some() {
            return Plan::default();
        }
        self.rounds += 1;
        let plan = self.live.round(now);
        if self.live.has_plugin() {
            return plan;
        }
        self.failure = Some(Stumble { round: self.rounds, at: now, reason: self.reason() });
        Plan::default()
    }

    fn explain(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        self.live.explain(now, framework)
    }

    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64> {
        self.live.refusals(now)
    }
}
