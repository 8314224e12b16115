//! What can happen to the apps.

use tepui_types::RequestId;
use tepui_wire::v1::scheduler;

use crate::{Command, ProbeId, ProbeOutcome, Record};

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// This process leads from now on; the records are everything that was durable, in any order.
    /// Always the first event. Answered with a SUBSCRIBE call, or with [`crate::Effect::Halt`].
    Elected {
        /// What earlier leaders saved.
        records: Vec<Record>,
    },
    /// The cluster said something on the scheduler stream.
    Mesos(Box<scheduler::Event>),
    /// The scheduler stream ended; answered with a fresh SUBSCRIBE call.
    Disconnected,
    /// A client asks for a change. Answered once with [`crate::Effect::Reply`].
    Command {
        /// Answer to this.
        request: RequestId,
        /// What to do.
        command: Box<Command>,
        /// Where it came from, for `api_post_event`.
        origin: Option<Origin>,
    },
    /// A probe ended. Exactly one per [`crate::Effect::Probe`] that was not cancelled.
    Probed {
        /// Which.
        probe: ProbeId,
        /// How.
        outcome: ProbeOutcome,
    },
    /// Time passed; due timers fire. Sent at [`crate::Apps::next_wakeup`] or any time.
    Tick,
}

/// The client and address of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Address of the client.
    pub client_ip: String,
    /// Path and query of the request.
    pub uri: String,
}
