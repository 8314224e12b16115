//! What can go wrong on the cgroup file system.

use std::io;
use std::path::PathBuf;

/// A failed operation on a control group.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The host mounts no cgroup2 file system that this process can see.
    #[error("no cgroup2 file system is mounted")]
    NotMounted,
    /// The host's table of mounts or of own groups was unreadable.
    #[error("failed to read {path}")]
    Read {
        /// File that was read.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A file of a group refused a value.
    #[error("failed to write {value:?} to {path}")]
    Write {
        /// File that was written.
        path: PathBuf,
        /// Value that was refused.
        value: String,
        /// Cause.
        source: io::Error,
    },
    /// A group could not be created.
    #[error("failed to create control group {path}")]
    Create {
        /// Directory of the group.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A group could not be removed.
    #[error("failed to remove control group {path}")]
    Remove {
        /// Directory of the group.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A group has content that the kernel does not write.
    #[error("{path} holds {text:?}, which is not what the kernel writes there")]
    Content {
        /// File that was read.
        path: PathBuf,
        /// Offending text.
        text: String,
    },
    /// A name that would not stay below its parent.
    #[error("{0:?} cannot name a control group")]
    Name(String),
    /// A process placed in a group was not found there.
    #[error("process {pid} was written to {path} but is not listed there")]
    NotPlaced {
        /// Group that was tried.
        path: PathBuf,
        /// Process that was placed.
        pid: i32,
    },
}
