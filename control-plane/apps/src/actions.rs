//! The actions of deployments, and the scale check outside of them
//! (`marathon-behaviour.md` sections 9.2, 9.3 and 14).

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_marathon::{Action, ActionKind, App, AppId, EventPayload, InstanceId};
use tepui_types::Uuid;

use crate::machine::Apps;
use crate::out::Out;
use crate::rolling::{self, Fleet};
use crate::timers::Timer;
use crate::victims::{self, Candidate, Service};
use crate::{Condition, RecordKey};

impl Apps {
    /// What happens once when an action's step begins.
    pub(crate) fn begin_action(&mut self, action: &Action, out: &mut Out<'_>) {
        let app = self.catalog.app(&action.app).cloned();
        match (action.action, app) {
            (ActionKind::StartApplication, Some(app)) => publish_checks(&app, out),
            (ActionKind::RestartApplication, Some(app)) => {
                publish_checks(&app, out);
                self.reset_delay(&app.id);
            }
            _ => {}
        }
    }

    /// Carries an action on; true when it is done.
    pub(crate) fn run_action(
        &mut self,
        action: &Action,
        deployment: Uuid,
        out: &mut Out<'_>,
    ) -> bool {
        let app = self.catalog.app(&action.app).cloned();
        match (action.action, app) {
            (ActionKind::StartApplication, _) => true,
            (ActionKind::ScaleApplication, Some(app)) => {
                let marked = self
                    .deployments
                    .get(&deployment)
                    .map(|deployment| deployment.record.marked.clone())
                    .unwrap_or_default();
                self.scale(&app, &marked, out)
            }
            (ActionKind::RestartApplication, Some(app)) => self.restart(&app, out),
            // An app that is not there any more has nothing to scale or restart.
            (_, None) => self.stop(&action.app, out),
            (ActionKind::StopApplication, Some(_)) => true,
        }
    }

    fn stop(&mut self, app: &AppId, out: &mut Out<'_>) -> bool {
        for id in self.instances.ids_of(app) {
            self.decommission(&id, out);
        }
        if self.instances.of_app(app).next().is_some() {
            return false;
        }
        self.delays.reset(app);
        if self.failures.remove(app).is_some() {
            out.forget(RecordKey::Failure(app.clone()));
        }
        out.publish(EventPayload::RemoveHealthCheck { app_id: app.clone() });
        out.publish(EventPayload::AppTerminated { app_id: app.clone() });
        true
    }

    fn scale(&mut self, app: &Arc<App>, marked: &BTreeSet<InstanceId>, out: &mut Out<'_>) -> bool {
        let marked: Vec<InstanceId> = self
            .instances
            .of_app(&app.id)
            .filter(|instance| instance.wants_to_run() && marked.contains(instance.id()))
            .map(|instance| instance.id().clone())
            .collect();
        self.bring_to(app, app.instances, &marked, out);
        self.begin_readiness(&app.id);
        let mut serving = 0_u32;
        let mut ending = 0_u32;
        for instance in self.instances.of_app(&app.id) {
            serving += u32::from(instance.is_serving());
            ending += u32::from(!instance.wants_to_run());
        }
        serving == app.instances && ending == 0
    }

    /// Ends what is too many, and once that is gone makes what is missing.
    fn bring_to(&mut self, app: &Arc<App>, target: u32, marked: &[InstanceId], out: &mut Out<'_>) {
        let mut counted = 0_u32;
        let mut ending = 0_u32;
        for instance in self.instances.of_app(&app.id) {
            counted += u32::from(instance.counts());
            ending += u32::from(!instance.wants_to_run());
        }
        if counted > target {
            for id in self.choose_victims(app, counted - target, marked) {
                self.decommission(&id, out);
            }
        } else if ending == 0 {
            for _ in counted..target {
                self.create_instance(app, out);
            }
        }
    }

    fn choose_victims(&self, app: &App, count: u32, marked: &[InstanceId]) -> Vec<InstanceId> {
        let counted = self.instances.of_app(&app.id).filter(|instance| instance.counts());
        let candidates = counted.map(|instance| Candidate {
            id: instance.id(),
            marked: marked.contains(instance.id()),
            condition: instance.condition(),
            service: if instance.is_healthy() {
                Service::Yes
            } else if instance.may_be_healthy() {
                Service::Unknown
            } else {
                Service::No
            },
            begun: instance
                .task()
                .map_or(instance.record.since, |task| task.started_at.unwrap_or(task.staged_at)),
            task: instance.task(),
        });
        victims::choose(candidates.collect(), count, &app.constraints, app.kill_selection)
    }

