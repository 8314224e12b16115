//! Unpacking one layer into a folder of its own, in the form that overlayfs mounts.
//!
//! A layer comes from anywhere and is unpacked by root. Every path is resolved by the kernel with
//! the folder as its root (`openat2`, `RESOLVE_IN_ROOT`), so neither `..` nor a symbolic link leads
//! out; what is unpacked is counted while it is; whiteouts become what overlayfs reads, and a layer
//! cannot bring such marks itself. Device nodes are never made: a container's `/dev` is not its
//! image's.

mod entry;
mod lower;
mod meter;
mod path;
mod tree;

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::digest::{Digest, Hashing};
use crate::settings::Limits;
use entry::Unpacker;
pub(crate) use lower::Deferred;
use meter::{Meter, Metered};
use tree::Tree;

/// Largest window of a zstd stream, as a power of two; what the `zstd` tool accepts by itself.
const ZSTD_WINDOW_LOG: u32 = 27;
const BUFFER_BYTES: usize = 128 * 1024;

/// Something that no honest layer contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hostile {
    /// `..` in a path.
    #[error("its path contains '..'")]
    Traversal,
    /// Empty, too long, too deep, or with a NUL.
    #[error("its path is empty, too long, too deep or contains a NUL")]
    BadPath,
    /// A symbolic link on the way that leads nowhere or in circles.
    #[error("its path leads through a link that cannot be followed")]
    LinkedPath,
    /// A hard link to a folder, to itself, or to nothing.
    #[error("it is a hard link to something that cannot be linked")]
    HardLink,
    /// A whiteout that names nothing, or something below one.
    #[error("it is a whiteout that names nothing")]
    Whiteout,
    /// An attribute by which overlayfs marks its own.
    #[error("it carries an attribute of overlayfs")]
    OverlayAttribute,
    /// A sparse file in a form that hides its name and size.
    #[error("it is a sparse file in PAX form, which is not supported")]
    PaxSparse,
    /// The file is shorter than its header says.
    #[error("it is shorter than its header says")]
    Short,
    /// A number in its header that cannot be read.
    #[error("its header holds a number that cannot be read")]
    BadHeader,
}

/// A layer that was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It holds something that no honest layer does.
    #[error("entry '{entry}' is refused: {what}")]
    Hostile {
        /// Path of the entry.
        entry: String,
        /// What it does.
        what: Hostile,
    },
    /// It unpacks to more than allowed.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It has too many entries.
    #[error("it has more than {0} entries")]
    TooMany(u64),
    /// Reading or writing failed.
    #[error("entry '{entry}' failed")]
    Io {
        /// Path of the entry, empty before the first.
        entry: String,
        /// Cause.
        source: io::Error,
    },
    /// The compressed bytes are others than the manifest says.
    #[error("its digest is {0}, which is not what the manifest says")]
    WrongDigest(Digest),
    /// The unpacked bytes are others than the configuration says.
    #[error("it unpacks to a tar file with digest {0}, which is not what the configuration says")]
    WrongDiffId(Digest),
    /// Nobody waits for it any more.
    #[error("it was given up")]
    Cancelled,
}

/// Who owns what is unpacked, and how overlayfs is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// As the layer says; marks in `trusted.overlay.*`.
    Root,
    /// This user; marks in `user.overlay.*`, for mounts with `userxattr`.
    User,
}

impl Privilege {
    pub(crate) fn of_process() -> Self {
        if rustix::process::geteuid().is_root() { Self::Root } else { Self::User }
    }

    const fn opaque_attribute(self) -> &'static str {
        match self {
            Self::Root => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// What to unpack, and what it has to be.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Of the bytes as they are; `None` where these are verified already or named by nothing.
    pub(crate) digest: Option<Digest>,
    /// Of the tar file.
    pub(crate) diff_id: Digest,
    /// Bytes as they are.
    pub(crate) size: u64,
    pub(crate) limits: Limits,
    pub(crate) cancelled: Arc<AtomicBool>,
}

/// What became of a layer.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Bytes that its files take, in blocks.
    pub(crate) disk_bytes: u64,
    /// What depends on the layers below.
    pub(crate) deferred: Deferred,
}

/// Unpacks a layer into an empty folder. Blocks.
pub(crate) fn unpack(from: impl Read, into: &Path, job: &Job) -> Result<Unpacked, UnpackError> {
    let meter = Meter::new(&job.limits, job.size, job.cancelled.clone());
    let io = |source| meter.explain("", source);
    let algorithm = job.digest.as_ref().map_or(crate::Algorithm::Sha256, Digest::algorithm);
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, Hashing::new(from, algorithm));
    let unpacked = {
        let plain = decompressed(&mut raw).map_err(io)?;
        let mut tar = Hashing::new(Metered::new(plain, meter.clone()), job.diff_id.algorithm());
        let unpacked = untar(&mut tar, into, &meter)?;
        // To the last byte, so that both digests are of everything.
        io::copy(&mut tar, &mut io::sink()).map_err(io)?;
        let (diff_id, _) = tar.finish();
        if diff_id != job.diff_id {
            return Err(UnpackError::WrongDiffId(diff_id));
        }
        unpacked
    };
    io::copy(&mut raw, &mut io::sink()).map_err(io)?;
    let (digest, _) = raw.into_inner().finish();
    match &job.digest {
        Some(expected) if *expected != digest => Err(UnpackError::WrongDigest(digest)),
        _ => Ok(unpacked),
    }
}

/// Recognised by its first bytes: media types are often wrong.
fn decompressed<'a, R: Read>(from: &'a mut BufReader<R>) -> io::Result<Box<dyn Read + 'a>> {
    use std::io::BufRead;
    let start = from.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(from))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || (start.len() >= 4 && start[1..4] == [0x2a, 0x4d, 0x18] && start[0] & 0xf0 == 0x50)
    {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(from)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        Box::new(decoder)
    } else {
        Box::new(from)
    })
}

fn untar(from: impl Read, into: &Path, meter: &Meter) -> Result<Unpacked, UnpackError> {
    let tree = Tree::open(into, Privilege::of_process()).map_err(|e| meter.explain("", e))?;
    let mut archive = tar::Archive::new(from);
    let mut unpacker = Unpacker::new(&tree, meter);
    meter.between_entries();
    let entries = archive.entries().map_err(|e| meter.explain("", e))?;
    let mut last = String::new();
    for entry in entries {
        let mut entry = entry.map_err(|e| meter.explain(&last, e))?;
        last = shown(&entry.path_bytes());
        meter.entry().map_err(|e| meter.explain(&last, e))?;
        unpacker.take(&mut entry, &last)?;
        meter.between_entries();
    }
    meter.after_entries();
    unpacker.finish()
}

/// A path as errors show it.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars().take(300).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// What the second half of a layer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) limits: Limits,
    /// Bytes of the layer as it was transferred.
    pub(crate) size: u64,
    /// Bytes that its image may still copy from layer to layer.
    pub(crate) left: u64,
}

/// Does what depends on the layers below, of which the nearest comes first; the bytes that it took.
/// Blocks.
pub(crate) fn settle(
    into: &Path,
    lower: &[PathBuf],
    deferred: Deferred,
    room: &Room,
) -> Result<u64, UnpackError> {
    let meter = Meter::resumed(&room.limits, room.size, deferred.written, room.left);
    let io = |source| UnpackError::Io { entry: String::new(), source };
    let tree = Tree::open(into, Privilege::of_process()).map_err(io)?;
    lower::settle(&tree, into, lower, deferred, &meter)
}

#[cfg(test)]
mod tests;
