//! Small forms that several legacy answers share.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};
use tepui_types::{AttributeValue, Attributes, ResourceName, Resources, Scalar, Value};
use tepui_wire::v1;

const DURATION_UNITS: [&str; 8] = ["ns", "us", "ms", "secs", "mins", "hrs", "days", "weeks"];

/// True for a number and a unit, such as `5secs` (`spec/mesos-http.md` 2.5, end).
pub(crate) fn is_duration(text: &str) -> bool {
    DURATION_UNITS.iter().any(|unit| {
        text.strip_suffix(unit)
            .and_then(|number| number.trim().parse::<f64>().ok())
            .is_some_and(|number| number.is_finite() && number >= 0.0)
    })
}

/// A form body, `a=1&b=2`, percent-decoded; later keys win.
pub(super) fn form(body: &str) -> BTreeMap<String, String> {
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value.trim())))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let digits = bytes.next_two_hex();
        match (byte, digits) {
            (b'+', _) => out.push(b' '),
            (b'%', Some(value)) => {
                out.push(value);
                bytes.next();
                bytes.next();
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

trait HexPair {
    fn next_two_hex(&self) -> Option<u8>;
}

impl HexPair for std::str::Bytes<'_> {
    /// The byte that the next two hexadecimal digits mean.
    fn next_two_hex(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let mut digit = || char::from(ahead.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        u8::try_from(high * 16 + low).ok()
    }
}

/// Thousandths as a number.
#[allow(clippy::cast_precision_loss)]
pub(super) fn thousandths(count: u64) -> f64 {
    count as f64 / 1000.0
}

fn number(amount: Scalar) -> Json {
    let milli = amount.as_milli();
    if milli.is_multiple_of(1000) {
        return Json::from(milli / 1000);
    }
    Number::from_f64(amount.as_f64()).map_or(Json::Null, Json::Number)
}

/// `resources{}`: always cpus, gpus, mem and disk; ranges and sets as text; revocable ones under a
/// name of their own.
pub(super) fn resources(bundle: &Resources) -> Json {
    let mut all = Map::new();
    for name in [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk] {
        all.insert(name.as_str().to_owned(), Json::from(0));
    }
    let mut sums: BTreeMap<String, Scalar> = BTreeMap::new();
    for resource in bundle {
        let suffix = if resource.identity.revocable { "_revocable" } else { "" };
        let name = format!("{}{suffix}", resource.identity.name);
        match &resource.value {
            Value::Scalar(amount) => {
                let sum = sums.entry(name).or_default();
                *sum = sum.saturating_add(*amount);
            }
            Value::Ranges(_) if resource.identity.name == ResourceName::Ports => {
                all.insert(name, Json::from(bundle.ports().to_string()));
            }
            Value::Ranges(ranges) => {
                all.insert(name, Json::from(ranges.to_string()));
            }
            Value::Set(items) => {
                let items: Vec<&str> = items.iter().map(|item| &**item).collect();
                all.insert(name, Json::from(format!("{{{}}}", items.join(", "))));
            }
        }
    }
    all.extend(sums.into_iter().map(|(name, sum)| (name, number(sum))));
    Json::Object(all)
}

/// `reserved_resources{}`: by role.
pub(super) fn reserved(bundle: &Resources) -> Json {
    let mut by_role: BTreeMap<String, Resources> = BTreeMap::new();
    for resource in bundle {
        if let Some(role) = resource.identity.reserved_to() {
            by_role.entry(role.to_string()).or_default().add(resource);
        }
    }
    Json::Object(by_role.iter().map(|(role, bundle)| (role.clone(), resources(bundle))).collect())
}

/// `unreserved_resources{}`.
pub(super) fn unreserved(bundle: &Resources) -> Json {
    resources(&bundle.filter(|resource| resource.identity.reserved_to().is_none()))
}

/// `attributes{}`: scalars as numbers, everything else as text; the first of a name wins.
pub(super) fn attributes(wire: &[v1::Attribute]) -> Json {
    let all = tepui_wire::attributes::decode(wire).unwrap_or_else(|_| Attributes::default());
    let mut map = Map::new();
    for attribute in all.iter() {
        let value = match &attribute.value {
            AttributeValue::Scalar(amount) => number(*amount),
            other => Json::from(other.to_string()),
        };
        map.entry(attribute.name.to_string()).or_insert(value);
    }
    Json::Object(map)
}

/// `labels`: a list of key and optional value.
pub(super) fn labels(labels: &v1::Labels) -> Json {
    let one = |label: &v1::Label| match &label.value {
        Some(value) => serde_json::json!({ "key": label.key, "value": value }),
        None => serde_json::json!({ "key": label.key }),
    };
    Json::Array(labels.labels.iter().map(one).collect())
}

/// Any message in the JSON of the v1 API, for parts whose legacy form is the same.
pub(super) fn message<M: tepui_wire::WireMessage>(message: &M) -> Json {
    serde_json::from_slice(&tepui_wire::encode_json(message)).unwrap_or(Json::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_body_is_decoded() {
        let form = form("frameworkId=a%2Fb+c&x=%zz");
        assert_eq!(form["frameworkId"], "a/b c");
        assert_eq!(form["x"], "%zz");
    }

    #[test]
    fn durations_are_numbers_with_units() {
        assert!(is_duration("5secs") && is_duration("1.5mins") && is_duration("0ns"));
        assert!(!is_duration("5") && !is_duration("secs") && !is_duration("-1secs"));
    }
}
