//! What survives a restart of the agent: a checksummed journal of [`tepui_agent::Record`]s.
//!
//! [`Journal::open`] gives every record that was ever acknowledged; [`Journal::append`] returns
//! once its records are durable; [`Journal::compact`] replaces the file by a shorter one that
//! means the same. The format is [`frame`]s of the protobuf in `proto/`.
//!
//! # Invariants
//!
//! What was acknowledged is read back, whole and in order, or opening fails and says where
//! (I-49): only a last frame that was never completed is dropped. A batch is there entirely or not
//! at all. Two daemons never share a directory (F-11). After a failed sync the journal refuses
//! everything: what is on disk is not known any more.
//!
//! # Versions
//!
//! A newer version reads what an older one wrote. An older one reads what a newer one wrote as long
//! as there is no record of a kind that it does not know: a task that it has never heard of could
//! neither be reported nor ended, so it then refuses to start and says so, changes nothing, and the
//! newer version goes on where it was. Therefore a new kind is written only for what is new itself:
//! a host on which nobody used that can always go back. `vm-tests/cases/upgrade` does both.
//!
//! # Tests
//!
//! `cargo test -p tepui-checkpoint`: every byte flipped, every length truncated, a process killed
//! in the middle of appending.

mod codec;
mod error;
pub mod frame;
mod journal;

pub use codec::DecodeError;
pub use error::JournalError;
pub use journal::Journal;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/tepui.checkpoint.v1.rs"));
}
