//! The Mesos HTTP surface over a real cluster and a real allocator; agents are played by the tests.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod client;
mod keys;
mod legacy;
mod metrics;
mod operators;
mod plane;
mod rounds;
mod scenes;
mod status;
mod streams;
