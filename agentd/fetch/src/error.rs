//! Why an artifact did not arrive. Every text that leaves the crate names the URI.

use std::io;
use std::path::PathBuf;

/// A failed fetch.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URI says nothing that can be fetched.
    #[error("failed to fetch '{uri}': {reason}")]
    Malformed {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server could not be asked.
    #[error("failed to download '{uri}'")]
    Http {
        /// The URI.
        uri: String,
        /// Cause.
        source: reqwest::Error,
    },
    /// The server answered with something else than the file.
    #[error("failed to download '{uri}': the server answered with status {status}")]
    Status {
        /// The URI.
        uri: String,
        /// Its status.
        status: u16,
    },
    /// The file could not be read at its source.
    #[error("failed to read '{uri}'")]
    Read {
        /// The URI.
        uri: String,
        /// Cause.
        source: io::Error,
    },
    /// The file is larger than allowed.
    #[error("failed to fetch '{uri}': it is larger than {limit} bytes")]
    TooLarge {
        /// The URI.
        uri: String,
        /// Limit in bytes.
        limit: u64,
    },
    /// It took too long.
    #[error("failed to fetch '{uri}': {what} took longer than {seconds} s")]
    TooSlow {
        /// The URI.
        uri: String,
        /// What was waited for.
        what: &'static str,
        /// Limit in seconds.
        seconds: u64,
    },
    /// The file could not be put into the sandbox.
    #[error("failed to put '{uri}' into the sandbox as '{path}'")]
    Place {
        /// The URI.
        uri: String,
        /// Path in the sandbox.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The archive could not be unpacked.
    #[error("failed to extract '{uri}'")]
    Unpack {
        /// The URI.
        uri: String,
        /// Cause.
        source: UnpackError,
    },
    /// The user who shall own the files does not exist.
    #[error("failed to fetch for user '{0}': the user does not exist on this host")]
    NoSuchUser(String),
    /// The sandbox is not there.
    #[error("failed to open the sandbox '{path}'")]
    Sandbox {
        /// The sandbox.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The cache directory cannot be used.
    #[error("failed to prepare the fetcher cache '{path}'")]
    Cache {
        /// The directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The agent stops.
    #[error("fetching '{uri}' was given up because the agent is stopping")]
    Stopping {
        /// The URI.
        uri: String,
    },
}

/// A failed extraction.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive cannot be decoded, or the disk refused.
    #[error("failed at entry '{entry}'")]
    Io {
        /// Last entry that was looked at; empty before the first.
        entry: String,
        /// Cause.
        source: io::Error,
    },
    /// The archive is no valid zip file.
    #[error("the zip file is damaged or of a kind that is not supported")]
    Zip(#[source] zip::result::ZipError),
    /// The archive tries something that no honest one does.
    #[error("entry '{entry}' {what}")]
    Hostile {
        /// Entry.
        entry: String,
        /// What it tries.
        what: Hostile,
    },
    /// The archive unpacks to more than allowed.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// The archive has too many entries.
    #[error("it has more than {0} entries")]
    TooMany(u64),
}

/// What an archive entry must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Hostile {
    #[error("has an absolute path")]
    Absolute,
    #[error("has a path that leads out of the sandbox")]
    Traversal,
    #[error("has a path that is empty, too long or too deep")]
    BadPath,
    #[error("is a symbolic link that leads out of the sandbox")]
    SymlinkOut,
    #[error("is a hard link to something else than a file of the sandbox")]
    HardLinkOut,
    #[error("is a device, pipe or socket")]
    Special,
}
