//! The framework's side of the scheduler API: subscribing, asking for offers, reconciling.

use std::collections::BTreeSet;

use tepui_marathon::{AppId, EventPayload};
use tepui_types::{FrameworkId, Mono, Role, Span};
use tepui_wire::v1;
use tepui_wire::v1::scheduler::{Event as Mesos, call, event};

use crate::instance::Instance;
use crate::machine::Apps;
use crate::out::Out;
use crate::timers::Timer;
use crate::{Alarm, Effect, Halt, Record};

/// Pause before subscribing again when the last attempt was very recent.
const RESUBSCRIBE_PAUSE: Span = Span::from_secs(1);
/// The shortest and the longest pause between questions about tasks that have not been confirmed
/// since the election.
const CONFIRM_PAUSES: (Span, Span) = (Span::from_secs(1), Span::from_secs(15));
/// For so many of them the pause is a second longer: the questions themselves are work.
const CONFIRMED_PER_SECOND: u64 = 5_000;

/// The connection to the cluster.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) framework: Option<FrameworkId>,
    pub(crate) connected: bool,
    subscribed_before: bool,
    last_attempt: Option<Mono>,
    /// Roles that the cluster knows of.
    roles: BTreeSet<Role>,
    /// Roles for which offers are suppressed.
    suppressed: BTreeSet<Role>,
    /// Apps that began to wait since the last REVIVE.
    wishes: BTreeSet<AppId>,
    last_revive: Option<Mono>,
    pub(crate) revive_timer: Option<Mono>,
    pub(crate) tokens: u32,
    pub(crate) home_region: Option<String>,
    pub(crate) master: String,
}

impl Session {
    pub(crate) fn new(tokens: u32) -> Self {
        Self {
            framework: None,
            connected: false,
            subscribed_before: false,
            last_attempt: None,
            roles: BTreeSet::new(),
            suppressed: BTreeSet::new(),
            wishes: BTreeSet::new(),
            last_revive: None,
            revive_timer: None,
            tokens,
            home_region: None,
            master: String::new(),
        }
    }

    /// Notes that an app has something new to launch.
    pub(crate) fn wish(&mut self, app: &AppId) {
        self.wishes.insert(app.clone());
    }
}

impl Apps {
    pub(crate) fn subscribe(&mut self, out: &mut Out<'_>) {
        self.session.last_attempt = Some(out.mono());
        let roles = self.roles_in_use();
        let wanting = self.wanting_roles(out);
        let suppressed: BTreeSet<Role> = roles.difference(&wanting).cloned().collect();
        let framework_info = self.framework_info(&roles);
        let id = self.session.framework.as_ref().map(framework_id);
        let suppressed_roles = suppressed.iter().map(ToString::to_string).collect();
        self.session.roles = roles;
        self.session.suppressed = suppressed;
        out.call(call::Type::Subscribe, |call| {
            call.framework_id = id;
            call.subscribe =
                Some(call::Subscribe { framework_info, suppressed_roles, offer_constraints: None });
        });
    }

    fn framework_info(&self, roles: &BTreeSet<Role>) -> v1::FrameworkInfo {
        use v1::framework_info::capability::Type;
        let capability = |kind: Type| {
            let mut capability = v1::framework_info::Capability::default();
            capability.set_type(kind);
            capability
        };
        let capabilities =
            [Type::PartitionAware, Type::TaskKillingState, Type::MultiRole, Type::RegionAware];
        v1::FrameworkInfo {
            user: self.config.user.clone(),
            name: self.config.framework_name.clone(),
            id: self.session.framework.as_ref().map(framework_id),
            failover_timeout: Some(self.config.failover_timeout.as_secs_f64()),
            checkpoint: Some(true),
            roles: roles.iter().map(ToString::to_string).collect(),
            hostname: Some(self.config.hostname.clone()),
            webui_url: self.config.webui_url.clone(),
            capabilities: capabilities.map(capability).to_vec(),
            ..v1::FrameworkInfo::default()
        }
    }

