//! Numbers of JSON, and the ranges of protobuf's number kinds.

use crate::schema::Kind;

/// A number as the JSON text gave it, bare or inside a string.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl Number {
    /// A number that came as a string; `"Infinity"` and `"-Infinity"` are the only non-finite ones.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "Infinity" => return Some(Self::Float(f64::INFINITY)),
            "-Infinity" => return Some(Self::Float(f64::NEG_INFINITY)),
            _ => {}
        }
        let allowed = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
        // Rust's parser would also take "nan" and "inf".
        if !text.bytes().all(allowed) {
            return None;
        }
        if let Ok(value) = text.parse() {
            return Some(Self::Unsigned(value));
        }
        if let Ok(value) = text.parse() {
            return Some(Self::Signed(value));
        }
        text.parse().ok().filter(|value: &f64| value.is_finite()).map(Self::Float)
    }

    #[allow(clippy::cast_precision_loss)] // JSON gives no more than a double either
    fn double(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Signed(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The value if it is whole; `4.0` and `1e3` are.
    #[allow(clippy::cast_possible_truncation)] // whole, and within 128 bits
    fn whole(self) -> Option<i128> {
        match self {
            Self::Unsigned(value) => Some(i128::from(value)),
            Self::Signed(value) => Some(i128::from(value)),
            Self::Float(value) => {
                (value.trunc() == value && value.abs() < 1e30).then_some(value as i128)
            }
        }
    }

    /// The 64 bits that carry this number on the wire in a field of that kind: of a varint, or
    /// of a fixed value for doubles. None if the kind holds no such number.
    pub(super) fn wire_bits(self, kind: Kind) -> Option<u64> {
        let signed = |value: i64| value.cast_unsigned();
        match kind {
            Kind::Double => Some(self.double().to_bits()),
            Kind::Uint64 => u64::try_from(self.whole()?).ok(),
            Kind::Uint32 => u32::try_from(self.whole()?).ok().map(u64::from),
            Kind::Int64 => i64::try_from(self.whole()?).ok().map(signed),
            Kind::Int32 => i32::try_from(self.whole()?).ok().map(i64::from).map(signed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_hold_numbers_but_never_nan() {
        assert_eq!(Number::parse("7"), Some(Number::Unsigned(7)));
        assert_eq!(Number::parse("-7"), Some(Number::Signed(-7)));
        assert_eq!(Number::parse("0.5"), Some(Number::Float(0.5)));
        assert_eq!(Number::parse("-Infinity"), Some(Number::Float(f64::NEG_INFINITY)));
        for text in ["", "NaN", "nan", "inf", "infinity", "0x10", "1e999", " 1", "1 ", "1_0", "--1"]
        {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn whole_floats_fit_integers_and_others_do_not() {
        assert_eq!(Number::Float(4.0).wire_bits(Kind::Uint32), Some(4));
        assert_eq!(Number::Float(4.5).wire_bits(Kind::Uint32), None);
        assert_eq!(Number::Float(f64::INFINITY).wire_bits(Kind::Int64), None);
        assert_eq!(Number::Float(1e20).wire_bits(Kind::Uint64), None);
        assert_eq!(Number::Signed(-1).wire_bits(Kind::Uint64), None);
        assert_eq!(Number::Signed(-1).wire_bits(Kind::Int32), Some(u64::MAX));
        assert_eq!(Number::Unsigned(1 << 31).wire_bits(Kind::Int32), None);
        assert_eq!(Number::Unsigned(u64::MAX).wire_bits(Kind::Uint64), Some(u64::MAX));
    }
}
