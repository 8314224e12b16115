//! Small forms that several legacy answers share.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use tepui_types::AttributeValue;
use tepui_wire::v1;

use super::amounts::Amount;

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

/// `attributes{}`: scalars as numbers, everything else as text; the first of a name wins.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttributesView<'a>(pub(super) &'a [v1::Attribute]);

impl Serialize for AttributesView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = tepui_wire::attributes::decode(self.0).unwrap_or_default();
        let mut map = serializer.serialize_map(None)?;
        for (position, attribute) in all.iter().enumerate() {
            if all.iter().take(position).any(|earlier| earlier.name == attribute.name) {
                continue;
            }
            match &attribute.value {
                AttributeValue::Scalar(amount) => {
                    map.serialize_entry(&*attribute.name, &Amount(*amount))?;
                }
                other => map.serialize_entry(&*attribute.name, &other.to_string())?,
            }
        }
        map.end()
    }
}

/// `labels`: a list of key and optional value.
pub(super) fn labels(labels: &v1::Labels) -> Json {
    let one = |label: &v1::Label| match &label.value {
        Some(value) => serde_json::json!({ "key": label.key, "value": value }),
        None => serde_json::json!({ "key": label.key }),
    };
    Json::Array(labels.labels.iter().map(one).collect())
}

/// `{}`
pub(super) fn nothing() -> Box<RawValue> {
    message(&v1::scheduler::OfferConstraints::default())
}

/// Any message in the JSON of the v1 API, for parts whose legacy form is the same.
pub(super) fn message<M: tepui_wire::WireMessage>(message: &M) -> Box<RawValue> {
    let text = String::from_utf8(tepui_wire::encode_json(message)).unwrap_or_default();
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
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
