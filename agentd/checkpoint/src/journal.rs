use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tepui_agent::Record;
use tracing::{info, warn};

use crate::codec;
use crate::error::JournalError;
use crate::frame::{self, FILE_HEADER, Parsed};

/// A journal is not compacted before it is this large.
const COMPACT_AT_LEAST: u64 = 4 << 20;
/// … nor before it has grown by this factor since the last time.
const COMPACT_FACTOR: u64 = 4;
/// A larger buffer than this is not kept for the next batch.
const KEPT_BUFFER: usize = 1 << 20;
/// Records per frame of a snapshot.
const SNAPSHOT_BATCH: usize = 256;

/// An open journal. This process alone has its directory until the value is dropped.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    /// Held for its lock.
    _lock: File,
    length: u64,
    frames: u32,
    /// How long the file was after the last compaction.
    base: u64,
    poisoned: bool,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the journal in `directory`, which is made (mode 0700) when it is missing, and reads
    /// every record. An unfinished last frame was never acknowledged and is cut off.
    ///
    /// # Errors
    ///
    /// [`JournalError::Locked`] when another process has the directory;
    /// [`JournalError::Damaged`] or [`JournalError::Content`], with the place, when something that
    /// was acknowledged cannot be read.
    pub fn open(directory: &Path) -> Result<(Self, Vec<Record>), JournalError> {
        ensure_directory(directory)?;
        let lock = lock(directory)?;
        let path = directory.join("journal");
        let unfinished = directory.join("journal.new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &unfinished)(error));
            }
            _ => {}
        }
        if !path.try_exists().map_err(io_error("look for", &path))? {
            begin(directory, &path)?;
        }
        let mut file = open_for_append(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error("read", &path))?;
        let content = read(&path, &bytes)?;
        let mut journal = Self {
            directory: directory.to_owned(),
            path,
            file,
            _lock: lock,
            length: content.length,
            frames: content.frames,
            base: content.length,
            poisoned: false,
            buffer: Vec::new(),
        };
        if content.length < bytes.len() as u64 {
            let dropped = bytes.len() as u64 - content.length;
            warn!(dropped, path = %journal.path.display(), "unfinished last frame was cut off");
            journal.cut()?;
        }
        Ok((journal, content.records))
    }

    /// Makes records durable, all of them or none: one write and one sync.
    ///
    /// # Errors
    ///
    /// Harmless ones leave the journal as it was ([`JournalError::is_harmless`]); after any other
    /// the process must end, and nothing may be acted on.
    pub fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned(self.path.clone()));
        }
        if records.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let framed =
            frame::write_frame(&mut buffer, self.frames, |out| codec::encode(records, out));
        let outcome = match framed {
            Ok(()) => self.write(&buffer),
            Err(bytes) => Err(JournalError::TooLarge { bytes }),
        };
        if buffer.capacity() <= KEPT_BUFFER {
            self.buffer = buffer;
        }
        outcome?;
        self.frames += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        if let Err(error) = self.file.write_all(bytes) {
            let full =
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            // What was written of the frame must go, or the next one would stand behind it.
            self.cut()?;
            if full {
                let path = self.path.clone();
                return Err(JournalError::Full { path, bytes: bytes.len() });
            }
            return Err(self.poison("append to", error));
        }
        self.sync()?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(|error| self.poison("sync", error))
    }

    /// Cuts the file to what is acknowledged.
    fn cut(&mut self) -> Result<(), JournalError> {
        self.file.set_len(self.length).map_err(|error| self.poison("truncate", error))?;
        self.sync()
    }

    fn poison(&mut self, verb: &'static str, source: io::Error) -> JournalError {
        self.poisoned = true;
        JournalError::Unknown { verb, path: self.path.clone(), source }
    }

    /// Whether the journal has grown enough for [`Journal::compact`].
    pub fn wants_compaction(&self) -> bool {
        self.length > COMPACT_AT_LEAST.max(self.base.saturating_mul(COMPACT_FACTOR))
    }

    /// How long the file is, in bytes.
    pub fn length_bytes(&self) -> u64 {
        self.length
    }

    /// Replaces everything by `snapshot`, which must mean the same. A crash leaves either the old
    /// or the new file.
    ///
    /// # Errors
    ///
    /// [`JournalError::Full`] and [`JournalError::TooLarge`] leave the journal as it was; after
    /// any other the process must end.
    pub fn compact(&mut self, snapshot: &[Record]) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned(self.path.clone()));
        }
        let mut bytes = frame::file_header().to_vec();
        let mut frames = 0;
        for batch in snapshot.chunks(SNAPSHOT_BATCH) {
            frame::write_frame(&mut bytes, frames, |out| codec::encode(batch, out))
                .map_err(|bytes| JournalError::TooLarge { bytes })?;
            frames += 1;
        }
        let path = self.directory.join("journal.new");
        let file = write_new(&path, &bytes)?;
        if let Err(error) = fs::rename(&path, &self.path) {
            return Err(self.poison("replace", error));
        }
        let former = self.length;
        self.file = file;
        self.length = bytes.len() as u64;
        (self.base, self.frames) = (self.length, frames);
        if let Err(error) = sync_directory(&self.directory) {
            self.poisoned = true;
            return Err(error);
        }
        info!(former, now = self.length, "journal compacted");
        Ok(())
    }
}

