//! The agent's own endpoints, the executor protocol, and sandbox files.
//!
//! Handlers are thin: decode, ask the [`Host`], answer (`spec/mesos-http.md` 2, 3.3, 4.2 to 4.4).
//!
//! * `executor`: the executor API; `operator`: `/api/v1`; `containers`: its sessions; `legacy`: the unversioned endpoints;
//! * `files`: sandboxes; `metrics`: Mesos's names and our own;
//! * `usage`: what runs use, and what tells it; `own`: our additions below `/tepui/v1`;
//! * `show`: what others see of frameworks, executors, tasks and resources, in both JSON dialects.

mod answer;
mod caller;
mod containers;
mod executor;
mod files;
mod host;
mod legacy;
mod metrics;
mod operator;
mod own;
mod router;
mod show;
mod usage;

pub use host::{
    Facts, Host, ImageEntry, ImageFigures, Input, NetworkRepairs, Output, PullEntry, Unavailable,
};
pub use router::router;
pub use usage::{
    Block, Durations, Flow, KernelReport, Memory, RunPlace, Runtime, Tcp, Traffic, Usage,
};
