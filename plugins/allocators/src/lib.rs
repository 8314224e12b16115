//! The allocators that are shipped beside the one that is built in, as a library: the plugins
//! `priority` and `binpack` are these, and replays and shadows use them without loading anything.

pub mod binpack;
pub mod priority;
