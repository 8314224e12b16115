//! `GET /metrics`: our own families in the text format of Prometheus (`conventions.md`).

use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tepui_cluster::Cluster;
use tepui_types::Now;

use super::{books, tasks_by_state};
use crate::plane::Facts;

/// A family could not be made: a mistake in this file, found by its test.
pub(super) type Outcome<T> = Result<T, prometheus::Error>;

fn gauge(registry: &Registry, name: &str, help: &str, value: u64) -> Outcome<()> {
    let gauge = IntGauge::new(name, help)?;
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    registry.register(Box::new(gauge))
}

fn gauges<L: AsRef<str>>(
    registry: &Registry,
    (name, help, label): (&str, &str, &str),
    values: impl IntoIterator<Item = (L, u64)>,
) -> Outcome<()> {
    let family = IntGaugeVec::new(Opts::new(name, help), &[label])?;
    for (value, count) in values {
        let count = count.try_into().unwrap_or(i64::MAX);
        family.with_label_values(&[value.as_ref()]).set(count);
    }
    registry.register(Box::new(family))
}

fn counters<L: AsRef<str>>(
    registry: &Registry,
    (name, help, label): (&str, &str, &str),
    values: impl IntoIterator<Item = (L, u64)>,
) -> Outcome<()> {
    let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
    for (value, count) in values {
        family.with_label_values(&[value.as_ref()]).inc_by(count);
    }
    registry.register(Box::new(family))
}

/// The families that follow from the cluster's state.
pub(crate) fn families(cluster: &Cluster, facts: &Facts, now: Now) -> Outcome<Vec<MetricFamily>> {
    let registry = Registry::new();
    process(&registry, cluster, facts, now)?;
    agents(&registry, cluster)?;
    tasks(&registry, cluster)?;
    offers(&registry, cluster, now)?;
    books::ends(&registry, cluster)?;
    books::resources(&registry, cluster)?;
    let mut all = registry.gather();
    all.push(books::placements(cluster));
    Ok(all)
}

/// The families of a control plane that stands by while another one leads in `term`.
pub(crate) fn standing_by(term: u64) -> Outcome<Vec<MetricFamily>> {
    let registry = Registry::new();
    leadership(&registry, false, term)?;
    Ok(registry.gather())
}

fn leadership(registry: &Registry, leads: bool, term: u64) -> Outcome<()> {
    let version = env!("CARGO_PKG_VERSION");
    gauges(registry, ("tepui_build_info", "The version that runs", "version"), [(version, 1)])?;
    gauge(registry, "tepui_leader", "1 while this process leads", u64::from(leads))?;
    gauge(registry, "tepui_term", "The term of the leader", term)
}

fn process(registry: &Registry, cluster: &Cluster, facts: &Facts, now: Now) -> Outcome<()> {
    leadership(registry, cluster.elected().is_some(), cluster.term().0)?;
    let uptime = now.mono.since(facts.started.mono).as_nanos() / 1_000_000_000;
    gauge(registry, "tepui_uptime_seconds", "Seconds since this process started", uptime)
}

fn agents(registry: &Registry, cluster: &Cluster) -> Outcome<()> {
    let active = cluster.agents().filter(|agent| agent.is_active()).count() as u64;
    let connected = cluster.agents().filter(|agent| agent.is_connected()).count() as u64;
    let known = cluster.agents().len() as u64;
    let drains = |agent: &tepui_cluster::state::Agent| {
        agent.is_connected() && cluster.drain_of(&agent.id).is_some()
    };
    let draining = cluster.agents().filter(|agent| drains(agent)).count() as u64;
    gauges(
        registry,
        ("tepui_agents", "Agents by state", "state"),
        [
            ("active", active),
            ("draining", draining),
            ("deactivated", connected - active - draining),
            ("disconnected", known - connected),
            ("recovered", cluster.recovered_agents().len() as u64),
            ("unreachable", cluster.unreachable_agents().len() as u64),
            ("gone", cluster.gone_agents().len() as u64),
        ],
    )?;
    let held_back = IntCounter::new(
        "tepui_agent_removals_held_back_total",
        "How often silent agents were not given up because they were too many at once",
    )?;
    held_back.inc_by(cluster.counters().agents.removals_held_back);
    registry.register(Box::new(held_back))
}

fn tasks(registry: &Registry, cluster: &Cluster) -> Outcome<()> {
    let live = tasks_by_state(cluster).into_iter().filter(|(state, _)| !state.is_terminal());
    gauges(
        registry,
        ("tepui_tasks", "Tasks that are not terminal, by newest state", "state"),
        live.map(|(state, count)| (books::name_of(state), count)),
    )?;
    let ended = &cluster.counters().ended_tasks;
    counters(
        registry,
        ("tepui_tasks_ended_total", "Tasks that came to a terminal state", "state"),
        ended.iter().map(|(state, count)| (books::name_of(*state), *count)),
    )
}

fn offers(registry: &Registry, cluster: &Cluster, now: Now) -> Outcome<()> {
    let outstanding = cluster.frameworks().map(|f| (f.id.to_string(), f.offers.len() as u64));
    gauges(
        registry,
        ("tepui_offers_outstanding", "Offers that wait for an answer", "framework"),
        outstanding,
    )?;
    let help = "Age of the oldest offer that waits for an answer, 0 where none does";
    let ages = GaugeVec::new(Opts::new("tepui_offer_age_seconds", help), &["framework"])?;
    for framework in cluster.frameworks() {
        let offers = framework.offers.iter().filter_map(|number| cluster.offer(*number));
        let oldest = offers.map(|offer| now.mono.since(offer.made)).max().unwrap_or_default();
        ages.with_label_values(&[framework.id.as_str()]).set(oldest.as_secs_f64());
    }
    registry.register(Box::new(ages))?;
    let sum = |count: fn(&tepui_cluster::FrameworkCounters) -> u64| {
        cluster.frameworks().map(|f| count(&f.counters)).sum::<u64>()
    };
    counters(
        registry,
        ("tepui_offers_total", "Offers of frameworks that are here, by what became of them", "end"),
        [
            ("sent", sum(|c| c.offers_sent)),
            ("accepted", sum(|c| c.offers_accepted)),
            ("declined", sum(|c| c.offers_declined)),
            ("rescinded", sum(|c| c.offers_rescinded)),
        ],
    )?;
    let counts = cluster.counters();
    counters(
        registry,
        ("tepui_allocator_reclaims_total", "What the allocator took back for others", "what"),
        [("offers", counts.reclaimed_offers), ("tasks", counts.preempted_tasks)],
    )?;
    let states = cluster.frameworks().filter(|f| f.is_connected()).count() as u64;
    gauges(
        registry,
        ("tepui_frameworks", "Frameworks by state", "state"),
        [("connected", states), ("disconnected", cluster.frameworks().len() as u64 - states)],
    )
}

/// The text of `GET /metrics`: these families, the process's own, and whatever the daemon
/// registered.
///
/// # Errors
/// When the families cannot be written.
pub(crate) fn exposition(mut families: Vec<MetricFamily>) -> Outcome<String> {
    families.extend(prometheus::gather());
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
