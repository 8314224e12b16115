//! The launcher's answer channel: silence means that the task was executed.

use std::fs::File;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::fstat;

/// The descriptor that launchers leave open for it.
pub(crate) const CHANNEL: RawFd = 3;

/// The channel, while nobody has been told anything.
#[derive(Debug)]
pub(crate) struct Answer(Option<File>);

impl Answer {
    /// Takes over the channel. To be called once in a process.
    #[allow(unsafe_code)]
    pub(crate) fn take() -> Self {
        // SAFETY: called once, as the first thing that `main` does, before anything is opened: a
        // descriptor 3 that is open was inherited and belongs to nobody else in this process. One
        // that is not open is noticed below and forgotten without being closed.
        let channel = unsafe { OwnedFd::from_raw_fd(CHANNEL) };
        if fstat(&channel).is_err() {
            std::mem::forget(channel);
            return Self(None);
        }
        // What is started later must not keep it open.
        let _ = fcntl(&channel, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        Self(Some(File::from(channel)))
    }

    /// Hands the channel on to the program that this one becomes.
    pub(crate) fn survive(&self) {
        if let Some(channel) = &self.0 {
            // Refused only for a descriptor that is not open.
            let _ = fcntl(channel, FcntlArg::F_SETFD(FdFlag::empty()));
        }
    }

    /// Says why the task will never be executed.
    pub(crate) fn refuse(&mut self, reason: &str) {
        if let Some(mut channel) = self.0.take() {
            // A launcher that is gone by now finds the exit code.
            let _ = channel.write_all(reason.as_bytes());
        }
    }

    /// The task was executed: nothing remains to be said.
    pub(crate) fn close(&mut self) {
        self.0 = None;
    }
}
