//! The Mesos v1 wire format: protobuf messages, their JSON, RecordIO, content types.
//!
//! Every quirk of the public protocol lives here; nothing above this crate reads bytes. The
//! messages in [`v1`] are generated from `proto/`, which is written from the table of the Mesos
//! surface (`proto/mesos-wire.tsv`); `tests/descriptors.rs` proves the two equal.
//!
//! * [`encode_json`] and [`decode_json`]: Mesos's own JSON mapping ([`json`]);
//! * [`encode_protobuf`] and [`decode_protobuf`]: the binary form, with required fields checked
//!   ([`binary`]);
//! * [`media`]: `Content-Type` and `Accept`, and both codecs behind one pair of functions;
//! * [`recordio`]: the framing of streams;
//! * [`resources`] and [`attributes`]: both between the wire, their text forms, and the books;
//! * [`schema`]: what the codecs know of each message;
//! * [`signals`] and [`version`]: words that both daemons use.
//!
//! # Invariants
//!
//! No input panics, recurses without bound, or makes a decoder hold more than a small multiple of
//! the bytes it was given; how large a body may be is the caller's business. Everything here is
//! pure: no clock, no randomness, no I/O.
//!
//! # Tests
//!
//! `cargo test -p tepui-wire`; the fuzz targets are in `control-plane/fuzz`.

pub mod attributes;
pub mod binary;
mod error;
pub mod json;
pub mod media;
mod path;
mod protobuf_bytes;
pub mod recordio;
pub mod resources;
pub mod schema;
pub mod secrets;
pub mod signals;
mod value_text;
pub mod version;

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

pub use binary::{decode_protobuf, encode_protobuf};
pub use error::{DecodeError, MissingFields, Problem};
pub use json::{decode_json, encode_json};
pub use media::MediaType;
pub use messages::mesos::v1;
pub use schema::WireMessage;
pub use value_text::ValueTextError;

/// The compiled descriptors of every message, as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mesos.fds"));
