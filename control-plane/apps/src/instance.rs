//! One instance with everything that is not durable about it.

use std::sync::Arc;

use tepui_marathon::{App, AppId, CheckResult, InstanceId, ReadinessCheckResult, TaskId, Version};
use tepui_types::Mono;

use crate::health::CheckState;
use crate::{Condition, Goal, InstanceRecord, TaskRecord};

impl Condition {
    /// The name in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "Scheduled",
            Self::Provisioned => "Provisioned",
            Self::Staging => "Staging",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Killing => "Killing",
            Self::Unreachable => "Unreachable",
            Self::UnreachableInactive => "UnreachableInactive",
            Self::Finished => "Finished",
            Self::Failed => "Failed",
            Self::Killed => "Killed",
            Self::Error => "Error",
            Self::Gone => "Gone",
            Self::Dropped => "Dropped",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished
                | Self::Failed
                | Self::Killed
                | Self::Error
                | Self::Gone
                | Self::Dropped
                | Self::Unknown
        )
    }

    /// Whether the instance has a place: "active" in `marathon-behaviour.md` section 2.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(
            self,
            Self::Provisioned
                | Self::Staging
                | Self::Starting
                | Self::Running
                | Self::Killing
                | Self::Unreachable
        )
    }

    /// Whether the agent does not answer.
    #[must_use]
    pub fn is_unreachable(self) -> bool {
        matches!(self, Self::Unreachable | Self::UnreachableInactive)
    }

    /// Whether the task was handed over and does not run yet.
    #[must_use]
    pub fn is_launching(self) -> bool {
        matches!(self, Self::Provisioned | Self::Staging | Self::Starting)
    }
}

/// One instance.
#[derive(Debug)]
pub(crate) struct Instance {
    /// What is durable.
    pub(crate) record: InstanceRecord,
    /// The definition it runs, or will run.
    pub(crate) app: Arc<App>,
    /// Whether the record was ever saved.
    pub(crate) saved: bool,
    /// A kill of its task was asked for.
    pub(crate) killing: bool,
    /// It was killed for its health; then no message of the cluster explains the failure better.
    pub(crate) killed_for_health: bool,
    /// When the task was handed over.
    pub(crate) launched: Option<Mono>,
    /// When the task began to run.
    pub(crate) running: Option<Mono>,
    /// One state per health check of `app`.
    pub(crate) checks: Vec<CheckState>,
    /// Overall health as last published.
    pub(crate) healthy: Option<bool>,
    /// Passed its readiness check.
    pub(crate) ready: bool,
    /// Last verdict of the readiness check.
    pub(crate) readiness: Option<ReadinessCheckResult>,
    /// Whether a readiness probe or its timer is under way.
    pub(crate) readiness_begun: bool,
    /// Last result of the general check.
    pub(crate) check_result: Option<CheckResult>,
    /// The cluster has spoken of the task since this process leads.
    pub(crate) confirmed: bool,
    /// When an unreachable instance is replaced, and when it is forgotten.
    pub(crate) unreachable_deadlines: Option<(Mono, Mono)>,
}

impl Instance {
    pub(crate) fn new(record: InstanceRecord, app: Arc<App>, saved: bool) -> Self {
        let mut instance = Self {
            record,
            app,
            saved,
            killing: false,
            killed_for_health: false,
            launched: None,
            running: None,
            checks: Vec::new(),
            healthy: None,
            ready: false,
            readiness: None,
            readiness_begun: false,
            check_result: None,
            confirmed: false,
            unreachable_deadlines: None,
        };
        instance.reset_observations();
        instance
    }

    /// Forgets what was seen of the task.
    pub(crate) fn reset_observations(&mut self) {
        self.killing = false;
        self.killed_for_health = false;
        self.launched = None;
        self.running = None;
        self.checks = vec![CheckState::default(); self.app.health_checks.len()];
        self.healthy = None;
        self.ready = self.app.readiness_checks.is_empty();
        self.readiness = None;
        self.readiness_begun = false;
        self.check_result = None;
        self.confirmed = false;
        self.unreachable_deadlines = None;
    }

    pub(crate) fn id(&self) -> &InstanceId {
        &self.record.id
    }

    pub(crate) fn app_id(&self) -> &AppId {
        self.record.id.run_spec()
    }

    pub(crate) fn version(&self) -> Version {
        self.record.version
    }

    pub(crate) fn condition(&self) -> Condition {
        self.record.condition
    }

    pub(crate) fn task(&self) -> Option<&TaskRecord> {
        self.record.task.as_ref()
    }

    pub(crate) fn has_task(&self, task: &TaskId) -> bool {
        self.record.task.as_ref().is_some_and(|mine| mine.id == *task)
    }

    pub(crate) fn wants_to_run(&self) -> bool {
        self.record.goal == Goal::Running
    }

    /// Waits for an offer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.wants_to_run() && self.condition() == Condition::Scheduled
    }

    /// Counts towards the wanted number of instances.
    pub(crate) fn counts(&self) -> bool {
        self.wants_to_run() && self.condition() != Condition::UnreachableInactive
    }

    /// The verdict of all health checks: dead if one says so, unknown while one has not reported.
    /// Without checks there is no verdict.
    pub(crate) fn verdict(&self) -> Option<bool> {
        if self.checks.is_empty() {
            return None;
        }
        if self.checks.iter().any(|check| check.alive == Some(false)) {
            return Some(false);
        }
        self.checks.iter().all(|check| check.alive == Some(true)).then_some(true)
    }

    /// Runs, is not about to end, and no check says or may yet say otherwise.
    pub(crate) fn is_healthy(&self) -> bool {
        self.wants_to_run()
            && !self.killing
            && self.condition() == Condition::Running
            && self.confirmed
            && (self.checks.is_empty() || self.verdict() == Some(true))
    }

    /// Runs as far as is known, but the cluster or a check has still to say so.
    pub(crate) fn may_be_healthy(&self) -> bool {
        self.wants_to_run()
            && !self.killing
            && self.condition() == Condition::Running
            && (!self.confirmed || (!self.checks.is_empty() && self.verdict().is_none()))
    }

    /// Whether what is known of it is from this process's time as leader.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed || self.task().is_none()
    }

    /// Healthy, and passed its readiness check.
    pub(crate) fn is_serving(&self) -> bool {
        self.is_healthy() && self.ready
    }
}
