//! Containers, volumes, networks and ports of an app (`marathon-app.tsv`, Container to IpAddress).

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Key and value labels, ordered by key.
pub type Labels = BTreeMap<String, String>;

/// The container an app runs in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// Which engine runs it.
    pub engine: ContainerEngine,
    /// Image settings; required by [`ContainerEngine::Docker`].
    pub docker: Option<Docker>,
    /// Mounts.
    pub volumes: Vec<Volume>,
    /// Port mappings; always empty with host networking.
    pub port_mappings: Vec<PortMapping>,
    /// Seccomp and IPC settings as given.
    pub linux_info: Option<serde_json::Value>,
}

impl Container {
    /// A Mesos container without image, volumes or mappings.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            engine: ContainerEngine::Mesos,
            docker: None,
            volumes: Vec::new(),
            port_mappings: Vec::new(),
            linux_info: None,
        }
    }
}

/// `container.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerEngine {
    /// The Docker engine.
    #[default]
    Docker,
    /// The Mesos containerizer.
    Mesos,
}

/// `container.docker`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Docker {
    /// Image reference.
    pub image: String,
    /// Pull before each launch.
    pub force_pull_image: bool,
    /// Extended privileges, Docker engine only.
    pub privileged: bool,
    /// Further flags of `docker run`.
    pub parameters: Vec<Parameter>,
    /// Registry credentials: the name of an entry in `secrets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_config: Option<PullConfig>,
}

/// One flag of `docker run`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Parameter {
    /// Name of the flag, without dashes.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// `container.docker.pullConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PullConfig {
    /// Name of an entry in `secrets`.
    pub secret: String,
}

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Volume {
    /// A directory of the host.
    Host {
        /// Where the container sees it.
        container_path: String,
        /// Where the host has it.
        host_path: String,
        /// Read-only or not.
        mode: VolumeMode,
    },
    /// A local persistent volume.
    Persistent {
        /// Where the container sees it, relative to the sandbox.
        container_path: String,
        /// Read-only or not.
        mode: VolumeMode,
        /// Size and kind of disk, as given.
        persistent: serde_json::Value,
    },
    /// A volume of a storage provider.
    External {
        /// Where the container sees it.
        container_path: String,
        /// Read-only or not.
        mode: VolumeMode,
        /// Provider and options, as given.
        external: serde_json::Value,
    },
    /// A secret as a file.
    Secret {
        /// Where the container sees it.
        container_path: String,
        /// Name of an entry in `secrets`.
        secret: String,
    },
}

/// Access to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VolumeMode {
    /// Read-only.
    Ro,
    /// Read and write.
    Rw,
}

/// One port of a container network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port inside the container; 0 stands for the assigned host port.
    pub container_port: u16,
    /// Port on the host: none, 0 for a random one of the offer, or exactly this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// Port published by load balancers; 0 asks for one.
    pub service_port: u16,
    /// Transport.
    pub protocol: Protocol,
    /// Name, unique in the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Metadata.
    pub labels: Labels,
    /// Networks the mapping belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_names: Vec<String>,
}

/// One port of an app on the host's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct PortDefinition {
    /// Service port, and the host port when `requirePorts` is set; 0 asks for one.
    pub port: u16,
    /// Name, unique in the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Transport.
    pub protocol: Protocol,
    /// Metadata.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// Transport of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    #[serde(rename = "tcp")]
    Tcp,
    /// UDP.
    #[serde(rename = "udp")]
    Udp,
    /// Both, on the same number.
    #[serde(rename = "udp,tcp")]
    UdpTcp,
}

impl Protocol {
    /// The name in the API: `tcp`, `udp` or `udp,tcp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpTcp => "udp,tcp",
        }
    }
}

/// One network of an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The host's own network.
    Host,
    /// A bridge on the host.
    Bridge {
        /// Metadata.
        labels: Labels,
    },
    /// A named container network.
    Container {
        /// Its name; `None` until the default is known.
        name: Option<String>,
        /// Metadata.
        labels: Labels,
    },
}

impl Network {
    /// The mode's name in the API.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Bridge { .. } => "container/bridge",
            Self::Container { .. } => "container",
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Self::Container { name: Some(name), .. } = self {
            map.serialize_entry("name", name)?;
        }
        map.serialize_entry("mode", self.mode())?;
        if let Self::Bridge { labels } | Self::Container { labels, .. } = self
            && !labels.is_empty()
        {
            map.serialize_entry("labels", labels)?;
        }
        map.end()
    }
}

/// An artifact fetched into the sandbox before the task starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// Where to get it.
    pub uri: String,
    /// Unpack archives.
    pub extract: bool,
    /// Set the executable bit.
    pub executable: bool,
    /// Use the agent's cache.
    pub cache: bool,
    /// Target relative to the sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dest_path: Option<String>,
}

/// The value of one environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum EnvValue {
    /// Its text.
    Text(String),
    /// The secret it is taken from.
    Secret {
        /// Name of an entry in `secrets`.
        secret: String,
    },
}

impl EnvValue {
    /// The text, unless it is a secret.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Secret { .. } => None,
        }
    }
}

/// One declared secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct SecretSource {
    /// Path in the secret store.
    pub source: String,
}
