//! What the control plane and an agent say to each other: directives down, reports up.
//!
//! Both sides speak over one ordered stream per agent. The types here are what the state machines
//! see; [`codec`] turns them into the protobuf frames of `proto/tepui/link/v1/link.proto`. With the
//! feature `grpc` the crate also has the generated tonic service.

pub mod codec;
mod directive;
#[cfg(feature = "grpc")]
mod frames;
mod report;

pub use directive::{Directive, LaunchOrder, Order};
pub use report::{Leftover, Registration, Report};

/// The key of a session's refusal under which a control plane that does not lead says who does:
/// `host:port` for agents.
pub const LEADER_KEY: &str = "tepui-leader";

/// The generated frames and, with the feature `grpc`, the service.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/tepui.link.v1.rs"));
}
