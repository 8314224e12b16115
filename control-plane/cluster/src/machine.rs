use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tepui_allocator::{Epoch, Input};
use tepui_link::{Directive, Order};
use tepui_types::{
    AgentId, Entropy, FrameworkId, LinkId, Mono, Now, OfferId, RequestId, Role, StreamId, Term,
    Wall,
};
use tepui_wire::v1::{master, scheduler};

use crate::state::{Agent, DepartedAgent, Framework, Offer, OfferNumber, RecoveredAgent};
use crate::timers::Timer;
use crate::{Config, Counters, Drain, Effect, Event, Refusal, RefusalKind, Response};

/// The Mesos half of the control plane.
///
/// Feed it every [`Event`] with the time it happened at, and act on the [`Effect`]s in their
/// order: save first, speak second. Nothing else changes it, so the same events give the same
/// effects (invariant I-50).
#[derive(Debug)]
pub struct Cluster {
    pub(crate) config: Config,
    pub(crate) entropy: Entropy,
    pub(crate) term: Term,
    /// Names this leader's run: the front part of every id that it hands out.
    pub(crate) leader_id: Arc<str>,
    pub(crate) elected: Option<Now>,
    pub(crate) watched: bool,
    pub(crate) next: NextNumbers,
    pub(crate) agents: BTreeMap<AgentId, Agent>,
    pub(crate) recovered: BTreeMap<AgentId, RecoveredAgent>,
    pub(crate) unreachable: BTreeMap<AgentId, DepartedAgent>,
    pub(crate) gone: BTreeMap<AgentId, DepartedAgent>,
    /// Agents that drain or are drained.
    pub(crate) drains: BTreeMap<AgentId, Drain>,
    /// Agents that are in the cluster in this term, by host and port.
    pub(crate) addresses: BTreeMap<(String, i32), AgentId>,
    pub(crate) links: BTreeMap<LinkId, AgentId>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) completed: VecDeque<Framework>,
    /// All removed frameworks that are remembered, and since when they are gone.
    pub(crate) removed: BTreeMap<FrameworkId, Wall>,
    pub(crate) streams: BTreeMap<StreamId, FrameworkId>,
    pub(crate) offers: BTreeMap<OfferNumber, Offer>,
    pub(crate) weights: BTreeMap<Role, u64>,
    pub(crate) timers: BTreeSet<(Mono, Timer)>,
    /// When the next agent may be declared unreachable.
    pub(crate) next_removal: Mono,
    pub(crate) counters: Counters,
}

/// What is handed out next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NextNumbers {
    pub(crate) agent: u64,
    pub(crate) framework: u64,
    pub(crate) offer: u64,
    pub(crate) epoch: u64,
    /// Agent ids below this are saved as taken.
    pub(crate) agents_saved: u64,
    /// Framework ids below this are saved as taken.
    pub(crate) frameworks_saved: u64,
}

/// One event's time and the place for its effects.
pub(crate) struct Batch<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Batch<'_> {
    pub(crate) fn mono(&self) -> Mono {
        self.now.mono
    }

    pub(crate) fn wall(&self) -> Wall {
        self.now.wall
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.out.push(effect);
    }

    pub(crate) fn respond(&mut self, request: RequestId, response: Response) {
        self.out.push(Effect::Respond { request, response });
    }

    pub(crate) fn refuse(
        &mut self,
        request: RequestId,
        kind: RefusalKind,
        message: impl Into<String>,
    ) {
        self.respond(request, Response::Refused(Refusal { kind, message: message.into() }));
    }

    pub(crate) fn tell_allocator(&mut self, input: Input) {
        self.out.push(Effect::ToAllocator(input));
    }

    /// Sends an event on a stream and counts it.
    pub(crate) fn send(&mut self, framework: &mut Framework, event: scheduler::Event) {
        if let Some(stream) = framework.stream() {
            framework.counters.event(event.r#type());
            self.out.push(Effect::ToFramework { stream, event: Box::new(event) });
        }
    }

    /// Sends the next directive to an agent; nothing happens while it is disconnected.
    pub(crate) fn direct(&mut self, term: Term, agent: &mut Agent, order: Order) {
        if let Some(link) = &mut agent.link {
            link.sent += 1;
            let directive = Directive { term, generation: link.sent, order };
            self.out.push(Effect::ToAgent { link: link.id, directive: Box::new(directive) });
        }
    }
}

