use std::io;
use std::path::PathBuf;

use crate::codec::DecodeError;
use crate::frame::FrameError;

/// Why the journal could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has the directory.
    #[error("{0} is in use by another agent; every agent needs a work directory of its own")]
    Locked(PathBuf),
    /// The file system refused something before anything was written.
    #[error("failed to {verb} {path}")]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file is not a journal, or one of a version that this program does not know.
    #[error("{path} does not begin like a journal of version {}", crate::frame::VERSION)]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged. Nothing is dropped silently: restore it, or remove it to start as a
    /// new agent.
    #[error("{path} is damaged at byte {offset}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first damaged frame begins.
        offset: u64,
        /// What is wrong with it.
        source: FrameError,
    },
    /// A frame is whole and its content is not what this program writes.
    #[error("{path} holds at byte {offset} what this version cannot read")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The batch is larger than a frame can be; nothing was written.
    #[error("a batch of {bytes} bytes is larger than a frame of the journal can be")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
    },
    /// The disk is full; the batch is not in the journal, and the journal is as before.
    #[error("no space left to append {bytes} bytes to {path}")]
    Full {
        /// The file.
        path: PathBuf,
        /// How much was to be written.
        bytes: usize,
    },
    /// What is on disk is not known any more: the process must end and start anew.
    #[error("failed to {verb} {path}; its content on disk is unknown")]
    Unknown {
        /// What was attempted.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// An earlier [`JournalError::Unknown`] was ignored.
    #[error("{0} failed before and takes nothing any more")]
    Poisoned(PathBuf),
}

impl JournalError {
    /// Whether the journal is as it was before the call and may be used further; everything else
    /// must end the process.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::TooLarge { .. })
    }
}
