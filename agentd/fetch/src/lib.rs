//! The fetcher: downloads and unpacks artifacts into a sandbox, nothing outside it.
//!
//! One [`Fetcher`] per agent. `http`, `https`, `file` and plain absolute paths are read within
//! limits of size, time and redirects; archives (tar, plain or compressed with gzip, bzip2, xz or
//! zstd, and zip) are unpacked within limits of size, ratio and number of entries. Every file is
//! made relative to the sandbox's own descriptor with the kernel's promise to stay beneath it
//! (openat2), belongs to the task's user, and never carries setuid, setgid or device bits: faults
//! F-69 and F-70 of `reliability.md`.

mod artifact;
mod cache;
mod error;
mod fetcher;
mod limits;
mod meter;
mod sandbox;
mod source;
mod unpack;

pub use artifact::Artifact;
pub use error::{FetchError, Hostile, UnpackError};
pub use fetcher::Fetcher;
pub use limits::Limits;
