//! What the apps want done. The driver saves first and speaks second: no message of a batch of
//! effects leaves before the batch's records are durable.

use std::sync::Arc;

use tepui_marathon::{Event as PublicEvent, IpProtocol, Rejection};
use tepui_types::{RequestId, Span};
use tepui_wire::v1::scheduler;

use crate::{Record, RecordKey, Reply};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make this durable.
    Save(Box<Record>),
    /// Remove what is durable under this key.
    Forget(RecordKey),
    /// Send a call to the cluster. SUBSCRIBE opens a new stream and carries the stored framework
    /// id, if there is one.
    Call(Box<scheduler::Call>),
    /// Answer a request.
    Reply {
        /// Which.
        request: RequestId,
        /// With what; a refusal changed nothing.
        reply: Result<Box<Reply>, Rejection>,
    },
    /// Send to every event stream.
    Publish(Arc<PublicEvent>),
    /// Probe a task; answer with [`crate::Event::Probed`].
    Probe(Box<Probe>),
    /// Give up a probe; its answer is not wanted any more and is ignored if it comes.
    CancelProbe(ProbeId),
    /// Tell a human; the state machine goes on.
    Alarm(Alarm),
    /// The apps cannot go on; the process must end and say so.
    Halt(Halt),
}

/// Names one probe inside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub u64);

/// One probe of a health or readiness check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name.
    pub id: ProbeId,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Address family.
    pub ip_protocol: IpProtocol,
    /// What to do there.
    pub kind: ProbeKind,
    /// After this the probe has failed.
    pub timeout: Span,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Connect and close.
    Tcp,
    /// A GET request; redirects are not followed, certificates are not verified.
    Http {
        /// Over TLS.
        tls: bool,
        /// Path and query.
        path: String,
        /// Bytes of the body to keep, 0 for none.
        keep_body_bytes: usize,
    },
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The TCP connection stood.
    Connected,
    /// An HTTP answer came.
    Answered {
        /// Its status.
        status: u16,
        /// Its content type, `text/plain` when it had none.
        content_type: String,
        /// The beginning of its body.
        body: String,
    },
    /// No connection, no answer, or not in time.
    Failed {
        /// Why, for people.
        reason: String,
    },
}

/// Something that a human should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Tasks that look like ours but belong to no known instance were left running, because
    /// killing so many at once looks like a lost store rather than like strays (invariant I-33).
    UnknownTasksSpared {
        /// How many so far. Told once per reconciliation interval.
        tasks: u64,
    },
    /// The cluster sent an error on the scheduler stream.
    SchedulerError {
        /// Its text.
        message: String,
    },
    /// A record was inconsistent with the others and was left out.
    RecordIgnored {
        /// Which and why.
        what: String,
    },
}

/// Why the apps cannot go on (`marathon-behaviour.md` section 14, exit codes).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// Instances are stored but no framework id: registering anew would orphan every task
    /// (invariant I-36). Exit code 108.
    #[error(
        "the store holds {instances} launched instances but no framework id, refusing to register anew"
    )]
    FrameworkIdMissing {
        /// How many launched instances are stored.
        instances: usize,
    },
    /// The cluster removed the framework. Exit code 110.
    #[error("the cluster removed the framework: {message}")]
    FrameworkRemoved {
        /// What the cluster said.
        message: String,
    },
}
