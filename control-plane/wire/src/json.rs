//! Mesos's JSON mapping of the protobuf messages, both ways (`mesos-http.md` section 0.4).
//!
//! It is older than, and differs from, protobuf's own JSON mapping:
//!
//! * keys are the names of the protobuf file; 64-bit integers are plain numbers;
//! * unset optional fields that declare a default and are not deprecated are written with it;
//! * on input, unknown keys are ignored, `null` means unset, numbers and booleans may come as
//!   strings, `"Infinity"` is a double, and one value stands for a list of one;
//! * an unknown enum name counts as unset, and is an error only where the field is required;
//! * of a repeated key the last value counts.
//!
//! Reading turns JSON tokens into protobuf bytes by the schema and lets prost decode those;
//! writing walks the bytes that prost encodes. Neither builds a tree.

mod number;
mod read;
mod write;

use crate::{DecodeError, WireMessage, media::MediaType, schema::MessageSchema};

/// Levels of objects and arrays that are accepted on input.
pub const MAX_JSON_DEPTH: usize = 64;

/// The message as JSON, without blanks.
pub fn encode_json<M: WireMessage>(message: &M) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let mut out = Vec::with_capacity(bytes.len() * 3 + 64);
    write::message(M::SCHEMA, &bytes, &mut out).expect("prost encodes well-formed bytes");
    out
}

/// The message that a JSON text stands for.
///
/// # Errors
///
/// When the text is not JSON, is not an object, nests deeper than [`MAX_JSON_DEPTH`], has a value
/// of the wrong kind, or leaves a required field unset.
pub fn decode_json<M: WireMessage>(json: &[u8]) -> Result<M, DecodeError> {
    decode_json_noting(json).map(|(message, _)| message)
}

/// The message, and what of the text has no effect: keys that no message has, as `Message.key`, and
/// names that no enum has, as `field.NAME`; the first few. Mesos ignores them too, and says nothing.
///
/// # Errors
///
/// As [`decode_json`].
pub fn decode_json_noting<M: WireMessage>(json: &[u8]) -> Result<(M, Vec<String>), DecodeError> {
    let wrong = |problem| DecodeError { message: M::SCHEMA.name, media: MediaType::Json, problem };
    let (bytes, ignored) = read::message(M::SCHEMA, json).map_err(wrong)?;
    let message = M::decode(&bytes[..]).map_err(|error| {
        wrong(crate::Problem::Invalid { path: String::new(), reason: error.to_string() })
    })?;
    Ok((message, ignored))
}

/// The protobuf bytes of the message that a JSON text stands for.
///
/// # Errors
///
/// As [`decode_json`].
pub fn to_protobuf(schema: &'static MessageSchema, json: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let read = read::message(schema, json).map(|(bytes, _)| bytes);
    read.map_err(|problem| DecodeError { message: schema.name, media: MediaType::Json, problem })
}
