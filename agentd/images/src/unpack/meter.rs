//! Counting what a layer unpacks to, and stopping in time.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::UnpackError;
use crate::settings::Limits;

/// Bytes between two entries: headers, long names, attributes, padding. Attributes may have 64 KiB
/// each.
const BETWEEN_ENTRIES: u64 = 2 << 20;

/// Shared by the readers of one layer.
#[derive(Clone, Debug)]
pub(super) struct Meter(Rc<Counts>);

#[derive(Clone, Debug)]
struct Counts {
    read: Cell<u64>,
    written: Cell<u64>,
    entries: Cell<u64>,
    between: Cell<Option<u64>>,
    bytes_limit: u64,
    entries_limit: u64,
    cancelled: Arc<AtomicBool>,
    stopped: Cell<Option<Stop>>,
}

#[derive(Clone, Copy, Debug)]
enum Stop {
    Bytes,
    Entries,
    Cancelled,
}

impl Meter {
    pub(super) fn new(limits: &Limits, size: u64, cancelled: Arc<AtomicBool>) -> Self {
        let by_ratio = size.saturating_mul(limits.ratio).max(limits.ratio_floor_bytes);
        Self(Rc::new(Counts {
            read: Cell::new(0),
            written: Cell::new(0),
            entries: Cell::new(0),
            between: Cell::new(None),
            bytes_limit: by_ratio.min(limits.unpacked_bytes),
            entries_limit: limits.entries,
            cancelled,
            stopped: Cell::new(None),
        }))
    }

    /// The same for the second half of a layer: `written` was counted in the first one, and no more
    /// than `left` may follow.
    pub(super) fn resumed(limits: &Limits, size: u64, written: u64, left: u64) -> Self {
        let meter = Self::new(limits, size, Arc::default());
        let counts = Counts {
            written: Cell::new(written),
            bytes_limit: meter.0.bytes_limit.min(written.saturating_add(left)),
            ..Counts::clone(&meter.0)
        };
        Self(Rc::new(counts))
    }

    /// Bytes of files so far.
    pub(super) fn written(&self) -> u64 {
        self.0.written.get()
    }

    /// From here to [`Self::entry`] only headers are read.
    pub(super) fn between_entries(&self) {
        self.0.between.set(Some(BETWEEN_ENTRIES));
    }

    /// Only padding follows.
    pub(super) fn after_entries(&self) {
        self.0.between.set(None);
    }

    /// The next entry begins.
    pub(super) fn entry(&self) -> io::Result<()> {
        self.0.between.set(None);
        let entries = self.0.entries.get() + 1;
        self.0.entries.set(entries);
        if entries > self.0.entries_limit { Err(self.stop(Stop::Entries)) } else { Ok(()) }
    }

    /// Counts bytes of files, holes included.
    pub(super) fn write(&self, bytes: u64) -> io::Result<()> {
        let total = self.0.written.get().saturating_add(bytes);
        self.0.written.set(total);
        self.check(total)
    }

    fn read(&self, bytes: u64) -> io::Result<()> {
        let total = self.0.read.get().saturating_add(bytes);
        self.0.read.set(total);
        self.check(total)?;
        if let Some(left) = self.0.between.get() {
            let left = left.checked_sub(bytes).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "the headers of an entry are too long")
            })?;
            self.0.between.set(Some(left));
        }
        Ok(())
    }

    fn check(&self, total: u64) -> io::Result<()> {
        if total > self.0.bytes_limit {
            return Err(self.stop(Stop::Bytes));
        }
        if self.0.cancelled.load(Ordering::Relaxed) {
            return Err(self.stop(Stop::Cancelled));
        }
        Ok(())
    }

    fn stop(&self, why: Stop) -> io::Error {
        self.0.stopped.set(Some(why));
        io::Error::other("stopped")
    }

    /// The error that an I/O error stands for.
    pub(super) fn explain(&self, entry: &str, source: io::Error) -> UnpackError {
        match self.0.stopped.get() {
            Some(Stop::Bytes) => UnpackError::TooLarge(self.0.bytes_limit),
            Some(Stop::Entries) => UnpackError::TooMany(self.0.entries_limit),
            Some(Stop::Cancelled) => UnpackError::Cancelled,
            None => UnpackError::Io { entry: entry.to_owned(), source },
        }
    }
}

/// A reader whose bytes are counted.
#[derive(Debug)]
pub(super) struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R> Metered<R> {
    pub(super) fn new(inner: R, meter: Meter) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.meter.read(length as u64)?;
        Ok(length)
    }
}
