//! The actions of deployments, and the scale check outside of them
//! (`marathon-behaviour.md` sections 9.2, 9.3 and 14).

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_marathon::{Action, ActionKind, App, AppId, EventPayload, InstanceId, Version};
use tepui_types::Uuid;

use crate::RecordKey;
use crate::census::Census;
use crate::machine::Apps;
use crate::out::Out;
use crate::rolling::{self, Fleet};
use crate::timers::Timer;
use crate::victims::{self, Candidate, Service};

/// Instances of an app that wait for an offer at the same time, unless more may be launched at once.
const MOST_WAITING: u32 = 200;

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
        self.end_all(app, out);
        if self.instances.any_of(app) {
            return false;
        }
        self.delays.reset(app);
        self.counters.apps.remove(app);
        if self.failures.remove(app).is_some() {
            out.forget(RecordKey::Failure(app.clone()));
        }
        out.publish(EventPayload::RemoveHealthCheck { app_id: app.clone() });
        out.publish(EventPayload::AppTerminated { app_id: app.clone() });
        true
    }

    fn scale(&mut self, app: &Arc<App>, marked: &BTreeSet<InstanceId>, out: &mut Out<'_>) -> bool {
        self.bring_to(app, app.instances, marked, out);
        self.begin_readiness(&app.id);
        let Some(census) = self.instances.census(&app.id) else { return app.instances == 0 };
        census.count(|instance| instance.serving) == app.instances
            && census.count(|instance| !instance.wants_to_run) == 0
    }

    /// Ends every instance of an app.
    fn end_all(&mut self, app: &AppId, out: &mut Out<'_>) {
        self.backlog.remove(app);
        let wanted = self.instances.census(app).map_or(0, |all| all.count(|i| i.wants_to_run));
        if wanted > 0 {
            for id in self.instances.ids_of(app) {
                self.decommission(&id, out);
            }
        }
    }

    /// Ends what is too many, and once that is gone makes what is missing.
    fn bring_to(
        &mut self,
        app: &Arc<App>,
        target: u32,
        marked: &BTreeSet<InstanceId>,
        out: &mut Out<'_>,
    ) {
        let census = self.instances.census(&app.id);
        let counted = census.map_or(0, |all| all.count(|instance| instance.counts));
        let census = self.instances.census(&app.id);
        let ending = census.map_or(0, |all| all.count(|instance| !instance.wants_to_run));
        if counted > target {
            for id in self.choose_victims(app, counted - target, marked) {
                self.decommission(&id, out);
            }
            self.backlog.remove(&app.id);
        } else if ending == 0 {
            self.create_instances(app, target - counted, out);
        }
    }

    /// Makes what an app lacks, but only so many ahead of their launch: an absurd number of instances
    /// must not fill the memory.
    fn create_instances(&mut self, app: &Arc<App>, lacking: u32, out: &mut Out<'_>) {
        let waiting = self.instances.census(&app.id).map_or(0, |all| all.count(|i| i.waiting));
        let most = self.config.launch_tokens.max(MOST_WAITING);
        let now = lacking.min(most.saturating_sub(waiting));
        for _ in 0..now {
            self.create_instance(app, out);
        }
        if lacking > now {
            self.backlog.insert(app.id.clone(), lacking - now);
        } else {
            self.backlog.remove(&app.id);
        }
    }

    fn choose_victims(
        &self,
        app: &App,
        count: u32,
        marked: &BTreeSet<InstanceId>,
    ) -> Vec<InstanceId> {
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
        for id in self.waiting_of_older(&app.id, config) {
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
        self.create_instances(app, moves.launch, out);
        false
    }

    /// Instances that wait for an offer and were meant for a configuration before this one.
    fn waiting_of_older(&mut self, app: &AppId, config: Version) -> Vec<InstanceId> {
        let outdated = |census: &Census| census.count(|i| i.waiting && i.version < config) > 0;
        let waiting = self.instances.census(app).filter(|census| outdated(census));
        let waiting: Vec<InstanceId> =
            waiting.into_iter().flat_map(Census::waiting).cloned().collect();
        let older = |id: &InstanceId| self.instances.get(id).is_some_and(|i| i.version() < config);
        waiting.into_iter().filter(older).collect()
    }

    fn fleet(&mut self, app: &App) -> Fleet {
        let config = app.version_info.last_config_change_at;
        let mut fleet = Fleet::default();
        let census = self.instances.census(&app.id);
        for (instance, count) in census.into_iter().flat_map(Census::groups) {
            let old = instance.version < config;
            let place = match (instance.wants_to_run, old) {
                (false, true) => &mut fleet.old_ending,
                (false, false) => &mut fleet.new_ending,
                (true, true) if instance.healthy => &mut fleet.old_healthy,
                (true, true) if instance.may_be_healthy => &mut fleet.old_unknown,
                (true, true) => &mut fleet.old_other,
                (true, false) if instance.serving => &mut fleet.new_serving,
                // Replaced already, and forgotten soon.
                (true, false) if !instance.counts => continue,
                (true, false) => &mut fleet.new_other,
            };
            *place += count;
        }
        fleet
    }

    /// Ends some of the old or new instances that are healthy, or that are not.
    fn end_some(&mut self, app: &App, old: bool, health: Health, count: u32, out: &mut Out<'_>) {
        if count == 0 {
            return;
        }
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
            Some(app) => self.bring_to(&app, app.instances, &BTreeSet::new(), out),
            // Only a deletion ends instances, never the mere absence of a definition (invariant I-33).
            None if !self.catalog.was_deleted(id) => {}
            None => self.end_all(id, out),
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
