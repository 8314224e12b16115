//! Where an image is read from: a registry, a layout or an archive, all alike.

use std::sync::Arc;

use crate::archive::Archive;
use crate::digest::Digest;
use crate::local::Layout;
use crate::manifest::Descriptor;
use crate::registry::Registry;

/// Where the blobs of an image are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Registry(Arc<Registry>),
    Layout(Arc<Layout>),
    Archive(Arc<Archive>),
}

/// A layer of an image that is to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerPart {
    pub(crate) blob: Blob,
    pub(crate) diff_id: Digest,
}

/// Where a layer's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blob {
    /// By digest.
    Named(Descriptor),
    /// At a place in an archive that gives no digest.
    At { offset: u64, size: u64 },
}

impl Blob {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Named(descriptor) => descriptor.size,
            Self::At { size, .. } => *size,
        }
    }
}
