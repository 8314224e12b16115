//! JSON tokens to protobuf bytes.

use std::fmt;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::{DeserializeSeed, Deserializer, Error, Expected, MapAccess, SeqAccess, Visitor};

use super::{MAX_JSON_DEPTH, number::Number};
use crate::{
    error::{MissingFields, Problem},
    path::{Path, shortened},
    protobuf_bytes::{OpenLength, Records, WireType, put_delimited, put_key, put_varint},
    schema::{FieldSchema, Kind, Label, MessageSchema},
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Longest part of an offending string that an error repeats.
const MAX_QUOTED_CHARS: usize = 40;
/// Enum names that an error lists.
const MAX_LISTED_NAMES: usize = 40;

/// Ignored keys and names that are remembered of one text.
const MAX_IGNORED: usize = 16;

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes, and what was ignored.
pub(super) fn message(
    schema: &'static MessageSchema,
    json: &[u8],
) -> Result<(Vec<u8>, Vec<String>), Problem> {
    if json.starts_with(BYTE_ORDER_MARK) {
        let reason = "the text begins with a byte order mark; send plain UTF-8".to_owned();
        return Err(Problem::Malformed { path: String::new(), reason });
    }
    let mut reader = Reader::default();
    reader.out.reserve(json.len() / 2);
    let mut tokens = serde_json::Deserializer::from_slice(json);
    let read = Root { reader: &mut reader, schema }.deserialize(&mut tokens);
    match read.and_then(|()| tokens.end()) {
        Err(error) => Err(reader.problem(&error)),
        Ok(()) if !reader.missing.is_empty() => Err(Problem::MissingRequired(reader.missing)),
        Ok(()) => Ok((reader.out, reader.ignored)),
    }
}

#[derive(Default)]
struct Reader {
    out: Vec<u8>,
    /// Where the reader is; left as it was when an error ends the reading.
    path: Path,
    depth: usize,
    too_deep: bool,
    missing: MissingFields,
    /// Keys that no message has and names that no enum has, by who should have them.
    ignored: Vec<String>,
}

impl Reader {
    fn problem(&self, error: &serde_json::Error) -> Problem {
        let path = self.path.to_string();
        if self.too_deep {
            return Problem::TooDeep { path, limit: MAX_JSON_DEPTH };
        }
        let reason = error.to_string();
        if error.is_data() {
            Problem::Invalid { path, reason }
        } else {
            Problem::Malformed { path, reason: format!("not well-formed JSON: {reason}") }
        }
    }

    fn ignore(&mut self, owner: &str, what: &str) {
        if self.ignored.len() < MAX_IGNORED {
            self.ignored.push(format!("{owner}.{}", shortened(what, MAX_QUOTED_CHARS)));
        }
    }

    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > MAX_JSON_DEPTH {
            self.too_deep = true;
            return Err(E::custom("nested too deep"));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Reads the keys of one object as the fields of one message.
    fn message<'de, A: MapAccess<'de>>(
        &mut self,
        schema: &'static MessageSchema,
        mut object: A,
    ) -> Result<(), A::Error> {
        self.enter()?;
        let start = self.out.len();
        let (mut seen, mut set) = (0_u64, 0_u64);
        let mut replaced = Vec::new();
        while let Some(index) = object.next_key_seed(Key(schema))? {
            let index = match index {
                Ok(index) => index,
                Err(name) => {
                    self.ignore(schema.name, &name);
                    object.next_value_seed(Skip(self))?;
                    continue;
                }
            };
            let (field, bit) = (&schema.fields[index], 1 << index);
            if seen & bit != 0 {
                self.missing.forget(field, &self.path);
                replaced.retain(|(number, _)| *number != field.number);
                replaced.push((field.number, self.out.len()));
            }
            seen |= bit;
            self.path.push_field(field);
            let value = Value { reader: self, field, place: Place::Field };
            set = if object.next_value_seed(value)? { set | bit } else { set & !bit };
            self.path.pop();
        }
        self.drop_replaced(start, &replaced);
        self.missing.note(schema, set, &self.path);
        self.leave();
        Ok(())
    }

    /// Removes what was written from `start` on for each listed field before its last value.
    fn drop_replaced(&mut self, start: usize, replaced: &[(u32, usize)]) {
        if replaced.is_empty() {
            return;
        }
        let written = self.out.split_off(start);
        let mut offset = start;
        // The bytes are this reader's own, so every record is well formed.
        for record in Records::of(&written).map_while(Result::ok) {
            let gone = |(number, end): &(u32, usize)| *number == record.number && offset < *end;
            if !replaced.iter().any(gone) {
                self.out.extend_from_slice(record.whole);
            }
            offset += record.whole.len();
        }
    }
}

/// The outermost value.
struct Root<'r> {
    reader: &'r mut Reader,
    schema: &'static MessageSchema,
}

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, tokens: D) -> Result<(), D::Error> {
        tokens.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a JSON object ({})", self.schema.name)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let quoted = shortened(text, MAX_QUOTED_CHARS);
        let wanted: &dyn Expected = &self;
        Err(E::custom(format_args!("expected {wanted}, found the string {quoted:?}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.reader.message(self.schema, object)
    }
}

/// A key of a message: the index of the field that it names, or the key itself when it names none.
struct Key(&'static MessageSchema);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, tokens: D) -> Result<Self::Value, D::Error> {
        tokens.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.index_of_name(name).ok_or_else(|| shortened(name, MAX_QUOTED_CHARS)))
    }
}

