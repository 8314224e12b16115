//! Protobuf bytes, as prost encodes them, to JSON.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    binary::default_value,
    protobuf_bytes::{BadBytes, Record, Records, WireType},
    schema::{FieldSchema, Kind, Label, MessageSchema},
};

/// Writes one message.
///
/// Expects the records of each repeated field side by side and none of them packed, as prost
/// encodes proto2.
pub(super) fn message(
    schema: &'static MessageSchema,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), BadBytes> {
    let mut records = Records::of(bytes);
    let mut written = 0_u64;
    let mut separator = b'{';
    while let Some(record) = records.next().transpose()? {
        let Some(index) = schema.index_of_number(record.number) else { continue };
        let field = &schema.fields[index];
        let label = field.label;
        if label == Label::Optional && !is_writable(field.kind, &record) {
            continue;
        }
        written |= 1 << index;
        key(field, &mut separator, out);
        match label {
            Label::Optional | Label::Required => value(field.kind, &record, out)?,
            Label::Repeated => list(field, record, &mut records, out)?,
            Label::Map => entries(field, record, &mut records, out)?,
        }
    }
    for (index, field) in schema.fields.iter().enumerate() {
        if let Some(default) = field.default.filter(|_| written & (1 << index) == 0) {
            key(field, &mut separator, out);
            out.extend_from_slice(default.as_bytes());
        }
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

fn key(field: &FieldSchema, separator: &mut u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[*separator, b'"']);
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b"\":");
    *separator = b',';
}

/// JSON has no form for NaN, nor for an enum number without a name; such values count as unset.
fn is_writable(kind: Kind, record: &Record<'_>) -> bool {
    match kind {
        Kind::Double => !record.double().is_nan(),
        Kind::Enum(schema) => schema.name_of(record.int32()).is_some(),
        _ => true,
    }
}

fn list<'a>(
    field: &FieldSchema,
    first: Record<'a>,
    records: &mut Records<'a>,
    out: &mut Vec<u8>,
) -> Result<(), BadBytes> {
    out.push(b'[');
    let mut separator = None;
    let mut next = Some(first);
    while let Some(record) = next {
        if is_writable(field.kind, &record) {
            out.extend(separator.replace(b','));
            value(field.kind, &record, out)?;
        }
        next = next_of(field, records)?;
    }
    out.push(b']');
    Ok(())
}

fn entries<'a>(
    field: &FieldSchema,
    first: Record<'a>,
    records: &mut Records<'a>,
    out: &mut Vec<u8>,
) -> Result<(), BadBytes> {
    let mut separator = b'{';
    let mut next = Some(first);
    while let Some(record) = next {
        let (mut name, mut content) = (&[][..], None);
        for part in Records::of(record.payload) {
            let part = part?;
            match part.number {
                1 => name = part.payload,
                2 => content = Some(part),
                _ => {}
            }
        }
        out.push(separator);
        separator = b',';
        string(name, out);
        out.push(b':');
        match content {
            Some(content) => value(field.kind, &content, out)?,
            None => {
                // Prost leaves out a value that equals its type's default.
                let payload = default_value(field.kind);
                let wire_type = WireType::of(field.kind);
                let absent =
                    Record { number: 2, wire_type, value: 0, payload: &payload, whole: &[] };
                value(field.kind, &absent, out)?;
            }
        }
        next = next_of(field, records)?;
    }
    out.push(b'}');
    Ok(())
}

/// The next record, if it belongs to the same field.
fn next_of<'a>(
    field: &FieldSchema,
    records: &mut Records<'a>,
) -> Result<Option<Record<'a>>, BadBytes> {
    let mut ahead = records.clone();
    match ahead.next().transpose()? {
        Some(record) if record.number == field.number => {
            *records = ahead;
            Ok(Some(record))
        }
        _ => Ok(None),
    }
}

fn value(kind: Kind, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), BadBytes> {
    match kind {
        Kind::Bool => out.extend_from_slice(if record.value == 0 { b"false" } else { b"true" }),
        Kind::Int32 => plain(&record.int32(), out),
        Kind::Int64 => plain(&record.value.cast_signed(), out),
        Kind::Uint32 | Kind::Uint64 => plain(&record.value, out),
        Kind::Double => double(record.double(), out),
        Kind::String => string(record.payload, out),
        Kind::Bytes => {
            out.push(b'"');
            out.extend_from_slice(BASE64_STANDARD.encode(record.payload).as_bytes());
            out.push(b'"');
        }
        Kind::Enum(schema) => match schema.name_of(record.int32()) {
            Some(name) => string(name.as_bytes(), out),
            None => out.extend_from_slice(b"null"),
        },
        Kind::Message(schema) => message(schema, record.payload, out)?,
    }
    Ok(())
}

fn double(value: f64, out: &mut Vec<u8>) {
    if value.is_infinite() {
        let text: &[u8] = if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" };
        out.extend_from_slice(text);
    } else {
        // NaN, which our books never hold, becomes null.
        plain(&value, out);
    }
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    plain(&String::from_utf8_lossy(text), out);
}

fn plain<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("numbers and strings always serialise to memory");
}
