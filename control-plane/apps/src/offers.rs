//! Offers: matched with what waits, used or declined (`marathon-behaviour.md` section 6).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tepui_marathon::{App, AppId, InstanceId, OfferView, Operator, RejectReason, TaskId};
use tepui_types::{Role, TaskState};
use tepui_wire::v1::scheduler::call;
use tepui_wire::v1::{Filters, Offer, OfferId, TaskInfo, offer};

use crate::constraints::{OfferedValues, Place};
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

/// An app with the instances that wait, next one first.
struct Line {
    app: AppId,
    role: Role,
    waiting: VecDeque<InstanceId>,
    /// Fields over which the app wants to be spread evenly, whatever their values are.
    spread: Vec<String>,
}

/// An offer while it is being used.
struct Table<'a> {
    offer: &'a Offer,
    pool: Pool,
    view: Arc<OfferView>,
    launched: Vec<TaskInfo>,
    /// Why apps that are to be spread could not take more; by their place in line.
    refused: BTreeMap<usize, Vec<RejectReason>>,
    /// The first reason of the first app that could not use it.
    reason: Option<RejectReason>,
}

impl<'a> Table<'a> {
    fn new(offer: &'a Offer) -> Self {
        Self {
            offer,
            pool: Pool::new(offer),
            view: Arc::new(offer_view(offer)),
            launched: Vec::new(),
            refused: BTreeMap::new(),
            reason: None,
        }
    }

    fn role(&self) -> &str {
        self.offer.allocation_info.as_ref().map_or("*", |info| info.role())
    }
}

impl Apps {
    pub(crate) fn offers(&mut self, offers: &[Offer], out: &mut Out<'_>) {
        self.counters.offers_incoming += offers.len() as u64;
        let mut lines = self.lines(offers.len(), out);
        let mut tables: Vec<Table<'_>> = offers.iter().map(Table::new).collect();
        let values = offered_values(&lines, &tables);
        for table in &mut tables {
            self.use_table(table, &mut lines, &values, out);
        }
        if !values.is_empty() {
            self.spread(&mut tables, &mut lines, &values, out);
        }
        let mut declined = Vec::new();
        for table in tables {
            if table.launched.is_empty() {
                self.counters.offers_declined += 1;
                *self.counters.declined_for.entry(table.reason).or_default() += 1;
                declined.push(table.offer.id.clone());
            } else {
                self.counters.offers_used += 1;
                self.accept(table.offer, table.launched, out);
            }
        }
        if !declined.is_empty() {
            self.decline(declined, out);
        }
    }

    /// What waits and may be launched, with no more instances than the offers can take.
    fn lines(&mut self, offers: usize, out: &Out<'_>) -> Vec<Line> {
        let waiting: Vec<(AppId, Role)> = self
            .queue
            .iter()
            .filter(|(app, entry)| entry.count > 0 && !self.delays.blocks(app, out.mono()))
            .map(|(app, entry)| (app.clone(), entry.role.clone()))
            .collect();
        let most = self.most_per_offer().saturating_mul(offers);
        let mut lines = Vec::new();
        for (app, role) in waiting {
            let ids = self.instances.waiting_of(&app).into_iter().flatten();
            let waiting: VecDeque<InstanceId> = ids.rev().take(most).cloned().collect();
            let spread = self.catalog.app(&app).map_or_else(Vec::new, |app| spread_fields(app));
            lines.push(Line { app, role, waiting, spread });
        }
        lines
    }

    fn most_per_offer(&self) -> usize {
        usize::try_from(self.config.max_instances_per_offer).unwrap_or(usize::MAX)
    }

    /// Launches from one offer what it has room for. Apps that are to be spread get one instance: the
    /// other offers are looked at before they get another.
    fn use_table(
        &mut self,
        table: &mut Table<'_>,
        lines: &mut [Line],
        values: &OfferedValues,
        out: &mut Out<'_>,
    ) {
        let role = table.role();
        let mut turns: Vec<usize> = (0..lines.len())
            .filter(|at| lines[*at].role.as_str() == role && !lines[*at].waiting.is_empty())
            .collect();
        self.entropy.shuffle(&mut turns);
        let mut turns = VecDeque::from(turns);
        while let Some(at) = turns.pop_back() {
            if !self.has_room(table) {
                break;
            }
            let launched = self.serve(table, at, &mut lines[at], values, out);
            // Others first: each app gets its turn.
            if launched && lines[at].spread.is_empty() {
                turns.push_front(at);
            }
        }
    }

