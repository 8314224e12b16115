//! What the cluster promises, one sentence per rule, told through agents and frameworks that the
//! rig plays. After every event the rig makes the books anew and compares (invariants I-1, I-4).

// A test that is wrong about what happened may end at once.
#![allow(clippy::unwrap_used)]

mod agents;
mod books;
mod calls;
mod constraints;
mod drain;
mod failover;
mod launches;
mod offers;
mod operators;
mod reclaims;
mod reconciliation;
mod rig;
mod subscription;
mod updates;
