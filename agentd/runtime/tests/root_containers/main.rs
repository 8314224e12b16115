//! Containers made by the very program that agents start. They need root, and busybox for an image.

// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod attaching;
mod conformance;
mod ends;
mod isolation;
mod joining;
mod mounts;
mod races;
mod rig;
mod sharing;
mod starts;
