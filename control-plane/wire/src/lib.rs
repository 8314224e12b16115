//! The Mesos v1 wire format: protobuf messages, their JSON, RecordIO.
//!
//! Every quirk of the public protocol lives here. The messages are generated from `proto/`, which
//! is written from the table of the Mesos surface; nothing above this crate reads bytes.

/// The generated messages, by protobuf package.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::use_self,
    rustdoc::all
)]
mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

pub use messages::mesos::v1;

/// The compiled descriptors of every message, as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mesos.fds"));