    /// Roles of all apps and instances, and the default one.
    fn roles_in_use(&self) -> BTreeSet<Role> {
        let mut roles = BTreeSet::from([self.config.settings.default_role.clone()]);
        roles.extend(self.catalog.root().all_apps().into_iter().map(|app| app.role.clone()));
        roles.extend(self.instances.iter().map(|instance| instance.record.role.clone()));
        roles
    }

    /// Roles for which something waits that may be launched now.
    fn wanting_roles(&self, out: &Out<'_>) -> BTreeSet<Role> {
        let waiting = self.queue.iter().filter(|(_, waiting)| waiting.count > 0);
        let ready = waiting.filter(|(id, _)| !self.delays.blocks(id, out.mono()));
        ready.map(|(_, waiting)| waiting.role.clone()).collect()
    }

    pub(crate) fn disconnected(&mut self, out: &mut Out<'_>) {
        if self.session.connected {
            out.publish(EventPayload::SchedulerDisconnected {});
        }
        self.session.connected = false;
        self.kills.forget_sent();
        let recent =
            self.session.last_attempt.is_some_and(|at| out.mono().since(at) < RESUBSCRIBE_PAUSE);
        if recent {
            self.after(RESUBSCRIBE_PAUSE, Timer::Subscribe, out);
        } else {
            self.subscribe(out);
        }
    }

