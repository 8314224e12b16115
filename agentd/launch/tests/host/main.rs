//! The launcher against the real shim and the real kernel.

#![allow(clippy::unwrap_used, reason = "tests")]

mod bench;
mod checks;
mod kernel;
mod kills;
mod output;
mod recovery;
mod running;
mod sessions;
mod spares;
mod workbench;
