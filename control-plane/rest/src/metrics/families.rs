//! Our own families about apps, for the control plane's `GET /metrics` (`conventions.md` 2.3).

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tepui_apps::{AppFigures, Counters, WaitReason};
use tepui_marathon::RejectReason;
use tepui_types::{Now, TaskState};
use tepui_wire::v1::task_status;

/// A family could not be made: a mistake in this file, found by its test.
type Outcome<T> = prometheus::Result<T>;

/// Every reason for which apps wait.
fn wait_reasons() -> impl Iterator<Item = WaitReason> {
    [WaitReason::Delayed, WaitReason::NoOffers]
        .into_iter()
        .chain(RejectReason::ALL.map(WaitReason::Rejected))
}

/// Why offers were declined where no app wanted one.
const NOT_NEEDED: &str = "NotNeeded";

/// What was looked at, apart from the families made of it: looking holds up the control plane.
#[derive(Clone, Debug)]
pub struct AppsLook {
    figures: Vec<AppFigures>,
    counters: Counters,
    deployments: usize,
}

impl AppsLook {
    /// Looks at the apps.
    #[must_use]
    pub fn of(apps: &tepui_apps::Apps, now: Now) -> Self {
        Self {
            figures: apps.figures(now),
            counters: apps.counters().clone(),
            deployments: apps.gauges(now).deployments,
        }
    }

    /// The families.
    ///
    /// # Errors
    /// When a family cannot be made: a mistake in this file, found by its test.
    pub fn families(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let registry = Registry::new();
        self.instances(&registry)?;
        self.waits(&registry)?;
        self.deployments(&registry)?;
        self.ends(&registry)?;
        self.declines(&registry)?;
        Ok(registry.gather())
    }

    fn instances(&self, registry: &Registry) -> Outcome<()> {
        let apps = register(registry, IntGauge::new("tepui_apps", "Apps")?)?;
        apps.set(self.figures.len().try_into().unwrap_or(i64::MAX));
        let wanted = gauges(
            registry,
            ("tepui_app_instances_wanted", "Instances that the app is to have"),
            &["app"],
        )?;
        let states = gauges(
            registry,
            ("tepui_app_instances", "Instances of the app by where they are"),
            &["app", "state"],
        )?;
        let healthy = gauges(
            registry,
            ("tepui_app_instances_healthy", "Of those that run: all health checks pass"),
            &["app"],
        )?;
        let unhealthy = gauges(
            registry,
            ("tepui_app_instances_unhealthy", "Of those that run: a health check fails"),
            &["app"],
        )?;
        for app in &self.figures {
            let id = app.id.as_str();
            wanted.with_label_values(&[id]).set(app.wanted.into());
            let counts = &app.instances;
            for (state, count) in [
                ("waiting", counts.waiting),
                ("staged", counts.staged),
                ("running", counts.running),
                ("killing", counts.killing),
                ("unreachable", counts.unreachable),
            ] {
                states.with_label_values(&[id, state]).set(count.into());
            }
            healthy.with_label_values(&[id]).set(app.healthy.0.into());
            unhealthy.with_label_values(&[id]).set(app.healthy.1.into());
        }
        Ok(())
    }

    fn waits(&self, registry: &Registry) -> Outcome<()> {
        let waiting = gauges(
            registry,
            ("tepui_app_waiting_instances", "Instances of the app that wait, and what for"),
            &["app", "reason"],
        )?;
        let queued = gauges(
            registry,
            ("tepui_queue_apps", "Apps with instances that wait, by what for"),
            &["reason"],
        )?;
        let mut apps: BTreeMap<&str, i64> = wait_reasons().map(|one| (one.name(), 0)).collect();
        for app in &self.figures {
            let Some(reason) = app.waits else { continue };
            let count = i64::from(app.instances.waiting);
            waiting.with_label_values(&[app.id.as_str(), reason.name()]).set(count);
            *apps.entry(reason.name()).or_default() += 1;
        }
        for (reason, count) in apps {
            queued.with_label_values(&[reason]).set(count);
        }
        Ok(())
    }

    fn deployments(&self, registry: &Registry) -> Outcome<()> {
        let running = IntGauge::new("tepui_deployments", "Deployments under way")?;
        let running = register(registry, running)?;
        running.set(self.deployments.try_into().unwrap_or(i64::MAX));
        let opts = Opts::new(
            "tepui_app_deployment_age_seconds",
            "Since when a deployment changes the app; absent without one",
        );
        let ages = register(registry, GaugeVec::new(opts, &["app"])?)?;
        for app in &self.figures {
            let Some(age) = app.deploying else { continue };
            ages.with_label_values(&[app.id.as_str()]).set(age.as_secs_f64());
        }
        Ok(())
    }

