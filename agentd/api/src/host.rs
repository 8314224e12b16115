//! What the HTTP layer needs of the process behind it. The daemon implements it over its driver
//! loop, tests over a loop of their own.

use std::path::PathBuf;
use std::sync::Arc;

use tepui_agent::{Agent, Caller, ContainerCall, Response, Window};
use tepui_plugin_host::Board;
use tepui_process::Connection;
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Now, StreamId};
use tepui_wire::v1::executor;
use tokio::sync::mpsc;

use crate::usage::{KernelReport, RunPlace, Usage};

/// The agent cannot be asked now: 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// What the host's image store holds and did since this process started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageFigures {
    /// Images that are here.
    pub images: u64,
    /// Bytes of their layers on disk.
    pub bytes: u64,
    /// Pulls that brought an image.
    pub pulls: u64,
    /// Pulls that failed.
    pub failures: u64,
    /// Bytes that came from registries.
    pub downloaded_bytes: u64,
    /// Time of all pulls together.
    pub pull_seconds: f64,
    /// Milliseconds of each pull of the last hour, oldest first.
    pub recent_pulls_ms: Vec<f64>,
}

/// What somebody else took from the networks of containers and the agent put back, since this
/// process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkRepairs {
    /// The rules of nftables.
    pub rules: u64,
    /// The bridge.
    pub bridge: u64,
}

/// One image of the host, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageEntry {
    /// Digest of its manifest.
    pub digest: String,
    /// Its names; none when they mean newer images now.
    pub names: Vec<String>,
    /// Bytes of its layers, also where it shares them.
    pub bytes: u64,
    /// When it was pulled and last used, in seconds since 1970.
    pub times: (u64, u64),
    /// Runs and others that hold it.
    pub held_by: Vec<String>,
}

/// A pull that is under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PullEntry {
    /// The image's full name.
    pub image: String,
    /// How far it is, in words.
    pub progress: String,
    /// Bytes that are here, and all.
    pub bytes: (u64, u64),
    /// Seconds since it began.
    pub seconds: f64,
    /// Containers that wait for it.
    pub waiting: Vec<ContainerId>,
}

/// A piece of what a session prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// On its standard output, or its terminal.
    Stdout(Vec<u8>),
    /// On its error output.
    Stderr(Vec<u8>),
}

/// Something that is said to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// For its standard input.
    Data(Vec<u8>),
    /// Nothing follows on its standard input.
    End,
    /// Its terminal has another size now.
    Resize(Window),
}

/// The agent, as the HTTP layer sees it.
pub trait Host: Clone + Send + Sync + Unpin + 'static {
    /// An executor subscribes; the events end when the agent closes the stream.
    fn subscribe(
        &self,
        framework: FrameworkId,
        executor: ExecutorId,
        call: Box<executor::call::Subscribe>,
    ) -> impl Future<
        Output = Result<(Response, StreamId, mpsc::Receiver<executor::Event>), Unavailable>,
    > + Send;

    /// Any other call of an executor; message shape already checked.
    fn call(
        &self,
        call: Box<executor::Call>,
    ) -> impl Future<Output = Result<Response, Unavailable>> + Send;

    /// An executor's stream is gone.
    fn stream_closed(&self, stream: StreamId);

    /// Looks at the state: only what is durable, and everything that was answered.
    fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Agent, Now) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Unavailable>> + Send;

    /// Who is at the other end of a connection; asked once for each that wants more than to look.
    fn caller(
        &self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Caller, Unavailable>> + Send;

    /// A call about a container; the answer may take as long as the container lives.
    fn container_call(
        &self,
        call: Box<ContainerCall>,
    ) -> impl Future<Output = Result<Response, Unavailable>> + Send;

    /// What a session that was just opened prints; once. The session ends when this is dropped.
    fn take_session(&self, session: &ContainerId) -> Option<mpsc::Receiver<Output>>;

    /// What a session, or the terminal of a container, prints from now on. A reader that falls behind is cut off.
    fn attach_output(&self, session: &ContainerId) -> Option<mpsc::Receiver<Output>>;

    /// Where what is said to a session, or to the terminal of a container, goes.
    fn attach_input(&self, session: &ContainerId) -> Option<mpsc::Sender<Input>>;

    /// What a live run uses now; reads the kernel's files, so it may block for a moment.
    fn usage(&self, run: &ContainerId) -> Option<Usage>;

    /// Where a live run is on this host; may block for a moment.
    fn place(&self, run: &ContainerId) -> RunPlace;

    /// What of the kernel serves the agent now; may block for a moment.
    fn kernel(&self) -> KernelReport;

    /// What became of plugins; `None` where there can be none.
    fn plugins(&self) -> Option<Arc<Board>> {
        None
    }

    /// What the image store holds and did; `None` where there is none.
    fn image_figures(&self) -> Option<ImageFigures> {
        None
    }

    /// What was put back in the networks of containers.
    fn network_repairs(&self) -> NetworkRepairs {
        NetworkRepairs::default()
    }

    /// Images that are here, and pulls under way; may block for a moment.
    fn image_list(&self) -> (Vec<ImageEntry>, Vec<PullEntry>) {
        (Vec::new(), Vec::new())
    }

    /// Removes images that nobody uses, but for those named. Where there is no store, nothing is
    /// left to do. The error is for the operator.
    fn prune_images(
        &self,
        _excluded: Vec<String>,
    ) -> impl Future<Output = Result<(), String>> + Send {
        async { Ok(()) }
    }
}

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Name under which clients reach this host.
    pub hostname: String,
    /// Address of this API.
    pub ip: String,
    /// Port of this API.
    pub port: u16,
    /// When the process started.
    pub started: Now,
    /// Absolute folder that the sandboxes are below.
    pub work_dir: PathBuf,
    /// Flags in force, as `GET_FLAGS` shows them.
    pub flags: Vec<(String, String)>,
}
