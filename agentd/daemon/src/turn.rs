//! The driver loop: the only place that acts, and it saves before it acts.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tepui_agent::{Agent, Effect, Event, Record, Response};
use tepui_checkpoint::{Journal, JournalError};
use tepui_process::{Clock, Watchdog};
use tepui_types::{RequestId, StreamId};
use tepui_wire::v1::executor;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::driver::{Driver, Input, Look};
use crate::link::{self, Outbox, Wish};
use crate::runs::Runs;

/// Inputs that one commit covers at most.
const BATCH: usize = 1024;
/// How long the loop sleeps when no timer is due.
const IDLE: Duration = Duration::from_secs(60);
/// How often a write is tried again while the disk is full; nothing is done meanwhile.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// Why the loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It was asked to; tasks go on.
    #[error("the loop was asked to stop")]
    Stopped,
    /// The cluster does not want this agent, or the operator took it out.
    #[error("the agent left the cluster: {0}")]
    Left(String),
    /// The journal failed: what is durable is unknown, so the process must end.
    #[error("the journal failed")]
    Journal(#[source] JournalError),
}

/// Everything that the loop acts on.
pub struct Turn {
    pub(crate) clock: Clock,
    pub(crate) watchdog: Watchdog,
    pub(crate) agent: Agent,
    pub(crate) journal: Journal,
    pub(crate) inbox: Receiver<Input>,
    pub(crate) driver: Driver,
    pub(crate) runs: Runs,
    pub(crate) outbox: Option<Outbox>,
    pub(crate) wish: watch::Sender<Wish>,
    pub(crate) streams: HashMap<StreamId, mpsc::Sender<executor::Event>>,
    pub(crate) waiting: HashMap<RequestId, oneshot::Sender<Response>>,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turn")
    }
}

/// What a batch leaves for after its commit.
#[derive(Default)]
struct Later {
    looks: Vec<Look>,
    stop: Option<oneshot::Sender<()>>,
}

impl Turn {
    /// Runs until asked to stop or unable to go on. `first` is the start with what was recovered.
    pub fn run(mut self, first: Event) -> Ended {
        let mut effects = Vec::new();
        self.agent.handle(self.clock.now(), first, &mut effects);
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
            let now = self.clock.now();
            for look in later.looks {
                look(&self.agent, now);
            }
            if let Some(done) = later.stop {
                let _ = done.send(());
                return Ended::Stopped;
            }
        }
    }

    /// Waits for the first input or timer, then takes what else waits.
    fn gather(&mut self, effects: &mut Vec<Effect>, later: &mut Later) -> bool {
        let now = self.clock.now().mono;
        let wait = self.agent.next_wakeup().map_or(IDLE, |at| Duration::from(at.since(now)));
        match self.inbox.recv_timeout(wait.min(self.watchdog.pause()).min(IDLE)) {
            Ok(input) => self.take(input, effects, later),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        for _ in 1..BATCH {
            let Ok(input) = self.inbox.try_recv() else { break };
            self.take(input, effects, later);
        }
        let now = self.clock.now();
        if self.agent.next_wakeup().is_some_and(|at| at <= now.mono) {
            self.agent.handle(now, Event::Tick, effects);
        }
        true
    }

    fn take(&mut self, input: Input, effects: &mut Vec<Effect>, later: &mut Later) {
        let now = self.clock.now();
        match input {
            Input::Event(event) => {
                if matches!(event, Event::LinkDown) {
                    self.outbox = None;
                }
                if let Event::RequestGone { request } = event {
                    self.waiting.remove(&request);
                }
                self.agent.handle(now, event, effects);
            }
            Input::Ask { request, event, answer } => {
                self.waiting.insert(request, answer);
                self.agent.handle(now, event, effects);
            }
            Input::StreamOpened { stream, sink } => {
                self.streams.insert(stream, sink);
            }
            Input::LinkUp(outbox) => {
                self.outbox = Some(outbox);
                self.agent.handle(now, Event::LinkUp, effects);
            }
            Input::Read(look) => later.looks.push(look),
            Input::Stop(done) => later.stop = Some(done),
        }
    }

    /// Saves, then acts.
    fn act(&mut self, effects: &mut Vec<Effect>) -> Result<(), Ended> {
        let records: Vec<Record> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Save(record) => Some(record.clone()),
                _ => None,
            })
            .collect();
        self.save(&records)?;
        for effect in effects.drain(..) {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn save(&mut self, records: &[Record]) -> Result<(), Ended> {
        if records.is_empty() {
            return Ok(());
        }
        loop {
            match self.journal.append(records) {
                Ok(()) => break,
                Err(problem @ JournalError::Full { .. }) => {
                    error!(
                        error = &problem as &dyn std::error::Error,
                        "journal has no space, nothing is done until there is room, retrying"
                    );
                    // Waiting for room is what it is to do: another process would wait as well.
                    self.watchdog.beat();
                    std::thread::sleep(NO_SPACE_PAUSE.min(self.watchdog.pause()));
                }
                Err(problem) => return Err(Ended::Journal(problem)),
            }
        }
        if self.journal.wants_compaction()
            && let Err(problem) = self.journal.compact(&self.agent.snapshot())
        {
            if !problem.is_harmless() {
                return Err(Ended::Journal(problem));
            }
            warn!(error = &problem as &dyn std::error::Error, "journal not compacted, going on");
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), Ended> {
        match effect {
            Effect::Save(_) => {}
            Effect::ToControlPlane(report) => {
                if let Some(outbox) = &self.outbox
                    && !link::send(outbox, *report)
                {
                    warn!("control plane does not keep up with reports, link made anew");
                    self.make_link_anew(Duration::ZERO);
                }
            }
            Effect::Reconnect { pause } => self.make_link_anew(pause.into()),
            Effect::ToExecutor { stream, event } => {
                use mpsc::error::TrySendError;
                let Some(sink) = self.streams.get(&stream) else {
                    // Cut below, and the agent hears of it next.
                    return Ok(());
                };
                match sink.try_send(*event) {
                    Ok(()) => return Ok(()),
                    Err(TrySendError::Full(_)) => {
                        warn!(%stream, "executor does not keep up with its events, stream cut");
                    }
                    Err(TrySendError::Closed(_)) => {
                        info!(%stream, "executor went away before an event for it was sent");
                    }
                }
                self.streams.remove(&stream);
                self.driver.event(Event::ExecutorStreamClosed { stream });
            }
            Effect::CloseExecutorStream { stream } => drop(self.streams.remove(&stream)),
            Effect::Respond { request, response } => {
                if let Some(answer) = self.waiting.remove(&request) {
                    // Whoever asked may be gone already.
                    let _ = answer.send(response);
                }
            }
            Effect::Quit { reason } => {
                info!(reason, "agent leaves the cluster");
                return Err(Ended::Left(reason));
            }
            Effect::Notice { run, text } => warn!(%run, text, "noticed"),
            effect => self.runs.perform(effect),
        }
        Ok(())
    }

    fn make_link_anew(&mut self, pause: Duration) {
        self.outbox = None;
        self.wish.send_modify(|wish| {
            wish.round += 1;
            wish.pause = pause;
        });
    }
}
