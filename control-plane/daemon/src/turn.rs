//! The driver loop: the only place that acts, and it saves before it speaks.
//!
//! It takes whatever waits, lets the leader decide, makes all records of that batch durable with
//! one commit, and only then answers, sends and shows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tepui_api::Timings;
use tepui_apps::{Alarm, Halt};
use tepui_leader::{Effect, Event, Leader};
use tepui_process::{Clock, Watchdog};
use tepui_store::{Batch, Store, StoreError, records};
use tepui_types::{Now, RequestId, Term};
use tokio::sync::{broadcast, oneshot};
use tracing::{error, info, warn};

use crate::allocation::Allocation;
use crate::chronicle;
use crate::driver::{Answer, Dated, Driver, Input};
use crate::links::Links;
use crate::probes::Probes;
use crate::streams::{Streams, Watchers};

/// Inputs that one commit covers at most.
const BATCH: usize = 1024;
/// How long the loop sleeps when no timer is due.
const IDLE: Duration = Duration::from_secs(60);
/// How often a write is tried again while the disk is full; nobody is answered meanwhile.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);
/// A full store is said again after so many attempts.
const NO_SPACE_REMINDER: u32 = 30;

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It was asked to.
    #[error("the loop was asked to stop")]
    Stopped,
    /// A client wanted this process to give up leadership.
    #[error("leadership was given up on request")]
    Abdicated,
    /// The store failed: what is durable is unknown, so the process must end.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// The apps cannot go on.
    #[error("the apps cannot go on")]
    Halted(#[source] Halt),
}

/// Everything that the loop acts on.
pub struct Turn {
    pub(crate) clock: Clock,
    pub(crate) watchdog: Watchdog,
    /// When the newest input came in that the leader knows of.
    pub(crate) heard: Now,
    pub(crate) leader: Leader,
    pub(crate) store: Box<dyn Store>,
    pub(crate) term: Term,
    pub(crate) inbox: Receiver<Dated>,
    pub(crate) driver: Driver,
    pub(crate) allocation: Allocation,
    pub(crate) timings: Arc<Timings>,
    pub(crate) probes: Probes,
    pub(crate) app_events: broadcast::Sender<Arc<tepui_marathon::Event>>,
    pub(crate) links: Links,
    pub(crate) streams: Streams,
    pub(crate) watchers: Watchers,
    pub(crate) waiting: HashMap<RequestId, Answer>,
    /// Who waits for the next commit, whatever it carries.
    pub(crate) marks: Vec<oneshot::Sender<Term>>,
    /// How often agents were not given up because too many were silent, as far as it was said.
    pub(crate) held_back: u64,
    /// The highest term above this one that an agent obeys, as far as it was said.
    pub(crate) term_above: u64,
    /// When the last commit began: as far as others know, this leader lived then.
    pub(crate) committed: Instant,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("term", &self.term).finish_non_exhaustive()
    }
}

/// What a batch leaves for after its commit.
#[derive(Default)]
struct Later {
    looks: Vec<Input>,
    stop: Option<oneshot::Sender<()>>,
}

impl Turn {
    /// Runs until asked to stop or unable to go on. `first` is the election.
    pub fn run(mut self, first: Event) -> Ended {
        let ended = self.turn(first);
        if matches!(ended, Ended::Stopped | Ended::Abdicated)
            && let Err(error) = self.store.resign()
        {
            let error = &error as &dyn std::error::Error;
            warn!(error, "leadership not given up, others wait for its lease to end");
        }
        ended
    }

    fn turn(&mut self, first: Event) -> Ended {
        let mut effects = Vec::new();
        self.leader.handle(self.clock.now(), first, &mut effects);
        loop {
            self.watchdog.beat();
            if let Err(ended) = self.act(&mut effects) {
                return ended;
            }
            let mut later = Later::default();
            if !self.gather(&mut effects, &mut later) {
                return Ended::Stopped;
            }
            if let Err(ended) = self.act(&mut effects) {
                return ended;
            }
            self.warn_of_term_above();
            self.show(later.looks, &mut effects);
            if let Some(done) = later.stop {
                let _ = done.send(());
                return Ended::Stopped;
            }
        }
    }

