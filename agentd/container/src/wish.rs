//! A container as a task wishes it: plain data, checked, in Tepui's own words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything about a container that does not depend on its image or its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The image; without one the container sees the host's file system.
    pub image: Option<ImageWish>,
    /// What to execute in it.
    pub entry: Entry,
    /// Who executes it, as `user`, `uid`, `user:group` or `uid:gid`; `None` is what the image says.
    pub user: Option<String>,
    /// `user` is the host's, as with Mesos's own containerizer; the image's where the host has none.
    #[serde(default)]
    pub user_of_host: bool,
    /// Groups besides the user's own.
    pub groups: Vec<String>,
    /// Where it begins; `None` is what the image says.
    pub working_directory: Option<String>,
    /// Begin in the sandbox where neither the task nor the image says where.
    pub begins_in_sandbox: bool,
    /// Variables that are set before the task's own.
    pub environment: Vec<(String, String)>,
    /// Its host name; `None` is the host's, or with a network of its own a name made of its id.
    pub hostname: Option<String>,
    /// How it reaches others.
    pub network: Network,
    /// What it sees besides its image and its sandbox.
    pub mounts: Vec<Mount>,
    /// All capabilities, all devices, no filter.
    pub privileged: bool,
    /// Its root cannot be written.
    pub read_only: bool,
    /// What its processes may do.
    pub capabilities: Capabilities,
    /// Which system calls its processes may make.
    pub seccomp: Seccomp,
    /// Further paths in it that nobody sees, unless it is privileged.
    #[serde(default)]
    pub hidden: Vec<String>,
    /// Folders of the host that its volumes may show, links followed; `None` is any.
    #[serde(default)]
    pub host_folders: Option<Vec<String>>,
    /// Programs may give more rights than their caller has (setuid, file capabilities).
    pub new_privileges: bool,
    /// System V and POSIX message queues, semaphores and shared memory.
    pub ipc: Ipc,
    /// Bytes of `/dev/shm` where it is the container's own.
    pub shm_bytes: Option<u64>,
    /// It sees the processes of its parent instead of only its own.
    pub shares_processes: bool,
    /// It gets a terminal.
    pub tty: Option<Tty>,
    /// Limits of its processes.
    pub rlimits: Vec<Rlimit>,
    /// Devices of the host besides the usual ones.
    pub devices: Vec<Device>,
    /// It opens no device but the usual ones and [`Self::devices`], whatever nodes it makes.
    #[serde(default)]
    pub holds_to_devices: bool,
    /// Kernel parameters of its own namespaces.
    pub sysctls: Vec<(String, String)>,
    /// How it finds names.
    pub dns: Dns,
    /// Signal that asks it to end; `None` is what the image says.
    pub stop_signal: Option<String>,
}

impl Container {
    /// Every image that it needs, its own first.
    pub fn images(&self) -> impl Iterator<Item = &ImageWish> {
        let mounted = self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Image(wish) => Some(wish),
            _ => None,
        });
        self.image.iter().chain(mounted)
    }
}

/// An image that is to be there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageWish {
    /// As Docker writes references.
    pub reference: String,
    /// Ask the registry even when the image is here already.
    pub fresh: bool,
    /// How the registry knows us.
    pub auth: Option<RegistryAuth>,
}

/// What a registry is told about who asks.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegistryAuth {
    /// Name and password.
    Basic {
        /// Name.
        name: String,
        /// Password.
        password: String,
    },
    /// The text of a Docker `config.json`.
    DockerConfig(String),
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryAuth(…)")
    }
}

/// What is executed, before the image has its say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Text for a shell, or `value` of a command without one.
    pub value: Option<String>,
    /// Whether `value` is for a shell.
    pub shell: bool,
    /// Arguments.
    pub arguments: Vec<String>,
    /// Stands in for the image's entry point.
    pub entrypoint: Option<String>,
    /// Read as `docker run` reads its command line, not as the Mesos containerizer does.
    pub docker: bool,
}

