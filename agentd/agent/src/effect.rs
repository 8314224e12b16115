//! What the agent wants done. The driver saves first and acts second: nothing of a batch of
//! effects is done before the batch's records are durable.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_container::{Container, ImageWish, Network};
use tepui_link::Report;
use tepui_types::{ContainerId, RequestId, Span, StreamId};
use tepui_wire::v1::{self, executor};

use crate::{Exit, ProbeId, Record, Verdict};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make this durable.
    Save(Record),
    /// Tell the control plane; dropped when there is no link.
    ToControlPlane(Box<Report>),
    /// End the link, if there is one, and make a new one after the given pause; a later one
    /// replaces an earlier one. The driver tries by itself until a link stands:
    /// [`crate::Event::LinkUp`] and [`crate::Event::LinkDown`] are said of links that stood. Only
    /// the driver can tell a silent link from a dead one (the control plane says nothing when there
    /// is nothing to say), so it probes the connection and ends it when that goes unanswered.
    Reconnect {
        /// How long to wait first.
        pause: Span,
    },
    /// Make the run's sandbox and bring its artifacts there; answered with
    /// [`crate::Event::Fetched`].
    Fetch {
        /// Which run.
        run: ContainerId,
        /// Where, relative to the work directory.
        sandbox: Arc<str>,
        /// What, in order; may be empty.
        uris: Vec<v1::command_info::Uri>,
        /// Whose files they become.
        user: Option<String>,
        /// What else the sandbox is.
        setting: Box<Setting>,
        /// Images that are to be there too.
        images: Vec<ImageWish>,
        /// A network to make for it, which runs below it will be in; then
        /// [`crate::Event::Networked`] comes before the answer.
        network: Option<Network>,
    },
    /// Start the run's main process; answered with [`crate::Event::RunStarted`], later
    /// [`crate::Event::RunExited`].
    Start(Box<RunSpec>),
    /// Change what a run may use: tasks came to its executor, or went.
    Limit {
        /// Which run.
        run: ContainerId,
        /// What it may use from now on; what it may do stays.
        limits: Box<crate::Limits>,
    },
    /// Ask the run's whole process tree to end (SIGTERM).
    Terminate {
        /// Which run.
        run: ContainerId,
    },
    /// End the run's whole process tree at once (SIGKILL).
    Kill {
        /// Which run.
        run: ContainerId,
    },
    /// Ask once; answered with [`crate::Event::Probed`] within the timeout.
    Probe {
        /// Names the answer.
        probe: ProbeId,
        /// The run that is asked.
        run: ContainerId,
        /// What to ask.
        what: Probe,
        /// How long the answer may take.
        timeout: Span,
    },
    /// The answer is not wanted any more.
    CancelProbe {
        /// Which.
        probe: ProbeId,
    },
    /// Send an event on an executor's stream.
    ToExecutor {
        /// Which stream.
        stream: StreamId,
        /// What.
        event: Box<executor::Event>,
    },
    /// End an executor's stream after what was sent to it.
    CloseExecutorStream {
        /// Which.
        stream: StreamId,
    },
    /// Answer a request.
    Respond {
        /// Which.
        request: RequestId,
        /// With what.
        response: Response,
    },
    /// From now on the run may use exactly these ports: tasks came to its executor or went, or it
    /// was found again.
    Ports {
        /// Which run.
        run: ContainerId,
        /// Its ports.
        ports: tepui_types::Ranges,
    },
    /// The run is over, and how it ended is saved: the launcher's records of it may go, and a
    /// fetch for it may stop. The sandbox stays.
    Discard {
        /// Which run.
        run: ContainerId,
    },
    /// Send a signal to the run's first process.
    Signal {
        /// Which run.
        run: ContainerId,
        /// The signal's number.
        signal: i32,
    },
    /// Open a session; answered with [`crate::Event::SessionOpened`], later
    /// [`crate::Event::SessionEnded`].
    OpenSession(Box<SessionSpec>),
    /// Send a signal to a session's first process.
    SignalSession {
        /// Which session.
        session: ContainerId,
        /// The signal's number.
        signal: i32,
    },
    /// End a session.
    CloseSession {
        /// Which session.
        session: ContainerId,
    },
    /// Remove a sandbox for good.
    RemoveSandbox {
        /// Where, relative to the work directory.
        sandbox: Arc<str>,
    },
    /// Something that an operator should read in the log; nothing else is done with it.
    Notice {
        /// About which run.
        run: ContainerId,
        /// What was noticed, as a sentence.
        text: String,
    },
    /// The agent is not wanted by the cluster, or left it: the daemon ends after everything
    /// before this is done.
    Quit {
        /// Why, for the log.
        reason: String,
    },
}

