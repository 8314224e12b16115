//! What clients read (`marathon-api.md` sections 2 to 8).

use std::sync::Arc;

use tepui_marathon::{
    App, AppId, CurrentAction, Deployment as PublicDeployment, DeploymentRef, Group, GroupId,
    Health, InstanceId, LifeTime, Queue, QueueDelay, QueueItem, ReadinessCheckResult, Task,
    TaskCounts, TaskFailure, TaskId, TaskStats, TaskStatsByVersion, Version,
};
use tepui_types::{FrameworkId, Now, Span};

use crate::counters::Counters;
use crate::deployments::Deployment;
use crate::instance::Instance;
use crate::machine::Apps;
use crate::out::stamp;
use crate::{Condition, Config};

/// Numbers of the moment (`marathon-behaviour.md` section 18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Apps.
    pub apps: usize,
    /// Groups, with the root.
    pub groups: usize,
    /// Running deployments.
    pub deployments: usize,
    /// Instances that run.
    pub instances_running: usize,
    /// Instances that were handed over and do not run yet.
    pub instances_staged: usize,
    /// Launches that take too long.
    pub launch_overdue: usize,
    /// Kills sent and not confirmed.
    pub inflight_kills: usize,
    /// Attempts at those kills.
    pub inflight_kill_attempts: u64,
    /// How long this process has led.
    pub leadership: Span,
}

impl Apps {
    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The id under which the apps are registered with the cluster.
    #[must_use]
    pub fn framework_id(&self) -> Option<&FrameworkId> {
        self.session.framework.as_ref()
    }

    /// Whether the scheduler stream stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.session.connected
    }

    /// The definitions in force. Cheap to clone.
    #[must_use]
    pub fn root(&self) -> &Arc<Group> {
        self.catalog.root()
    }

    /// An app's definition in force.
    #[must_use]
    pub fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        self.catalog.app(id)
    }

    /// Versions of an app, newest first; empty for an app that was never known.
    #[must_use]
    pub fn app_versions(&self, id: &AppId) -> Vec<Version> {
        self.catalog.app_versions(id)
    }

    /// The definition that a version of an app made.
    #[must_use]
    pub fn app_at(&self, id: &AppId, version: Version) -> Option<&Arc<App>> {
        self.catalog.revision(id, version)
    }

    /// Versions of a group, newest first.
    #[must_use]
    pub fn group_versions(&self, id: &GroupId) -> Vec<Version> {
        self.catalog.group_versions(id, self.config.max_versions)
    }

    /// A group as of a version.
    #[must_use]
    pub fn group_at(&self, id: &GroupId, version: Version) -> Option<Group> {
        self.catalog.root_at(version)?.group(id).cloned()
    }

    /// How many tasks of an app are in which state.
    #[must_use]
    pub fn counts(&self, app: &AppId) -> TaskCounts {
        count(self.instances.of_app(app))
    }

    /// Tasks of an app.
    #[must_use]
    pub fn tasks(&self, app: &AppId) -> Vec<Task> {
        self.instances.of_app(app).filter_map(task).collect()
    }

    /// Tasks of all apps.
    #[must_use]
    pub fn all_tasks(&self) -> Vec<Task> {
        self.instances.iter().filter_map(task).collect()
    }

    /// One task.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<Task> {
        self.instances.of_task(id).and_then(task)
    }

    pub(crate) fn task_of(&self, id: &InstanceId) -> Option<Task> {
        self.instances.get(id).and_then(task)
    }

    /// Running deployments that touch an app.
    #[must_use]
    pub fn deployments_of(&self, app: &AppId) -> Vec<DeploymentRef> {
        self.locks.get(app).map(|id| DeploymentRef { id: *id }).into_iter().collect()
    }

    /// The most recent failure of an app.
    #[must_use]
    pub fn last_task_failure(&self, app: &AppId) -> Option<&TaskFailure> {
        self.failures.get(app)
    }

    /// Results of an app's readiness checks; empty outside of deployments.
    #[must_use]
    pub fn readiness(&self, app: &AppId) -> Vec<ReadinessCheckResult> {
        if !self.locks.contains_key(app) {
            return Vec::new();
        }
        self.instances.of_app(app).filter_map(|instance| instance.readiness.clone()).collect()
    }

    /// Statistics of an app's tasks.
    #[must_use]
    pub fn task_stats(&self, app: &AppId, now: Now) -> TaskStatsByVersion {
        let Some(definition) = self.catalog.app(app) else { return TaskStatsByVersion::default() };
        let info = definition.version_info;
        let stats = |keep: &dyn Fn(&Instance) -> bool| {
            let chosen = self.instances.of_app(app).filter(|i| i.task().is_some() && keep(i));
            statistics(chosen.collect(), now)
        };
        TaskStatsByVersion {
            started_after_last_scaling: stats(&|instance| {
                instance.version() >= info.last_scaling_at
            }),
            with_latest_config: stats(&|instance| instance.version() >= info.last_config_change_at),
            with_outdated_config: stats(&|instance| {
                instance.version() < info.last_config_change_at
            }),
            total_summary: stats(&|_| true),
        }
    }

    /// Running deployments, oldest first.
    #[must_use]
    pub fn deployments(&self) -> Vec<PublicDeployment> {
        let mut all: Vec<&Deployment> = self.deployments.values().collect();
        all.sort_by_key(|deployment| (deployment.record.version, deployment.record.id));
        all.into_iter().map(|deployment| self.public_deployment(deployment)).collect()
    }

    fn public_deployment(&self, deployment: &Deployment) -> PublicDeployment {
        let current = deployment.actions().iter().map(|action| CurrentAction {
            action: action.action,
            app: action.app.clone(),
            readiness_check_results: self.readiness(&action.app),
        });
        PublicDeployment {
            id: deployment.record.id,
            version: deployment.record.version,
            affected_apps: deployment.record.apps.keys().cloned().collect(),
            steps: deployment.record.steps.clone(),
            current_actions: current.collect(),
            current_step: deployment.step_number(),
        }
    }

    /// Whether an app waits in the queue.
    #[must_use]
    pub fn is_queued(&self, app: &AppId) -> bool {
        self.queue.contains_key(app)
    }

    /// The launch queue; the last unused offers only on request, for they are many.
    #[must_use]
    pub fn queue(&self, now: Now, last_unused_offers: bool) -> Queue {
        let items = self.queue.iter().filter_map(|(id, waiting)| {
            let app = self.catalog.app(id).cloned()?;
            let left = self.delays.until(id).map_or(Span::ZERO, |until| until.since(now.mono));
            Some(QueueItem {
                count: waiting.count.saturating_add(self.backlog.get(id).copied().unwrap_or(0)),
                delay: QueueDelay {
                    time_left_seconds: left.as_millis().div_ceil(1000),
                    overdue: left == Span::ZERO,
                },
                since: waiting.since,
                processed_offers_summary: waiting.summary(),
                last_unused_offers: last_unused_offers.then(|| waiting.unused_offers()),
                app,
            })
        });
        Queue { queue: items.collect() }
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Numbers of the moment.
    #[must_use]
    pub fn gauges(&self, now: Now) -> Gauges {
        let mut gauges = Gauges {
            deployments: self.deployments.len(),
            inflight_kills: self.kills.in_flight(),
            inflight_kill_attempts: self.kills.attempts(),
            leadership: self.started.map_or(Span::ZERO, |at| now.mono.since(at.mono)),
            ..Gauges::default()
        };
        self.catalog.root().visit(&mut |group| {
            gauges.groups += 1;
            gauges.apps += group.apps.len();
        });
        let timeout = self.config.task_launch_timeout;
        for instance in self.instances.iter() {
            gauges.instances_running += usize::from(instance.condition() == Condition::Running);
            let launching = instance.condition().is_launching();
            gauges.instances_staged += usize::from(launching);
            let late = instance.launched.is_some_and(|at| now.mono.since(at) > timeout);
            gauges.launch_overdue += usize::from(launching && late);
        }
        gauges
    }
}