    fn has_room(&self, table: &Table<'_>) -> bool {
        table.launched.len() < self.most_per_offer() && self.session.tokens > 0
    }

    /// Launches the next instance of an app if the offer fits.
    fn serve(
        &mut self,
        table: &mut Table<'_>,
        at: usize,
        line: &mut Line,
        values: &OfferedValues,
        out: &mut Out<'_>,
    ) -> bool {
        let Some(id) = line.waiting.front().cloned() else { return false };
        match self.take(&id, table.offer, &mut table.pool, values, out) {
            Some(Ok((app, placement))) => {
                line.waiting.pop_front();
                let info = self.launch(&id, &app, &placement, table.offer, &table.pool, out);
                table.launched.push(info);
                table.refused.remove(&at);
                if let Some(entry) = self.queue.get_mut(&line.app) {
                    entry.used(table.offer, out.stamp());
                }
                true
            }
            Some(Err(reasons)) if !line.spread.is_empty() => {
                table.reason = table.reason.or_else(|| reasons.first().copied());
                table.refused.insert(at, reasons);
                false
            }
            Some(Err(reasons)) => {
                table.reason = table.reason.or_else(|| reasons.first().copied());
                if let Some(entry) = self.queue.get_mut(&line.app) {
                    entry.not_used(&table.view, reasons, out.stamp());
                }
                false
            }
            None => {
                line.waiting.pop_front();
                false
            }
        }
    }

    /// Goes round the offers for the apps that are to be spread: first so that no value gets a second
    /// instance while another one that is offered has none, then, if that is not to be had, without
    /// regard for values that cannot be used.
    fn spread(
        &mut self,
        tables: &mut [Table<'_>],
        lines: &mut [Line],
        values: &OfferedValues,
        out: &mut Out<'_>,
    ) {
        let nothing = OfferedValues::new();
        for values in [values, &nothing] {
            let mut progress = true;
            while std::mem::take(&mut progress) {
                for (at, line) in lines.iter_mut().enumerate() {
                    if line.spread.is_empty() {
                        continue;
                    }
                    for table in tables.iter_mut() {
                        if table.role() == line.role.as_str() && self.has_room(table) {
                            progress |= self.serve(table, at, line, values, out);
                        }
                    }
                }
            }
        }
        for table in tables {
            for (at, reasons) in std::mem::take(&mut table.refused) {
                let waits = lines.get(at).filter(|line| !line.waiting.is_empty());
                if let Some(entry) = waits.and_then(|line| self.queue.get_mut(&line.app)) {
                    entry.not_used(&table.view, reasons, out.stamp());
                }
            }
        }
    }

    /// Takes from the pool what the instance needs.
    #[allow(clippy::type_complexity, reason = "used once, right below its meaning")]
    fn take(
        &mut self,
        id: &InstanceId,
        offer: &Offer,
        pool: &mut Pool,
        values: &OfferedValues,
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
            offered: values,
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
        if incarnation > 0 {
            self.counters.apps.entry(app.id.clone()).or_default().restarts += 1;
        }
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

/// Fields of an app's GROUP_BY constraints that do not say how many values there are.
fn spread_fields(app: &App) -> Vec<String> {
    let spreads = app.constraints.iter().filter(|c| c.operator == Operator::GroupBy(None));
    spreads.map(|constraint| constraint.field.clone()).collect()
}

/// Every value that the offers have of the fields over which apps are to be spread.
fn offered_values(lines: &[Line], tables: &[Table<'_>]) -> OfferedValues {
    let mut values = OfferedValues::new();
    for field in lines.iter().flat_map(|line| &line.spread) {
        if values.contains_key(field) {
            continue;
        }
        let places = tables.iter().map(|table| table.pool.place(&table.offer.hostname));
        let found = places.filter_map(|place| place.field(field).map(str::to_owned));
        values.insert(field.clone(), found.collect());
    }
    values
}
