//! Running deployments: steps one after the other, each action carried on by whatever happens to
//! its app's instances (`marathon-behaviour.md` section 9).

use std::collections::BTreeSet;

use tepui_marathon::{Action, ActionKind, AppId, EventPayload, Plan, StepPlan};
use tepui_types::Uuid;

use crate::machine::Apps;
use crate::out::Out;
use crate::{DeploymentRecord, Record, RecordKey};

/// A running deployment.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) record: DeploymentRecord,
    /// Index of the running step.
    pub(crate) step: usize,
    /// The running step was announced.
    begun: bool,
    /// Apps whose action of the running step is done.
    done: BTreeSet<AppId>,
}

impl Deployment {
    pub(crate) fn new(record: DeploymentRecord) -> Self {
        Self { record, step: 0, begun: false, done: BTreeSet::new() }
    }

    fn plan(&self) -> Plan {
        plan(&self.record)
    }

    /// What the running step does.
    pub(crate) fn actions(&self) -> &[Action] {
        self.record.steps.get(self.step).map_or(&[], |step| &step.actions)
    }

    /// 1-based number of the running step, 0 before the first.
    pub(crate) fn step_number(&self) -> u32 {
        if self.begun { u32::try_from(self.step + 1).unwrap_or(u32::MAX) } else { 0 }
    }
}

pub(crate) fn plan(record: &DeploymentRecord) -> Plan {
    Plan { id: record.id, steps: record.steps.clone(), version: record.version }
}

impl Apps {
    /// Starts a deployment, durably.
    pub(crate) fn start_deployment(&mut self, record: DeploymentRecord, out: &mut Out<'_>) {
        self.counters.deployments += 1;
        if record.steps.is_empty() {
            let plan = plan(&record);
            out.publish(EventPayload::DeploymentSuccess { id: record.id, plan });
            return;
        }
        out.save(Record::Deployment(Box::new(record.clone())));
        self.resume_deployment(record);
    }

    /// Carries on a deployment that is stored.
    pub(crate) fn resume_deployment(&mut self, record: DeploymentRecord) {
        for app in record.apps.keys() {
            self.locks.insert(app.clone(), record.id);
            self.dirty.insert(app.clone());
        }
        self.deployments.insert(record.id, Deployment::new(record));
    }

    /// Whether a rolling update of the app is under way.
    pub(crate) fn is_restarting(&self, app: &AppId) -> bool {
        let deployment = self.locks.get(app).and_then(|id| self.deployments.get(id));
        deployment.is_some_and(|deployment| {
            let mut actions = deployment.actions().iter();
            actions
                .any(|action| action.app == *app && action.action == ActionKind::RestartApplication)
        })
    }

    /// Does what can be done now.
    pub(crate) fn advance(&mut self, id: Uuid, out: &mut Out<'_>) {
        loop {
            let Some(deployment) = self.deployments.get_mut(&id) else { return };
            let Some(step) = deployment.record.steps.get(deployment.step).cloned() else {
                self.finish_deployment(id, out);
                return;
            };
            if !deployment.begun {
                deployment.begun = true;
                deployment.done.clear();
                let plan = StepPlan(deployment.plan());
                out.publish(EventPayload::DeploymentInfo { plan, current_step: step.clone() });
                for action in &step.actions {
                    self.begin_action(action, out);
                }
            }
            for action in &step.actions {
                let deployment = self.deployments.get(&id);
                if deployment.is_some_and(|deployment| !deployment.done.contains(&action.app))
                    && self.run_action(action, id, out)
                    && let Some(deployment) = self.deployments.get_mut(&id)
                {
                    deployment.done.insert(action.app.clone());
                }
            }
            let Some(deployment) = self.deployments.get_mut(&id) else { return };
            if step.actions.iter().any(|action| !deployment.done.contains(&action.app)) {
                return;
            }
            let plan = StepPlan(deployment.plan());
            deployment.step += 1;
            deployment.begun = false;
            out.publish(EventPayload::DeploymentStepSuccess { plan, current_step: step });
        }
    }

    fn finish_deployment(&mut self, id: Uuid, out: &mut Out<'_>) {
        let Some(deployment) = self.take_deployment(id, out) else { return };
        let plan = deployment.plan();
        out.publish(EventPayload::DeploymentSuccess { id, plan });
    }

    /// Stops a deployment where it is.
    pub(crate) fn cancel_deployment(&mut self, id: Uuid, reason: &str, out: &mut Out<'_>) {
        let Some(deployment) = self.take_deployment(id, out) else { return };
        self.counters.deployments_dismissed += 1;
        let plan = deployment.plan();
        let reason = Some(reason.to_owned());
        // It stays half-done; the next scale check sees to the number of instances.
        out.publish(EventPayload::DeploymentFailed { id, plan, reason });
    }

    fn take_deployment(&mut self, id: Uuid, out: &mut Out<'_>) -> Option<Deployment> {
        let deployment = self.deployments.remove(&id)?;
        for app in deployment.record.apps.keys() {
            if self.locks.get(app) == Some(&id) {
                self.locks.remove(app);
            }
            self.dirty.insert(app.clone());
        }
        out.forget(RecordKey::Deployment(id));
        Some(deployment)
    }
}
