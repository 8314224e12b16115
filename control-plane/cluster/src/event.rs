//! What can happen to the cluster.

use std::sync::Arc;

use tepui_allocator::Plan;
use tepui_link::Report;
use tepui_types::{AgentId, FrameworkId, LinkId, RequestId, Role, Span, StreamId, Term};
use tepui_wire::v1::scheduler;

use crate::Record;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// This process leads from now on; the records are everything that was durable. Always the
    /// first event.
    Elected {
        /// The leader's term; every directive carries it.
        term: Term,
        /// What earlier leaders saved.
        records: Vec<Record>,
    },
    /// A framework subscribes on a fresh stream. Answered with [`crate::Response::Streaming`] or a
    /// refusal.
    Subscribe {
        /// Answer to this.
        request: RequestId,
        /// The call's `framework_id`, if it had one.
        framework: Option<FrameworkId>,
        /// The call's body.
        call: Box<scheduler::call::Subscribe>,
        /// Who asks, when authentication is on.
        principal: Option<Arc<str>>,
    },
    /// Any other call of a framework. Answered once.
    Call {
        /// Answer to this.
        request: RequestId,
        /// The `Mesos-Stream-Id` header, parsed; `None` when missing or not a UUID.
        stream: Option<StreamId>,
        /// The call; message shape already checked, `type` known.
        call: Box<scheduler::Call>,
        /// Who asks, when authentication is on.
        principal: Option<Arc<str>>,
    },
    /// A framework's stream is gone: the peer closed it, or it was cut for being slow.
    StreamClosed {
        /// Which.
        stream: StreamId,
    },
    /// An agent said something on its link.
    Report {
        /// On which link.
        link: LinkId,
        /// What.
        report: Box<Report>,
    },
    /// An agent's link is gone.
    LinkClosed {
        /// Which.
        link: LinkId,
    },
    /// The allocator's round ended.
    Planned(Plan),
    /// An operator asks for a change. Answered once.
    Operate {
        /// Answer to this.
        request: RequestId,
        /// What to do.
        operation: Operation,
    },
    /// So many operator event streams are open; while there is none, no [`crate::Effect::Publish`]
    /// is made.
    Watchers(usize),
    /// Time passed; due timers fire. Sent at [`crate::Cluster::next_wakeup`] or any time.
    Tick,
}

/// A change that an operator asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Removes a framework and all its tasks.
    Teardown {
        /// Which.
        framework: FrameworkId,
    },
    /// Declares an agent gone for good (`spec/mesos-http.md` 6).
    MarkAgentGone {
        /// Which.
        agent: AgentId,
    },
    /// Empties an agent (`spec/mesos-http.md` 4).
    DrainAgent {
        /// Which.
        agent: AgentId,
        /// The longest grace that its tasks get.
        max_grace: Option<Span>,
        /// Declare it gone when it is empty.
        mark_gone: bool,
    },
    /// Takes an agent's resources out of the offers, or puts them back.
    SetAgentActive {
        /// Which.
        agent: AgentId,
        /// Offer it, or not.
        active: bool,
    },
    /// Sets weights of roles, thousandths above zero.
    UpdateWeights {
        /// Role and weight.
        weights: Vec<(Role, u64)>,
    },
}
