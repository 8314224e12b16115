//! The agent's own endpoints, the executor protocol, and sandbox files.
//!
//! Handlers are thin: decode, ask the [`Host`], answer (`spec/mesos-http.md` 2, 3.3, 4.2 to 4.4).

mod host;

pub use host::{Facts, Host, Unavailable, Usage};
