//! What the process around the cluster measures of itself: the allocator's rounds and the store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts};

use super::{Leaderships, Metrics, length, number};

/// Samples that a timer's percentiles are taken from: the newest ones.
const WINDOW: usize = 1000;
/// The suffix of each percentile, in thousandths of a percent.
const PERCENTILES: [(&str, usize); 6] = [
    ("p50", 50_000),
    ("p90", 90_000),
    ("p95", 95_000),
    ("p99", 99_000),
    ("p999", 99_900),
    ("p9999", 99_990),
];

/// Durations of one kind of work, for `X_ms` and its family (`spec/mesos-metrics.md`, "Timer
/// families") and for a histogram.
#[derive(Debug)]
struct Timer {
    samples: Mutex<VecDeque<Duration>>,
    histogram: Histogram,
}

impl Timer {
    fn new(name: &str, help: &str) -> prometheus::Result<Self> {
        let buckets = prometheus::exponential_buckets(0.0001, 2.0, 18)?;
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
        Ok(Self { samples: Mutex::default(), histogram })
    }

    fn record(&self, took: Duration) {
        self.histogram.observe(took.as_secs_f64());
        // A sample is pushed whole or not at all.
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= WINDOW {
            samples.pop_front();
        }
        samples.push_back(took);
    }

    /// Appears with its first sample.
    fn add_to(&self, all: &mut Metrics, name: &str) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<Duration> = samples.iter().copied().collect();
        let Some(last) = sorted.last().copied() else { return };
        drop(samples);
        sorted.sort_unstable();
        let ms = |took: Duration| took.as_secs_f64() * 1000.0;
        all.insert(format!("{name}_ms"), ms(last));
        all.insert(format!("{name}_ms/count"), length(sorted.len()));
        let at = |position: usize| sorted.get(position).copied().map_or(0.0, ms);
        all.insert(format!("{name}_ms/min"), at(0));
        all.insert(format!("{name}_ms/max"), at(sorted.len() - 1));
        for (suffix, share) in PERCENTILES {
            let position = (sorted.len() - 1) * share / 100_000;
            all.insert(format!("{name}_ms/{suffix}"), at(position));
        }
    }
}

/// The process's own measurements; it records, this crate shows.
#[derive(Debug)]
pub struct Timings {
    allocation_run: Timer,
    allocation_latency: Timer,
    state_fetch: Timer,
    state_store: Timer,
    registry_bytes: AtomicU64,
    /// Standing by and leading.
    pub leadership: Leaderships,
}

impl Timings {
    /// Nothing measured yet.
    ///
    /// # Errors
    /// When a family cannot be made: a mistake in this file, found by its test.
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self {
            allocation_run: Timer::new(
                "tepui_allocation_cycle_seconds",
                "How long one round of the allocator takes",
            )?,
            allocation_latency: Timer::new(
                "tepui_allocation_wait_seconds",
                "How long a round of the allocator waits from its first cause to its start",
            )?,
            state_fetch: Timer::new(
                "tepui_log_load_seconds",
                "How long it takes to load the state at the start",
            )?,
            state_store: Timer::new(
                "tepui_log_commit_seconds",
                "How long one commit to the store takes",
            )?,
            registry_bytes: AtomicU64::new(0),
            leadership: Leaderships::new()?,
        })
    }

    /// A round of the allocator ended, `waited` after what caused it.
    pub fn allocated(&self, waited: Duration, took: Duration) {
        self.allocation_latency.record(waited);
        self.allocation_run.record(took);
    }

    /// The state was read from the store.
    pub fn loaded(&self, took: Duration) {
        self.state_fetch.record(took);
    }

    /// The store takes so many bytes now.
    pub fn registry_size(&self, bytes: u64) {
        self.registry_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Something was made durable.
    pub fn stored(&self, took: Duration) {
        self.state_store.record(took);
    }

    pub(super) fn add_to(&self, all: &mut BTreeMap<String, f64>) {
        let runs = self.allocation_run.histogram.get_sample_count();
        all.insert("allocator/mesos/allocation_runs".into(), number(runs));
        self.allocation_run.add_to(all, "allocator/mesos/allocation_run");
        self.allocation_latency.add_to(all, "allocator/mesos/allocation_run_latency");
        self.state_fetch.add_to(all, "registrar/state_fetch");
        self.state_store.add_to(all, "registrar/state_store");
        let bytes = self.registry_bytes.load(Ordering::Relaxed);
        all.insert("registrar/registry_size_bytes".into(), number(bytes));
    }

    pub(crate) fn families(&self) -> Vec<MetricFamily> {
        let timers =
            [&self.allocation_run, &self.allocation_latency, &self.state_fetch, &self.state_store];
        let timers = timers.into_iter().flat_map(|timer| timer.histogram.collect());
        timers.chain(self.leadership.families()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_newest_samples() {
        let timings = Timings::new().unwrap();
        let mut all = Metrics::new();
        timings.add_to(&mut all);
        assert_eq!(all.len(), 2, "a timer without a sample shows nothing: {all:?}");
        let wait = Duration::from_millis(20);
        timings.allocated(wait, Duration::from_secs(100));
        (1..=1000).for_each(|ms| timings.allocated(wait, Duration::from_millis(ms)));
        timings.loaded(Duration::from_millis(3));
        timings.registry_size(4096);
        timings.add_to(&mut all);
        let prefix = "allocator/mesos/allocation_run";
        for (name, value) in [
            ("s", 1001.0),
            ("_ms", 1000.0),
            ("_ms/count", 1000.0),
            ("_ms/min", 1.0),
            ("_ms/max", 1000.0),
            ("_ms/p50", 500.0),
            ("_ms/p99", 990.0),
            ("_ms/p9999", 999.0),
        ] {
            let found = all[&format!("{prefix}{name}")];
            assert!((found - value).abs() < 1e-9, "{name} is {found}");
        }
        for (name, value) in [
            ("allocator/mesos/allocation_run_latency_ms/p99", 20.0),
            ("registrar/state_fetch_ms", 3.0),
            ("registrar/registry_size_bytes", 4096.0),
        ] {
            assert!((all[name] - value).abs() < 1e-9, "{name} is {}", all[name]);
        }
        assert_eq!(timings.families().len(), 8);
    }
}
