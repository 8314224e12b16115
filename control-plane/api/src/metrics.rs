//! What the control plane counts: under Mesos's names (`GET /metrics/snapshot`, `GET_METRICS`) and
//! under our own for Prometheus (`GET /metrics`).

mod books;
pub(crate) mod exporter;
mod exposition;
mod frameworks;
pub(crate) mod host;
mod leadership;
mod mesos;
mod timings;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tepui_cluster::Cluster;
use tepui_types::{Now, TaskState};

use crate::plane::{Facts, Plane, Unavailable};
use crate::router::App;

pub(crate) use exposition::{exposition, families, standing_by};
pub(crate) use host::stats;
pub use leadership::Leaderships;
pub use timings::Timings;

/// Metrics by name.
pub(crate) type Metrics = BTreeMap<String, f64>;

impl<P: Plane> App<P> {
    /// Everything under Mesos's names (`spec/mesos-metrics.md`).
    pub(crate) async fn snapshot(&self) -> Result<Metrics, Unavailable> {
        let facts = self.facts.clone();
        let mut all = self.plane.read(move |cluster, now| snapshot(cluster, &facts, now)).await?;
        let watchers = length(self.watchers.load(Ordering::Relaxed));
        all.insert("master/operator_event_stream_subscribers".into(), watchers);
        all.insert("master/http_cache_hits".into(), number(self.shared.hits()));
        let backlog = self.plane.backlog();
        all.insert("master/event_queue_dispatches".into(), length(backlog.driver));
        for family in ["allocator", "allocator/mesos"] {
            all.insert(format!("{family}/event_queue_dispatches"), length(backlog.allocator));
        }
        for (role, count) in self.plane.refusals().await {
            all.insert(format!("allocator/mesos/offer_filters/roles/{role}/active"), number(count));
        }
        if let Some(timings) = self.plane.timings() {
            timings.add_to(&mut all);
        }
        Ok(all)
    }
}

fn snapshot(cluster: &Cluster, facts: &Facts, now: Now) -> Metrics {
    let mut all = Metrics::new();
    mesos::process(&mut all, cluster, facts, now);
    mesos::resources(&mut all, cluster);
    mesos::agents(&mut all, cluster);
    mesos::tasks(&mut all, cluster);
    mesos::messages(&mut all, cluster);
    frameworks::frameworks(&mut all, cluster);
    host::host(&mut all);
    all
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

pub(crate) fn length(count: usize) -> f64 {
    number(count as u64)
}

/// Tasks that the cluster tracks, by newest state; every state has a number.
pub(crate) fn tasks_by_state(cluster: &Cluster) -> BTreeMap<TaskState, u64> {
    let mut all: BTreeMap<TaskState, u64> = TaskState::ALL.into_iter().map(|s| (s, 0)).collect();
    for task in cluster.tasks() {
        *all.entry(task.state).or_default() += 1;
    }
    let unreachable = cluster.frameworks().map(|f| f.unreachable.len() as u64).sum();
    all.insert(TaskState::Unreachable, unreachable);
    all
}
