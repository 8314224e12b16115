//! Counting what an archive unpacks to, and stopping in time.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::{Limits, UnpackError};

/// Bytes between two entries: headers, long names, padding. Far more than any honest archive has.
const BETWEEN_ENTRIES: u64 = 1 << 20;

/// Shared by the readers of one archive.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Rc<Counts>);

#[derive(Debug)]
struct Counts {
    bytes: Cell<u64>,
    entries: Cell<u64>,
    between: Cell<Option<u64>>,
    bytes_limit: u64,
    entries_limit: u64,
    deadline: Instant,
    cancelled: Arc<AtomicBool>,
    exceeded: Cell<Option<Exceeded>>,
}

#[derive(Clone, Copy, Debug)]
enum Exceeded {
    Bytes(u64),
    Entries(u64),
}

impl Meter {
    /// A meter for an archive of this size.
    pub(crate) fn new(
        limits: &Limits,
        archive_bytes: u64,
        deadline: Instant,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        let by_ratio = archive_bytes.saturating_mul(limits.ratio).max(limits.ratio_floor_bytes);
        Self(Rc::new(Counts {
            bytes: Cell::new(0),
            entries: Cell::new(0),
            between: Cell::new(None),
            bytes_limit: by_ratio.min(limits.unpacked_bytes),
            entries_limit: limits.entries,
            deadline,
            cancelled,
            exceeded: Cell::new(None),
        }))
    }

    /// From here to [`Self::entry`] only headers are read.
    pub(crate) fn between_entries(&self) {
        self.0.between.set(Some(BETWEEN_ENTRIES));
    }

    /// Only padding follows.
    pub(crate) fn after_entries(&self) {
        self.0.between.set(None);
    }

    /// The next entry begins.
    pub(crate) fn entry(&self) -> io::Result<()> {
        self.0.between.set(None);
        let entries = self.0.entries.get() + 1;
        self.0.entries.set(entries);
        if entries > self.0.entries_limit {
            return Err(self.exceed(Exceeded::Entries(self.0.entries_limit)));
        }
        Ok(())
    }

    /// Refuses an archive that claims to have too many entries.
    pub(crate) fn expect_entries(&self, entries: u64) -> io::Result<()> {
        if entries > self.0.entries_limit {
            return Err(self.exceed(Exceeded::Entries(self.0.entries_limit)));
        }
        Ok(())
    }

    /// Counts bytes that were unpacked.
    pub(crate) fn count(&self, bytes: u64) -> io::Result<()> {
        let total = self.0.bytes.get().saturating_add(bytes);
        self.0.bytes.set(total);
        if total > self.0.bytes_limit {
            return Err(self.exceed(Exceeded::Bytes(self.0.bytes_limit)));
        }
        if let Some(left) = self.0.between.get() {
            let Some(left) = left.checked_sub(bytes) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the headers of an entry are too long",
                ));
            };
            self.0.between.set(Some(left));
        }
        if self.0.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("given up"));
        }
        if Instant::now() >= self.0.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn exceed(&self, what: Exceeded) -> io::Error {
        self.0.exceeded.set(Some(what));
        io::Error::other("limit exceeded")
    }

    /// The error that an I/O error stands for.
    pub(crate) fn explain(&self, entry: &str, source: io::Error) -> UnpackError {
        match self.0.exceeded.get() {
            Some(Exceeded::Bytes(limit)) => UnpackError::TooLarge(limit),
            Some(Exceeded::Entries(limit)) => UnpackError::TooMany(limit),
            None => UnpackError::Io { entry: entry.to_owned(), source },
        }
    }
}

/// A reader whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R> Metered<R> {
    pub(crate) fn new(inner: R, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.meter.count(length as u64)?;
        Ok(length)
    }
}
