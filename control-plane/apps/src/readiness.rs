//! Readiness checks: they hold up deployments, nothing else (`marathon-behaviour.md` section 8).

use tepui_marathon::{AppId, HttpResponse, ReadinessCheckResult, TaskId};
use tepui_types::Span;

use crate::machine::Apps;
use crate::out::Out;
use crate::probes::Purpose;
use crate::timers::Timer;
use crate::{Condition, ProbeOutcome};

impl Apps {
    /// Begins the readiness checks of an app's running instances that are not known to be ready.
    pub(crate) fn begin_readiness(&mut self, app: &AppId) {
        if self.catalog.app(app).is_none_or(|app| app.readiness_checks.is_empty()) {
            return;
        }
        for id in self.instances.ids_of(app) {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            let begin = instance.condition() == Condition::Running
                && !instance.ready
                && !instance.readiness_begun;
            let Some(task) = instance.record.task.as_ref().filter(|_| begin) else { continue };
            instance.readiness_begun = true;
            self.probes.request(Purpose::Readiness(task.id.clone()));
        }
    }

    pub(crate) fn readiness_due(&mut self, task: &TaskId) {
        if !self.locks.contains_key(task.app()) {
            self.readiness_rests(task);
            return;
        }
        if self.instances.of_task(task).is_some_and(|instance| !instance.ready) {
            self.probes.request(Purpose::Readiness(task.clone()));
        }
    }

    /// Nobody asks any more; a later deployment begins again.
    pub(crate) fn readiness_rests(&mut self, task: &TaskId) {
        if let Some(instance) = self.instances.of_task_mut(task) {
            instance.readiness_begun = false;
        }
    }

    pub(crate) fn readiness_probed(
        &mut self,
        task: &TaskId,
        outcome: &ProbeOutcome,
        out: &mut Out<'_>,
    ) {
        let Some(instance) = self.instances.of_task_mut(task) else { return };
        let app = instance.app.clone();
        let Some(check) = app.readiness_checks.first() else { return };
        let response = response(outcome);
        let ready = matches!(outcome, ProbeOutcome::Answered { .. })
            && check.http_status_codes_for_ready.contains(&response.status);
        instance.ready |= ready;
        instance.readiness = Some(ReadinessCheckResult {
            name: check.name.clone(),
            task_id: task.clone(),
            ready,
            last_response: check.preserve_last_response.then_some(response),
        });
        if ready {
            self.dirty.insert(app.id.clone());
        } else {
            let pause = Span::from_secs(check.interval_seconds.max(1).into());
            self.after(pause, Timer::Readiness(task.clone()), out);
        }
    }
}

/// No answer counts as one with status 504.
fn response(outcome: &ProbeOutcome) -> HttpResponse {
    match outcome {
        ProbeOutcome::Answered { status, content_type, body } => {
            HttpResponse { status: *status, content_type: content_type.clone(), body: body.clone() }
        }
        ProbeOutcome::Failed { reason } => HttpResponse {
            status: 504,
            content_type: "text/plain".to_owned(),
            body: reason.clone(),
        },
        ProbeOutcome::Connected => {
            HttpResponse { status: 504, content_type: "text/plain".to_owned(), body: String::new() }
        }
    }
}