/// Everything that the launcher needs to open a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSpec {
    /// Which session.
    pub session: ContainerId,
    /// The run that it is beside: it is limited as that is, and ends with it.
    pub beside: ContainerId,
    /// The sandbox, relative to the work directory.
    pub sandbox: Arc<str>,
    /// The command.
    pub command: Command,
    /// The complete environment; see [`RunSpec::environment`].
    pub environment: Vec<(String, String)>,
    /// The system user; `None` is the daemon's own.
    pub user: Option<String>,
    /// Resource limits.
    pub rlimits: Option<v1::RLimitInfo>,
    /// The run whose network it is in, where that is not the host's; see [`RunSpec::network`].
    pub network: Option<ContainerId>,
    /// The command gets a terminal of this size.
    pub terminal: Option<Window>,
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters in each.
    pub columns: u16,
}

/// What a sandbox is besides a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Sandboxes of tasks will be below it, which may belong to other users.
    pub is_pod: bool,
    /// It is of no executor, and so not the latest of one.
    pub is_alone: bool,
    /// The sandbox that it is below, with the name under which people look for it there.
    pub below: Option<(Arc<str>, Option<String>)>,
    /// Volumes: names in the sandbox, relative to it, that lead elsewhere.
    pub links: Vec<Link>,
    /// Bytes that it may hold; see [`crate::Limits::disk`].
    pub disk: Option<u64>,
    /// Secrets that are files of the run's own, outside the sandbox.
    pub secrets: Vec<SecretFile>,
}

/// A secret as a file, which only the run's user may read.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// Its name among the run's secrets, without a slash.
    pub name: String,
    /// What it holds.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretFile({:?}, …)", self.name)
    }
}

/// A volume of a run without a file system of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Relative to the sandbox.
    pub name: String,
    /// Where it leads.
    pub to: LinkTarget,
}

/// Where a volume's name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkTarget {
    /// An absolute path of the host.
    Host(String),
    /// A folder of the sandbox that this one is below, made when it is not there.
    Above(String),
    /// A folder of the sandbox itself, made when it is not there.
    Own(String),
    /// One of [`Setting::secrets`], by its name.
    Secret(String),
}

/// Everything that the launcher needs to start a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpec {
    /// Which run.
    pub run: ContainerId,
    /// What people are shown as its name: its task's id, its executor's, or its own.
    pub title: String,
    /// The sandbox, relative to the work directory.
    pub sandbox: Arc<str>,
    /// The role that its resources are allocated to, once known.
    pub role: Option<tepui_types::Role>,
    /// The command: shell text or arguments.
    pub command: Command,
    /// The complete environment, in order; later entries win. `${sandbox}` stands for nothing:
    /// the daemon replaces [`SANDBOX_MARK`] in values by the absolute path of the sandbox.
    pub environment: Vec<(String, String)>,
    /// Names in `environment` whose values nobody but the run may see.
    pub secret_variables: BTreeSet<String>,
    /// Names of its files of [`Setting::secrets`].
    pub secret_files: Vec<String>,
    /// The system user; `None` is the daemon's own.
    pub user: Option<String>,
    /// Resource limits as named by Mesos's `RLimitInfo`.
    pub rlimits: Option<v1::RLimitInfo>,
    /// The ports that the run may use; see [`Effect::Ports`].
    pub ports: tepui_types::Ranges,
    /// What it was given.
    pub resources: tepui_types::Resources,
    /// The run above it whose network it is in; `None` is a network of its own container, or the
    /// host's.
    pub network: Option<ContainerId>,
    /// The container that it runs in, which then says what is executed, as whom and with which
    /// limits; `None` is an ordinary process.
    pub container: Option<Box<Container>>,
    /// What it may use and do; of a custom executor's the amounts change with its tasks.
    pub limits: Box<crate::Limits>,
}

/// Stands in environment values for the absolute path of the sandbox, which only the daemon
/// knows.
pub const SANDBOX_MARK: &str = "\u{1}sandbox\u{1}";

/// What a run executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Text for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, the program's name included.
    Exec {
        /// The program, found in `PATH` or relative to the sandbox.
        program: String,
        /// `argv`, the first is the name that the program sees.
        arguments: Vec<String>,
    },
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET scheme://address:port/path` in the run's network, where the address is 127.0.0.1 or ::1.
    Http {
        /// TLS, certificate not verified.
        tls: bool,
        /// To ::1.
        ipv6: bool,
        /// The port.
        port: u16,
        /// The path with its leading slash.
        path: String,
    },
    /// Connect to the port at that address.
    Tcp {
        /// To ::1.
        ipv6: bool,
        /// The port.
        port: u16,
    },
    /// Run a command in the sandbox, or in the run's container, with the task's environment.
    Command {
        /// What.
        command: Command,
        /// The complete environment.
        environment: Vec<(String, String)>,
        /// The system user.
        user: Option<String>,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// 200 without a body.
    Done,
    /// 200 with how a container ended.
    Waited {
        /// How.
        exit: Exit,
        /// Why, where that is more.
        verdict: Option<Box<Verdict>>,
    },
    /// 202.
    Accepted,
    /// 200 with a stream that begins now.
    Streaming,
    /// Refused; nothing changed.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What is wrong and what would be right.
        message: String,
    },
}
