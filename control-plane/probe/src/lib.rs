//! HTTP, HTTPS and TCP probes with time and size limits.
//!
//! A probe asks one question of one port and reports what it saw; whether that is healthy is
//! decided elsewhere. Redirects are not followed, certificates are not verified (health checks
//! reach tasks by address, `spec/marathon-behaviour.md` 8), bodies are read up to a limit, and
//! only so many probes run at once (fault F-78).

mod prober;
mod tls;

pub use prober::{Answer, Peer, ProbeError, Prober};