/// How a container reaches others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's own network.
    Host,
    /// Nothing but its own loopback.
    None,
    /// The agent's bridge.
    Bridge {
        /// Ports of the host that lead into the container.
        ports: Vec<Port>,
    },
    /// Networks of the host's CNI configuration.
    Cni {
        /// Their names; the first carries the default route.
        names: Vec<String>,
        /// Ports of the host that lead into the container.
        ports: Vec<Port>,
        /// What plugins are told of those networks, by name.
        #[serde(default)]
        labels: NetworkLabels,
    },
}

/// Labels of networks, by the network's name.
pub type NetworkLabels = BTreeMap<String, Vec<(String, String)>>;

impl Network {
    /// Whether the container has a network namespace of its own.
    #[must_use]
    pub fn is_own(&self) -> bool {
        !matches!(self, Self::Host)
    }

    /// Ports of the host that lead into the container.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        match self {
            Self::Host | Self::None => &[],
            Self::Bridge { ports } | Self::Cni { ports, .. } => ports,
        }
    }
}

/// A port of the host that leads into the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// On the host.
    pub host: u16,
    /// In the container.
    pub container: u16,
    /// Which of the two.
    pub protocol: Protocol,
}

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its usual name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Something that the container sees at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub source: MountSource,
    /// Where: absolute and without `..`; what was relative is below the sandbox.
    pub target: String,
    /// It cannot be written.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or folder of the host.
    Host {
        /// Absolute.
        path: String,
        /// Make a folder where nothing is, as Docker does.
        create: bool,
        /// Mounts made below it later on the host appear in the container.
        follows_host: bool,
    },
    /// A folder of the sandbox, made when absent.
    Sandbox {
        /// Relative to the sandbox.
        path: String,
    },
    /// A folder of the sandbox of the pod that it belongs to, made when absent.
    Parent {
        /// Relative to that sandbox.
        path: String,
    },
    /// An image's content.
    Image(ImageWish),
    /// A secret's file, by its name among those of the run.
    Secret(String),
    /// Memory.
    Tmpfs {
        /// Mount options, checked.
        options: Vec<String>,
    },
}

/// Which capabilities processes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capabilities {
    /// The usual ones and these, without those; names without `CAP_`.
    Usual {
        /// Added.
        add: Vec<String>,
        /// Taken away.
        drop: Vec<String>,
    },
    /// Exactly these.
    Exactly {
        /// What processes have, children of ordinary users too.
        effective: Vec<String>,
        /// What they can ever get.
        bounding: Vec<String>,
    },
}

/// Which system calls processes may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The set that [`crate::runtime_spec`] knows.
    Usual,
    /// The same without what capabilities add, what needs rights, and what changes priorities.
    Strict,
    /// All.
    Unconfined,
    /// A profile of the host's own, by the name of its file.
    Profile(String),
}

impl Seccomp {
    /// The filter of that name: one of ours, or a file of the host's.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "default" => Self::Usual,
            "strict" => Self::Strict,
            _ => Self::Profile(name.to_owned()),
        }
    }
}

/// Whose message queues, semaphores and shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ipc {
    /// Its own.
    Private,
    #[serde(rename = "Host")]
    /// Those of the container that it is below; the host's where there is none.
    Above,
}

/// A terminal's size in characters; zero is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tty {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// A limit of processes; `None` is unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Name without `RLIMIT_`, in capitals.
    pub name: String,
    /// In effect.
    pub soft: Option<u64>,
    /// Highest value that a process may set by itself.
    pub hard: Option<u64>,
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host.
    pub host: String,
    /// In the container.
    pub container: String,
    /// It may be opened for reading.
    #[serde(default = "yes")]
    pub read: bool,
    /// It may be opened for writing.
    #[serde(default = "yes")]
    pub write: bool,
}

/// What orders of earlier agents mean.
const fn yes() -> bool {
    true
}

/// How a container finds names; what is empty is the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of servers.
    pub servers: Vec<String>,
    /// Domains that short names are tried in.
    pub search: Vec<String>,
    /// Options of the resolver.
    pub options: Vec<String>,
    /// Names and addresses for `/etc/hosts`.
    pub hosts: Vec<(String, String)>,
}
