//! Taking over what earlier leaders saved (`marathon-behaviour.md` section 14).

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::instance::Instance;
use crate::machine::Apps;
use crate::out::Out;
use crate::timers::Timer;
use crate::{Alarm, Condition, DeploymentRecord, Effect, Halt, InstanceRecord, Record};
use tepui_types::Span;

/// First look for overdue launches after an election.
const OVERDUE_DELAY: Span = Span::from_secs(30);
/// First look for delays to forget.
const SWEEP_DELAY: Span = Span::from_secs(10);

impl Apps {
    pub(crate) fn elected(&mut self, records: Vec<Record>, out: &mut Out<'_>) {
        self.started = Some(out.now);
        let mut apps = Vec::new();
        let mut groups = Vec::new();
        let mut instances: Vec<InstanceRecord> = Vec::new();
        let mut deployments: Vec<DeploymentRecord> = Vec::new();
        for record in records {
            match record {
                Record::Framework(id) => self.session.framework = Some(id),
                Record::App(revision) => apps.push(revision),
                Record::Group(revision) => groups.push(revision),
                Record::Instance(instance) => instances.push(*instance),
                Record::Deployment(deployment) => deployments.push(*deployment),
                Record::Failure(failure) => {
                    self.failures.insert(failure.app_id.clone(), *failure);
                }
            }
        }
        let launched = instances.iter().filter(|instance| instance.incarnation > 0).count();
        if self.session.framework.is_none() && launched > 0 {
            self.halted = true;
            let halt = Halt::FrameworkIdMissing { instances: launched };
            out.effects.push(Effect::Halt(halt));
            return;
        }
        self.catalog = Catalog::load(apps, groups);
        for record in instances {
            self.restore_instance(record, out);
        }
        deployments.sort_by_key(|deployment| (deployment.version, deployment.id));
        for deployment in deployments {
            self.resume_deployment(deployment);
        }
        for (delay, timer) in [
            (self.config.reconciliation_delay, Timer::Reconcile),
            (self.config.scale_delay, Timer::ScaleCheck),
            (self.config.launch_token_refresh, Timer::Tokens),
            (OVERDUE_DELAY, Timer::Overdue),
            (SWEEP_DELAY, Timer::DelaySweep),
        ] {
            self.after(delay, timer, out);
        }
        self.subscribe(out);
    }

    fn restore_instance(&mut self, record: InstanceRecord, out: &mut Out<'_>) {
        let app = record.id.run_spec().clone();
        let definition = self
            .catalog
            .revision(&app, record.version)
            .or_else(|| self.catalog.newest(&app))
            .map(Arc::clone);
        let Some(definition) = definition else {
            // Nothing says that the app was deleted, so nothing allows to end its tasks.
            let what = format!("instance {} of an app that is not stored", record.id);
            self.protected.insert(record.id);
            out.alarm(Alarm::RecordIgnored { what });
            return;
        };
        let id = record.id.clone();
        let mut instance = Instance::new(record, definition, true);
        instance.launched = instance.condition().is_launching().then_some(out.mono());
        let (unreachable, ending) =
            (instance.condition().is_unreachable(), !instance.wants_to_run());
        self.instances.insert(instance);
        self.dirty.insert(app);
        if unreachable {
            // What passed before this process led is only known by the wall clock.
            let task = self.instances.get(&id).and_then(Instance::task);
            let since = task.and_then(|task| task.unreachable_since);
            let passed = since.map_or(0, |since| out.stamp().as_millis() - since.as_millis());
            let passed = Span::from_millis(u64::try_from(passed).unwrap_or(0));
            self.became_unreachable(&id, passed, out);
        } else if ending {
            self.kill_task_of(&id);
            let gone = self.instances.get(&id).is_some_and(|instance| instance.task().is_none());
            if gone {
                self.expunge(&id, out);
            }
        } else if self.instances.get(&id).is_some_and(|i| i.condition().is_terminal()) {
            self.set_condition(&id, Condition::Scheduled, out);
        }
    }
}
