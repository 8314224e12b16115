//! Control groups, version 2: probe, create, limit, place, kill, read; and whose socket a connection's
//! other end is.
//!
//! A narrow module over the cgroup2 file system. It asks the host what it can do ([`Mount::probe`],
//! [`Subtree::ensure`], [`Subtree::prove`]) and never guesses from versions; on hybrid hosts the
//! version 2 hierarchy is found wherever it is mounted. Version 1 hierarchies are not used.

mod error;
mod leaf;
mod limit;
mod mount;
mod socket;
mod stat;
mod subtree;

pub use error::CgroupError;
pub use leaf::Leaf;
pub use limit::{Controller, DiskLimit, GroupLimits, no_disk_weights};
pub use mount::Mount;
pub use socket::{Clients, Origin, is_here};
pub use stat::{CpuUsage, MemoryEvents, MemoryUsage};
pub use subtree::Subtree;
