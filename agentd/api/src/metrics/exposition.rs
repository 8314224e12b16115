//! Our own families in the text format of Prometheus (`conventions.md`).

use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tepui_agent::Agent;
use tepui_types::{Now, ResourceName};

use super::families::Families;
use crate::show;
use crate::usage::Durations;

/// A family could not be made: a mistake in this file, found by its test.
pub(super) type Outcome<T> = Result<T, prometheus::Error>;

/// Name, help and label of a family.
type Family<'a> = (&'a str, &'a str, &'a str);

/// The families that follow from the agent's state.
pub(super) fn families(agent: &Agent, now: Now) -> Outcome<Vec<MetricFamily>> {
    let registry = Registry::new();
    process(&registry, agent, now)?;
    resources(&registry, agent)?;
    tasks(&registry, agent)?;
    totals(&registry, agent)?;
    let mut all = registry.gather();
    all.extend(launch_stages(agent));
    Ok(all)
}

fn process(registry: &Registry, agent: &Agent, now: Now) -> Outcome<()> {
    let version = env!("CARGO_PKG_VERSION");
    gauges(registry, ("tepui_build_info", "The version that runs", "version"), [(version, 1)])?;
    let registered = u64::from(agent.is_registered());
    gauge(registry, "tepui_agent_registered", "1 while the control plane knows it", registered)?;
    gauge(registry, "tepui_agent_term", "The highest term of a leader seen", agent.term().0)?;
    let recovering = u64::from(agent.is_recovering());
    gauge(registry, "tepui_agent_recovering", "1 while executors may come back", recovering)?;
    let uptime = now.mono.since(agent.started().mono).as_nanos() / 1_000_000_000;
    gauge(registry, "tepui_uptime_seconds", "Seconds since this process started", uptime)
}

fn resources(registry: &Registry, agent: &Agent) -> Outcome<()> {
    const BYTES_PER_MEGABYTE: f64 = 1_048_576.0;
    let total = show::decode(&agent.config().info.resources);
    let used = show::used(agent);
    for (name, resource, unit) in [
        ("tepui_agent_cpus", ResourceName::Cpus, 1.0),
        ("tepui_agent_gpus", ResourceName::Gpus, 1.0),
        ("tepui_agent_memory_bytes", ResourceName::Mem, BYTES_PER_MEGABYTE),
        ("tepui_agent_disk_bytes", ResourceName::Disk, BYTES_PER_MEGABYTE),
    ] {
        let help = format!("{resource} that the agent offers");
        amount(registry, name, &help, show::scalar(&total, &resource, false) * unit)?;
        let name = match name.strip_suffix("_bytes") {
            Some(name) => format!("{name}_allocated_bytes"),
            None => format!("{name}_allocated"),
        };
        let help = format!("{resource} that tasks and executors hold");
        amount(registry, &name, &help, show::scalar(&used, &resource, false) * unit)?;
    }
    Ok(())
}

fn amount(registry: &Registry, name: &str, help: &str, value: f64) -> Outcome<()> {
    let gauge = Gauge::new(name, help)?;
    gauge.set(value);
    registry.register(Box::new(gauge))
}

fn tasks(registry: &Registry, agent: &Agent) -> Outcome<()> {
    let census = agent.census();
    gauges(
        registry,
        ("tepui_tasks", "Tasks that are not terminal, by newest state", "state"),
        [
            ("staging", census.staging),
            ("starting", census.starting),
            ("running", census.running),
            ("killing", census.killing),
        ],
    )?;
    gauges(
        registry,
        ("tepui_agent_executors", "Executors, those of command tasks too, by state", "state"),
        [
            ("registering", census.executors_registering),
            ("running", census.executors_running),
            ("terminating", census.executors_terminating),
        ],
    )?;
    let garbage = agent.garbage_count() as u64;
    gauge(registry, "tepui_agent_sandboxes_pending_removal", "Sandboxes of ended runs", garbage)
}

fn totals(registry: &Registry, agent: &Agent) -> Outcome<()> {
    let counters = agent.counters();
    counted(
        registry,
        ("tepui_tasks_ended_total", "Tasks that came to a terminal state", "state"),
        [
            ("finished", counters.tasks_finished),
            ("failed", counters.tasks_failed),
            ("killed", counters.tasks_killed),
            ("lost", counters.tasks_lost),
            ("gone", counters.tasks_gone),
        ],
    )?;
    counted(
        registry,
        ("tepui_agent_fetches_total", "Fetches of runs with artifacts", "outcome"),
        [("succeeded", counters.fetches_succeeded), ("failed", counters.fetches_failed)],
    )?;
    for (name, help, count) in [
        ("tepui_agent_runs_started_total", "Main processes started", counters.runs_started),
        ("tepui_agent_launch_errors_total", "Runs not started", counters.container_launch_errors),
        (
            "tepui_agent_escalated_kills_total",
            "Runs that outlived their grace",
            counters.escalated_kills,
        ),
        ("tepui_agent_foreign_ports_total", "Runs seen on ports of others", counters.foreign_ports),
        ("tepui_agent_refused_terms_total", "Directives of former leaders", counters.refused_terms),
        ("tepui_agent_recovery_errors_total", "Records not recovered", counters.recovery_errors),
    ] {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(count);
        registry.register(Box::new(counter))?;
    }
    Ok(())
}

fn launch_stages(agent: &Agent) -> Vec<MetricFamily> {
    let mut all = Families::default();
    let counters = agent.counters();
    for (stage, latencies) in [("prepare", &counters.preparations), ("start", &counters.starts)] {
        let durations = Durations {
            sum_seconds: latencies.sum().as_secs_f64(),
            buckets: latencies.buckets().map(|(bound, n)| (bound.as_secs_f64(), n)).collect(),
            beyond: latencies.beyond(),
        };
        let help = "Time of launches: prepare makes the sandbox, with artifacts, image and network; \
                    start is from there to the main process";
        let name = "tepui_launch_stage_seconds";
        all.histogram(name, help, &[("stage", stage)], &durations);
    }
    all.into_vec()
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str, value: u64) -> Outcome<()> {
    let gauge = IntGauge::new(name, help)?;
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    registry.register(Box::new(gauge))
}

fn gauges<'a>(
    registry: &Registry,
    (name, help, label): Family<'_>,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Outcome<()> {
    let family = IntGaugeVec::new(Opts::new(name, help), &[label])?;
    for (value, count) in values {
        family.with_label_values(&[value]).set(count.try_into().unwrap_or(i64::MAX));
    }
    registry.register(Box::new(family))
}

pub(super) fn counted<'a>(
    registry: &Registry,
    (name, help, label): Family<'_>,
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> Outcome<()> {
    let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
    for (value, count) in values {
        family.with_label_values(&[value]).inc_by(count);
    }
    registry.register(Box::new(family))
}

/// The text: these families, the process's own, and whatever the daemon registered.
pub(super) fn text(mut families: Vec<MetricFamily>) -> Outcome<String> {
    families.extend(prometheus::gather());
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