impl Cluster {
    /// A cluster that knows nothing; its first event is [`Event::Elected`].
    pub fn new(config: Config, mut entropy: Entropy) -> Self {
        let leader_id: Arc<str> = entropy.uuid().to_string().into();
        let mut config = config;
        config.leader.id = leader_id.to_string();
        Self {
            config,
            entropy,
            term: Term::default(),
            leader_id,
            elected: None,
            watched: false,
            next: NextNumbers::default(),
            agents: BTreeMap::new(),
            recovered: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            gone: BTreeMap::new(),
            drains: BTreeMap::new(),
            addresses: BTreeMap::new(),
            links: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            completed: VecDeque::new(),
            removed: BTreeMap::new(),
            streams: BTreeMap::new(),
            offers: BTreeMap::new(),
            weights: BTreeMap::new(),
            timers: BTreeSet::new(),
            next_removal: Mono::default(),
            counters: Counters::default(),
        }
    }

    /// Takes note of an event; what follows from it is appended to `out`.
    ///
    /// Every event that names a request is answered in the same batch. Events before
    /// [`Event::Elected`] are refused with [`RefusalKind::Unavailable`] or ignored.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let batch = &mut Batch { now, out };
        if self.elected.is_none() && !matches!(event, Event::Elected { .. } | Event::Watchers(_)) {
            refuse_before_election(&event, batch);
            return;
        }
        self.excuse_own_pause(batch);
        self.fire_timers(batch);
        match event {
            Event::Elected { term, records } => self.recover(term, records, batch),
            Event::Subscribe { request, framework, call, principal } => {
                self.subscribe(request, framework, *call, principal, batch);
            }
            Event::Call { request, stream, call, principal } => {
                self.call(request, stream, *call, principal.as_deref(), batch);
            }
            Event::StreamClosed { stream } => self.stream_closed(stream, batch),
            Event::Report { link, report } => self.report(link, *report, batch),
            Event::LinkClosed { link } => self.link_closed(link, batch),
            Event::Planned(plan) => self.planned(plan, batch),
            Event::Operate { request, operation } => self.operate(request, operation, batch),
            Event::Watchers(count) => self.watched = count > 0,
            Event::Tick => {}
        }
        self.settle_drains(batch);
    }

    /// When the next timer is due; send [`Event::Tick`] then.
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Builds and publishes an operator event when somebody listens.
    pub(crate) fn publish(&self, batch: &mut Batch<'_>, event: impl FnOnce() -> master::Event) {
        if self.watched {
            batch.push(Effect::Publish(Box::new(event())));
        }
    }

    pub(crate) fn next_epoch(&mut self) -> Epoch {
        self.next.epoch += 1;
        Epoch(self.next.epoch)
    }

    /// The number in an offer id of this leader; `None` for any other text.
    pub(crate) fn offer_number(&self, id: &str) -> Option<OfferNumber> {
        let digits = id.strip_prefix(&*self.leader_id)?.strip_prefix("-O")?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        digits.parse().ok().map(OfferNumber)
    }

    pub(crate) fn offer_id(&self, number: OfferNumber) -> OfferId {
        OfferId::parse(&format!("{}-{number}", self.leader_id))
            .expect("a UUID, a dash, a letter and digits are an id")
    }
}

fn refuse_before_election(event: &Event, batch: &mut Batch<'_>) {
    match event {
        Event::Subscribe { request, .. }
        | Event::Call { request, .. }
        | Event::Operate { request, .. } => {
            batch.refuse(
                *request,
                RefusalKind::Unavailable,
                "this control plane does not lead yet",
            );
        }
        Event::Report { link, .. } => batch.push(Effect::CloseLink { link: *link }),
        _ => {}
    }
}