    /// Waits for the first input or timer, then takes what else waits.
    fn gather(&mut self, effects: &mut Vec<Effect>, later: &mut Later) -> bool {
        let now = self.clock.now().mono;
        let wait = self.leader.next_wakeup().map_or(IDLE, |at| Duration::from(at.since(now)));
        let wait = wait.min(self.until_renewal().unwrap_or(IDLE));
        match self.inbox.recv_timeout(wait.min(self.watchdog.pause()).min(IDLE)) {
            Ok(input) => self.take(input, effects, later),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        for _ in 1..BATCH {
            let Ok(input) = self.inbox.try_recv() else {
                self.tick(effects);
                return true;
            };
            self.take(input, effects, later);
        }
        // More waits, and it may excuse whoever's time seems to be over.
        true
    }

    /// Nothing waits: timers are due as the clock says.
    fn tick(&mut self, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        if self.leader.next_wakeup().is_some_and(|at| at <= now.mono) {
            self.heard = now;
            self.leader.handle(now, Event::Tick, effects);
            self.alarm_about_agents();
        }
    }

    /// Says that agents are silent in masses and none is given up (invariant I-37).
    fn alarm_about_agents(&mut self) {
        let held_back = self.leader.cluster().counters().agents.removals_held_back;
        if held_back > std::mem::replace(&mut self.held_back, held_back) {
            error!(
                "too many agents are silent at once, so none is given up: is the network between \
                 them and this control plane broken?"
            );
        }
    }

    /// Says that agents do not come because they obey a later term (invariant I-15). A former leader
    /// finds out by its store; whoever lost its store leads on and waits in vain.
    fn warn_of_term_above(&mut self) {
        let above = self.leader.cluster().counters().agents.term_above;
        if above > std::mem::replace(&mut self.term_above, above) {
            error!(
                term = self.term.0,
                theirs = above,
                "agents obey a later term and do not come: another control plane leads them, or the \
                 store was emptied, replaced or set back (then start with --term-above {above})"
            );
        }
    }

    fn take(&mut self, (at, input): Dated, effects: &mut Vec<Effect>, later: &mut Later) {
        self.driver.taken();
        // Two threads may have sent in another order than they looked at the clock.
        if at.mono > self.heard.mono {
            self.heard = at;
        }
        let at = self.heard;
        match input {
            Input::Event(event) => self.leader.handle(at, event, effects),
            Input::Registration { event, room } => {
                self.leader.handle(at, event, effects);
                drop(room);
            }
            Input::Ask { request, event, answer } => {
                self.waiting.insert(request, answer);
                self.leader.handle(at, event, effects);
            }
            Input::LinkOpened { link, outbox } => self.links.open(link, outbox),
            Input::Mark(answer) => self.marks.push(answer),
            Input::Stop(done) => later.stop = Some(done),
            look @ (Input::Read(_) | Input::Watch(_) | Input::WatchEnded) => later.looks.push(look),
        }
    }

    /// Saves, then speaks.
    fn act(&mut self, effects: &mut Vec<Effect>) -> Result<(), Ended> {
        if effects.is_empty() && !self.write_is_due() {
            return Ok(());
        }
        self.save(effects)?;
        for mark in self.marks.drain(..) {
            // Whoever asked may be gone already.
            let _ = mark.send(self.term);
        }
        let mut inputs = Vec::new();
        for effect in effects.drain(..) {
            chronicle::tell(&effect);
            match effect {
                Effect::ToAllocator(input) => inputs.push(input),
                effect => self.perform(effect)?,
            }
        }
        self.allocation.tell(inputs);
        Ok(())
    }

    /// How long until the others have to be told that this leader lives, if there are any.
    fn until_renewal(&self) -> Option<Duration> {
        Some(self.store.renewal()?.saturating_sub(self.committed.elapsed()))
    }

    /// Whether there has to be a write although nothing changed.
    fn write_is_due(&self) -> bool {
        !self.marks.is_empty() || self.until_renewal() == Some(Duration::ZERO)
    }

    /// Makes the records durable. When the renewal is due there need not be any: a leader that
    /// was stopped, and whose place another one took, finds out before it does anything else.
    fn save(&mut self, effects: &[Effect]) -> Result<(), Ended> {
        let ops: Vec<_> = effects.iter().filter_map(durable_op).collect();
        if ops.is_empty() && !self.write_is_due() {
            return Ok(());
        }
        let batch = Batch { ops };
        let mut refused = 0_u32;
        loop {
            let begin = Instant::now();
            match self.store.commit(self.term, batch.clone()) {
                Ok(_) => {
                    self.committed = begin;
                    self.timings.stored(begin.elapsed());
                    if refused > 0 {
                        info!("store has room again");
                    }
                    return Ok(());
                }
                Err(error @ StoreError::NoSpace { .. }) => {
                    if refused.is_multiple_of(NO_SPACE_REMINDER) {
                        error!(
                            error = &error as &dyn std::error::Error,
                            "store is full, nothing is answered until there is room, retrying"
                        );
                    }
                    refused = refused.saturating_add(1);
                    // Waiting for room is what it is to do: another process would wait as well.
                    self.watchdog.beat();
                    std::thread::sleep(NO_SPACE_PAUSE.min(self.watchdog.pause()));
                }
                Err(error) => return Err(Ended::Store(error)),
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Ended> {
        match effect {
            Effect::SaveCluster(_)
            | Effect::ForgetCluster(_)
            | Effect::SaveApps(_)
            | Effect::ForgetApps(_)
            | Effect::ToAllocator(_) => {}
            Effect::Respond { request, response } => self.respond(request, response),
            Effect::Reply { request, reply } => {
                if let Some(Answer::Apps(answer)) = self.waiting.remove(&request) {
                    let _ = answer.send(reply);
                }
            }
            Effect::ToFramework { stream, event } => {
                if !self.streams.send(stream, *event, self.heard.mono) {
                    warn!(%stream, "framework does not keep up with its events, stream cut");
                    self.driver.event(tepui_cluster::Event::StreamClosed { stream });
                }
            }
            Effect::CloseStream { stream } => self.streams.close(stream),
            Effect::ToAgent { link, directive } => {
                if !self.links.send(link, directive) {
                    warn!(link = link.0, "agent does not keep up with its directives, link cut");
                    self.driver.event(tepui_cluster::Event::LinkClosed { link });
                }
            }
            Effect::CloseLink { link } => self.links.close(link),
            Effect::PublishCluster(event) => self.watchers.send(*event),
            // No receiver is no error: nobody listens.
            Effect::PublishApps(event) => drop(self.app_events.send(event)),
            Effect::Probe(probe) => self.probes.start(*probe),
            Effect::CancelProbe(probe) => self.probes.cancel(probe),
            Effect::Alarm(alarm) => log_alarm(&alarm),
            Effect::Halt(halt) => return Err(Ended::Halted(halt)),
        }
        Ok(())
    }

    fn respond(&mut self, request: RequestId, response: tepui_cluster::Response) {
        // Whoever asked may be gone already.
        match self.waiting.remove(&request) {
            Some(Answer::Cluster(answer)) => drop(answer.send(response)),
            Some(Answer::Stream { sink, answer }) => {
                if let tepui_cluster::Response::Streaming { stream } = response {
                    self.streams.open(stream, sink);
                }
                drop(answer.send(response));
            }
            Some(Answer::Apps(_)) | None => {}
        }
    }

    /// Lets readers look, now that everything decided is durable.
    fn show(&mut self, looks: Vec<Input>, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        for look in looks {
            match look {
                Input::Read(look) => look(&self.leader, now),
                Input::Watch(look) => {
                    let events = self.watchers.open();
                    self.tell_watchers(effects);
                    look(&self.leader, now, events);
                }
                Input::WatchEnded => {
                    self.watchers.prune();
                    self.tell_watchers(effects);
                }
                Input::Event(_)
                | Input::Registration { .. }
                | Input::Ask { .. }
                | Input::LinkOpened { .. }
                | Input::Mark(_)
                | Input::Stop(_) => {}
            }
        }
    }

    fn tell_watchers(&mut self, effects: &mut Vec<Effect>) {
        let count = self.watchers.count();
        let event = Event::Cluster(tepui_cluster::Event::Watchers(count));
        self.leader.handle(self.heard, event, effects);
    }
}

fn durable_op(effect: &Effect) -> Option<tepui_store::Op> {
    match effect {
        Effect::SaveCluster(record) => Some(records::save_cluster(record)),
        Effect::ForgetCluster(record) => Some(records::forget_cluster(record)),
        Effect::SaveApps(record) => Some(records::save_apps(record)),
        Effect::ForgetApps(key) => Some(records::forget_apps(key)),
        _ => None,
    }
}

fn log_alarm(alarm: &Alarm) {
    match alarm {
        Alarm::UnknownTasksSpared { tasks } => {
            error!(tasks, "unknown tasks left running: so many at once look like a lost store");
        }
        Alarm::SchedulerError { message } => error!(message, "the cluster refused the apps"),
        Alarm::RecordIgnored { what } => error!(what, "inconsistent record left out"),
    }
}
