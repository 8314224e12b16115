//! Opening what is in a sandbox, and nothing else.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::locate::Found;

/// A place in a sandbox that is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// Nothing is there, or it leads out of the sandbox.
    #[error("File not found: '{0}'.")]
    NotFound(String),
    /// Bytes were asked of a folder.
    #[error("Cannot read a directory: '{0}'.")]
    IsFolder(String),
    /// A list was asked of a file.
    #[error("Not a directory: '{0}'.")]
    IsNoFolder(String),
    /// It is a pipe, a device, or another's file that was linked into the sandbox.
    #[error("'{0}' is not a plain file of the sandbox.")]
    Forbidden(String),
    /// The daemon's user may not read it.
    #[error("Permission denied: '{0}'.")]
    Denied(String),
    /// The list would be too long.
    #[error("Directory '{path}' has more than {limit} entries.")]
    TooMany {
        /// The folder.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// The disk refused.
    #[error("Failed to read '{path}': {source}.")]
    Io {
        /// The place.
        path: String,
        /// Cause.
        source: io::Error,
    },
}

/// A place that was opened.
pub(crate) struct Opened {
    pub(crate) descriptor: OwnedFd,
    pub(crate) meta: Stat,
}

impl Found {
    fn shown(&self) -> String {
        self.sandbox.join(&self.rest).display().to_string()
    }

    pub(crate) fn error(&self, source: io::Error) -> FilesError {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            // EXDEV is the kernel's word for a path that leads out, ELOOP for a link to nowhere.
            Some(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::XDEV
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::NXIO,
            ) => FilesError::NotFound(self.shown()),
            Some(Errno::ACCESS) => FilesError::Denied(self.shown()),
            _ => FilesError::Io { path: self.shown(), source },
        }
    }

    /// Opens the place, whatever it is; a pipe is not waited for.
    pub(crate) fn open(&self) -> Result<Opened, FilesError> {
        let folder = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::PATH | OFlags::CLOEXEC;
        let root = openat(CWD, &self.sandbox, folder, Mode::empty());
        let root = root.map_err(|e| self.error(e.into()))?;
        let owner = fstat(&root).map_err(|e| self.error(e.into()))?.st_uid;
        let rest = if self.rest.as_os_str().is_empty() { Path::new(".") } else { &self.rest };
        // First without opening it for anything: some files act when they are opened.
        let look = open_beneath(&root, rest, OFlags::PATH).map_err(|e| self.error(e))?;
        let meta = fstat(&look).map_err(|e| self.error(e.into()))?;
        let kind = FileType::from_raw_mode(meta.st_mode);
        let foreign = meta.st_nlink > 1 && meta.st_uid != owner;
        if !matches!(kind, FileType::RegularFile | FileType::Directory)
            || (kind == FileType::RegularFile && foreign)
        {
            return Err(FilesError::Forbidden(self.shown()));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let descriptor = open_beneath(&root, rest, flags).map_err(|e| self.error(e))?;
        let now = fstat(&descriptor).map_err(|e| self.error(e.into()))?;
        if (now.st_ino, now.st_dev) != (meta.st_ino, meta.st_dev) {
            // Swapped in between; whoever asks again sees the new one.
            return Err(FilesError::NotFound(self.shown()));
        }
        Ok(Opened { descriptor, meta: now })
    }
}

/// The place as a file to read, and its size.
pub(crate) fn open_file(found: &Found) -> Result<(File, u64), FilesError> {
    let Opened { descriptor, meta } = found.open()?;
    if FileType::from_raw_mode(meta.st_mode) == FileType::Directory {
        return Err(FilesError::IsFolder(found.shown()));
    }
    Ok((File::from(descriptor), u64::try_from(meta.st_size).unwrap_or_default()))
}

/// The size, and up to `length` bytes from the offset on.
pub(crate) fn read(
    found: &Found,
    offset: Option<u64>,
    length: u64,
) -> Result<(u64, Vec<u8>), FilesError> {
    let (mut file, size) = open_file(found)?;
    let Some(offset) = offset.filter(|offset| *offset < size) else {
        return Ok((size, Vec::new()));
    };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.take(length).read_to_end(&mut bytes))
        .map_err(|e| found.error(e))?;
    Ok((size, bytes))
}
