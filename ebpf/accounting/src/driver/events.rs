//! Reports that programs put into ring buffers.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use libbpf_rs::{MapCore, MapFlags, MapImpl, RingBuffer, RingBufferBuilder};

use super::Driver;
use crate::AccountingError;
use crate::catalogue::ObjectName;
use crate::decode::{Denial, Exit, decode_denial, decode_exit};
use crate::group::GroupId;

/// A ring buffer and what was read from it but not taken yet.
pub(super) struct Ring {
    ring: RingBuffer<'static>,
    read: Arc<Mutex<VecDeque<Vec<u8>>>>,
}

impl Ring {
    pub(super) fn over(map: &MapImpl<'_>) -> Result<Self, AccountingError> {
        let refused = |source| AccountingError::HostMap { verb: "map", map: "ring buffer", source };
        let read = Arc::new(Mutex::new(VecDeque::new()));
        let sink = Arc::clone(&read);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(map, move |record| {
                sink.lock().unwrap_or_else(PoisonError::into_inner).push_back(record.to_vec());
                0
            })
            .map_err(refused)?;
        let ring = builder.build().map_err(refused)?;
        Ok(Self { ring, read })
    }

    /// Readable when there is something to take.
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring buffer owns this descriptor and closes it when it is dropped, which the
        // borrow of `self` rules out for as long as the result lives.
        #[allow(unsafe_code)]
        unsafe {
            BorrowedFd::borrow_raw(self.ring.epoll_fd())
        }
    }

    fn take(&self) -> Result<VecDeque<Vec<u8>>, AccountingError> {
        self.ring.consume().map_err(|source| AccountingError::HostMap {
            verb: "read",
            map: "ring buffer",
            source,
        })?;
        Ok(std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Driver {
    /// Denials since the last call, those of the time without an agent first. Those in
    /// [`crate::Mode::Kill`] ask for the end of their task.
    ///
    /// # Errors
    ///
    /// [`AccountingError::HostMap`] when the ring buffer cannot be read.
    pub fn take_denials(&mut self) -> Result<Vec<Denial>, AccountingError> {
        let Some(ring) = &self.denials else { return Ok(Vec::new()) };
        Ok(ring.take()?.iter().filter_map(|record| decode_denial(record)).collect())
    }

    /// Ends of processes since the last call, those of the time without an agent first.
    ///
    /// # Errors
    ///
    /// [`AccountingError::HostMap`] when the ring buffer cannot be read.
    pub fn take_exits(&mut self) -> Result<Vec<Exit>, AccountingError> {
        let Some(ring) = &self.exits else { return Ok(Vec::new()) };
        Ok(ring.take()?.iter().filter_map(|record| decode_exit(record)).collect())
    }

    /// A descriptor that becomes readable when [`Self::take_exits`] would return something.
    #[must_use]
    pub fn exits_fd(&self) -> Option<BorrowedFd<'_>> {
        self.exits.as_ref().map(Ring::fd)
    }

    /// Drops what a trial group was refused; everyone else's denials wait for their taker.
    pub(crate) fn drop_denials_of(&mut self, trial: GroupId) -> Result<(), AccountingError> {
        let Some(ring) = &self.denials else { return Ok(()) };
        let mut records = ring.take()?;
        records.retain(|record| decode_denial(record).is_some_and(|d| d.group != trial));
        let mut read = ring.read.lock().unwrap_or_else(PoisonError::into_inner);
        records.extend(read.drain(..));
        *read = records;
        Ok(())
    }

    /// A descriptor that becomes readable when [`Self::take_denials`] would return something.
    #[must_use]
    pub fn denials_fd(&self) -> Option<BorrowedFd<'_>> {
        self.denials.as_ref().map(Ring::fd)
    }

    /// Reports that found their ring buffer full; the counters of their tasks have them.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] when the kernel refuses.
    pub fn lost_events(&self) -> Result<u64, AccountingError> {
        let rings = [(ObjectName::Ports, "denial_lost"), (ObjectName::Sched, "exit_lost")];
        let mut lost = 0_u64;
        for (object, name) in rings.into_iter().filter(|(object, _)| self.has(*object)) {
            let record = self
                .map(object, name)?
                .lookup(&0_u32.to_ne_bytes(), MapFlags::ANY)
                .map_err(|source| AccountingError::HostMap { verb: "read", map: name, source })?;
            let count =
                record.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes);
            lost = lost.saturating_add(count);
        }
        Ok(lost)
    }
}
