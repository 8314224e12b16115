//! The amounts of resources: scalars, ranges, sets.

use std::{collections::BTreeSet, sync::Arc};

use tepui_types::{InvalidRange, InvalidScalar, Range, Ranges, ResourceName, Scalar, Value};

use super::{expected_kind, kind_of};
use crate::v1::{self, value};

/// What is wrong with an amount.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueFault {
    /// TEXT, or a type without name.
    #[error("its type must be SCALAR, RANGES or SET")]
    UnknownType,
    /// The field of its type is not set, or that of another is.
    #[error("its type is {0}, so exactly the field of that type must be set")]
    WrongBody(&'static str),
    /// A well-known name with another type.
    #[error("its type must be {wanted}, not {found}")]
    WrongType {
        /// What the name asks for.
        wanted: &'static str,
        /// What was given.
        found: &'static str,
    },
    /// A scalar that is no amount.
    #[error(transparent)]
    Scalar(#[from] InvalidScalar),
    /// A fraction of an accelerator.
    #[error("{0} is not a whole number")]
    Fraction(Scalar),
    /// A range that ends before it begins.
    #[error(transparent)]
    Range(#[from] InvalidRange),
    /// Ranges of one resource that share a number.
    #[error("its ranges [{0}-{1}] and [{2}-{3}] overlap")]
    Overlap(u64, u64, u64, u64),
    /// An item twice in one set.
    #[error("its set holds '{0}' more than once")]
    Repeated(String),
}

pub(super) fn from_wire(wire: &v1::Resource) -> Result<Value, ValueFault> {
    let kind = value::Type::try_from(wire.r#type).map_err(|_| ValueFault::UnknownType)?;
    match (kind, &wire.scalar, &wire.ranges, &wire.set) {
        (value::Type::Scalar, Some(scalar), None, None) => {
            Ok(Value::Scalar(Scalar::parse(scalar.value)?))
        }
        (value::Type::Ranges, None, Some(ranges), None) => {
            Ok(Value::Ranges(ranges_from_wire(ranges)?))
        }
        (value::Type::Set, None, None, Some(set)) => Ok(Value::Set(set_from(&set.item)?)),
        (value::Type::Text, ..) => Err(ValueFault::UnknownType),
        (kind, ..) => Err(ValueFault::WrongBody(kind.as_str_name())),
    }
}

pub(super) fn check_kind(name: &ResourceName, value: &Value) -> Result<(), ValueFault> {
    let found = kind_of(value);
    match (expected_kind(name), name, value) {
        (Some(wanted), ..) if wanted != found => Err(ValueFault::WrongType { wanted, found }),
        (_, ResourceName::Gpus, Value::Scalar(amount)) if amount.as_milli() % 1000 != 0 => {
            Err(ValueFault::Fraction(*amount))
        }
        _ => Ok(()),
    }
}

/// Checks and converts ranges; neighbours are coalesced.
///
/// # Errors
///
/// When a range ends before it begins, or two share a number.
pub fn ranges_from_wire(wire: &value::Ranges) -> Result<Ranges, ValueFault> {
    let ranges = wire.range.iter().map(|range| Range::new(range.begin, range.end));
    let mut ranges = ranges.collect::<Result<Vec<Range>, InvalidRange>>()?;
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if b.begin() <= a.end() {
            return Err(ValueFault::Overlap(a.begin(), a.end(), b.begin(), b.end()));
        }
    }
    Ok(Ranges::from_ranges(ranges))
}

pub(super) fn set_from<T: AsRef<str>>(items: &[T]) -> Result<BTreeSet<Arc<str>>, ValueFault> {
    let mut set = BTreeSet::new();
    for item in items {
        if !set.insert(Arc::from(item.as_ref())) {
            return Err(ValueFault::Repeated(crate::path::shortened(item.as_ref(), 64)));
        }
    }
    Ok(set)
}

pub(super) fn to_wire(value: &Value, wire: &mut v1::Resource) {
    let kind = match value {
        Value::Scalar(amount) => {
            wire.scalar = Some(scalar_to_wire(*amount));
            value::Type::Scalar
        }
        Value::Ranges(ranges) => {
            wire.ranges = Some(ranges_to_wire(ranges));
            value::Type::Ranges
        }
        Value::Set(items) => {
            let item = items.iter().map(|item| item.as_ref().to_owned()).collect();
            wire.set = Some(value::Set { item });
            value::Type::Set
        }
    };
    wire.set_type(kind);
}

/// An amount as the wire carries it.
pub fn scalar_to_wire(amount: Scalar) -> value::Scalar {
    value::Scalar { value: amount.as_f64() }
}

/// Ranges as the wire carries them.
pub fn ranges_to_wire(ranges: &Ranges) -> value::Ranges {
    let range = ranges
        .iter()
        .map(|range| value::Range { begin: range.begin(), end: range.end() })
        .collect();
    value::Ranges { range }
}
