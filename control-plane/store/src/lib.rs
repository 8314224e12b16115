//! Durable records behind one trait: in memory, embedded, and shared by several control planes
//! through etcd or ZooKeeper.
//!
//! A store is a map from keys to values with one revision that grows by each batch. A batch is
//! applied whole or not at all, and is durable when `commit` returns. Every
//! write names the writer's term, and one of a former leader is refused.

mod backend;
mod embedded;
mod memory;
pub mod records;
mod shared;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use backend::{Batch, Key, Op, Revision, Store, StoreError};
pub use embedded::{Embedded, OpenError};
pub use memory::Memory;
pub use shared::{Campaign, Replica, Shared};
