//! The binary form, with the checks that prost leaves out.
//!
//! Prost reads an unset required field as its zero and keeps enum numbers it does not know. Mesos
//! refuses the first and treats the second as unset, so the bytes are checked against the schema
//! before prost sees them.

mod check;
mod normalise;

use std::borrow::Cow;

use crate::{
    DecodeError, Problem, WireMessage,
    media::MediaType,
    protobuf_bytes::{WireType, put_delimited, put_key},
    schema::{Kind, Label, MessageSchema},
};

/// Levels of messages inside messages that are accepted on input.
pub const MAX_PROTOBUF_DEPTH: usize = 64;

/// The message that protobuf bytes stand for. Unknown fields are ignored; an enum number without
/// a name counts as unset.
///
/// # Errors
///
/// When the bytes are not protobuf, a field has the wrong wire type or text that is not UTF-8,
/// messages nest deeper than [`MAX_PROTOBUF_DEPTH`], or a required field is not set.
pub fn decode_protobuf<M: WireMessage>(bytes: &[u8]) -> Result<M, DecodeError> {
    let checked = checked(M::SCHEMA, bytes).map_err(|problem| failed(M::SCHEMA, problem))?;
    M::decode(&*checked).map_err(|error| {
        failed(M::SCHEMA, Problem::Malformed { path: String::new(), reason: error.to_string() })
    })
}

/// The message as protobuf bytes, which readers that check required fields accept.
///
/// Prost leaves out a map value that equals its type's default, such as a scalar of 0. Other
/// readers see a value without its required fields then, so it is put back.
pub fn encode_protobuf<M: WireMessage>(message: &M) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let lacks_values = |bytes: &[u8]| {
        check::message(M::SCHEMA, bytes).is_ok_and(|finding| finding.lacks_map_values)
    };
    if M::SCHEMA.holds_maps && lacks_values(&bytes) {
        return normalise::message(M::SCHEMA, &bytes);
    }
    bytes
}

fn failed(schema: &'static MessageSchema, problem: Problem) -> DecodeError {
    DecodeError { message: schema.name, media: MediaType::Protobuf, problem }
}

/// Bytes that prost can decode without losing what Mesos would see.
fn checked<'a>(schema: &'static MessageSchema, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Problem> {
    let finding = check::message(schema, bytes)?;
    if !finding.needs_normalising {
        return finding.complete().map(|()| Cow::Borrowed(bytes));
    }
    // Rare: values that must go, or messages sent in pieces whose union counts.
    let normal = normalise::message(schema, bytes);
    check::message(schema, &normal)?.complete()?;
    Ok(Cow::Owned(normal))
}

/// The payload of a message value that prost left out because it equals its type's default: all
/// required fields, at zero. Empty for other kinds.
pub(crate) fn default_value(kind: Kind) -> Vec<u8> {
    let mut out = Vec::new();
    if let Kind::Message(schema) = kind {
        put_required_zeros(schema, &mut out);
    }
    out
}

fn put_required_zeros(schema: &'static MessageSchema, out: &mut Vec<u8>) {
    for field in schema.fields.iter().filter(|field| field.label == Label::Required) {
        let wire_type = WireType::of(field.kind);
        put_key(out, field.number, wire_type);
        match wire_type {
            WireType::Delimited => put_delimited(out, &default_value(field.kind)),
            WireType::Fixed64 => out.extend_from_slice(&[0; 8]),
            _ => out.push(0),
        }
    }
}
