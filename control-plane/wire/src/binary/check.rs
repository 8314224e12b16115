//! Walks protobuf bytes by the schema: well-formed, of the right kinds, complete.

use super::MAX_PROTOBUF_DEPTH;
use crate::{
    error::{MissingFields, Problem},
    path::Path,
    protobuf_bytes::{BadBytes, Record, Records, WireType, take_varint},
    schema::{FieldSchema, Kind, Label, MessageSchema},
};

/// What a walk over well-formed bytes found.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// Some enum number has no name, or a message came in pieces.
    pub(super) needs_normalising: bool,
    /// Some entry of a map of messages has no value.
    pub(super) lacks_map_values: bool,
    missing: MissingFields,
}

impl Finding {
    pub(super) fn complete(self) -> Result<(), Problem> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(Problem::MissingRequired(self.missing))
    }
}

pub(super) fn message(schema: &'static MessageSchema, bytes: &[u8]) -> Result<Finding, Problem> {
    let mut walk = Walk::default();
    walk.message(schema, bytes)?;
    Ok(walk.finding)
}

#[derive(Default)]
struct Walk {
    path: Path,
    depth: usize,
    finding: Finding,
}

impl Walk {
    fn message(&mut self, schema: &'static MessageSchema, bytes: &[u8]) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > MAX_PROTOBUF_DEPTH {
            let path = self.path.to_string();
            return Err(Problem::TooDeep { path, limit: MAX_PROTOBUF_DEPTH });
        }
        let mut set = 0_u64;
        let mut elements = Elements::default();
        for record in Records::of(bytes) {
            let record = record.map_err(|error| self.malformed(error))?;
            let Some(index) = schema.index_of_number(record.number) else { continue };
            let (field, bit) = (&schema.fields[index], 1 << index);
            self.path.push_field(field);
            let is_set = match field.label {
                Label::Map => self.entry(field, &record)?,
                Label::Repeated => {
                    self.path.push_index(elements.next_index(field));
                    let is_set = self.element(field, &record)?;
                    self.path.pop();
                    is_set
                }
                Label::Optional | Label::Required => {
                    if set & bit != 0 && matches!(field.kind, Kind::Message(_)) {
                        self.finding.needs_normalising = true;
                    }
                    self.value(field.kind, &record)?
                }
            };
            self.path.pop();
            if is_set {
                set |= bit;
            } else {
                self.finding.needs_normalising = true;
            }
        }
        self.finding.missing.note(schema, set, &self.path);
        self.depth -= 1;
        Ok(())
    }

    /// Checks one value; false if it is an enum number without a name.
    fn value(&mut self, kind: Kind, record: &Record<'_>) -> Result<bool, Problem> {
        let wanted = WireType::of(kind);
        if record.wire_type != wanted {
            let reason = format!("expected a {wanted:?} value, found {:?}", record.wire_type);
            return Err(self.invalid(reason));
        }
        match kind {
            Kind::Message(schema) => self.message(schema, record.payload)?,
            Kind::String => {
                std::str::from_utf8(record.payload)
                    .map_err(|error| self.invalid(format!("expected UTF-8 text, found {error}")))?;
            }
            Kind::Enum(schema) => return Ok(schema.name_of(record.int32()).is_some()),
            _ => {}
        }
        Ok(true)
    }

    /// Checks one value of a repeated field, or a packed run of them.
    fn element(
        &mut self,
        field: &'static FieldSchema,
        record: &Record<'_>,
    ) -> Result<bool, Problem> {
        let unpacked = WireType::of(field.kind);
        if unpacked == WireType::Delimited || record.wire_type != WireType::Delimited {
            return self.value(field.kind, record);
        }
        if unpacked == WireType::Fixed64 {
            if !record.payload.len().is_multiple_of(8) {
                return Err(self.malformed(BadBytes::Truncated));
            }
            return Ok(true);
        }
        let (mut rest, mut all_known) = (record.payload, true);
        while !rest.is_empty() {
            let value = take_varint(&mut rest).map_err(|error| self.malformed(error))?;
            if let Kind::Enum(schema) = field.kind {
                let value = Record { value, ..*record };
                all_known &= schema.name_of(value.int32()).is_some();
            }
        }
        Ok(all_known)
    }

    /// Checks one entry of a map. An entry without a value stands for the default of its type:
    /// prost leaves it out then.
    fn entry(&mut self, field: &'static FieldSchema, record: &Record<'_>) -> Result<bool, Problem> {
        if record.wire_type != WireType::Delimited {
            return self.value(Kind::Bytes, record);
        }
        let mut key = &[][..];
        for part in Records::of(record.payload) {
            let part = part.map_err(|error| self.malformed(error))?;
            if part.number == 1 {
                self.value(Kind::String, &part)?;
                key = part.payload;
            }
        }
        self.path.push_key(&String::from_utf8_lossy(key));
        let (mut is_set, mut has_value) = (true, false);
        for part in Records::of(record.payload) {
            let part = part.map_err(|error| self.malformed(error))?;
            if part.number == 2 {
                has_value = true;
                is_set &= self.value(field.kind, &part)?;
            }
        }
        self.path.pop();
        self.finding.lacks_map_values |= !has_value && matches!(field.kind, Kind::Message(_));
        Ok(is_set)
    }

    fn malformed(&self, error: BadBytes) -> Problem {
        Problem::Malformed {
            path: self.path.to_string(),
            reason: format!("not well-formed protobuf: {error}"),
        }
    }

    fn invalid(&self, reason: String) -> Problem {
        Problem::Invalid { path: self.path.to_string(), reason }
    }
}

/// Counts the elements of the repeated field that is being read.
#[derive(Default)]
struct Elements {
    number: u32,
    count: usize,
}

impl Elements {
    /// Right for elements side by side; where fields alternate, the count starts anew.
    fn next_index(&mut self, field: &FieldSchema) -> usize {
        if self.number != field.number {
            *self = Self { number: field.number, count: 0 };
        }
        self.count += 1;
        self.count - 1
    }
}
