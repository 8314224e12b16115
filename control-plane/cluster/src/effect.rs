//! What the cluster wants done. The driver saves first and speaks second: no message of a batch
//! of effects leaves before the batch's records are durable.

use tepui_allocator::Input;
use tepui_link::Directive;
use tepui_types::{LinkId, RequestId, StreamId};
use tepui_wire::v1::{master, scheduler};

use crate::Record;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make this durable.
    Save(Record),
    /// Remove what is durable under this record's key.
    Forget(Record),
    /// Answer a request.
    Respond {
        /// Which.
        request: RequestId,
        /// With what.
        response: Response,
    },
    /// Send an event on a framework's stream.
    ToFramework {
        /// Which stream.
        stream: StreamId,
        /// What.
        event: Box<scheduler::Event>,
    },
    /// End a framework's stream after what was sent to it.
    CloseStream {
        /// Which.
        stream: StreamId,
    },
    /// Send a directive to an agent.
    ToAgent {
        /// On which link.
        link: LinkId,
        /// What.
        directive: Box<Directive>,
    },
    /// End an agent's link after what was sent to it.
    CloseLink {
        /// Which.
        link: LinkId,
    },
    /// Tell the allocator.
    ToAllocator(Input),
    /// Send to every operator event stream.
    Publish(Box<master::Event>),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// 202: taken, the effect is asynchronous.
    Accepted,
    /// 200: done.
    Done,
    /// 200 with a stream that begins now.
    Streaming {
        /// The stream's id, for the `Mesos-Stream-Id` header.
        stream: StreamId,
    },
    /// Refused; nothing changed.
    Refused(Refusal),
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind, which the HTTP layer turns into a status.
    pub kind: RefusalKind,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Kinds of refusal, as HTTP knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// 400.
    Invalid,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 501.
    NotSupported,
    /// 503.
    Unavailable,
}
