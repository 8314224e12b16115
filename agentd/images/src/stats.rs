//! Figures for metrics.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Pulls are remembered so long, and so many.
const WINDOW: Duration = Duration::from_secs(3600);
const REMEMBERED: usize = 1000;

/// What pulls did since the store was opened.
#[derive(Debug, Default)]
pub struct Stats {
    pulls: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
    micros: AtomicU64,
    recent: Mutex<VecDeque<(Instant, Duration)>>,
}

impl Stats {
    /// Pulls that brought an image, also one that was here already.
    #[must_use]
    pub fn pulls(&self) -> u64 {
        self.pulls.load(Ordering::Relaxed)
    }

    /// Pulls that failed or were given up.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Bytes of layers that came from registries.
    #[must_use]
    pub fn downloaded_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Time of all pulls together.
    #[must_use]
    pub fn pull_time(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    /// How long the pulls of the last hour took, up to a thousand of them, oldest first.
    #[must_use]
    pub fn recent_pulls(&self) -> Vec<Duration> {
        let mut recent = self.recent.lock();
        recent.retain(|(ended, _)| ended.elapsed() < WINDOW);
        recent.iter().map(|(_, took)| *took).collect()
    }

    pub(crate) fn download(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A pull begins. One that is dropped without an end has failed.
    pub(crate) fn pull(&self) -> Measured<'_> {
        Measured { stats: self, began: Instant::now(), good: false }
    }
}

/// A pull that is measured.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    stats: &'a Stats,
    began: Instant,
    good: bool,
}

impl Measured<'_> {
    pub(crate) fn ended(mut self, good: bool) {
        self.good = good;
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if self.good {
            let mut recent = self.stats.recent.lock();
            recent.push_back((Instant::now(), took));
            if recent.len() > REMEMBERED {
                recent.pop_front();
            }
        }
        self.stats.micros.fetch_add(micros, Ordering::Relaxed);
        let counter = if self.good { &self.stats.pulls } else { &self.stats.failures };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
