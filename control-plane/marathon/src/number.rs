//! Numbers as Marathon writes them: integral values have no fraction.

use std::fmt;

use serde::{Serialize, Serializer};
use tepui_types::Scalar;

const NANO: u64 = 1_000_000_000;
/// Largest accepted whole part: far above every legal factor, and safe to multiply by a `u32`.
const MAX_WHOLE: f64 = 1e6;

/// A non-negative decimal with nine digits of fraction: capacities, back-off and scaling factors.
///
/// Kept in integers so that a plan computed twice is the same plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ratio(u64);

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The whole.
    pub const ONE: Self = Self(NANO);

    /// `thousandths / 1000`.
    #[must_use]
    pub const fn from_milli(thousandths: u64) -> Self {
        Self(thousandths.saturating_mul(1_000_000))
    }

    /// A number as JSON carries it, rounded to nine digits; `None` for NaN, negative numbers and
    /// numbers above a million.
    #[must_use]
    pub fn parse(number: f64) -> Option<Self> {
        if !(0.0..=MAX_WHOLE).contains(&number) {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Self((number * 1e9).round() as u64))
    }

    /// Billionths.
    #[must_use]
    pub const fn as_nano(self) -> u64 {
        self.0
    }

    /// The nearest floating-point number.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// This share of `whole`, rounded up, saturating.
    #[must_use]
    pub fn ceil_of(self, whole: u32) -> u32 {
        u32::try_from((u128::from(self.0) * u128::from(whole)).div_ceil(u128::from(NANO)))
            .unwrap_or(u32::MAX)
    }

    /// This share of `whole`, rounded down, saturating.
    #[must_use]
    pub fn floor_of(self, whole: u32) -> u32 {
        u32::try_from(u128::from(self.0) * u128::from(whole) / u128::from(NANO)).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / NANO, self.0 % NANO);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{fraction:09}").trim_end_matches('0'))
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(NANO) {
            serializer.serialize_u64(self.0 / NANO)
        } else {
            serializer.serialize_f64(self.as_f64())
        }
    }
}

/// Writes an amount as a JSON number, without fraction when it is whole.
pub(crate) fn scalar<S: Serializer>(amount: &Scalar, serializer: S) -> Result<S::Ok, S::Error> {
    if amount.as_milli().is_multiple_of(1000) {
        serializer.serialize_u64(amount.as_milli() / 1000)
    } else {
        serializer.serialize_f64(amount.as_f64())
    }
}

/// An amount that serialises as a JSON number.
pub(crate) struct JsonScalar(pub(crate) Scalar);

impl Serialize for JsonScalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        scalar(&self.0, serializer)
    }
}

/// Writes any value by its `Display` form.
pub(crate) fn display<T: fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_print_and_round_exactly() {
        let json = |number: f64| serde_json::to_string(&Ratio::parse(number).unwrap()).unwrap();
        assert_eq!(json(1.0), "1");
        assert_eq!(json(1.15), "1.15");
        assert_eq!(json(0.3), "0.3");
        assert_eq!(Ratio::parse(0.75).unwrap().ceil_of(10), 8);
        assert_eq!(Ratio::parse(0.2).unwrap().floor_of(3), 0);
        assert_eq!(Ratio::parse(0.1).unwrap().ceil_of(10), 1);
        assert_eq!(Ratio::parse(1e6).unwrap().ceil_of(u32::MAX), u32::MAX);
        assert_eq!(Ratio::parse(0.25).unwrap().to_string(), "0.25");
        for bad in [f64::NAN, f64::INFINITY, -0.1, 1e7] {
            assert_eq!(Ratio::parse(bad), None);
        }
    }
}
