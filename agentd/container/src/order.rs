//! What `tepui-runtime` is told: one file in a folder of the run's own, read once, before anything
//! of the task exists.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::wish::{Capabilities, Device, Ipc, Rlimit, Seccomp, Tty};

/// Name of the order in its folder.
pub const ORDER_FILE: &str = "order.json";

/// Everything about one container on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The run.
    pub run: String,
    /// What becomes its root.
    pub root: Root,
    /// Its root cannot be written.
    pub read_only: bool,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment; later entries win.
    pub environment: Vec<(String, String)>,
    /// Where it begins.
    pub working_directory: String,
    /// As whom, in the image's words, or the host's where the image knows no such user.
    pub user: Option<String>,
    /// The other way round: the host's words first. An image makes nobody root then.
    #[serde(default)]
    pub user_of_host: bool,
    /// Groups besides the user's own, by name or number.
    pub groups: Vec<String>,
    /// The sandbox on the host; its content becomes the user's.
    pub sandbox: PathBuf,
    /// Namespaces and what goes with them.
    pub isolation: Isolation,
    /// Further mounts, in order.
    pub mounts: Vec<OrderMount>,
    /// `/etc/resolv.conf`, `/etc/hosts`, `/etc/hostname`; `None` leaves the image's.
    pub etc: Option<EtcFiles>,
    /// All capabilities, all devices, no filter.
    pub privileged: bool,
    /// What processes may do.
    pub capabilities: Capabilities,
    /// Which system calls.
    pub seccomp: Seccomp,
    /// The text of the host's profile that `seccomp` names.
    pub seccomp_profile: Option<String>,
    /// Where everything is that the runtime needs for itself, in memory; `None` is the order's folder.
    #[serde(default)]
    pub scratch: Option<PathBuf>,
    /// Where filters that were made are kept for further containers.
    #[serde(default)]
    pub filters: Option<PathBuf>,
    /// Further paths in it that nobody sees, unless it is privileged.
    #[serde(default)]
    pub hidden: Vec<String>,
    /// Folders of the host that its mounts may show; `None` is any.
    #[serde(default)]
    pub host_folders: Option<Vec<PathBuf>>,
    /// Programs may give more rights than their caller has.
    pub new_privileges: bool,
    /// Limits of processes.
    pub rlimits: Vec<Rlimit>,
    /// Devices of the host besides the usual ones.
    pub devices: Vec<Device>,
    /// Kernel parameters.
    pub sysctls: Vec<(String, String)>,
    /// A terminal of this size.
    pub tty: Option<Tty>,
    /// What asks the container to end.
    pub stop_signal: Option<String>,
}

impl Order {
    /// Where the runtime has its own files, given the folder of the order.
    #[must_use]
    pub fn scratch_or<'a>(&'a self, folder: &'a Path) -> &'a Path {
        self.scratch.as_deref().unwrap_or(folder)
    }
}

/// What becomes the root of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// Folders on each other, the lowest first, and one to write to.
    Layers(Vec<PathBuf>),
    /// The host's own file system.
    Host,
}

/// Namespaces of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Its network.
    pub network: Namespace,
    /// Its host name; `None` is the host's.
    pub hostname: Option<String>,
    /// Whose message queues and shared memory.
    pub ipc: Ipc,
    /// Bytes of its `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// It sees the processes of another container, or the host's.
    pub shares_processes: bool,
    /// The folder of the container whose processes these are; `None` is the host.
    #[serde(default)]
    pub processes_of: Option<PathBuf>,
    /// The folder of the container whose message queues and shared memory are shared; `None` is the
    /// host.
    #[serde(default)]
    pub ipc_of: Option<PathBuf>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// The host's.
    Host,
    /// A new one.
    Fresh,
    /// One that is there already.
    At(PathBuf),
}

/// A mount in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderMount {
    /// What.
    pub source: OrderSource,
    /// Where, absolute.
    pub target: String,
    /// It cannot be written.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderSource {
    /// A file or folder of the host.
    Host {
        /// Absolute.
        path: PathBuf,
        /// Make a folder where nothing is.
        create: bool,
        /// Later mounts below it appear in the container.
        follows_host: bool,
    },
    /// A folder below one that is not trusted, made when absent: no link is followed on the way.
    Below {
        /// A sandbox.
        folder: PathBuf,
        /// Relative to it.
        path: PathBuf,
    },
    /// Folders on each other, the lowest first.
    Layers(Vec<PathBuf>),
    /// A file with a secret, which becomes the user's.
    Secret(PathBuf),
    /// Memory, with these options.
    Tmpfs(Vec<String>),
}

/// Texts of files in a container's `/etc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcFiles {
    /// `/etc/resolv.conf`.
    pub resolver: String,
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/hostname`.
    pub hostname: String,
}

/// A further process in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOrder {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables besides the container's own; later entries win.
    pub environment: Vec<(String, String)>,
    /// Where it begins; `None` is where the container began.
    pub working_directory: Option<String>,
    /// It gets a terminal of this size.
    pub tty: Option<Tty>,
}
