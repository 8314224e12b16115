//! What clients of a control plane see that does not lead, and what the leader tells those who
//! stand by: over real connections.

#![allow(clippy::unwrap_used)]

mod leader;
mod proxy;
mod redirect;
mod rig;
