//! Where an image is read from: a registry, a layout or an archive, all alike.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::Archive;
use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::registry::Registry;

/// Where the blobs of an image are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Registry(Arc<Registry>),
    Layout(PathBuf),
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

/// A part of a file.
pub(crate) type Part = Take<File>;

/// A blob of an OCI layout.
pub(crate) fn layout_blob(layout: &Path, blob: &Descriptor) -> io::Result<Part> {
    let algorithm = blob.digest.to_string();
    let algorithm = algorithm.split(':').next().unwrap_or_default().to_owned();
    let path = layout.join("blobs").join(algorithm).join(blob.digest.hex());
    let file = open_plain(&path)?;
    let size = file.metadata()?.len();
    if size != blob.size {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} has {size} bytes, but its manifest says {}", path.display(), blob.size),
        ));
    }
    Ok(file.take(blob.size))
}

/// A small file, up to a limit.
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_limited(open_plain(path)?, limit, path)
}

/// A regular file; a fifo would never be opened.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(nonblock).open(path)?;
    if !file.metadata()?.is_file() {
        let text = format!("{} is not a regular file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(file)
}

pub(crate) fn read_limited(from: impl Read, limit: u64, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("{} has more than {limit} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

/// A part of a file.
pub(crate) fn part(path: &Path, offset: u64, size: u64) -> io::Result<Part> {
    let mut file = open_plain(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file.take(size))
}
