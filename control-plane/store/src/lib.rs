//! Durable records behind one trait: in memory and embedded.
//!
//! A store is a map from keys to values with one revision that grows by each batch. A batch is
//! applied whole or not at all, and is durable when `commit` returns. Its semantics are those of
//! etcd and ZooKeeper, which join as backends later, so every write names the writer's term.

mod backend;
mod embedded;
mod memory;
pub mod records;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use backend::{Batch, Key, Op, Revision, Store, StoreError};
pub use embedded::{Embedded, OpenError};
pub use memory::Memory;