    fn restart(&mut self, app: &Arc<App>, out: &mut Out<'_>) -> bool {
        self.begin_readiness(&app.id);
        // What never ran and was meant for the old configuration is of no use to anybody.
        let config = app.version_info.last_config_change_at;
        let useless: Vec<InstanceId> = self
            .instances
            .of_app(&app.id)
            .filter(|instance| {
                instance.condition() == Condition::Scheduled && instance.version() < config
            })
            .map(|instance| instance.id().clone())
            .collect();
        for id in useless {
            self.decommission(&id, out);
        }
        let fleet = self.fleet(app);
        if fleet.is_done(app.instances) {
            return true;
        }
        let moves =
            rolling::next_moves(app.instances, app.upgrade_strategy, app.is_resident(), &fleet);
        self.end_some(app, true, Health::Other, moves.kill_other, out);
        self.end_some(app, true, Health::Healthy, moves.kill_healthy, out);
        self.end_some(app, false, Health::Other, moves.kill_new_other, out);
        self.end_some(app, false, Health::Healthy, moves.kill_new_serving, out);
        for _ in 0..moves.launch {
            self.create_instance(app, out);
        }
        false
    }

    fn fleet(&self, app: &App) -> Fleet {
        let config = app.version_info.last_config_change_at;
        let mut fleet = Fleet::default();
        for instance in self.instances.of_app(&app.id) {
            let old = instance.version() < config;
            let place = match (instance.wants_to_run(), old) {
                (false, true) => &mut fleet.old_ending,
                (false, false) => &mut fleet.new_ending,
                (true, true) if instance.is_healthy() => &mut fleet.old_healthy,
                (true, true) if instance.may_be_healthy() => &mut fleet.old_unknown,
                (true, true) => &mut fleet.old_other,
                (true, false) if instance.is_serving() => &mut fleet.new_serving,
                // Replaced already, and forgotten soon.
                (true, false) if !instance.counts() => continue,
                (true, false) => &mut fleet.new_other,
            };
            *place += 1;
        }
        fleet
    }

    /// Ends some of the old or new instances that are healthy, or that are not.
    fn end_some(&mut self, app: &App, old: bool, health: Health, count: u32, out: &mut Out<'_>) {
        let config = app.version_info.last_config_change_at;
        let matching = self.instances.of_app(&app.id).filter(|instance| {
            let serves = if old { instance.is_healthy() } else { instance.is_serving() };
            instance.wants_to_run()
                && (instance.version() < config) == old
                && match health {
                    Health::Healthy => serves,
                    Health::Other => !(serves || old && instance.may_be_healthy()),
                }
        });
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let ids: Vec<InstanceId> =
            matching.take(count).map(|instance| instance.id().clone()).collect();
        for id in ids {
            self.decommission(&id, out);
        }
    }

    /// Brings an app that is in no deployment to its number of instances.
    pub(crate) fn scale_to_target(&mut self, id: &AppId, out: &mut Out<'_>) {
        match self.catalog.app(id).cloned() {
            Some(app) => self.bring_to(&app, app.instances, &[], out),
            // Only a deletion ends instances, never the mere absence of a definition (invariant I-33).
            None if !self.catalog.was_deleted(id) => {}
            None => {
                for instance in self.instances.ids_of(id) {
                    self.decommission(&instance, out);
                }
            }
        }
    }

    /// Compares wanted and actual instances of every app.
    pub(crate) fn scale_check(&mut self, out: &mut Out<'_>) {
        self.rescale.extend(self.catalog.root().all_apps().into_iter().map(|app| app.id.clone()));
        self.rescale.extend(self.instances.apps().cloned());
        self.after(self.config.scale_interval, Timer::ScaleCheck, out);
    }
}

#[derive(Clone, Copy)]
enum Health {
    Healthy,
    Other,
}

fn publish_checks(app: &App, out: &mut Out<'_>) {
    for health_check in &app.health_checks {
        out.publish(EventPayload::AddHealthCheck {
            app_id: app.id.clone(),
            version: app.version,
            health_check: health_check.clone(),
        });
    }
}
