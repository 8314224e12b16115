//! What the apps do, told as sentences, against a cluster that answers like a Mesos master.
#![allow(clippy::unwrap_used, reason = "tests")]

mod failures;
mod groups;
mod health;
mod launching;
mod placement;
mod random;
mod recovery;
mod rig;
mod rolling;
