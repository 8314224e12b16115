//! Offers: matched with what waits, used or declined (`marathon-behaviour.md` section 6).

use std::sync::Arc;

use tepui_marathon::{App, AppId, InstanceId, RejectReason, TaskId};
use tepui_types::TaskState;
use tepui_wire::v1::scheduler::call;
use tepui_wire::v1::{Filters, Offer, OfferId, TaskInfo, offer};

use crate::constraints::Place;
use crate::environment;
use crate::instance::Instance;
use crate::machine::Apps;
use crate::matching::{Placement, Pool, Rules};
use crate::out::Out;
use crate::queue::offer_view;
use crate::session::framework_id;
use crate::task_info::{self, Launch};
use crate::timers::Timer;
use crate::{Condition, TaskRecord};

/// Random container ports come from here up.
const FIRST_RANDOM_PORT: u16 = 1025;

/// An app with the instances that wait, last one next.
struct Candidate {
    app: AppId,
    waiting: Vec<InstanceId>,
}

impl Apps {
    pub(crate) fn offers(&mut self, offers: &[Offer], out: &mut Out<'_>) {
        let mut declined = Vec::new();
        for offer in offers {
            self.counters.offers_incoming += 1;
            let launched = self.use_offer(offer, out);
            if launched.is_empty() {
                self.counters.offers_declined += 1;
                declined.push(offer.id.clone());
            } else {
                self.counters.offers_used += 1;
                self.accept(offer, launched, out);
            }
        }
        if !declined.is_empty() {
            self.decline(declined, out);
        }
    }

    fn use_offer(&mut self, offer: &Offer, out: &mut Out<'_>) -> Vec<TaskInfo> {
        let mut candidates = self.candidates(offer, out);
        let mut launched = Vec::new();
        if candidates.is_empty() {
            return launched;
        }
        self.entropy.shuffle(&mut candidates);
        let view = Arc::new(offer_view(offer));
        let mut pool = Pool::new(offer);
        let most = usize::try_from(self.config.max_instances_per_offer).unwrap_or(usize::MAX);
        while let Some(mut candidate) = candidates.pop() {
            if launched.len() >= most || self.session.tokens == 0 {
                break;
            }
            if self.delays.blocks(&candidate.app, out.mono()) {
                continue;
            }
            let Some(id) = candidate.waiting.pop() else { continue };
            match self.take(&id, offer, &mut pool, out) {
                Some(Ok((app, placement))) => {
                    launched.push(self.launch(&id, &app, &placement, offer, &pool, out));
                    if let Some(entry) = self.queue.get_mut(&candidate.app) {
                        entry.used(offer, out.stamp());
                    }
                    // Others first: each app gets its turn.
                    candidates.insert(0, candidate);
                }
                Some(Err(reasons)) => {
                    if let Some(entry) = self.queue.get_mut(&candidate.app) {
                        entry.not_used(&view, reasons, out.stamp());
                    }
                }
                None => {}
            }
        }
        launched
    }

    fn candidates(&self, offer: &Offer, out: &Out<'_>) -> Vec<Candidate> {
        if self.session.tokens == 0 {
            return Vec::new();
        }
        let allocated = offer.allocation_info.as_ref().map_or("*", |info| info.role());
        let waiting = self.queue.iter().filter(|(app, entry)| {
            entry.count > 0
                && entry.role.as_str() == allocated
                && !self.delays.blocks(app, out.mono())
        });
        let candidate = |app: &AppId| Candidate {
            app: app.clone(),
            waiting: self
                .instances
                .of_app(app)
                .filter(|instance| instance.is_waiting())
                .map(|instance| instance.id().clone())
                .collect(),
        };
        waiting.map(|(app, _)| candidate(app)).collect()
    }

    /// Takes from the pool what the instance needs.
    #[allow(clippy::type_complexity, reason = "used once, right below its meaning")]
    fn take(
        &mut self,
        id: &InstanceId,
        offer: &Offer,
        pool: &mut Pool,
        out: &Out<'_>,
    ) -> Option<Result<(Arc<App>, Placement), Vec<RejectReason>>> {
        let instance = self.instances.get(id).filter(|instance| instance.is_waiting())?;
        let app = self.definition_for(instance);
        let config = app.version_info.last_config_change_at;
        let mut placed: Vec<&TaskRecord> = Vec::new();
        if !app.constraints.is_empty() {
            let active = self.instances.of_app(&app.id).filter(|instance| {
                instance.condition().is_active() && instance.version() >= config
            });
            placed.extend(active.filter_map(Instance::task));
            placed.sort_by_key(|task| task.staged_at);
        }
        let placed: Vec<Place<'_>> = placed.into_iter().map(place).collect();
        let rules = Rules {
            placed: &placed,
            home_region: self.session.home_region.as_deref(),
            now: out.now,
            draining: self.config.maintenance_mode.then_some(self.config.draining),
            gpu_restricted: self.config.gpu_restricted,
            executor: &self.config.executor,
        };
        let taken = pool.take(&app, offer, &rules, &mut self.entropy);
        Some(taken.map(|placement| (app, placement)))
    }