fn count<'a>(instances: impl Iterator<Item = &'a Instance>) -> TaskCounts {
    let mut counts = TaskCounts::default();
    for instance in instances {
        counts.tasks_staged += u32::from(instance.condition().is_launching());
        if instance.condition() == Condition::Running {
            counts.tasks_running += 1;
            counts.tasks_healthy += u32::from(instance.verdict() == Some(true));
            let none_pending = instance.checks.iter().all(|check| check.alive.is_some());
            counts.tasks_unhealthy += u32::from(instance.verdict() == Some(false) && none_pending);
        }
    }
    counts
}

/// The task of an instance, while it has one.
fn task(instance: &Instance) -> Option<Task> {
    let task = instance.task()?;
    let results = instance.checks.iter().filter_map(|check| {
        Some(Health {
            alive: check.alive?,
            consecutive_failures: check.consecutive_failures,
            instance_id: instance.id().clone(),
            first_success: check.first_success,
            last_success: check.last_success,
            last_failure: check.last_failure,
            last_failure_cause: check.cause.clone(),
        })
    });
    Some(Task {
        id: task.id.clone(),
        app_id: instance.app_id().clone(),
        host: task.hostname.clone(),
        slave_id: Some(task.agent_id.clone()),
        ports: task.host_ports.clone(),
        service_ports: instance.app.service_ports().collect(),
        ip_addresses: task.ip_addresses.clone(),
        state: task.state,
        staged_at: Some(task.staged_at),
        started_at: task.started_at,
        version: Some(instance.version()),
        health_check_results: results.collect(),
        check_result: instance.check_result.clone(),
        local_volumes: Vec::new(),
        region: task.region.clone(),
        zone: task.zone.clone(),
        role: instance.record.role.clone(),
    })
}

#[allow(clippy::cast_precision_loss, reason = "ages in milliseconds are far below 2^52")]
fn statistics(instances: Vec<&Instance>, now: Now) -> Option<TaskStats> {
    if instances.is_empty() {
        return None;
    }
    let now = stamp(now).as_millis();
    let started = instances.iter().filter_map(|instance| instance.task()?.started_at);
    let mut ages: Vec<i64> = started.map(|at| now.saturating_sub(at.as_millis()).max(0)).collect();
    ages.sort_unstable();
    let life_time = (!ages.is_empty()).then(|| {
        let middle = ages.len() / 2;
        let median = if ages.len().is_multiple_of(2) {
            (ages[middle - 1] + ages[middle]) as f64 / 2.0
        } else {
            ages[middle] as f64
        };
        let total: i64 = ages.iter().sum();
        LifeTime {
            average_seconds: total as f64 / ages.len() as f64 / 1000.0,
            median_seconds: median / 1000.0,
        }
    });
    Some(TaskStats { counts: count(instances.into_iter()), life_time })
}
