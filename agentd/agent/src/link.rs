//! The link with the control plane: registration, heartbeats, numbered directives.

use std::collections::BTreeSet;

use tepui_link::{Directive, Leftover, Order, Registration, Report};
use tepui_types::{AgentId, FrameworkId, Span};
use tepui_wire::v1::{self, agent_info::capability};

use crate::machine::{Agent, Turn};
use crate::timers::{Timer, TimerKey};
use crate::{Config, Effect, Record};

/// Where the agent is with the control plane.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    state: State,
    /// The highest generation handled on this link.
    seen: u64,
    /// The upper bound of the next random pause.
    backoff: Span,
    heartbeat: Span,
    timer: Option<TimerKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A link is being made.
    Down,
    /// A link is up, and executors still have time to subscribe before the agent registers.
    Holding,
    /// The registration is sent.
    Registering,
    /// The control plane has answered it.
    Registered,
}

impl Link {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            state: State::Down,
            seen: 0,
            backoff: config.registration_backoff,
            heartbeat: Span::from_secs(15),
            timer: None,
        }
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.state == State::Registered
    }
}

impl Agent {
    pub(crate) fn link_up(&mut self, turn: &mut Turn<'_>) {
        self.unlink();
        if self.quitting.is_some() && self.book.agent.is_none() {
            return;
        }
        if self.window.is_some() {
            self.link.state = State::Holding;
        } else {
            self.register(turn);
        }
    }

    /// Called when the executors' time to subscribe again is over.
    pub(crate) fn register_if_held(&mut self, turn: &mut Turn<'_>) {
        if self.link.state == State::Holding {
            self.register(turn);
        }
    }

    fn register(&mut self, turn: &mut Turn<'_>) {
        self.link.state = State::Registering;
        let limit = turn.now.mono + self.config.registration_timeout;
        self.link.timer = Some(self.timers.set(limit, Timer::RegistrationLimit));
        let registration = Report::Register(Box::new(self.registration()));
        turn.push(Effect::ToControlPlane(Box::new(registration)));
    }

    /// The agent's description with its id, as executors and `/state` see it.
    pub fn info(&self) -> v1::AgentInfo {
        let id = self.book.agent.as_ref().map(|id| v1::AgentId { value: id.to_string() });
        v1::AgentInfo { id, ..self.config.info.clone() }
    }

    fn registration(&self) -> Registration {
        let agent = self.agent_text();
        let active = || self.book.frameworks.values().filter(|one| one.is_active());
        Registration {
            agent: self.book.agent.clone(),
            info: self.info(),
            boot: self.book.boot.clone(),
            version: self.config.version.clone(),
            term: self.book.term,
            frameworks: active()
                .filter(|framework| framework.is_described())
                .map(|framework| (*framework.info).clone())
                .collect(),
            executors: self
                .live_executors()
                .map(|(framework, info)| {
                    let framework_id = v1::FrameworkId { value: framework.to_string() };
                    v1::ExecutorInfo { framework_id: Some(framework_id), ..info.clone() }
                })
                .collect(),
            tasks: active()
                .flat_map(|framework| {
                    framework.tasks.values().map(|task| task.to_wire(&framework.id, &agent))
                })
                .collect(),
            leftovers: self.leftovers().cloned().collect(),
        }
    }

    pub(crate) fn tell_heartbeat(&mut self, turn: &mut Turn<'_>) {
        let seen = self.link.seen;
        let executors = self.live_executors().count() as u64;
        let leftovers: BTreeSet<_> = self.leftovers().map(|one| one.framework.clone()).collect();
        let leftovers = leftovers.into_iter().collect();
        self.report(Report::Heartbeat { seen, executors, leftovers }, turn);
    }

    /// What frameworks that were shut down still hold.
    fn leftovers(&self) -> impl Iterator<Item = &Leftover> {
        let live = self.book.runs.values().filter(|run| run.exit.is_none());
        live.filter_map(|run| run.leftover.as_ref())
    }

    /// The custom executors that have not ended, of frameworks that have not either.
    fn live_executors(&self) -> impl Iterator<Item = (&FrameworkId, &v1::ExecutorInfo)> {
        let runs = &self.book.runs;
        let active = self.book.frameworks.values().filter(|one| one.is_active());
        active.flat_map(move |framework| {
            let live = framework
                .executors
                .values()
                .filter(|executor| runs.get(&executor.run).is_some_and(|run| run.exit.is_none()));
            live.filter_map(|executor| Some((&framework.id, executor.info.as_deref()?)))
        })
    }

    pub(crate) fn registration_overdue(&mut self, turn: &mut Turn<'_>) {
        self.link.timer = None;
        self.reconnect(turn);
    }

