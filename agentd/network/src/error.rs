//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// A network that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A file of ours.
    #[error("failed to {verb} {path}", path = path.display())]
    File {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused something about links, addresses or routes.
    #[error("failed to {deed}")]
    Link {
        /// What was attempted, on what.
        deed: String,
        /// Why.
        source: rtnetlink::Error,
    },
    /// The kernel refused something else.
    #[error("failed to {deed}")]
    Kernel {
        /// What was attempted.
        deed: String,
        /// Why.
        source: io::Error,
    },
    /// nftables refused a change.
    #[error("failed to change the rules of nftables: {0}")]
    Rules(String),
    /// A port of the host leads somewhere already.
    #[error("a port of the host leads into another container already")]
    PortTaken,
    /// Every address is in use.
    #[error("no address of {0} is free")]
    NoAddress(String),
    /// The host cannot do this.
    #[error("{0}")]
    Unable(String),
    /// A CNI plugin failed.
    #[error("network '{network}': plugin '{plugin}' {what}")]
    Plugin {
        /// Name of the network.
        network: String,
        /// Name of the plugin.
        plugin: String,
        /// What became of it.
        what: String,
    },
    /// No such CNI network.
    #[error("this host has no CNI network '{0}'")]
    NoNetwork(String),
}

impl NetworkError {
    pub(crate) fn file(
        verb: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { verb, path, source }
    }

    pub(crate) fn link(deed: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let deed = deed.into();
        move |source| Self::Link { deed, source }
    }

    pub(crate) fn kernel(deed: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let deed = deed.into();
        move |source| Self::Kernel { deed, source }
    }
}
