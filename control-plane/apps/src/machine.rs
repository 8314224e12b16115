//! The state machine: what it knows, and how events reach the code that decides.

use std::collections::{BTreeMap, BTreeSet};

use tepui_marathon::{AppId, InstanceId, TaskFailure, TaskId};
use tepui_types::{Entropy, Mono, Now, Span, Uuid};

use crate::catalog::Catalog;
use crate::counters::Counters;
use crate::delays::Delays;
use crate::deployments::Deployment;
use crate::instances::Instances;
use crate::kills::Kills;
use crate::out::Out;
use crate::probes::Probes;
use crate::queue::Waiting;
use crate::session::Session;
use crate::timers::{Timer, Timers};
use crate::{Config, Effect, Event};

/// The Marathon half.
///
/// Feed it events with [`Apps::handle`] and carry out the effects it leaves: first make the records
/// of a batch durable, then speak. It learns of the cluster only what any framework would.
#[derive(Debug)]
pub struct Apps {
    pub(crate) config: Config,
    pub(crate) entropy: Entropy,
    pub(crate) started: Option<Now>,
    pub(crate) catalog: Catalog,
    pub(crate) instances: Instances,
    pub(crate) deployments: BTreeMap<Uuid, Deployment>,
    /// Which deployment an app is in.
    pub(crate) locks: BTreeMap<AppId, Uuid>,
    pub(crate) queue: BTreeMap<AppId, Waiting>,
    /// Instances that an app lacks and that are made when earlier ones have been launched.
    pub(crate) backlog: BTreeMap<AppId, u32>,
    pub(crate) delays: Delays,
    pub(crate) failures: BTreeMap<AppId, TaskFailure>,
    pub(crate) kills: Kills,
    pub(crate) probes: Probes,
    pub(crate) session: Session,
    pub(crate) timers: Timers,
    /// Apps whose instances or definition changed during this event.
    pub(crate) dirty: BTreeSet<AppId>,
    /// Apps whose number of instances is to be brought to the target.
    pub(crate) rescale: BTreeSet<AppId>,
    /// Tasks of instances that were given up; they are killed if they come back.
    pub(crate) given_up: BTreeSet<TaskId>,
    /// Stored instances without a definition; their tasks are never killed by themselves.
    pub(crate) protected: BTreeSet<InstanceId>,
    /// Kills of unknown tasks since `stray_window` began.
    pub(crate) stray_kills: usize,
    pub(crate) stray_window: Mono,
    /// A human was told in this window.
    pub(crate) stray_alarmed: bool,
    pub(crate) counters: Counters,
    pub(crate) halted: bool,
}

/// Tasks that are remembered as given up.
const MAX_GIVEN_UP: usize = 100_000;

impl Apps {
    /// A state machine that waits for [`Event::Elected`].
    #[must_use]
    pub fn new(config: Config, entropy: Entropy) -> Self {
        let session = Session::new(config.launch_tokens);
        Self {
            config,
            entropy,
            started: None,
            catalog: Catalog::empty(),
            instances: Instances::default(),
            deployments: BTreeMap::new(),
            locks: BTreeMap::new(),
            queue: BTreeMap::new(),
            backlog: BTreeMap::new(),
            delays: Delays::default(),
            failures: BTreeMap::new(),
            kills: Kills::default(),
            probes: Probes::default(),
            session,
            timers: Timers::default(),
            dirty: BTreeSet::new(),
            rescale: BTreeSet::new(),
            given_up: BTreeSet::new(),
            protected: BTreeSet::new(),
            stray_kills: 0,
            stray_window: Mono::default(),
            stray_alarmed: false,
            counters: Counters::default(),
            halted: false,
        }
    }

    /// Takes one event and appends what is to be done about it.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        if self.halted {
            return;
        }
        let out = &mut Out { now, effects };
        match event {
            Event::Elected { records } => self.elected(records, out),
            Event::Mesos(event) => self.mesos(&event, out),
            Event::Disconnected => self.disconnected(out),
            Event::Command { request, command, origin } => {
                self.command(request, *command, origin, out);
            }
            Event::Probed { probe, outcome } => self.probed(probe, &outcome, out),
            Event::Tick => {}
        }
        self.fire_timers(out);
        self.settle(out);
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.timers.next()
    }

    fn fire_timers(&mut self, out: &mut Out<'_>) {
        while let Some(timer) = self.timers.take_due(out.mono()) {
            match timer {
                Timer::Subscribe => self.subscribe(out),
                Timer::Revive => self.session.revive_timer = None,
                Timer::Tokens => self.refill_tokens(out),
                Timer::Reconcile => self.reconcile_in_turn(out),
                Timer::ScaleCheck => self.scale_check(out),
                Timer::Overdue => self.kill_overdue_launches(out),
                Timer::DelaySweep => self.sweep_delays(out),
                Timer::Kills => self.kills.timer = None,
                Timer::Delay(app) => {
                    self.session.wish(&app);
                    self.dirty.insert(app);
                }
                Timer::Check(task, index) => self.check_due(&task, index, out),
                Timer::Readiness(task) => self.readiness_due(&task),
                Timer::Unreachable(id) => self.unreachable_due(&id, out),
            }
        }
    }

    /// Follows up on everything that changed: deployments go on, missing instances are made, the
    /// cluster is asked for offers, kills go out.
    fn settle(&mut self, out: &mut Out<'_>) {
        // Each round either changes an instance or ends, and every chain of such changes is short;
        // the bound is for mistakes.
        for _ in 0..1_000 {
            let dirty = std::mem::take(&mut self.dirty);
            let mut rescale = std::mem::take(&mut self.rescale);
            rescale.extend(dirty.iter().filter(|app| self.backlog.contains_key(*app)).cloned());
            if dirty.is_empty() && rescale.is_empty() {
                break;
            }
            let deployments: BTreeSet<Uuid> =
                dirty.iter().filter_map(|app| self.locks.get(app).copied()).collect();
            for id in deployments {
                self.advance(id, out);
            }
            for app in &rescale {
                if !self.locks.contains_key(app) {
                    self.scale_to_target(app, out);
                }
            }
            for app in dirty.iter().chain(&rescale) {
                self.refresh_queue(app, out);
            }
        }
        self.pump_kills(out);
        self.pump_probes(out);
        self.update_demand(out);
    }

    /// Remembers that tasks of this id are not wanted any more.
    pub(crate) fn give_up(&mut self, task: TaskId) {
        if self.given_up.len() >= MAX_GIVEN_UP {
            self.given_up.pop_first();
        }
        self.given_up.insert(task);
    }

    /// Sets a timer that far from now, but never for this very moment: a pause of zero must not
    /// become a loop.
    pub(crate) fn after(&mut self, span: Span, timer: Timer, out: &Out<'_>) {
        self.timers.set(out.mono() + span.max(Span::from_millis(1)), timer);
    }
}
