use std::fmt;
use std::sync::Arc;

use crate::{Ranges, Scalar};

/// What an agent says of itself, in the order given; names may repeat, and constraints look at
/// the first one with a name (`spec/mesos-http.md` 8.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(Vec<Attribute>);

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// The name.
    pub name: Arc<str>,
    /// The value.
    pub value: AttributeValue,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// A finite number, not negative, to thousandths.
    Scalar(Scalar),
    /// Inclusive ranges of unsigned numbers.
    Ranges(Ranges),
    /// Anything else.
    Text(Arc<str>),
}

impl Attributes {
    /// Attributes in the order given.
    pub fn new(list: Vec<Attribute>) -> Self {
        Self(list)
    }

    /// The first attribute with this name.
    pub fn first(&self, name: &str) -> Option<&AttributeValue> {
        self.0.iter().find(|a| &*a.name == name).map(|a| &a.value)
    }

    /// All attributes in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.0.iter()
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(number) => number.fmt(f),
            Self::Ranges(ranges) => ranges.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}