    pub(crate) fn mesos(&mut self, event: &Mesos, out: &mut Out<'_>) {
        match event.r#type() {
            event::Type::Subscribed => {
                if let Some(subscribed) = &event.subscribed {
                    self.subscribed(subscribed, out);
                }
            }
            event::Type::Offers => {
                if let Some(offers) = &event.offers {
                    self.offers(&offers.offers, out);
                }
            }
            event::Type::Update => {
                if let Some(update) = &event.update {
                    self.update(&update.status, out);
                }
            }
            event::Type::Message => {
                if let Some(message) = &event.message {
                    out.publish(EventPayload::FrameworkMessage {
                        executor_id: message.executor_id.value.clone(),
                        slave_id: message.agent_id.value.clone(),
                        message: String::from_utf8_lossy(&message.data).into_owned(),
                    });
                }
            }
            event::Type::Error => {
                let message = event.error.as_ref().map(|e| e.message.clone()).unwrap_or_default();
                self.scheduler_error(message, out);
            }
            event::Type::InverseOffers => self.accept_inverse_offers(event, out),
            // Offers are answered when they come and never held, so there is nothing to rescind;
            // agent failures show in the updates of their tasks.
            event::Type::Rescind
            | event::Type::RescindInverseOffer
            | event::Type::UpdateOperationStatus
            | event::Type::Failure
            | event::Type::Heartbeat
            | event::Type::Unknown => {}
        }
    }

    fn accept_inverse_offers(&self, event: &Mesos, out: &mut Out<'_>) {
        let Some(offers) = &event.inverse_offers else { return };
        let framework = self.session.framework.as_ref().map(framework_id);
        out.call(call::Type::AcceptInverseOffers, |call| {
            call.framework_id = framework;
            call.accept_inverse_offers = Some(call::AcceptInverseOffers {
                inverse_offer_ids: offers.inverse_offers.iter().map(|o| o.id.clone()).collect(),
                filters: None,
            });
        });
    }

    fn scheduler_error(&mut self, message: String, out: &mut Out<'_>) {
        let text = message.to_lowercase();
        if text.contains("has been removed") || text.contains("completed framework") {
            self.halted = true;
            out.effects.push(Effect::Halt(Halt::FrameworkRemoved { message }));
        } else {
            out.alarm(Alarm::SchedulerError { message });
        }
    }

    fn subscribed(&mut self, subscribed: &event::Subscribed, out: &mut Out<'_>) {
        let Ok(id) = FrameworkId::parse(&subscribed.framework_id.value) else {
            let message = format!(
                "the cluster gave an illegal framework id: {:?}",
                subscribed.framework_id.value
            );
            out.alarm(Alarm::SchedulerError { message });
            return;
        };
        match &self.session.framework {
            None => {
                out.save(Record::Framework(id.clone()));
                self.session.framework = Some(id.clone());
            }
            // Another id would orphan every task (invariant I-36).
            Some(stored) if *stored != id => {
                let message = format!("it answered framework {stored} with the id {id}");
                self.halted = true;
                out.effects.push(Effect::Halt(Halt::FrameworkRemoved { message }));
                return;
            }
            Some(_) => {}
        }
        self.session.connected = true;
        if let Some(master) = &subscribed.master_info {
            self.session.home_region = master
                .domain
                .as_ref()
                .and_then(|domain| domain.fault_domain.as_ref())
                .map(|domain| domain.region.name.clone());
            let host = master.hostname.clone().unwrap_or_default();
            self.session.master = format!("{host}:{}", master.port);
        }
        let master = self.session.master.clone();
        if self.session.subscribed_before {
            out.publish(EventPayload::SchedulerReregistered { master });
        } else {
            let framework_id = id.to_string();
            out.publish(EventPayload::SchedulerRegistered { framework_id, master });
        }
        self.session.subscribed_before = true;
        // What was asked for on an earlier stream may be lost: ask again for everything.
        let waiting: Vec<AppId> = self.queue.keys().cloned().collect();
        waiting.iter().for_each(|app| self.session.wish(app));
        self.dirty.extend(self.catalog.root().all_apps().into_iter().map(|app| app.id.clone()));
        self.reconcile(out);
    }

    /// The regular reconciliation. While tasks have not been confirmed since the election only
    /// they are asked about, and soon again: deployments wait for them, and they for the return of
    /// their agents.
    pub(crate) fn reconcile_in_turn(&mut self, out: &mut Out<'_>) {
        let unconfirmed = self.questions(|instance| !instance.is_confirmed());
        if unconfirmed.is_empty() {
            self.reconcile(out);
            return self.after(self.config.reconciliation_interval, Timer::Reconcile, out);
        }
        let (least, most) = CONFIRM_PAUSES;
        let pause = Span::from_secs(unconfirmed.len() as u64 / CONFIRMED_PER_SECOND);
        if self.session.connected {
            self.reconcile_tasks(unconfirmed, out);
        }
        self.after(pause.clamp(least, most), Timer::Reconcile, out);
    }

    fn questions(&self, about: impl Fn(&Instance) -> bool) -> Vec<call::reconcile::Task> {
        let tasks = self.instances.iter().filter(|one| about(one)).filter_map(Instance::task);
        tasks
            .map(|task| call::reconcile::Task {
                task_id: v1::TaskId { value: task.id.to_string() },
                agent_id: Some(v1::AgentId { value: task.agent_id.clone() }),
            })
            .collect()
    }

    /// Asks about every task we know, and for every task the cluster knows.
    fn reconcile(&self, out: &mut Out<'_>) {
        if !self.session.connected {
            return;
        }
        let tasks = self.questions(|_| true);
        if !tasks.is_empty() {
            self.reconcile_tasks(tasks, out);
        }
        self.reconcile_tasks(Vec::new(), out);
    }

    pub(crate) fn reconcile_tasks(&self, tasks: Vec<call::reconcile::Task>, out: &mut Out<'_>) {
        let framework = self.session.framework.as_ref().map(framework_id);
        out.call(call::Type::Reconcile, |call| {
            call.framework_id = framework;
            call.reconcile = Some(call::Reconcile { tasks });
        });
    }

    pub(crate) fn refill_tokens(&mut self, out: &mut Out<'_>) {
        if self.session.tokens < self.config.launch_tokens {
            let starved = self.session.tokens == 0;
            self.session.tokens = self.config.launch_tokens;
            if starved {
                let waiting: Vec<AppId> = self.queue.keys().cloned().collect();
                waiting.iter().for_each(|app| self.session.wish(app));
            }
        }
        self.after(self.config.launch_token_refresh, Timer::Tokens, out);
    }

    /// Tells the cluster for which roles offers are wanted: REVIVE for what newly waits, SUPPRESS
    /// where nothing waits any more.
    pub(crate) fn update_demand(&mut self, out: &mut Out<'_>) {
        if !self.session.connected {
            return;
        }
        self.update_roles(out);
        let wanting = self.wanting_roles(out);
        let idle: BTreeSet<Role> = self
            .session
            .roles
            .iter()
            .filter(|role| !wanting.contains(*role) && !self.session.suppressed.contains(*role))
            .cloned()
            .collect();
        if !idle.is_empty() {
            self.counters.suppress_calls += 1;
            let framework = self.session.framework.as_ref().map(framework_id);
            let roles = idle.iter().map(ToString::to_string).collect();
            out.call(call::Type::Suppress, |call| {
                call.framework_id = framework;
                call.suppress = Some(call::Suppress { roles });
            });
            self.session.suppressed.extend(idle);
        }
        self.revive(&wanting, out);
    }

    fn revive(&mut self, wanting: &BTreeSet<Role>, out: &mut Out<'_>) {
        let mut roles: BTreeSet<Role> =
            wanting.intersection(&self.session.suppressed).cloned().collect();
        let queue = &self.queue;
        let now = out.mono();
        let delays = &self.delays;
        self.session.wishes.retain(|app| queue.get(app).is_some_and(|waiting| waiting.count > 0));
        let wishes = self.session.wishes.iter().filter(|app| !delays.blocks(app, now));
        roles.extend(wishes.filter_map(|app| queue.get(app)).map(|waiting| waiting.role.clone()));
        if roles.is_empty() || self.session.tokens == 0 {
            return;
        }
        let allowed = self.session.last_revive.map(|at| at + self.config.min_revive_interval);
        if let Some(allowed) = allowed.filter(|allowed| *allowed > now) {
            if self.session.revive_timer.is_none() {
                self.session.revive_timer = Some(allowed);
                self.timers.set(allowed, Timer::Revive);
            }
            return;
        }
        self.session.last_revive = Some(now);
        self.session.wishes.retain(|app| delays.blocks(app, now));
        self.session.suppressed.retain(|role| !roles.contains(role));
        self.counters.revive_calls += 1;
        let framework = self.session.framework.as_ref().map(framework_id);
        out.call(call::Type::Revive, |call| {
            call.framework_id = framework;
            let roles = roles.iter().map(ToString::to_string).collect();
            call.revive = Some(call::Revive { roles });
        });
    }

    /// Tells the cluster of roles that it does not know yet.
    fn update_roles(&mut self, out: &mut Out<'_>) {
        let new = self.queue.values().any(|waiting| !self.session.roles.contains(&waiting.role));
        if !new {
            return;
        }
        let roles = self.roles_in_use();
        self.session.suppressed.retain(|role| roles.contains(role));
        let framework_info = self.framework_info(&roles);
        let suppressed_roles = self.session.suppressed.iter().map(ToString::to_string).collect();
        let framework = self.session.framework.as_ref().map(framework_id);
        self.session.roles = roles;
        out.call(call::Type::UpdateFramework, |call| {
            call.framework_id = framework;
            call.update_framework = Some(call::UpdateFramework {
                framework_info,
                suppressed_roles,
                offer_constraints: None,
            });
        });
    }
}

/// The id as the cluster writes it.
pub(crate) fn framework_id(id: &FrameworkId) -> v1::FrameworkId {
    v1::FrameworkId { value: id.to_string() }
}
