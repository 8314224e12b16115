//! Placement constraints as data (`marathon-behaviour.md` section 5). Matching is the business of
//! `apps`.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

/// One placement rule of an app: what is compared, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constraint {
    /// `hostname`, `@hostname`, `@region`, `@zone` or the name of an agent attribute.
    pub field: String,
    /// The rule.
    pub operator: Operator,
}

/// How the field's value decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// No two instances share a value.
    Unique,
    /// All instances have this value, or the value of the first one placed.
    Cluster(Option<String>),
    /// Instances are spread evenly, over at least this many values if given.
    GroupBy(Option<u32>),
    /// At most this many instances per value.
    MaxPer(u32),
    /// The value matches the regular expression in full.
    Like(String),
    /// The value does not match the regular expression in full.
    Unlike(String),
    /// The value equals this text or number.
    Is(String),
}

impl Operator {
    /// The operator's name in the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unique => "UNIQUE",
            Self::Cluster(_) => "CLUSTER",
            Self::GroupBy(_) => "GROUP_BY",
            Self::MaxPer(_) => "MAX_PER",
            Self::Like(_) => "LIKE",
            Self::Unlike(_) => "UNLIKE",
            Self::Is(_) => "IS",
        }
    }

    /// The third field of the constraint, if it has one.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        match self {
            Self::Unique => None,
            Self::Cluster(value) => value.clone(),
            Self::GroupBy(number) => number.map(|number| number.to_string()),
            Self::MaxPer(number) => Some(number.to_string()),
            Self::Like(value) | Self::Unlike(value) | Self::Is(value) => Some(value.clone()),
        }
    }
}

impl Serialize for Constraint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.operator.value();
        let mut seq = serializer.serialize_seq(Some(2 + usize::from(value.is_some())))?;
        seq.serialize_element(&self.field)?;
        seq.serialize_element(self.operator.name())?;
        if let Some(value) = value {
            seq.serialize_element(&value)?;
        }
        seq.end()
    }
}