/// Where a value of a field stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Field,
    Element,
    MapValue,
}

/// One value of a field; the result tells whether the field is set by it.
struct Value<'r> {
    reader: &'r mut Reader,
    field: &'static FieldSchema,
    place: Place,
}

impl Value<'_> {
    fn is_map(&self) -> bool {
        self.field.label == Label::Map && self.place == Place::Field
    }

    fn put_key(&mut self) {
        // Map entries are messages of a key, numbered 1, and a value, numbered 2.
        let number = if self.place == Place::MapValue { 2 } else { self.field.number };
        put_key(&mut self.reader.out, number, WireType::of(self.field.kind));
    }

    fn put_bits(&mut self, bits: u64) {
        self.put_key();
        match WireType::of(self.field.kind) {
            WireType::Fixed64 => self.reader.out.extend_from_slice(&bits.to_le_bytes()),
            _ => put_varint(&mut self.reader.out, bits),
        }
    }

    fn put_payload(&mut self, payload: &[u8]) {
        self.put_key();
        put_delimited(&mut self.reader.out, payload);
    }

    fn number<E: Error>(mut self, number: Number, found: fmt::Arguments<'_>) -> Result<bool, E> {
        match number.wire_bits(self.field.kind) {
            Some(bits) if !self.is_map() => {
                self.put_bits(bits);
                Ok(true)
            }
            _ => self.refuse(found),
        }
    }

    fn refuse<T, E: Error>(&self, found: fmt::Arguments<'_>) -> Result<T, E> {
        Err(E::custom(format_args!("expected {}, found {found}", Expectation(self))))
    }

    fn refuse_text<T, E: Error>(&self, text: &str) -> Result<T, E> {
        self.refuse(format_args!("the string {:?}", shortened(text, MAX_QUOTED_CHARS)))
    }

    fn elements<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        self.reader.enter()?;
        for index in 0.. {
            self.reader.path.push_index(index);
            let element =
                Value { reader: &mut *self.reader, field: self.field, place: Place::Element };
            let more = list.next_element_seed(element)?;
            self.reader.path.pop();
            if more.is_none() {
                break;
            }
        }
        self.reader.leave();
        Ok(true)
    }

    fn entries<'de, A: MapAccess<'de>>(self, mut object: A) -> Result<bool, A::Error> {
        self.reader.enter()?;
        while let Some(key) = object.next_key::<String>()? {
            let reader = &mut *self.reader;
            let start = reader.out.len();
            put_key(&mut reader.out, self.field.number, WireType::Delimited);
            let length = OpenLength::open(&mut reader.out);
            put_key(&mut reader.out, 1, WireType::Delimited);
            put_delimited(&mut reader.out, key.as_bytes());
            reader.path.push_key(&key);
            let value =
                Value { reader: &mut *self.reader, field: self.field, place: Place::MapValue };
            let set = object.next_value_seed(value)?;
            self.reader.path.pop();
            if set {
                length.close(&mut self.reader.out);
            } else {
                self.reader.out.truncate(start);
            }
        }
        self.reader.leave();
        Ok(true)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, tokens: D) -> Result<bool, D::Error> {
        tokens.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Expectation(self), f)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<bool, E> {
        match self.field.kind {
            Kind::Bool => {
                self.put_bits(u64::from(value));
                Ok(true)
            }
            _ => self.refuse(format_args!("{value}")),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.number(Number::Unsigned(value), format_args!("{value}"))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.number(Number::Signed(value), format_args!("{value}"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        self.number(Number::Float(value), format_args!("{value}"))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<bool, E> {
        if self.is_map() {
            return self.refuse_text(text);
        }
        match self.field.kind {
            Kind::String => self.put_payload(text.as_bytes()),
            Kind::Bytes => match BASE64.decode(text) {
                Ok(bytes) => self.put_payload(&bytes),
                Err(_) => return self.refuse_text(text),
            },
            Kind::Enum(schema) => match schema.number_of(text) {
                Some(number) => self.put_bits(i64::from(number).cast_unsigned()),
                None if self.field.label == Label::Required => return self.refuse_text(text),
                None => {
                    self.reader.ignore(self.field.name, text);
                    return Ok(false);
                }
            },
            Kind::Bool => match text {
                "true" => self.put_bits(1),
                "false" => self.put_bits(0),
                _ => return self.refuse_text(text),
            },
            Kind::Message(_) => return self.refuse_text(text),
            kind => match Number::parse(text).and_then(|number| number.wire_bits(kind)) {
                Some(bits) => self.put_bits(bits),
                None => return self.refuse_text(text),
            },
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<bool, A::Error> {
        if self.field.label == Label::Repeated && self.place == Place::Field {
            return self.elements(list);
        }
        self.refuse(format_args!("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, object: A) -> Result<bool, A::Error> {
        if self.is_map() {
            return self.entries(object);
        }
        let Kind::Message(schema) = self.field.kind else {
            return self.refuse(format_args!("an object"));
        };
        self.put_key();
        let length = OpenLength::open(&mut self.reader.out);
        self.reader.message(schema, object)?;
        length.close(&mut self.reader.out);
        Ok(true)
    }
}

/// What would be right for a value.
struct Expectation<'a, 'r>(&'a Value<'r>);

impl fmt::Display for Expectation<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_map() {
            f.write_str("an object whose values are each ")?;
        }
        let number =
            |f: &mut fmt::Formatter<'_>, least: &dyn fmt::Display, most: &dyn fmt::Display| {
                write!(f, "a whole number from {least} to {most}")
            };
        match value.field.kind {
            Kind::Bool => f.write_str("true or false"),
            Kind::Int32 => number(f, &i32::MIN, &i32::MAX),
            Kind::Int64 => number(f, &i64::MIN, &i64::MAX),
            Kind::Uint32 => number(f, &u32::MIN, &u32::MAX),
            Kind::Uint64 => number(f, &u64::MIN, &u64::MAX),
            Kind::Double => f.write_str("a number, \"Infinity\" or \"-Infinity\""),
            Kind::String => f.write_str("a string"),
            Kind::Bytes => f.write_str("a string in base64"),
            Kind::Enum(schema) => {
                let names: Vec<_> = schema.names().take(MAX_LISTED_NAMES).collect();
                write!(f, "one of {}", names.join(", "))
            }
            Kind::Message(schema) => write!(f, "an object ({})", schema.name),
        }?;
        match (value.field.label, value.place) {
            (Label::Repeated, Place::Field) => f.write_str(", or an array of such"),
            _ => Ok(()),
        }
    }
}

/// Passes over a value that no field takes, within the depth limit.
struct Skip<'r>(&'r mut Reader);

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, tokens: D) -> Result<(), D::Error> {
        tokens.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.enter()?;
        while list.next_element_seed(Skip(self.0))?.is_some() {}
        self.0.leave();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.0.enter()?;
        while object.next_key::<serde::de::IgnoredAny>()?.is_some() {
            object.next_value_seed(Skip(self.0))?;
        }
        self.0.leave();
        Ok(())
    }
}