    pub(crate) fn link_down(&mut self, turn: &mut Turn<'_>) {
        // Otherwise this is the end of a link that the agent gave up, and a new one is on its way.
        if self.link.state != State::Down {
            self.reconnect(turn);
        }
    }

    /// Makes the link anew after a random pause whose bound doubles until a registration works.
    fn reconnect(&mut self, turn: &mut Turn<'_>) {
        self.unlink();
        let pause = Span::from_nanos(self.entropy.below(self.link.backoff.as_nanos() + 1));
        let max = self.config.registration_backoff_max;
        self.link.backoff = self.link.backoff.doubled().min(max);
        turn.push(Effect::Reconnect { pause });
    }

    fn unlink(&mut self) {
        let was_registered = self.link.is_registered();
        self.link.state = State::Down;
        self.link.seen = 0;
        let timer = self.link.timer.take();
        self.cancel(timer);
        if was_registered {
            self.pause_updates();
        }
    }

    pub(crate) fn heartbeat(&mut self, turn: &mut Turn<'_>) {
        self.tell_heartbeat(turn);
        let at = turn.now.mono + self.link.heartbeat;
        self.link.timer = Some(self.timers.set(at, Timer::Heartbeat));
    }

    /// Takes a directive unless it is a repetition or of a deposed leader; a gap in the numbers
    /// means that something was lost, and only a new registration heals that (I-15, I-46).
    pub(crate) fn direct(&mut self, directive: Directive, turn: &mut Turn<'_>) {
        if !matches!(self.link.state, State::Registering | State::Registered) {
            return;
        }
        if directive.term < self.book.term {
            self.counters.refused_terms += 1;
            return self.reconnect(turn);
        }
        if directive.generation <= self.link.seen {
            return;
        }
        let answers = matches!(directive.order, Order::Registered { .. });
        let is_next = directive.generation == self.link.seen + 1;
        if !is_next || (!answers && !self.link.is_registered()) {
            return self.reconnect(turn);
        }
        self.link.seen = directive.generation;
        if directive.term > self.book.term {
            self.commit(Record::Term(directive.term), turn);
        }
        self.obey(directive.order, turn);
    }

    fn obey(&mut self, order: Order, turn: &mut Turn<'_>) {
        if self.quitting.is_some() && matches!(order, Order::Launch(_)) {
            return;
        }
        match order {
            Order::Registered { agent, heartbeat, pace, .. } => {
                self.registered(&agent, heartbeat, pace, turn);
            }
            Order::Launch(launch) => self.launch(*launch, turn),
            Order::Kill { framework, task, kill_policy } => {
                self.kill(&framework, &task, kill_policy.as_ref(), turn);
            }
            Order::Acknowledge { framework, task, update } => {
                self.acknowledge(&framework, &task, update, turn);
            }
            Order::ShutdownExecutor { framework, executor } => {
                self.shutdown_executor(&framework, &executor, turn);
            }
            Order::ShutdownFramework { framework } => self.shutdown_framework(&framework, turn),
            Order::Message { framework, executor, data } => {
                self.message(&framework, &executor, data, turn);
            }
            Order::Reconcile { tasks } => {
                for (framework, task, partition_aware) in tasks {
                    self.reconcile(&framework, &task, partition_aware, turn);
                }
            }
            Order::UpdateFramework { framework } => self.update_framework(framework, turn),
            Order::Shutdown { reason } => self.shut_down(reason, turn),
        }
    }

    fn registered(&mut self, agent: &AgentId, heartbeat: Span, pace: Span, turn: &mut Turn<'_>) {
        let same = self.book.agent.as_ref() == Some(agent)
            && self.book.info.as_deref() == Some(&self.config.info);
        if !same {
            let info = Box::new(self.config.info.clone());
            self.commit(Record::Identity { agent: agent.clone(), info }, turn);
        }
        let timer = self.link.timer.take();
        self.cancel(timer);
        let first = !self.link.is_registered();
        self.link.state = State::Registered;
        self.link.backoff = if pace == Span::ZERO {
            self.config.registration_backoff
        } else {
            pace.min(self.config.registration_backoff_max)
        };
        self.link.heartbeat = heartbeat.max(Span::from_millis(10));
        let at = turn.now.mono + self.link.heartbeat;
        self.link.timer = Some(self.timers.set(at, Timer::Heartbeat));
        if first {
            self.resume_updates(turn);
        }
    }

    /// The agent's id as text; empty before the first registration.
    pub(crate) fn agent_text(&self) -> String {
        self.book.agent.as_ref().map_or_else(String::new, AgentId::to_string)
    }

    /// What agents of this kind can do, as Mesos names it.
    pub const CAPABILITIES: [capability::Type; 3] = [
        capability::Type::HierarchicalRole,
        capability::Type::MultiRole,
        capability::Type::ReservationRefinement,
    ];
}
