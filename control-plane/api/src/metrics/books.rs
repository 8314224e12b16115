//! Families of what the cluster's books say: resources, how tasks ended and how fast they began.

use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts, Registry};
use tepui_cluster::Cluster;
use tepui_types::{Latencies, ResourceName, TaskState};
use tepui_wire::v1::task_status;

use super::exposition::Outcome;
use super::mesos::{Totals, dominant_share};

/// The name of each kind of resource in ours, and how much one of Mesos's unit is in it.
const KINDS: [(&str, ResourceName, f64); 4] = [
    ("tepui_cluster_cpus", ResourceName::Cpus, 1.0),
    ("tepui_cluster_gpus", ResourceName::Gpus, 1.0),
    ("tepui_cluster_memory_bytes", ResourceName::Mem, BYTES_PER_MEGABYTE),
    ("tepui_cluster_disk_bytes", ResourceName::Disk, BYTES_PER_MEGABYTE),
];
const BYTES_PER_MEGABYTE: f64 = 1_048_576.0;

/// What there is in the cluster, and who holds how much of it.
pub(super) fn resources(registry: &Registry, cluster: &Cluster) -> Outcome<()> {
    let totals = Totals::of(cluster);
    for (name, resource, unit) in KINDS {
        let of = |part: &str| match name.strip_suffix("_bytes") {
            Some(stem) => format!("{stem}_{part}_bytes"),
            None => format!("{name}_{part}"),
        };
        let (there, used, offered) = totals.of_resource(&resource);
        for (name, help, value) in [
            (name.to_owned(), "that agents have", there),
            (of("allocated"), "that tasks and executors hold", used),
            (of("offered"), "in offers that wait for an answer", offered),
        ] {
            let gauge = Gauge::new(name, format!("{resource} {help}"))?;
            gauge.set(value * unit);
            registry.register(Box::new(gauge))?;
        }
    }
    let help = "Largest part of any resource that the role holds or is offered, 0 to 1";
    let shares = GaugeVec::new(Opts::new("tepui_role_dominant_share_ratio", help), &["role"])?;
    for (role, view) in cluster.roles() {
        shares.with_label_values(&[role.as_str()]).set(dominant_share(&totals, &view.sums));
    }
    registry.register(Box::new(shares))
}

/// How tasks of all frameworks ended.
pub(super) fn ends(registry: &Registry, cluster: &Cluster) -> Outcome<()> {
    let opts = Opts::new("tepui_task_exits_total", "Ends of tasks by state and reason");
    let exits = IntCounterVec::new(opts, &["state", "reason"])?;
    for ((state, reason), count) in &cluster.counters().exits {
        let known = reason.and_then(|number| task_status::Reason::try_from(number).ok());
        let reason = known.map_or("NONE", |reason| reason.as_str_name());
        let reason = reason.trim_start_matches("REASON_").to_lowercase();
        exits.with_label_values(&[name_of(*state).as_str(), reason.as_str()]).inc_by(*count);
    }
    registry.register(Box::new(exits))
}

/// A state as a label.
pub(super) fn name_of(state: TaskState) -> String {
    state.wire_name().trim_start_matches("TASK_").to_lowercase()
}

/// How long launches took.
pub(super) fn placements(cluster: &Cluster) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name("tepui_placement_latency_seconds".to_owned());
    family.set_help("Time from the accepted offer to the task's RUNNING".to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    let mut metric = Metric::default();
    metric.set_histogram(histogram(&cluster.counters().placements));
    family.mut_metric().push(metric);
    family
}

fn histogram(latencies: &Latencies) -> Histogram {
    let mut seen = 0_u64;
    let buckets = latencies.buckets().map(|(bound, count)| {
        seen = seen.saturating_add(count);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.as_secs_f64());
        bucket.set_cumulative_count(seen);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(seen.saturating_add(latencies.beyond()));
    histogram.set_sample_sum(latencies.sum().as_secs_f64());
    histogram
}
