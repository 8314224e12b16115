//! `resources{}` (`spec/mesos-http.md` 4.3), written without anything in between: an answer holds
//! hundreds of thousands of them.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use tepui_types::{Ranges, Resource, ResourceName, Resources, Role, Scalar, Value};

const ALWAYS: [ResourceName; 4] =
    [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk];

/// An amount: a whole number where it is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount(pub(super) Scalar);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let milli = self.0.as_milli();
        match milli % 1000 {
            0 => serializer.serialize_i64(i64::try_from(milli / 1000).unwrap_or(i64::MAX)),
            _ => serializer.serialize_f64(self.0.as_f64()),
        }
    }
}

/// Which part of a bundle is shown.
#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    All,
    Unreserved,
    ReservedTo(&'a Role),
}

impl Part<'_> {
    fn has(self, resource: &Resource) -> bool {
        match self {
            Self::All => true,
            Self::Unreserved => resource.identity.reserved_to().is_none(),
            Self::ReservedTo(role) => resource.identity.reserved_to() == Some(role),
        }
    }
}

/// A bundle: always cpus, gpus, mem and disk; ranges and sets as text; revocable ones under a name
/// of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    bundle: &'a Resources,
    part: Part<'a>,
}

/// All of a bundle.
pub(super) fn resources(bundle: &Resources) -> Shown<'_> {
    Shown { bundle, part: Part::All }
}

/// What nobody reserved.
pub(super) fn unreserved(bundle: &Resources) -> Shown<'_> {
    Shown { bundle, part: Part::Unreserved }
}

/// What several resources of one name are together.
enum Sum {
    Scalar(Scalar),
    Ranges(Ranges),
    Set(Vec<String>),
}

impl Shown<'_> {
    fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.bundle.iter().filter(|resource| self.part.has(resource))
    }

    fn sum(&self, name: &ResourceName) -> Scalar {
        let scalars = self.iter().filter_map(|resource| match resource.value {
            Value::Scalar(amount) => {
                let counts = resource.identity.name == *name && !resource.identity.revocable;
                counts.then_some(amount)
            }
            Value::Ranges(_) | Value::Set(_) => None,
        });
        scalars.fold(Scalar::ZERO, Scalar::saturating_add)
    }

    /// Everything but the four that are always there.
    fn others(&self) -> BTreeMap<String, Sum> {
        let mut all = BTreeMap::new();
        for resource in self.iter() {
            let identity = &resource.identity;
            let scalar = matches!(resource.value, Value::Scalar(_));
            if scalar && !identity.revocable && ALWAYS.contains(&identity.name) {
                continue;
            }
            let suffix = if identity.revocable { "_revocable" } else { "" };
            let name = format!("{}{suffix}", identity.name);
            let sum = match (all.remove(&name), &resource.value) {
                (Some(Sum::Scalar(sum)), Value::Scalar(amount)) => {
                    Sum::Scalar(sum.saturating_add(*amount))
                }
                (Some(Sum::Ranges(sum)), Value::Ranges(ranges)) => Sum::Ranges(sum.union(ranges)),
                (Some(Sum::Set(mut sum)), Value::Set(items)) => {
                    sum.extend(items.iter().map(ToString::to_string));
                    Sum::Set(sum)
                }
                (_, Value::Scalar(amount)) => Sum::Scalar(*amount),
                (_, Value::Ranges(ranges)) => Sum::Ranges(ranges.clone()),
                (_, Value::Set(items)) => Sum::Set(items.iter().map(ToString::to_string).collect()),
            };
            all.insert(name, sum);
        }
        all
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in &ALWAYS {
            map.serialize_entry(name.as_str(), &Amount(self.sum(name)))?;
        }
        for (name, sum) in self.others() {
            match sum {
                Sum::Scalar(amount) => map.serialize_entry(&name, &Amount(amount))?,
                Sum::Ranges(ranges) => map.serialize_entry(&name, &ranges.to_string())?,
                Sum::Set(items) => {
                    map.serialize_entry(&name, &format!("{{{}}}", items.join(", ")))?;
                }
            }
        }
        map.end()
    }
}

/// `reserved_resources{}`: by role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved<'a>(pub(super) &'a Resources);

impl Serialize for Reserved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut roles: Vec<&Role> =
            self.0.iter().filter_map(|resource| resource.identity.reserved_to()).collect();
        roles.sort();
        roles.dedup();
        let shown = |role| Shown { bundle: self.0, part: Part::ReservedTo(role) };
        serializer.collect_map(roles.into_iter().map(|role| (role.as_str(), shown(role))))
    }
}

/// A bundle that nothing else keeps.
#[derive(Clone, Debug)]
pub(super) struct Owned(pub(super) Resources);

impl Serialize for Owned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        resources(&self.0).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use tepui_wire::resources::parse_text;

    use super::*;

    fn json(shown: impl Serialize) -> String {
        serde_json::to_string(&shown).unwrap()
    }

    #[test]
    fn resources_are_summed_by_name_and_shown_as_text_where_they_are_no_numbers() {
        let text = "cpus:1.5;cpus(web):2;mem:64;ports:[1-2, 7-7];ports(web):[3-3];zones:{b, a}";
        let bundle = parse_text(text, &Role::default_role()).unwrap();
        assert_eq!(
            json(resources(&bundle)),
            r#"{"cpus":3.5,"gpus":0,"mem":64,"disk":0,"ports":"[1-3, 7-7]","zones":"{a, b}"}"#
        );
        assert_eq!(
            json(unreserved(&bundle)),
            r#"{"cpus":1.5,"gpus":0,"mem":64,"disk":0,"ports":"[1-2, 7-7]","zones":"{a, b}"}"#
        );
        assert_eq!(
            json(Reserved(&bundle)),
            r#"{"web":{"cpus":2,"gpus":0,"mem":0,"disk":0,"ports":"[3-3]"}}"#
        );
        assert_eq!(json(Owned(Resources::new())), r#"{"cpus":0,"gpus":0,"mem":0,"disk":0}"#);
    }
}
