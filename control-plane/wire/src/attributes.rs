//! Attributes of agents between the wire, their text form, and the books (`mesos-http.md`
//! section 8.6).

use tepui_types::{Attribute, AttributeValue, Attributes, Scalar};

use crate::{
    path::shortened,
    resources::{ValueFault, ranges_from_wire, ranges_to_wire, scalar_to_wire},
    v1::{self, value},
    value_text::{self, TextValue, ValueTextError},
};

/// An attribute is invalid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AttributeError {
    /// Not of the form `name:value`.
    #[error("'{0}' is not an attribute such as rack:r7")]
    Form(String),
    /// The value cannot be read.
    #[error("attribute '{name}' has a bad value: {fault}")]
    ValueText {
        /// Its name.
        name: String,
        /// Why.
        fault: ValueTextError,
    },
    /// The value is illegal.
    #[error("attribute '{name}' is invalid: {fault}")]
    Value {
        /// Its name.
        name: String,
        /// Why.
        fault: ValueFault,
    },
    /// Sets cannot be attributes.
    #[error("attribute '{0}' is a set; attributes are numbers, ranges or texts")]
    Set(String),
    /// The type is unknown, or not exactly the field of the type is set.
    #[error("attribute '{0}' must set exactly the field of its type")]
    WrongBody(String),
}

/// Reads attributes in text form: `rack:r7;level:10;keys:[1000-1500]`. Order and duplicates are
/// kept. What is neither a number that the books can hold nor ranges is a text, which may contain
/// further colons.
///
/// # Errors
///
/// Names the first bad entry.
pub fn parse_text(text: &str) -> Result<Attributes, AttributeError> {
    let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
    Ok(Attributes::new(entries.map(parse_entry).collect::<Result<_, _>>()?))
}

fn parse_entry(entry: &str) -> Result<Attribute, AttributeError> {
    let form = || AttributeError::Form(shortened(entry, 80));
    let (name, text) = entry.split_once(':').ok_or_else(form)?;
    let (name, text) = (name.trim(), text.trim());
    if name.is_empty() {
        return Err(form());
    }
    let parsed = value_text::parse(text)
        .map_err(|fault| AttributeError::ValueText { name: shortened(name, 64), fault })?;
    let as_text = || AttributeValue::Text(text.into());
    let value = match parsed {
        TextValue::Number(number) => {
            Scalar::parse(number).map_or_else(|_| as_text(), AttributeValue::Scalar)
        }
        TextValue::Ranges(ranges) => AttributeValue::Ranges(ranges),
        TextValue::Text(_) => as_text(),
        TextValue::Set(_) => return Err(AttributeError::Set(shortened(name, 64))),
    };
    Ok(Attribute { name: name.into(), value })
}

/// Checks and converts attributes of a message.
///
/// # Errors
///
/// Names the first invalid attribute and what is wrong with it.
pub fn decode(list: &[v1::Attribute]) -> Result<Attributes, AttributeError> {
    let convert = |wire: &v1::Attribute| {
        let value = decode_value(wire)?;
        Ok(Attribute { name: wire.name.as_str().into(), value })
    };
    Ok(Attributes::new(list.iter().map(convert).collect::<Result<_, _>>()?))
}

fn decode_value(wire: &v1::Attribute) -> Result<AttributeValue, AttributeError> {
    let name = || shortened(&wire.name, 64);
    let invalid = |fault: ValueFault| AttributeError::Value { name: name(), fault };
    let kind = value::Type::try_from(wire.r#type);
    match (kind, &wire.scalar, &wire.ranges, &wire.text) {
        (Ok(value::Type::Scalar), Some(scalar), None, None) => Scalar::parse(scalar.value)
            .map(AttributeValue::Scalar)
            .map_err(|fault| invalid(fault.into())),
        (Ok(value::Type::Ranges), None, Some(ranges), None) => {
            ranges_from_wire(ranges).map(AttributeValue::Ranges).map_err(invalid)
        }
        (Ok(value::Type::Text), None, None, Some(text)) => {
            Ok(AttributeValue::Text(text.value.as_str().into()))
        }
        (Ok(value::Type::Set), ..) => Err(AttributeError::Set(name())),
        _ => Err(AttributeError::WrongBody(name())),
    }
}

/// Attributes as a message carries them.
pub fn encode(attributes: &Attributes) -> Vec<v1::Attribute> {
    attributes.iter().map(encode_one).collect()
}

fn encode_one(attribute: &Attribute) -> v1::Attribute {
    let mut wire =
        v1::Attribute { name: attribute.name.as_ref().to_owned(), ..v1::Attribute::default() };
    match &attribute.value {
        AttributeValue::Scalar(number) => {
            wire.set_type(value::Type::Scalar);
            wire.scalar = Some(scalar_to_wire(*number));
        }
        AttributeValue::Ranges(ranges) => {
            wire.set_type(value::Type::Ranges);
            wire.ranges = Some(ranges_to_wire(ranges));
        }
        AttributeValue::Text(text) => {
            wire.set_type(value::Type::Text);
            wire.text = Some(value::Text { value: text.as_ref().to_owned() });
        }
    }
    wire
}
