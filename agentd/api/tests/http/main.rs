//! The agent's endpoints over the real state machine.

#![allow(clippy::unwrap_used, reason = "tests")]

mod callers;
mod executors;
mod files;
mod reads;
mod rig;
mod sessions;
mod slow;
