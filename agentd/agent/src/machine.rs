use std::collections::BTreeMap;

use tepui_link::Report;
use tepui_types::{ContainerId, Entropy, FrameworkId, Mono, Now, StreamId, TaskId};

use crate::book::Book;
use crate::checks::Which;
use crate::counters::Counters;
use crate::link::Link;
use crate::state::Run;
use crate::timers::{Timer, TimerKey, Timers};
use crate::{Config, Effect, Event, ProbeId, Record};

/// One host's agent as a state machine: events in, effects out. It never looks at a clock and
/// never waits; whatever it says presupposes that the [`Effect::Save`]s before it are durable.
///
/// Durable state changes in one place, [`Book::apply`], for what happens and for what is replayed
/// alike; so a restart can lose nothing that was saved.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) entropy: Entropy,
    pub(crate) book: Book,
    pub(crate) link: Link,
    pub(crate) timers: Timers,
    pub(crate) probes: BTreeMap<ProbeId, (FrameworkId, TaskId, Which)>,
    pub(crate) probes_made: u64,
    pub(crate) streams: BTreeMap<StreamId, ContainerId>,
    /// While executors have time to subscribe again after a restart.
    pub(crate) window: Option<TimerKey>,
    pub(crate) garbage: Option<TimerKey>,
    pub(crate) disk_thousandths: u16,
    pub(crate) started: Now,
    pub(crate) sessions: crate::sessions::Sessions,
    pub(crate) quitting: Option<String>,
    /// While the start looks at former runs: what one's end means for others waits until all were
    /// looked at.
    pub(crate) recovering: bool,
    pub(crate) counters: Counters,
}

/// One call of [`Agent::handle`]: when it is, and where effects go.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.out.push(effect);
    }
}

impl Agent {
    /// An agent that has not started yet: the first event is [`Event::Started`].
    pub fn new(config: Config, entropy: Entropy) -> Self {
        Self {
            link: Link::new(&config),
            config,
            entropy,
            book: Book::default(),
            timers: Timers::default(),
            probes: BTreeMap::new(),
            probes_made: 0,
            streams: BTreeMap::new(),
            window: None,
            garbage: None,
            disk_thousandths: 0,
            started: Now::default(),
            sessions: crate::sessions::Sessions::default(),
            quitting: None,
            recovering: false,
            counters: Counters::default(),
        }
    }

    /// Takes one event and appends what is to be done to `out`, in order.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let turn = &mut Turn { now, out };
        match event {
            Event::Started { boot, records, runs } => self.start(boot, &records, runs, turn),
            Event::LinkUp => self.link_up(turn),
            Event::Directive(directive) => self.direct(*directive, turn),
            Event::LinkDown => self.link_down(turn),
            Event::Fetched { run, outcome } => self.fetched(&run, outcome, turn),
            Event::Networked { run, addresses } => self.networked(&run, addresses),
            Event::RunStarted { run, outcome } => self.run_started(&run, outcome, turn),
            Event::RunExited { run, exit, certificate } => {
                self.run_exited(&run, exit, certificate.as_deref(), turn);
            }
            Event::SandboxMeasured { run, used } => self.sandbox_measured(&run, used, turn),
            Event::Probed { probe, outcome } => self.probed(probe, outcome, turn),
            Event::Listening { run, ports } => self.listening(&run, &ports, turn),
            Event::PortsDenied { run, denials, fatal } => {
                self.ports_denied(&run, denials, fatal, turn);
            }
            Event::ExecutorSubscribe { request, stream, framework, executor, call } => {
                let asked = crate::executors::Subscription { request, stream, framework, executor };
                self.executor_subscribes(asked, *call, turn);
            }
            Event::ExecutorCall { request, call } => self.executor_calls(request, *call, turn),
            Event::ExecutorStreamClosed { stream } => self.executor_stream_closed(stream),
            Event::ContainerCall { request, call } => self.container_call(request, *call, turn),
            Event::RequestGone { request } => self.request_gone(request),
            Event::SessionOpened { session, outcome } => {
                self.session_opened(&session, outcome, turn);
            }
            Event::SessionEnded { session, exit } => self.session_ended(&session, exit, turn),
            Event::DiskUsage { thousandths } => self.disk_usage(thousandths, turn),
            Event::Leave => self.leave(turn),
            Event::Tick => {
                while let Some(timer) = self.timers.take_due(now.mono) {
                    self.fire(timer, turn);
                }
            }
        }
        self.quit_when_done(turn);
    }

    /// When the next [`Event::Tick`] is due.
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// A list of records that means the same as all that were saved; the journal may be replaced
    /// by it.
    pub fn snapshot(&self) -> Vec<Record> {
        self.book.snapshot()
    }

    fn fire(&mut self, timer: Timer, turn: &mut Turn<'_>) {
        match timer {
            Timer::Heartbeat => self.heartbeat(turn),
            Timer::RegistrationLimit => self.registration_overdue(turn),
            Timer::ReconnectWindow => self.reconnect_window_over(turn),
            Timer::Retry(framework, task) => self.retry(&framework, &task, turn),
            Timer::Kill(run) => self.grace_over(&run, turn),
            Timer::ExecutorLimit(run) => self.executor_overdue(&run, turn),
            Timer::ExecutorBeat(run) => self.executor_beat(&run, turn),
            Timer::Completion(framework, task) => self.completion_reached(&framework, &task, turn),
            Timer::Check(framework, task, which) => self.ask(&framework, &task, which, turn),
            Timer::Garbage => self.collect_garbage(turn),
        }
    }

    /// The one way in which durable state changes.
    pub(crate) fn commit(&mut self, record: Record, turn: &mut Turn<'_>) {
        self.book.apply(&record);
        turn.push(Effect::Save(record));
    }

    /// Says something to the control plane, when it listens.
    pub(crate) fn report(&self, report: Report, turn: &mut Turn<'_>) {
        if self.link.is_registered() {
            turn.push(Effect::ToControlPlane(Box::new(report)));
        }
    }

    pub(crate) fn run_mut(&mut self, run: &ContainerId) -> Option<&mut Run> {
        self.book.runs.get_mut(run)
    }

    pub(crate) fn cancel(&mut self, timer: Option<TimerKey>) {
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
    }

    /// The agent ends once nothing of it runs any more.
    fn quit_when_done(&mut self, turn: &mut Turn<'_>) {
        if self.quitting.is_some()
            && self.book.runs.values().all(|run| run.exit.is_some())
            && let Some(reason) = self.quitting.take()
        {
            turn.push(Effect::Quit { reason });
        }
    }
}
