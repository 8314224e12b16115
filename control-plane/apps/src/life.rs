//! The life of instances: made, launched, ended, forgotten (`marathon-behaviour.md` sections 2 and 10).

use std::sync::Arc;

use tepui_marathon::{App, EventPayload, InstanceId, TaskFailure, UnreachableStrategy};
use tepui_types::Span;

use crate::instance::Instance;
use crate::machine::Apps;
use crate::out::Out;
use crate::timers::Timer;
use crate::{Condition, Goal, InstanceRecord, Record, RecordKey};

/// How often overdue launches are looked for.
const OVERDUE_SWEEP: Span = Span::from_secs(5);

impl Apps {
    /// A new instance that waits for an offer. It is stored once it is launched: until then a new
    /// leader makes another one instead.
    pub(crate) fn create_instance(&mut self, app: &Arc<App>, out: &mut Out<'_>) {
        let mut id =
            InstanceId::generate(&app.id, out.stamp().as_millis(), self.entropy.next_u64());
        while self.instances.get(&id).is_some() {
            id = InstanceId::generate(&app.id, out.stamp().as_millis(), self.entropy.next_u64());
        }
        let record = InstanceRecord {
            id: id.clone(),
            version: app.version,
            goal: Goal::Running,
            condition: Condition::Scheduled,
            since: out.stamp(),
            incarnation: 0,
            role: app.role.clone(),
            task: None,
        };
        self.instances.insert(Instance::new(record, Arc::clone(app), false));
        self.publish_condition(&id, out);
        self.dirty.insert(app.id.clone());
    }

    /// The definition that the next launch of an instance uses: the one in force, except while a
    /// deployment has not come to the app yet.
    pub(crate) fn definition_for(&self, instance: &Instance) -> Arc<App> {
        let Some(current) = self.catalog.app(instance.app_id()) else {
            return Arc::clone(&instance.app);
        };
        let same = current.version_info.last_config_change_at
            == instance.app.version_info.last_config_change_at;
        if !same && self.locks.contains_key(&current.id) && self.is_outdated(instance) {
            return Arc::clone(&instance.app);
        }
        Arc::clone(current)
    }

    /// Whether the instance runs an older configuration than the one in force.
    pub(crate) fn is_outdated(&self, instance: &Instance) -> bool {
        self.catalog
            .app(instance.app_id())
            .is_some_and(|app| instance.version() < app.version_info.last_config_change_at)
    }

    /// Makes the instance's record durable; only launched ones are.
    pub(crate) fn save_instance(&mut self, id: &InstanceId, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        if instance.record.incarnation > 0 {
            instance.saved = true;
            out.save(Record::Instance(Box::new(instance.record.clone())));
        }
    }

    pub(crate) fn publish_condition(&self, id: &InstanceId, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get(id) else { return };
        let task = instance.task();
        out.publish(EventPayload::InstanceChanged {
            instance_id: id.clone(),
            condition: instance.condition().name().to_owned(),
            run_spec_id: instance.app_id().clone(),
            agent_id: task.map(|task| task.agent_id.clone()).unwrap_or_default(),
            host: task.map(|task| task.hostname.clone()).unwrap_or_default(),
            run_spec_version: instance.version(),
        });
    }

