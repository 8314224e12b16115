//! Health checks (`marathon-behaviour.md` section 8).

use tepui_marathon::{EventPayload, HealthCheck, InstanceId, TaskFailure, TaskId, Version};
use tepui_types::{Span, TaskState};
use tepui_wire::v1::TaskStatus;

use crate::machine::Apps;
use crate::out::Out;
use crate::probes::Purpose;
use crate::timers::Timer;
use crate::{Condition, ProbeOutcome};

/// The first probe comes no later than this.
const FIRST_PROBE: Span = Span::from_secs(5);

/// What one check says of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckState {
    /// Last verdict, unknown until the first one that counts.
    pub(crate) alive: Option<bool>,
    pub(crate) consecutive_failures: u32,
    pub(crate) first_success: Option<Version>,
    pub(crate) last_success: Option<Version>,
    pub(crate) last_failure: Option<Version>,
    pub(crate) cause: Option<String>,
}

/// What a probe says of health: good, bad and why, or nothing.
fn judge(check: &HealthCheck, outcome: &ProbeOutcome) -> Option<Result<(), String>> {
    match outcome {
        ProbeOutcome::Connected => Some(Ok(())),
        ProbeOutcome::Answered { status, .. } => match status {
            200..=399 => Some(Ok(())),
            100..=199 if check.ignore_http_1xx => None,
            status => Some(Err(format!("HTTP status {status}"))),
        },
        ProbeOutcome::Failed { reason } => Some(Err(reason.clone())),
    }
}

fn interval(check: &HealthCheck) -> Span {
    Span::from_secs(check.interval_seconds.max(1).into())
}

impl Apps {
    /// The task runs: its leader-run checks begin.
    pub(crate) fn begin_checks(&mut self, id: &InstanceId, out: &Out<'_>) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some(task) = instance.task() else { return };
        let checks = instance.app.health_checks.iter().enumerate();
        for (index, check) in checks.filter(|(_, check)| !check.protocol.runs_at_agent()) {
            let first = interval(check).min(FIRST_PROBE);
            self.timers.set(out.mono() + first, Timer::Check(task.id.clone(), index));
        }
    }

    pub(crate) fn check_due(&mut self, task: &TaskId, index: usize, out: &Out<'_>) {
        let Some(instance) = self.instances.of_task(task) else { return };
        let Some(check) = instance.app.health_checks.get(index) else { return };
        let next = out.mono() + interval(check);
        if instance.condition() == Condition::Running {
            self.probes.request(Purpose::Check(task.clone(), index));
        }
        self.timers.set(next, Timer::Check(task.clone(), index));
    }

    pub(crate) fn check_probed(
        &mut self,
        task: &TaskId,
        index: usize,
        outcome: &ProbeOutcome,
        out: &mut Out<'_>,
    ) {
        let Some(instance) = self.instances.of_task(task) else { return };
        let Some(check) = instance.app.health_checks.get(index) else { return };
        let Some(verdict) = judge(check, outcome) else { return };
        let in_grace = instance.running.is_none_or(|since| {
            out.mono().since(since) < Span::from_secs(check.grace_period_seconds.into())
        });
        let had_success =
            instance.checks.get(index).is_some_and(|state| state.first_success.is_some());
        if verdict.is_err() && in_grace && !had_success {
            return;
        }
        let id = instance.id().clone();
        self.check_says(&id, index, verdict, true, out);
    }

    /// An agent-run check has reported.
    pub(crate) fn agent_says(
        &mut self,
        id: &InstanceId,
        healthy: bool,
        status: &TaskStatus,
        out: &mut Out<'_>,
    ) {
        let Some(instance) = self.instances.get(id) else { return };
        let index =
            instance.app.health_checks.iter().position(|check| check.protocol.runs_at_agent());
        let Some(index) = index else { return };
        let alive = instance.checks.get(index).and_then(|state| state.alive);
        if healthy && alive == Some(true) {
            return;
        }
        let why = status.message.clone().unwrap_or_else(|| "the agent's check failed".to_owned());
        self.check_says(id, index, if healthy { Ok(()) } else { Err(why) }, false, out);
    }