    fn ends(&self, registry: &Registry) -> Outcome<()> {
        let exits = counters(
            registry,
            ("tepui_app_exits_total", "Ends of the app's tasks by state and reason"),
            &["app", "state", "reason"],
        )?;
        let restarts = counters(
            registry,
            ("tepui_task_restarts_total", "Launches of instances that had a task before"),
            &["app"],
        )?;
        for app in &self.figures {
            let id = app.id.as_str();
            restarts.with_label_values(&[id]).inc_by(app.counters.restarts);
            // Alerts look for its rise, which a series that begins with 1 does not show.
            exits.with_label_values(&[id, "failed", "container_limitation_memory"]);
            for ((state, reason), count) in &app.counters.exits {
                let (state, reason) = (state_name(*state), reason_name(*reason));
                exits.with_label_values(&[id, &state, &reason]).inc_by(*count);
            }
        }
        Ok(())
    }

    fn declines(&self, registry: &Registry) -> Outcome<()> {
        let declined = counters(
            registry,
            (
                "tepui_offers_declined_total",
                "Offers to apps that were declined, by what they lacked",
            ),
            &["reason"],
        )?;
        let reasons = RejectReason::ALL.into_iter().map(Some).chain([None]);
        for reason in reasons {
            let count = self.counters.declined_for.get(&reason).copied().unwrap_or(0);
            let name = reason.map_or(NOT_NEEDED, RejectReason::name);
            declined.with_label_values(&[name]).inc_by(count);
        }
        Ok(())
    }
}

fn state_name(state: TaskState) -> String {
    state.wire_name().trim_start_matches("TASK_").to_lowercase()
}

fn reason_name(reason: Option<i32>) -> String {
    let known = reason.and_then(|number| task_status::Reason::try_from(number).ok());
    known.map_or_else(
        || "none".to_owned(),
        |reason| reason.as_str_name().trim_start_matches("REASON_").to_lowercase(),
    )
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> Outcome<C> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauges(
    registry: &Registry,
    (name, help): (&str, &str),
    labels: &[&str],
) -> Outcome<IntGaugeVec> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn counters(
    registry: &Registry,
    (name, help): (&str, &str),
    labels: &[&str],
) -> Outcome<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, TextEncoder};
    use tepui_apps::{AppCounters, InstanceCounts};
    use tepui_marathon::AppId;
    use tepui_types::Span;

    use super::*;

    fn shop() -> AppFigures {
        let failed =
            (TaskState::Failed, Some(task_status::Reason::ContainerLimitationMemory.into()));
        AppFigures {
            id: AppId::parse("/shop/cart").unwrap(),
            wanted: 3,
            instances: InstanceCounts { waiting: 1, running: 2, ..InstanceCounts::default() },
            healthy: (1, 1),
            waits: Some(WaitReason::Rejected(RejectReason::InsufficientMemory)),
            deploying: Some(Span::from_secs(7)),
            counters: AppCounters { exits: [(failed, 4)].into(), restarts: 4 },
        }
    }

    #[test]
    fn an_app_is_shown_with_what_it_waits_for_and_how_its_tasks_ended() {
        let mut counters = Counters::default();
        counters.declined_for.insert(None, 5);
        counters.declined_for.insert(Some(RejectReason::InsufficientMemory), 2);
        let look = AppsLook { figures: vec![shop()], counters, deployments: 1 };
        let mut text = Vec::new();
        TextEncoder::new().encode(&look.families().unwrap(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "tepui_apps 1",
            r#"tepui_app_instances_wanted{app="/shop/cart"} 3"#,
            r#"tepui_app_instances{app="/shop/cart",state="running"} 2"#,
            r#"tepui_app_instances_unhealthy{app="/shop/cart"} 1"#,
            r#"tepui_app_waiting_instances{app="/shop/cart",reason="InsufficientMemory"} 1"#,
            r#"tepui_queue_apps{reason="InsufficientMemory"} 1"#,
            r#"tepui_queue_apps{reason="Delayed"} 0"#,
            "tepui_deployments 1",
            r#"tepui_app_deployment_age_seconds{app="/shop/cart"} 7"#,
            r#"tepui_app_exits_total{app="/shop/cart",reason="container_limitation_memory",state="failed"} 4"#,
            r#"tepui_task_restarts_total{app="/shop/cart"} 4"#,
            r#"tepui_offers_declined_total{reason="NotNeeded"} 5"#,
            r#"tepui_offers_declined_total{reason="InsufficientMemory"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