    /// Hands an instance over to the cluster.
    fn launch(
        &mut self,
        id: &InstanceId,
        app: &Arc<App>,
        placement: &Placement,
        offer: &Offer,
        pool: &Pool,
        out: &mut Out<'_>,
    ) -> TaskInfo {
        let enforce_role = self.enforces_role(app);
        let entropy = &mut self.entropy;
        let random = || {
            let span = u64::from(u16::MAX - FIRST_RANDOM_PORT) + 1;
            FIRST_RANDOM_PORT + u16::try_from(entropy.below(span)).unwrap_or(0)
        };
        let ports = environment::task_ports(app, &placement.host_ports, random);
        let incarnation = self.instances.get(id).map_or(0, |instance| instance.record.incarnation);
        let task_id = TaskId::for_app(id, incarnation + 1);
        let info = task_info::task_info(
            app,
            Launch {
                task_id: &task_id,
                agent_id: &offer.agent_id.value,
                hostname: &offer.hostname,
                placement,
                ports: &ports,
                user: &self.config.user,
                env_prefix: self.config.env_vars_prefix.as_deref().unwrap_or_default(),
                enforce_role,
                executor: &self.config.executor,
            },
        );
        let task = TaskRecord {
            id: task_id,
            agent_id: offer.agent_id.value.clone(),
            hostname: offer.hostname.clone(),
            region: pool.region().map(str::to_owned),
            zone: pool.zone().map(str::to_owned),
            attributes: pool.attributes().clone(),
            host_ports: placement.host_ports.iter().flatten().copied().collect(),
            state: TaskState::Staging,
            staged_at: out.stamp(),
            started_at: None,
            ip_addresses: Vec::new(),
            unreachable_since: None,
        };
        if let Some(instance) = self.instances.get_mut(id) {
            instance.app = Arc::clone(app);
            instance.record.version = app.version;
            instance.record.role = app.role.clone();
            instance.record.incarnation += 1;
            instance.record.task = Some(task);
            instance.reset_observations();
            instance.confirmed = true;
            instance.launched = Some(out.mono());
        }
        self.set_condition(id, Condition::Provisioned, out);
        self.counters.tasks_launched += 1;
        self.session.tokens = self.session.tokens.saturating_sub(1);
        if let Some(until) = self.delays.launched(app, out.mono()) {
            self.timers.set(until, Timer::Delay(app.id.clone()));
        }
        info
    }

    /// Whether the app's top-level group enforces its name as role.
    pub(crate) fn enforces_role(&self, app: &App) -> bool {
        let group = app.id.top_level().filter(|top| *top != app.id);
        let group = group.and_then(|id| self.catalog.root().group(&id));
        group.and_then(|group| group.enforce_role).unwrap_or(false)
    }

    fn accept(&mut self, offer: &Offer, task_infos: Vec<TaskInfo>, out: &mut Out<'_>) {
        self.counters.launch_operations += task_infos.len() as u64;
        let mut operation = offer::Operation {
            launch: Some(offer::operation::Launch { task_infos }),
            ..offer::Operation::default()
        };
        operation.set_type(offer::operation::Type::Launch);
        let framework = self.session.framework.as_ref().map(framework_id);
        out.call(call::Type::Accept, |call| {
            call.framework_id = framework;
            call.accept = Some(call::Accept {
                offer_ids: vec![offer.id.clone()],
                operations: vec![operation],
                // What is left may serve the next instance at once; unset would mean 5 s.
                filters: Some(Filters { refuse_seconds: Some(0.0) }),
            });
        });
    }

    fn decline(&self, offer_ids: Vec<OfferId>, out: &mut Out<'_>) {
        let refuse_seconds = Some(self.config.decline_offer_duration.as_secs_f64());
        let framework = self.session.framework.as_ref().map(framework_id);
        out.call(call::Type::Decline, |call| {
            call.framework_id = framework;
            call.decline =
                Some(call::Decline { offer_ids, filters: Some(Filters { refuse_seconds }) });
        });
    }
}

/// Where a task runs, as constraints see it.
pub(crate) fn place(task: &TaskRecord) -> Place<'_> {
    Place {
        hostname: &task.hostname,
        region: task.region.as_deref(),
        zone: task.zone.as_deref(),
        attributes: Some(&task.attributes),
    }
}
