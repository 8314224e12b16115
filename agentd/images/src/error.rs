//! Why an image is not here. Every text names the image, the registry or the path.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::digest::Digest;
use crate::manifest::ManifestError;
use crate::reference::InvalidReference;
use crate::registry::RegistryError;
use crate::unpack::UnpackError;

/// A failed call. Cheap to clone, for several callers may wait for one pull.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImageError {
    /// The name names no image.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The registry did not give it.
    #[error("failed to pull image '{image}'")]
    Registry {
        /// The image's full name.
        image: String,
        /// Cause.
        source: Arc<RegistryError>,
    },
    /// The registry did not give it anew, as was asked for, though it is here.
    #[error(
        "image '{image}' is here, but is to be pulled anew for every task (forcePullImage), and \
         that failed; without forcePullImage the one that is here is used"
    )]
    NotFresh {
        /// The image's full name.
        image: String,
        /// Why not.
        source: Box<Self>,
    },
    /// It is in a file of the host, and the operator has not named the file's folder.
    #[error(
        "image '{image}' is in files of this host, in none of the folders from which this agent takes \
         images (--local-images DIR names one)"
    )]
    NotNamed {
        /// The image's full name.
        image: String,
    },
    /// Its manifest, index or configuration cannot be used.
    #[error("image '{image}' cannot be used")]
    Manifest {
        /// The image's full name.
        image: String,
        /// Cause.
        source: ManifestError,
    },
    /// A local layout or archive could not be read.
    #[error("failed to read image '{image}'{}", shown_part(part))]
    Local {
        /// The image's full name.
        image: String,
        /// What of it, empty for all of it.
        part: String,
        /// Cause.
        source: Arc<io::Error>,
    },
    /// A layer could not be unpacked.
    #[error("failed to unpack layer {layer} of image '{image}'")]
    Unpack {
        /// The image's full name.
        image: String,
        /// Digest of the layer.
        layer: Digest,
        /// Cause.
        source: Arc<UnpackError>,
    },
    /// It takes too long.
    #[error("pulling image '{image}' took longer than {} s", limit.as_secs())]
    TooSlow {
        /// The image's full name.
        image: String,
        /// Limit.
        limit: Duration,
    },
    /// There is no room for it.
    #[error("no room for image '{image}' in {}: {reason}", store.display())]
    DiskFull {
        /// The image's full name.
        image: String,
        /// The store.
        store: PathBuf,
        /// What is needed and there, or what the kernel says.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No image has this digest here.
    #[error("no image with digest {0} is here")]
    Unknown(Digest),
    /// The agent is stopping.
    #[error("pulling image '{image}' was given up")]
    GivenUp {
        /// The image's full name.
        image: String,
    },
}

/// The store on disk failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "the image store {} belongs to another process; give each agent a folder of its own",
        .0.display()
    )]
    Locked(PathBuf),
    /// It was made by a newer version.
    #[error("the image store {} has format '{found}', but this version knows '1'", path.display())]
    Format {
        /// The store.
        path: PathBuf,
        /// What its file says.
        found: String,
    },
    /// A file or folder of it.
    #[error("failed to {deed} {}", path.display())]
    Io {
        /// What was attempted.
        deed: &'static str,
        /// On what.
        path: PathBuf,
        /// Cause.
        source: Arc<io::Error>,
    },
    /// A name of a pin that cannot be kept.
    #[error("a pin's owner must have 1 to 1000 bytes, but '{0}' has not")]
    Owner(String),
}

impl StoreError {
    pub(crate) fn io(
        deed: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { deed, path: path.into(), source: Arc::new(source) }
    }
}

fn shown_part(part: &str) -> String {
    if part.is_empty() { String::new() } else { format!(" ({part})") }
}

/// Whether the file system has no room, by blocks, inodes or quota.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let full = [Errno::NOSPC, Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
        if error.downcast_ref::<io::Error>().is_some_and(|e| full.contains(&e.raw_os_error())) {
            return true;
        }
        // The standard library's shared errors hide their inner one from the downcast above.
        if let Some(shared) = error.downcast_ref::<Arc<io::Error>>()
            && full.contains(&shared.raw_os_error())
        {
            return true;
        }
        next = error.source();
    }
    false
}

impl ImageError {
    /// The same, as [`Self::DiskFull`] when that is at its root.
    pub(crate) fn or_full(self, image: &str, store: &std::path::Path) -> Self {
        if matches!(self, Self::DiskFull { .. }) || !is_full(&self) {
            return self;
        }
        Self::DiskFull {
            image: image.to_owned(),
            store: store.to_owned(),
            reason: "the file system is full".to_owned(),
        }
    }
}