    /// Changes the condition, durably and visibly.
    pub(crate) fn set_condition(
        &mut self,
        id: &InstanceId,
        condition: Condition,
        out: &mut Out<'_>,
    ) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.record.condition = condition;
        instance.record.since = out.stamp();
        self.dirty.insert(id.run_spec().clone());
        // Where a launch stands is asked again after an election; it need not be stored.
        if !matches!(condition, Condition::Staging | Condition::Starting) {
            self.save_instance(id, out);
        }
        self.publish_condition(id, out);
    }

    /// The task has ended: the instance waits for its next launch, or is gone.
    pub(crate) fn end_task(&mut self, id: &InstanceId, condition: Condition, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.record.condition = condition;
        instance.record.since = out.stamp();
        self.publish_condition(id, out);
        let Some(instance) = self.instances.get_mut(id) else { return };
        let task = instance.record.task.take();
        instance.reset_observations();
        if let Some(task) = task {
            self.kills.done(&task.id);
            self.drop_probes(&task.id, out);
        }
        let Some(instance) = self.instances.get(id) else { return };
        let replaced = self.is_outdated(instance) && self.is_restarting(instance.app_id());
        if !instance.wants_to_run() || replaced || self.catalog.app(instance.app_id()).is_none() {
            self.expunge(id, out);
        } else {
            self.set_condition(id, Condition::Scheduled, out);
        }
    }

    /// Forgets an instance. If its task comes back, it is killed.
    pub(crate) fn expunge(&mut self, id: &InstanceId, out: &mut Out<'_>) {
        let Some(instance) = self.instances.remove(id) else { return };
        if let Some(task) = &instance.record.task {
            self.kills.done(&task.id);
            self.drop_probes(&task.id, out);
            self.give_up(task.id.clone());
        }
        if instance.saved {
            out.forget(RecordKey::Instance(id.clone()));
        }
        self.dirty.insert(id.run_spec().clone());
        self.rescale.insert(id.run_spec().clone());
    }

    /// Ends an instance for good.
    pub(crate) fn decommission(&mut self, id: &InstanceId, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        if instance.record.goal == Goal::Decommissioned {
            return;
        }
        instance.record.goal = Goal::Decommissioned;
        self.dirty.insert(id.run_spec().clone());
        if instance.task().is_none() || instance.condition().is_unreachable() {
            self.publish_condition(id, out);
            self.expunge(id, out);
        } else {
            self.save_instance(id, out);
            self.kill_task_of(id);
        }
    }

    /// Ends the task of an instance; its goal decides what comes after.
    pub(crate) fn kill_task_of(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let Some(task) = instance.record.task.as_ref().filter(|_| !instance.killing) else {
            return;
        };
        instance.killing = true;
        self.kills.request(&task.id);
        self.dirty.insert(id.run_spec().clone());
    }

    /// Kills launches that have taken too long.
    pub(crate) fn kill_overdue_launches(&mut self, out: &Out<'_>) {
        let timeout = self.config.task_launch_timeout;
        let overdue: Vec<InstanceId> = self
            .instances
            .iter()
            .filter(|instance| {
                matches!(instance.condition(), Condition::Provisioned | Condition::Staging)
            })
            .filter(|instance| instance.launched.is_some_and(|at| out.mono().since(at) > timeout))
            .map(|instance| instance.id().clone())
            .collect();
        for id in &overdue {
            self.kill_task_of(id);
        }
        self.after(OVERDUE_SWEEP, Timer::Overdue, out);
    }

    /// The agent does not answer: what happens now depends on the app's strategy.
    /// `passed` is how long that has been so already.
    pub(crate) fn became_unreachable(&mut self, id: &InstanceId, passed: Span, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get(id) else { return };
        if !instance.wants_to_run() {
            self.publish_condition(id, out);
            self.expunge(id, out);
            return;
        }
        let UnreachableStrategy::Enabled { inactive_after_seconds, expunge_after_seconds } =
            instance.app.unreachable_strategy
        else {
            return;
        };
        let at = |seconds: u32| out.mono() + Span::from_secs(seconds.into()).saturating_sub(passed);
        let deadlines = (at(inactive_after_seconds), at(expunge_after_seconds));
        if let Some(instance) = self.instances.get_mut(id) {
            instance.unreachable_deadlines = Some(deadlines);
        }
        self.unreachable_due(id, out);
    }

    pub(crate) fn unreachable_due(&mut self, id: &InstanceId, out: &mut Out<'_>) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some((inactive_at, expunge_at)) = instance.unreachable_deadlines else { return };
        if expunge_at <= out.mono() {
            self.expunge(id, out);
            return;
        }
        let timer = Timer::Unreachable(id.clone());
        if inactive_at <= out.mono() {
            if instance.condition() == Condition::Unreachable {
                self.set_condition(id, Condition::UnreachableInactive, out);
                self.rescale.insert(id.run_spec().clone());
            }
            self.timers.set(expunge_at, timer);
        } else {
            self.timers.set(inactive_at, timer);
        }
    }

    /// Remembers why an app's task failed.
    pub(crate) fn record_failure(&mut self, failure: TaskFailure, out: &mut Out<'_>) {
        out.save(Record::Failure(Box::new(failure.clone())));
        self.failures.insert(failure.app_id.clone(), failure);
    }
}
