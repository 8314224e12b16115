//! Rewrites well-formed protobuf bytes so that prost sees what Mesos sees.

use std::collections::BTreeMap;

use super::default_value;
use crate::{
    protobuf_bytes::{Record, Records, WireType, put_delimited, put_key, put_varint, take_varint},
    schema::{FieldSchema, Kind, Label, MessageSchema},
};

/// The same message with the pieces of each singular message joined, without enum numbers that
/// have no name, and with the values of map entries that prost leaves out. The bytes have passed the check of their form and depth.
pub(super) fn message(schema: &'static MessageSchema, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    write(schema, bytes, &mut out);
    out
}

fn write(schema: &'static MessageSchema, bytes: &[u8], out: &mut Vec<u8>) {
    let mut pieces = pieces_of_messages(schema, bytes);
    for record in Records::of(bytes).map_while(Result::ok) {
        let Some(index) = schema.index_of_number(record.number) else { continue };
        let field = &schema.fields[index];
        match (field.label, field.kind) {
            (Label::Map, _) => write_entry(field, &record, out),
            (Label::Repeated, Kind::Message(inner)) => {
                write_message(record.number, inner, record.payload, out);
            }
            (_, Kind::Message(inner)) => {
                // Joined where the last piece stands, so that of a oneof the last member wins.
                if let Some(joined) = pieces.get_mut(&record.number) {
                    joined.left -= 1;
                    joined.payload.extend_from_slice(record.payload);
                    if joined.left == 0 {
                        write_message(record.number, inner, &joined.payload, out);
                    }
                }
            }
            _ => write_scalar(field, &record, out),
        }
    }
}

/// What is known so far of a singular message that may come in several pieces.
#[derive(Default)]
struct Pieces {
    left: usize,
    payload: Vec<u8>,
}

fn pieces_of_messages(schema: &'static MessageSchema, bytes: &[u8]) -> BTreeMap<u32, Pieces> {
    let mut pieces: BTreeMap<u32, Pieces> = BTreeMap::new();
    for record in Records::of(bytes).map_while(Result::ok) {
        let field = schema.index_of_number(record.number).map(|index| &schema.fields[index]);
        let joins = |field: &&FieldSchema| {
            matches!(field.kind, Kind::Message(_))
                && matches!(field.label, Label::Optional | Label::Required)
        };
        if field.is_some_and(|field| joins(&field)) {
            pieces.entry(record.number).or_default().left += 1;
        }
    }
    pieces
}

fn write_message(number: u32, schema: &'static MessageSchema, payload: &[u8], out: &mut Vec<u8>) {
    put_key(out, number, WireType::Delimited);
    put_delimited(out, &message(schema, payload));
}

fn write_entry(field: &FieldSchema, record: &Record<'_>, out: &mut Vec<u8>) {
    let mut entry = Vec::with_capacity(record.payload.len());
    let mut has_value = false;
    for part in Records::of(record.payload).map_while(Result::ok) {
        has_value |= part.number == 2;
        match (part.number, field.kind) {
            (2, Kind::Message(schema)) => write_message(2, schema, part.payload, &mut entry),
            _ => entry.extend_from_slice(part.whole),
        }
    }
    if !has_value && matches!(field.kind, Kind::Message(_)) {
        put_key(&mut entry, 2, WireType::Delimited);
        put_delimited(&mut entry, &default_value(field.kind));
    }
    put_key(out, record.number, WireType::Delimited);
    put_delimited(out, &entry);
}

fn write_scalar(field: &FieldSchema, record: &Record<'_>, out: &mut Vec<u8>) {
    let Kind::Enum(schema) = field.kind else {
        out.extend_from_slice(record.whole);
        return;
    };
    let put_known = |record: &Record<'_>, out: &mut Vec<u8>| {
        if schema.name_of(record.int32()).is_some() {
            put_key(out, record.number, WireType::Varint);
            put_varint(out, record.value);
        }
    };
    if record.wire_type != WireType::Delimited {
        put_known(record, out);
        return;
    }
    let mut packed = record.payload;
    while let Ok(value) = take_varint(&mut packed) {
        put_known(&Record { value, ..*record }, out);
    }
}
