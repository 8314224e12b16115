//! What the programs themselves cost.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use libbpf_rs::libbpf_sys::{BPF_STATS_RUN_TIME, bpf_enable_stats};

use crate::AccountingError;

/// Time spent in one program, and its runs, while statistics were on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The program's name in the catalogue.
    pub program: &'static str,
    /// Time spent in it.
    pub run_time: Duration,
    /// How often it ran.
    pub runs: u64,
}

/// Keeps the kernel measuring its programs (some tens of nanoseconds per run) until dropped.
#[derive(Debug)]
pub struct CostStatistics {
    _on: OwnedFd,
}

impl CostStatistics {
    /// Switches the kernel's statistics about programs on.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Cost`] where the kernel has none (before 5.8) or refuses.
    pub fn start() -> Result<Self, AccountingError> {
        // SAFETY: the call takes a number and returns a descriptor or a negative error.
        #[allow(unsafe_code)]
        let result = unsafe { bpf_enable_stats(BPF_STATS_RUN_TIME) };
        if result < 0 {
            return Err(AccountingError::Cost { source: io::Error::from_raw_os_error(-result) });
        }
        // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
        #[allow(unsafe_code)]
        let on = unsafe { OwnedFd::from_raw_fd(result) };
        Ok(Self { _on: on })
    }
}
