//! `/metrics` and `/metrics/prometheus` (`marathon-behaviour.md` section 18). Names are those of
//! Marathon, prefix `marathon.`.

mod families;

use std::fmt::Write;
use std::sync::atomic::Ordering;

use http::StatusCode;
use serde_json::{Map, Value, json};
use tepui_marathon::Rejection;
use tepui_types::Now;

use crate::answer::{self, Answer};
use crate::apps::{Apps, Metrics};
use crate::request::Request;
use crate::state::Traffic;

pub use families::AppsLook;

/// `GET /metrics`.
pub(crate) async fn json<A: Apps>(request: &Request<A>) -> Answer {
    let metrics = collect(request).await?;
    let entries = |key: &'static str, values: Vec<(String, Value)>| -> Map<String, Value> {
        values.into_iter().map(|(name, value)| (name, json!({ key: value }))).collect()
    };
    let gauges = metrics.gauges.into_iter().map(|(name, value)| (name, number(value))).collect();
    let counters = metrics.counters.into_iter().map(|(name, value)| (name, value.into())).collect();
    answer::ok(&json!({
        "version": "3.0.0",
        "gauges": entries("value", gauges),
        "counters": entries("count", counters),
        "histograms": {},
        "meters": {},
        "timers": {},
    }))
}

/// A JSON number, integral when the value is.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

/// `GET /metrics/prometheus`.
pub(crate) async fn prometheus<A: Apps>(request: &Request<A>) -> Answer {
    if !request.shared.options.prometheus {
        return Err(Rejection::not_found("Prometheus reporter is disabled").into());
    }
    let text = exposition(&collect(request).await?);
    Ok(answer::with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

fn exposition(metrics: &Metrics) -> String {
    let mut text = String::new();
    let gauges = metrics.gauges.iter().map(|(name, value)| (name, "gauge", value.to_string()));
    let counters =
        metrics.counters.iter().map(|(name, value)| (name, "counter", value.to_string()));
    for (name, kind, value) in gauges.chain(counters) {
        let name = name.replace(['.', '-'], "_");
        // Writing to a String cannot fail.
        let _ = write!(text, "# TYPE {name} {kind}\n{name} {value}\n");
    }
    text
}

async fn collect<A: Apps>(request: &Request<A>) -> Result<Metrics, crate::apps::ServiceError> {
    let shared = &request.shared;
    let mut metrics = shared.apps.read(of_apps).await?;
    metrics.merge(of_traffic(&shared.traffic));
    metrics.merge(shared.apps.more_metrics());
    Ok(metrics)
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
fn of_apps(apps: &tepui_apps::Apps, now: Now) -> Metrics {
    let mut metrics = Metrics::default();
    let gauges = apps.gauges(now);
    for (name, value) in [
        ("apps.active.gauge", gauges.apps),
        ("groups.active.gauge", gauges.groups),
        ("pods.active.gauge", 0),
        ("deployments.active.gauge", gauges.deployments),
        ("instances.running.gauge", gauges.instances_running),
        ("instances.staged.gauge", gauges.instances_staged),
        ("instances.launch-overdue.gauge", gauges.launch_overdue),
        ("instances.inflight-kills.gauge", gauges.inflight_kills),
    ] {
        metrics.gauges.insert(format!("marathon.{name}"), value as f64);
    }
    metrics.gauges.insert(
        "marathon.instances.inflight-kill-attempts.gauge".to_owned(),
        gauges.inflight_kill_attempts as f64,
    );
    metrics.gauges.insert(
        "marathon.leadership.duration.gauge.seconds".to_owned(),
        gauges.leadership.as_secs_f64(),
    );
    let counters = apps.counters();
    for (name, value) in [
        ("deployments.counter", counters.deployments),
        ("deployments.dismissed.counter", counters.deployments_dismissed),
        ("tasks.launched.counter", counters.tasks_launched),
        ("mesos.offers.incoming.counter", counters.offers_incoming),
        ("mesos.offers.used.counter", counters.offers_used),
        ("mesos.offers.declined.counter", counters.offers_declined),
        ("mesos.calls.revive.counter", counters.revive_calls),
        ("mesos.calls.suppress.counter", counters.suppress_calls),
        ("mesos.offer-operations.launch.counter", counters.launch_operations),
        ("tasks.unknown-spared.counter", counters.unknown_tasks_spared),
    ] {
        metrics.counters.insert(format!("marathon.{name}"), value);
    }
    for (state, count) in &counters.task_updates {
        let name = state.to_string().to_lowercase().replace('_', "-");
        metrics.counters.insert(format!("marathon.mesos.task-updates.{name}.counter"), *count);
    }
    metrics
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
fn of_traffic(traffic: &Traffic) -> Metrics {
    let mut metrics = Metrics::default();
    for (name, count) in [
        ("http.requests.active.gauge", &traffic.active),
        ("http.event-streams.active.gauge", &traffic.streams),
    ] {
        metrics.gauges.insert(format!("marathon.{name}"), count.load(Ordering::Relaxed) as f64);
    }
    for (name, count) in [
        ("http.requests.size.counter.bytes", &traffic.request_bytes),
        ("http.responses.size.counter.bytes", &traffic.response_bytes),
        ("http.event-streams.responses.size.counter.bytes", &traffic.stream_bytes),
    ] {
        metrics.counters.insert(format!("marathon.{name}"), count.load(Ordering::Relaxed));
    }
    for (class, count) in (1..).zip(&traffic.responses) {
        let name = format!("marathon.http.responses.{class}xx.counter");
        metrics.counters.insert(name, count.load(Ordering::Relaxed));
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_dots_and_dashes_in_the_prometheus_form() {
        let mut metrics = Metrics::default();
        metrics.gauges.insert("marathon.a-b.gauge".to_owned(), 1.5);
        metrics.counters.insert("marathon.c.counter".to_owned(), 2);
        assert_eq!(
            exposition(&metrics),
            "# TYPE marathon_a_b_gauge gauge\nmarathon_a_b_gauge 1.5\n\
             # TYPE marathon_c_counter counter\nmarathon_c_counter 2\n"
        );
    }
}
