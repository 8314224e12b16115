//! The simulated world: virtual time, the network, and everybody on it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;

use tepui_link::{Directive, Report};
use tepui_types::{Entropy, LinkId, Mono, Now, RequestId, Span, TraceHash, Wall};

use crate::checks::Checks;
use crate::client::Client;
use crate::control::Control;
use crate::faults::{Fault, FaultCounts};
use crate::host::Host;
use crate::queue::{Action, Life, Queue};
use crate::scheduler::Scheduler;

/// How bad the weather is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Faults happen.
    Faults,
    /// No new faults; everything has to come right.
    Calm,
    /// Everybody ends all work.
    Drain,
}

/// A link between an agent and the control plane, as the network sees it.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) host: usize,
    pub(crate) agent_life: Life,
    pub(crate) control_life: Life,
    pub(crate) up_last: Mono,
    pub(crate) down_last: Mono,
    /// What a cut holds back, in order.
    held_up: VecDeque<Held>,
    held_down: VecDeque<Held>,
}

#[derive(Debug)]
enum Held {
    Report(Box<Report>),
    Directive(Box<Directive>),
    Gone,
}

/// Everything in one run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) random: Entropy,
    pub(crate) queue: Queue,
    pub(crate) phase: Phase,
    pub(crate) control: Control,
    pub(crate) hosts: Vec<Host>,
    pub(crate) schedulers: Vec<Scheduler>,
    pub(crate) client: Client,
    pub(crate) wires: BTreeMap<LinkId, Wire>,
    next_link: u64,
    next_request: u64,
    pub(crate) faults: FaultCounts,
    pub(crate) checks: Checks,
    pub(crate) trace: TraceHash,
    pub(crate) steps: u64,
    /// Tasks that reached a custom executor.
    pub(crate) executor_tasks: u64,
    /// What a reader of a transcript sees; `None` when nobody reads.
    pub(crate) story: Option<Vec<String>>,
    /// Every message takes a millisecond: scripts are read by people.
    pub(crate) steady: bool,
}

