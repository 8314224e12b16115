//! The text form of resources, as in an agent's configuration:
//! `cpus(prod):8;cpus:16;mem:65536;ports:[31000-32000]`.

use std::sync::Arc;

use tepui_types::{
    Identity, InvalidScalar, Reservation, ReservationKind, Resource, ResourceName, Resources, Role,
    Scalar, Value,
};

use super::{ReservationFault, ResourceError, ValueFault, value};
use crate::{
    DecodeError, decode_json,
    path::shortened,
    v1,
    value_text::{self, TextValue, ValueTextError},
};

/// A text does not describe resources.
#[derive(Debug, thiserror::Error)]
pub enum ResourceTextError {
    /// An entry is not of the form `name:value` or `name(role):value`.
    #[error("'{entry}' is not a resource such as cpus:4 or cpus(role):4")]
    Form {
        /// The entry, shortened.
        entry: String,
    },
    /// The value of an entry cannot be read.
    #[error("resource '{entry}' has a bad value: {fault}")]
    ValueText {
        /// The entry, shortened.
        entry: String,
        /// Why.
        fault: ValueTextError,
    },
    /// The value of an entry is a word.
    #[error("resource '{entry}' must have a number, ranges or a set as value")]
    Word {
        /// The entry, shortened.
        entry: String,
    },
    /// The amount of an entry is illegal.
    #[error("resource '{entry}' is invalid: {fault}")]
    Value {
        /// The entry, shortened.
        entry: String,
        /// Why.
        fault: ValueFault,
    },
    /// The role of an entry is illegal.
    #[error("resource '{entry}' is invalid: {fault}")]
    Role {
        /// The entry, shortened.
        entry: String,
        /// Why.
        fault: ReservationFault,
    },
    /// An entry has another type than an earlier one of its name and role.
    #[error("resource '{entry}' has another type than an earlier entry of the same name")]
    MixedTypes {
        /// The entry, shortened.
        entry: String,
    },
    /// A text that begins with `[` is not a JSON array.
    #[error("failed to parse resources as a JSON array")]
    Json(#[source] serde_json::Error),
    /// An element of the JSON array is not a resource.
    #[error("element {index} of the JSON array is not a resource")]
    Element {
        /// Its place, from 0.
        index: usize,
        /// Why.
        source: DecodeError,
    },
    /// An element of the JSON array is an invalid resource.
    #[error(transparent)]
    Invalid(ResourceError),
}

/// Reads resources in text form, or as a JSON array of Resource objects. Entries without a role
/// are statically reserved to `default_role`, or free when that is `*`. Entries of one name and
/// role add up.
///
/// # Errors
///
/// Names the first bad entry and what would be right.
pub fn parse_text(text: &str, default_role: &Role) -> Result<Resources, ResourceTextError> {
    if text.trim_start().starts_with('[') {
        return parse_json(text, default_role);
    }
    let mut resources = Resources::new();
    for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
        let resource = parse_entry(entry, default_role)?;
        if !resources.add(&resource) {
            return Err(ResourceTextError::MixedTypes { entry: shortened(entry, 80) });
        }
    }
    Ok(resources)
}

fn parse_entry(entry: &str, default_role: &Role) -> Result<Resource, ResourceTextError> {
    let quoted = || shortened(entry, 80);
    let form = || ResourceTextError::Form { entry: quoted() };
    let (head, text) = entry.split_once(':').ok_or_else(form)?;
    let (head, text) = (head.trim(), text.trim());
    let (name, role) = match head.split_once('(') {
        None => (head, default_role.clone()),
        Some((name, rest)) => {
            let role = rest.strip_suffix(')').ok_or_else(form)?.trim();
            let bad = |fault| ResourceTextError::Role { entry: quoted(), fault };
            (name.trim_end(), Role::parse(role).map_err(|fault| bad(fault.into()))?)
        }
    };
    if name.is_empty() || name.contains([')', '(']) || text.contains(':') {
        return Err(form());
    }
    let value = parse_value(text, quoted)?;
    let name = ResourceName::new(name);
    value::check_kind(&name, &value)
        .map_err(|fault| ResourceTextError::Value { entry: quoted(), fault })?;
    let identity = Identity { name, reservations: static_stack(&role), revocable: false };
    Ok(Resource { identity, value })
}

fn parse_value(text: &str, quoted: impl Fn() -> String) -> Result<Value, ResourceTextError> {
    let parsed = value_text::parse(text);
    let parsed = parsed.map_err(|fault| ResourceTextError::ValueText { entry: quoted(), fault })?;
    let invalid = |fault| ResourceTextError::Value { entry: quoted(), fault };
    let scalar = |fault: InvalidScalar| invalid(fault.into());
    match parsed {
        TextValue::Number(number) => Scalar::parse(number).map(Value::Scalar).map_err(scalar),
        TextValue::Ranges(ranges) => Ok(Value::Ranges(ranges)),
        TextValue::Set(items) => value::set_from(&items).map(Value::Set).map_err(invalid),
        TextValue::Text(_) => Err(ResourceTextError::Word { entry: quoted() }),
    }
}

fn static_stack(role: &Role) -> Arc<[Reservation]> {
    if role.is_default() {
        return Arc::default();
    }
    let kind = ReservationKind::Static;
    [Reservation { kind, role: role.clone(), principal: None, labels: Vec::new() }].into()
}

fn parse_json(text: &str, default_role: &Role) -> Result<Resources, ResourceTextError> {
    let elements: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(ResourceTextError::Json)?;
    let mut list = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let resource: v1::Resource = decode_json(element.to_string().as_bytes())
            .map_err(|source| ResourceTextError::Element { index, source })?;
        list.push(with_default_role(resource, default_role));
    }
    Ok(super::decode(&list).map_err(ResourceTextError::Invalid)?.resources)
}

#[allow(deprecated)] // the pre-refinement field is where the default role goes
fn with_default_role(mut resource: v1::Resource, default_role: &Role) -> v1::Resource {
    if resource.role.is_none() && resource.reservations.is_empty() && !default_role.is_default() {
        resource.role = Some(default_role.as_str().to_owned());
    }
    resource
}