/// What a file holds.
struct Content {
    records: Vec<Record>,
    /// Bytes up to the end of the last whole frame.
    length: u64,
    frames: u32,
}

fn read(path: &Path, bytes: &[u8]) -> Result<Content, JournalError> {
    let mut content = Content { records: Vec::new(), length: 0, frames: 0 };
    if !frame::has_file_header(bytes) {
        return Err(JournalError::NotAJournal { path: path.to_owned() });
    }
    let mut rest = &bytes[FILE_HEADER..];
    while !rest.is_empty() {
        let offset = (bytes.len() - rest.len()) as u64;
        let damaged = |source| JournalError::Damaged { path: path.to_owned(), offset, source };
        match frame::parse_frame(rest, content.frames).map_err(damaged)? {
            Parsed::Unfinished => break,
            Parsed::Whole { payload, rest: next } => {
                let unread =
                    |source| JournalError::Content { path: path.to_owned(), offset, source };
                content.records.extend(codec::decode(payload).map_err(unread)?);
                content.frames += 1;
                rest = next;
            }
        }
    }
    content.length = (bytes.len() - rest.len()) as u64;
    Ok(content)
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { verb, path, source }
}

fn ensure_directory(directory: &Path) -> Result<(), JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io_error("make", directory))?;
    fs::set_permissions(directory, Permissions::from_mode(0o700))
        .map_err(io_error("set the mode of", directory))
}

fn lock(directory: &Path) -> Result<File, JournalError> {
    let path = directory.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(io_error("lock", &path)(source)),
    }
}

fn open_for_append(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new().read(true).append(true).open(path).map_err(io_error("open", path))
}

/// Makes an empty journal; it has its header from the first moment, so a file without one is
/// damaged and never taken for an empty journal.
fn begin(directory: &Path, path: &Path) -> Result<(), JournalError> {
    let unfinished = directory.join("journal.new");
    write_new(&unfinished, &frame::file_header())?;
    fs::rename(&unfinished, path).map_err(io_error("make", path))?;
    sync_directory(directory)
}

/// Writes a complete file beside the journal, to replace it; what is left of a failure is removed.
fn write_new(path: &Path, bytes: &[u8]) -> Result<File, JournalError> {
    let write = || -> io::Result<File> {
        let _ = fs::remove_file(path);
        let mut file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(file)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(path);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                JournalError::Full { path: path.to_owned(), bytes: bytes.len() }
            }
            _ => io_error("write", path)(error),
        }
    })
}

fn sync_directory(directory: &Path) -> Result<(), JournalError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error("sync", directory))
}
