//! Leadership as one process lives it: standing by, taking over, and the store in between.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts};

/// What may fail of a store; every one has its counter from the start.
const REQUESTS: [&str; 4] = ["connect", "follow", "elect", "write"];

/// Counts from the start of the process, as a standby and as the leader.
#[derive(Debug)]
pub struct Leaderships {
    changes: IntCounter,
    standbys: IntGauge,
    failover: Histogram,
    store_errors: IntCounterVec,
}

impl Leaderships {
    pub(super) fn new() -> prometheus::Result<Self> {
        let buckets = prometheus::exponential_buckets(0.05, 2.0, 11)?;
        let failover = HistogramOpts::new(
            "tepui_failover_seconds",
            "From the last sign of life of the former leader to the first write of this one",
        );
        let store_errors = IntCounterVec::new(
            Opts::new("tepui_store_errors_total", "Requests to the store that failed"),
            &["request"],
        )?;
        for request in REQUESTS {
            store_errors.with_label_values(&[request]);
        }
        Ok(Self {
            changes: IntCounter::new(
                "tepui_leader_changes_total",
                "New leaders that this process heard of since it started, itself among them",
            )?,
            standbys: IntGauge::new(
                "tepui_standbys",
                "Control planes that would take over from this one; 0 while it stands by itself",
            )?,
            failover: Histogram::with_opts(failover.buckets(buckets))?,
            store_errors,
        })
    }

    /// Somebody leads in a new term.
    pub fn changed(&self) {
        self.changes.inc();
    }

    /// So many control planes stand by while this one leads.
    pub fn standing_by(&self, standbys: usize) {
        self.standbys.set(standbys.try_into().unwrap_or(i64::MAX));
    }

    /// This process took over, so long after the last sign of life of the former leader.
    pub fn failed_over(&self, took: Duration) {
        self.failover.observe(took.as_secs_f64());
    }

    /// A request of this kind failed.
    pub fn store_failed(&self, request: &'static str) {
        self.store_errors.with_label_values(&[request]).inc();
    }

    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let mut families = self.changes.collect();
        families.extend(self.standbys.collect());
        families.extend(self.failover.collect());
        families.extend(self.store_errors.collect());
        families
    }
}
