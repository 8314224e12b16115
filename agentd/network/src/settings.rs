//! What the operator decides.

use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};

/// Settings of a host's networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the bridge, and of its table of nftables.
    pub bridge: String,
    /// Addresses of the bridge and its containers.
    pub subnet4: Ipv4Net,
    /// The same for IPv6; unique local ones.
    pub subnet6: Ipv6Net,
    /// Folder of the records, private to the agent.
    pub records: PathBuf,
    /// Folder of the pinned namespaces; gone after a restart of the host.
    pub namespaces: PathBuf,
    /// Folder of the CNI configuration; `None` when there is none.
    pub cni_config: Option<PathBuf>,
    /// Folders of CNI plugins.
    pub cni_plugins: Vec<PathBuf>,
}
