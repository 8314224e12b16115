//! What can happen to an agent.

use std::net::IpAddr;
use std::sync::Arc;

use tepui_link::Directive;
use tepui_types::{BootId, ContainerId, ExecutorId, FrameworkId, Ranges, RequestId, StreamId};
use tepui_wire::v1::executor;

use crate::death::Certificate;
use crate::{PortDenial, Record};

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// The daemon starts. Always the first event.
    Started {
        /// The host's boot id now.
        boot: Option<BootId>,
        /// Everything that earlier runs of the daemon saved, in order.
        records: Vec<Record>,
        /// What the launcher found of the runs named in the records, and of others.
        runs: Vec<FoundRun>,
    },
    /// A link to the control plane is up; the agent registers on it.
    LinkUp,
    /// The control plane said something.
    Directive(Box<Directive>),
    /// The link is gone.
    LinkDown,
    /// A run's artifacts are in its sandbox, or could not be brought there.
    Fetched {
        /// Which run.
        run: ContainerId,
        /// The failure, as text for the status message.
        outcome: Result<(), String>,
    },
    /// A run's main process started, or could not.
    RunStarted {
        /// Which run.
        run: ContainerId,
        /// Its main process id; or the failure, as text for the status message.
        outcome: Result<u32, String>,
    },
    /// A run has a network of its own; said before it started.
    Networked {
        /// Which run.
        run: ContainerId,
        /// Its addresses there, the first preferred.
        addresses: Vec<IpAddr>,
    },
    /// A run's main process ended.
    RunExited {
        /// Which run.
        run: ContainerId,
        /// How.
        exit: Exit,
        /// What else is known of its end.
        certificate: Option<Box<Certificate>>,
    },
    /// How much the sandbox of a run holds.
    SandboxMeasured {
        /// Which run.
        run: ContainerId,
        /// Bytes, as the file system counts them.
        used: u64,
    },
    /// A probe asked for by [`crate::Effect::Probe`] ended.
    Probed {
        /// Which.
        probe: ProbeId,
        /// What came of it.
        outcome: ProbeOutcome,
    },
    /// Ports on which a run listens now, as far as the kernel tells.
    Listening {
        /// Which run.
        run: ContainerId,
        /// Which ports.
        ports: Ranges,
    },
    /// The kernel refused a run ports that it was not given.
    PortsDenied {
        /// Which run.
        run: ContainerId,
        /// Everything it was refused so far, the first first.
        denials: Vec<PortDenial>,
        /// The run is to be ended for it.
        fatal: bool,
    },
    /// An executor subscribes on a fresh stream. Answered with
    /// [`crate::Response::Streaming`] or a refusal.
    ExecutorSubscribe {
        /// Answer to this.
        request: RequestId,
        /// Names the stream from here on.
        stream: StreamId,
        /// Whose executor.
        framework: FrameworkId,
        /// Which executor.
        executor: ExecutorId,
        /// The call's body.
        call: Box<executor::call::Subscribe>,
    },
    /// Any other call of an executor. Answered once.
    ExecutorCall {
        /// Answer to this.
        request: RequestId,
        /// The call; message shape already checked.
        call: Box<executor::Call>,
    },
    /// An executor's stream is gone.
    ExecutorStreamClosed {
        /// Which.
        stream: StreamId,
    },
    /// Somebody calls the agent about a container. Answered once, perhaps much later.
    ContainerCall {
        /// Answer to this.
        request: RequestId,
        /// What is wanted.
        call: Box<crate::ContainerCall>,
    },
    /// Nobody waits for the answer any more.
    RequestGone {
        /// To which request.
        request: RequestId,
    },
    /// The command of a session was started, or could not be.
    SessionOpened {
        /// Which session.
        session: ContainerId,
        /// The failure, as text for whoever asked.
        outcome: Result<(), String>,
    },
    /// The command of a session has ended.
    SessionEnded {
        /// Which session.
        session: ContainerId,
        /// How.
        exit: Exit,
    },
    /// How full the file system of the work directory is, in thousandths.
    DiskUsage {
        /// 0 is empty, 1000 is full.
        thousandths: u16,
    },
    /// The operator wants the daemon to leave the cluster for good: unregister, end everything.
    Leave,
    /// Time passed; due timers fire.
    Tick,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// The shim died before it could record the end; the text says what is known.
    Unknown(Arc<str>),
}

impl Exit {
    /// The raw status that wait(2) gives, where it is known.
    pub fn wait_status(&self) -> Option<i32> {
        match self {
            Self::Unknown(_) => None,
            known => Some(crate::status::wait_status(known)),
        }
    }
}

/// A run as the launcher found it after a restart of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRun {
    /// Which run.
    pub run: ContainerId,
    /// What became of it.
    pub state: FoundState,
    /// Which ports it was refused so far.
    pub denials: Vec<PortDenial>,
    /// Its addresses, where it has a network of its own.
    pub addresses: Option<Vec<IpAddr>>,
    /// What else is known of its end.
    pub certificate: Option<Box<Certificate>>,
}

/// What became of a run while the daemon was away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// It runs, with the same main process as before.
    Running {
        /// Its main process id.
        pid: u32,
    },
    /// It runs, and has not said yet that it is ready: [`Event::RunStarted`] tells when it does, or
    /// why it never will.
    Starting {
        /// Its main process id.
        pid: u32,
    },
    /// It ended.
    Exited(Exit),
    /// The launcher was asked to start it, and no process of it ever began: none will.
    NeverStarted,
}

/// Names one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub u64);

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// An HTTP answer with this status.
    Http(u16),
    /// The TCP connection was made (true) or refused (false).
    Tcp(bool),
    /// The command ended with this code.
    Command(i32),
    /// No answer in time, or it could not be asked; the text says why.
    Failed(String),
}
