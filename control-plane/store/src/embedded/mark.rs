//! The mark: which term and revision were acknowledged last, beside the database.
//!
//! SQLite's log ends at the first frame with a bad checksum. That is right for a write torn by a
//! crash and wrong for a frame that was damaged later: the acknowledged commits behind it would
//! vanish without a word. So each commit, once durable, is noted here. The note itself is not
//! synced: after a power cut it may lag behind the database, never run ahead of it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tepui_types::{Term, Uuid};

use crate::backend::Revision;

const MAGIC: [u8; 8] = *b"TEPUIMK1";
/// Magic, cluster id, term, revision, checksum. Within one disk sector, so never torn.
const BYTES: usize = 8 + 16 + 8 + 8 + 4;

/// What the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) cluster: Uuid,
    pub(super) term: Term,
    pub(super) revision: Revision,
}

/// The file; its lock keeps a second process out of the whole store.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    path: PathBuf,
}

/// Why the mark file is not ours.
pub(super) enum MarkError {
    Locked,
    Io(io::Error),
}

impl From<io::Error> for MarkError {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

impl MarkFile {
    /// Opens and locks the file, making it when there is none.
    pub(super) fn open(path: PathBuf) -> Result<Self, MarkError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path }),
            Err(TryLockError::WouldBlock) => Err(MarkError::Locked),
            Err(TryLockError::Error(source)) => Err(MarkError::Io(source)),
        }
    }

    /// The mark, `None` when the file is empty, or why it cannot be one.
    pub(super) fn load(&self) -> io::Result<Option<Result<Mark, &'static str>>> {
        let mut bytes = [0; BYTES];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Some(decode(&bytes))),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let empty = self.file.metadata()?.len() == 0;
                Ok((!empty).then_some(Err("it is cut short")))
            }
            Err(error) => Err(error),
        }
    }

    /// Notes what is durable in the database. Only for what really is.
    pub(super) fn note(&self, mark: Mark) -> io::Result<()> {
        self.file.write_all_at(&encode(mark), 0)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn encode(mark: Mark) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..24].copy_from_slice(mark.cluster.as_bytes());
    bytes[24..32].copy_from_slice(&mark.term.0.to_le_bytes());
    bytes[32..40].copy_from_slice(&mark.revision.0.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..40]);
    bytes[40..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES]) -> Result<Mark, &'static str> {
    let (body, checksum) = bytes.split_at(40);
    if crc32fast::hash(body).to_le_bytes() != checksum {
        return Err("its checksum is wrong");
    }
    let mut rest = &body[8..];
    let mut word = || {
        let (head, tail) = rest.split_first_chunk::<8>()?;
        rest = tail;
        Some(*head)
    };
    let parts = (body[..8] == MAGIC).then_some(()).and_then(|()| {
        let (a, b, term, revision) = (word()?, word()?, word()?, word()?);
        let mut cluster = [0; 16];
        cluster[..8].copy_from_slice(&a);
        cluster[8..].copy_from_slice(&b);
        Some(Mark {
            cluster: Uuid::from_bytes(cluster),
            term: Term(u64::from_le_bytes(term)),
            revision: Revision(u64::from_le_bytes(revision)),
        })
    });
    parts.ok_or("it is of another format")
}