    fn check_says(
        &mut self,
        id: &InstanceId,
        index: usize,
        verdict: Result<(), String>,
        may_kill: bool,
        out: &mut Out<'_>,
    ) {
        let stamp = out.stamp();
        let Some(instance) = self.instances.get_mut(id) else { return };
        let app = instance.app.clone();
        let Some(check) = app.health_checks.get(index) else { return };
        let Some(state) = instance.checks.get_mut(index) else { return };
        let alive = verdict.is_ok();
        let changed = state.alive != Some(alive);
        state.alive = Some(alive);
        if alive {
            state.first_success.get_or_insert(stamp);
            state.last_success = Some(stamp);
            state.consecutive_failures = 0;
        } else {
            state.last_failure = Some(stamp);
            state.consecutive_failures = state.consecutive_failures.saturating_add(1);
            state.cause = verdict.err();
        }
        let failures = state.consecutive_failures;
        let version = instance.version();
        if !alive {
            out.publish(EventPayload::FailedHealthCheck {
                app_id: app.id.clone(),
                task_id: id.clone(),
                health_check: check.clone(),
            });
        }
        if changed {
            out.publish(EventPayload::HealthStatusChanged {
                app_id: app.id.clone(),
                instance_id: id.clone(),
                version,
                alive,
            });
            self.refresh_health(id, out);
        }
        let most = check.max_consecutive_failures;
        if may_kill && !alive && most > 0 && failures >= most {
            self.kill_unhealthy(id, index, out);
        }
    }

    /// Publishes the overall verdict if it changed.
    fn refresh_health(&mut self, id: &InstanceId, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let verdict = instance.verdict();
        self.dirty.insert(id.run_spec().clone());
        if instance.healthy == verdict {
            return;
        }
        instance.healthy = verdict;
        out.publish(EventPayload::InstanceHealthChanged {
            instance_id: id.clone(),
            run_spec_id: instance.app_id().clone(),
            healthy: verdict,
            run_spec_version: instance.version(),
        });
    }

    fn kill_unhealthy(&mut self, id: &InstanceId, index: usize, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        if instance.killing || instance.condition() != Condition::Running {
            return;
        }
        instance.killed_for_health = true;
        let cause = instance.checks.get(index).and_then(|state| state.cause.clone());
        self.tell_of_unhealthy_kill(id, cause.unwrap_or_default(), out);
        self.kill_task_of(id);
    }

    /// The agent ended the task because its check failed too often.
    pub(crate) fn killed_by_agent(
        &mut self,
        id: &InstanceId,
        status: &TaskStatus,
        out: &mut Out<'_>,
    ) {
        let Some(instance) = self.instances.get(id) else { return };
        let checks = instance.app.health_checks.iter().zip(&instance.checks);
        let cause = checks
            .filter(|(check, _)| check.protocol.runs_at_agent())
            .find_map(|(_, state)| state.cause.clone())
            .or_else(|| status.message.clone());
        self.tell_of_unhealthy_kill(id, cause.unwrap_or_default(), out);
    }

    fn tell_of_unhealthy_kill(&mut self, id: &InstanceId, cause: String, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some(task) = instance.record.task.clone() else { return };
        let (app_id, version) = (instance.app_id().clone(), instance.version());
        out.publish(EventPayload::UnhealthyInstanceKill {
            app_id: app_id.clone(),
            task_id: task.id.clone(),
            instance_id: id.clone(),
            version,
            reason: cause.clone(),
            host: task.hostname.clone(),
            slave_id: task.agent_id.clone(),
        });
        let failure = TaskFailure {
            app_id,
            host: task.hostname,
            message: format!("Task was killed since health check failed. Reason: {cause}"),
            state: TaskState::Killed,
            task_id: task.id,
            timestamp: out.stamp(),
            version,
            slave_id: Some(task.agent_id),
        };
        self.record_failure(failure, out);
    }
}
