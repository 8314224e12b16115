//! The REST API over the real apps, told as sentences; a small cluster answers their calls.
#![allow(clippy::unwrap_used, reason = "tests")]

mod apps;
mod cluster;
mod groups;
mod protocol;
mod rig;
mod streams;