/// The time at which every simulation begins: 2026-01-01T00:00:00Z.
const START: Wall = Wall::from_millis(1_767_225_600_000);

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Entropy::seeded(seed);
        let control = Control::new(Entropy::seeded(random.next_u64()));
        Self {
            now: Now { mono: Mono::from_nanos(1_000_000_000), wall: START },
            random,
            queue: Queue::default(),
            phase: Phase::Calm,
            control,
            hosts: Vec::new(),
            schedulers: Vec::new(),
            client: Client::default(),
            wires: BTreeMap::new(),
            next_link: 0,
            next_request: 0,
            faults: FaultCounts::default(),
            checks: Checks::default(),
            trace: TraceHash::default(),
            steps: 0,
            executor_tasks: 0,
            story: None,
            steady: false,
        }
    }

    /// Simulated time since the start.
    pub(crate) fn elapsed(&self) -> Span {
        self.now.mono.since(Mono::from_nanos(1_000_000_000))
    }

    pub(crate) fn after(&mut self, pause: Span, action: Action) {
        self.queue.put(self.now.mono + pause, action);
    }

    pub(crate) fn note(&mut self, what: &impl Hash) {
        self.trace.mix(what);
    }

    /// Adds a line to the transcript.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.story.is_some() {
            let at = self.elapsed().as_millis();
            let line = format!("{}.{:03} {}", at / 1000, at % 1000, line());
            if let Some(story) = &mut self.story {
                story.push(line);
            }
        }
    }

    pub(crate) fn is_stormy(&self) -> bool {
        self.phase == Phase::Faults
    }

    /// True in `per_mille` of 1000 cases while faults happen; counts the fault.
    pub(crate) fn strikes(&mut self, fault: Fault, per_mille: u64) -> bool {
        let strikes = self.is_stormy() && self.random.chance(per_mille, 1000);
        if strikes {
            self.faults.count(fault);
        }
        strikes
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Span {
        Span::from_millis(from + self.random.below(to - from + 1))
    }

    /// How long one message takes.
    pub(crate) fn latency(&mut self) -> Span {
        if self.steady {
            return Span::from_millis(1);
        }
        let usual = Span::from_nanos(200_000 + self.random.below(3_000_000));
        if self.strikes(Fault::Delay, 15) { usual + self.millis(20, 2500) } else { usual }
    }

    pub(crate) fn new_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Lets the next thing happen; `false` when nothing is left to happen before `end`.
    pub(crate) fn step(&mut self, end: Mono) -> bool {
        if self.queue.next_at().is_none_or(|at| at > end) {
            let rest = end.since(self.now.mono);
            self.now = self.now + rest;
            return false;
        }
        let Some((at, action)) = self.queue.take() else { return false };
        let passed = at.since(self.now.mono);
        self.now = self.now + passed;
        self.steps += 1;
        self.note(&self.now.mono.as_nanos());
        self.act(action);
        true
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::ControlStarts => self.control_starts(),
            Action::ControlTick(life) => self.control_tick(life),
            Action::AllocatorRound(life) => self.allocator_round(life),
            Action::Planned(life, plan) => self.planned(life, *plan),
            Action::ReportArrives { link, report } => self.report_arrives(link, report),
            Action::LinkGoneAtControl { link } => self.link_gone_at_control(link),
            Action::LinkAttempt { host, life, attempt } => self.link_attempt(host, life, attempt),
            Action::LinkUpAtAgent { link } => self.link_up_at_agent(link),
            Action::DirectiveArrives { link, directive } => self.directive_arrives(link, directive),
            Action::LinkGoneAtAgent { link } => self.link_gone_at_agent(link),
            Action::AgentStarts { host } => self.agent_starts(host),
            Action::AgentTick { host, life } => self.agent_tick(host, life),
            Action::Fetched { host, life, run, outcome } => {
                self.agent_event(host, life, tepui_agent::Event::Fetched { run, outcome });
            }
            Action::ProcessStarts { host, life, run } => self.process_started(host, life, run),
            Action::ProcessEnds { host, pid, exit } => self.process_ends(host, pid, exit),
            Action::ExecutorStep { host, pid } => self.executor_step(host, pid),
            Action::ExecutorHears { host, pid, stream, event } => {
                self.executor_hears(host, pid, stream, event);
            }
            Action::ExecutorSays { host, life, pid, stream, call } => {
                self.executor_said(host, life, pid, stream, call);
            }
            Action::AgentProbed { host, life, probe, outcome } => {
                self.agent_event(host, life, tepui_agent::Event::Probed { probe, outcome });
            }
            Action::AppsProbed { life, probe, outcome } => self.apps_probed(life, probe, outcome),
            Action::CallArrives { scheduler, life, stream, request, call } => {
                self.call_arrives(scheduler, life, stream, request, call);
            }
            Action::StreamOpens { scheduler, life, stream } => {
                self.stream_opens(scheduler, life, stream);
            }
            Action::StreamEvent { scheduler, stream, event } => {
                self.stream_event(scheduler, stream, *event);
            }
            Action::StreamGone { scheduler, stream } => self.stream_gone(scheduler, stream),
            Action::StreamGoneAtControl { stream } => self.stream_gone_at_control(stream),
            Action::SchedulerStarts { scheduler } => self.scheduler_starts(scheduler),
            Action::SchedulerStep { scheduler, life } => self.scheduler_step(scheduler, life),
            Action::JobsStep { scheduler, life } => self.jobs_step(scheduler, life),
            Action::ClientStep => self.client_step(),
            Action::FaultStep => self.fault_step(),
            Action::CutEnds { host, cut } => self.cut_ends(host, cut),
            Action::Script(deed) => self.script_does(deed),
        }
    }

    // The network between agents and the control plane: ordered on a link, and only there.

    /// Makes a link; both ends learn of it by themselves.
    pub(crate) fn open_wire(&mut self, host: usize, agent_life: Life) -> LinkId {
        self.next_link += 1;
        let link = LinkId(self.next_link);
        let now = self.now.mono;
        self.wires.insert(
            link,
            Wire {
                host,
                agent_life,
                control_life: self.control.life,
                up_last: now,
                down_last: now,
                held_up: VecDeque::new(),
                held_down: VecDeque::new(),
            },
        );
        link
    }

    fn arrival_up(&mut self, link: LinkId) -> Option<Mono> {
        let latency = self.latency();
        let now = self.now.mono;
        let wire = self.wires.get_mut(&link)?;
        wire.up_last = wire.up_last.max(now + latency);
        Some(wire.up_last)
    }

    fn arrival_down(&mut self, link: LinkId) -> Option<Mono> {
        let latency = self.latency();
        let now = self.now.mono;
        let wire = self.wires.get_mut(&link)?;
        wire.down_last = wire.down_last.max(now + latency);
        Some(wire.down_last)
    }

    pub(crate) fn send_report(&mut self, link: LinkId, report: Box<Report>) {
        let registers = matches!(*report, Report::Register(_));
        if self.strikes(Fault::ReportLost, 8) {
            return;
        }
        let twice = !registers && self.strikes(Fault::ReportTwice, 8);
        let Some(at) = self.arrival_up(link) else { return };
        if twice {
            self.queue.put(at, Action::ReportArrives { link, report: report.clone() });
        }
        self.queue.put(at, Action::ReportArrives { link, report });
    }

    pub(crate) fn send_directive(&mut self, link: LinkId, directive: Box<Directive>) {
        if self.strikes(Fault::DirectiveLost, 8) {
            return;
        }
        let twice = self.strikes(Fault::DirectiveTwice, 8);
        let Some(at) = self.arrival_down(link) else { return };
        if twice {
            let directive = directive.clone();
            self.queue.put(at, Action::DirectiveArrives { link, directive });
        }
        self.queue.put(at, Action::DirectiveArrives { link, directive });
    }

    /// One end went away; the other learns of it after everything that was sent before.
    pub(crate) fn hang_up_at_agent(&mut self, link: LinkId) {
        if let Some(at) = self.arrival_up(link) {
            self.queue.put(at, Action::LinkGoneAtControl { link });
        }
    }

    pub(crate) fn hang_up_at_control(&mut self, link: LinkId) {
        if let Some(at) = self.arrival_down(link) {
            self.queue.put(at, Action::LinkGoneAtAgent { link });
        }
    }

    /// Both ends learn that the link broke; what is under way may be lost.
    pub(crate) fn break_wire(&mut self, link: LinkId) {
        self.hang_up_at_agent(link);
        self.hang_up_at_control(link);
    }

    /// Holds an arrival back while the host is cut off in that direction.
    fn holds_up(&mut self, link: LinkId, held: impl FnOnce() -> Held) -> bool {
        let Some(wire) = self.wires.get_mut(&link) else { return true };
        let cut = self.hosts[wire.host].cut_up;
        if cut {
            wire.held_up.push_back(held());
        }
        cut
    }

    fn holds_down(&mut self, link: LinkId, held: impl FnOnce() -> Held) -> bool {
        let Some(wire) = self.wires.get_mut(&link) else { return true };
        let cut = self.hosts[wire.host].cut_down;
        if cut {
            wire.held_down.push_back(held());
        }
        cut
    }

    fn report_arrives(&mut self, link: LinkId, report: Box<Report>) {
        let mut report = Some(report);
        if self.holds_up(link, || Held::Report(report.take().expect("asked once"))) {
            return;
        }
        let Some(report) = report else { return };
        let Some(wire) = self.wires.get(&link) else { return };
        if wire.control_life == self.control.life {
            let event = tepui_cluster::Event::Report { link, report };
            self.control_event(tepui_leader::Event::Cluster(event));
        }
    }

    fn link_gone_at_control(&mut self, link: LinkId) {
        if self.holds_up(link, || Held::Gone) {
            return;
        }
        let Some(wire) = self.wires.get(&link) else { return };
        if wire.control_life == self.control.life {
            let event = tepui_cluster::Event::LinkClosed { link };
            self.control_event(tepui_leader::Event::Cluster(event));
        }
    }

    fn link_up_at_agent(&mut self, link: LinkId) {
        let Some(wire) = self.wires.get(&link) else { return };
        let (host, life) = (wire.host, wire.agent_life);
        if self.hosts[host].life == life {
            self.hosts[host].link = Some(link);
            self.agent_event(host, life, tepui_agent::Event::LinkUp);
        }
    }

    fn directive_arrives(&mut self, link: LinkId, directive: Box<Directive>) {
        let mut directive = Some(directive);
        if self.holds_down(link, || Held::Directive(directive.take().expect("asked once"))) {
            return;
        }
        let Some(directive) = directive else { return };
        let Some(wire) = self.wires.get(&link) else { return };
        let (host, life) = (wire.host, wire.agent_life);
        if self.hosts[host].link == Some(link) {
            self.agent_event(host, life, tepui_agent::Event::Directive(directive));
        }
    }

    fn link_gone_at_agent(&mut self, link: LinkId) {
        if self.holds_down(link, || Held::Gone) {
            return;
        }
        let Some(wire) = self.wires.get(&link) else { return };
        let (host, life) = (wire.host, wire.agent_life);
        if self.hosts[host].link == Some(link) {
            self.hosts[host].link = None;
            self.agent_event(host, life, tepui_agent::Event::LinkDown);
        }
    }

    /// The network to a host is whole again: what was held back arrives now, in order.
    pub(crate) fn release_held(&mut self, host: usize) {
        let now = self.now.mono;
        let (up, down) = (!self.hosts[host].cut_up, !self.hosts[host].cut_down);
        for (link, wire) in self.wires.iter_mut().filter(|(_, wire)| wire.host == host) {
            let link = *link;
            if up {
                for held in wire.held_up.drain(..) {
                    self.queue.put(
                        now,
                        match held {
                            Held::Report(report) => Action::ReportArrives { link, report },
                            Held::Directive(_) | Held::Gone => Action::LinkGoneAtControl { link },
                        },
                    );
                }
            }
            if down {
                for held in wire.held_down.drain(..) {
                    self.queue.put(
                        now,
                        match held {
                            Held::Directive(directive) => {
                                Action::DirectiveArrives { link, directive }
                            }
                            Held::Report(_) | Held::Gone => Action::LinkGoneAtAgent { link },
                        },
                    );
                }
            }
        }
    }
}
