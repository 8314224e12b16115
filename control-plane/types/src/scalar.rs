use std::fmt;

/// An amount of a scalar resource in thousandths of its unit: milli-cpus, or thousandths of a
/// megabyte for mem and disk. This is Mesos's own fixed point (`spec/mesos-http.md` 8.6), kept in
/// integers so that no sum ever drifts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scalar(u64);

/// Why a number is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum InvalidScalar {
    /// NaN or infinite.
    #[error("{0} is not a finite number")]
    NotFinite(f64),
    /// Below zero.
    #[error("{0} is negative")]
    Negative(f64),
    /// Not zero, but rounds to zero thousandths.
    #[error("{0} is smaller than 0.001")]
    TooSmall(f64),
    /// More than the books can hold.
    #[error("{0} is greater than {max}", max = Scalar::MAX)]
    TooLarge(f64),
}

impl Scalar {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount accepted from outside: 10^12 units, so that no sum of real agents
    /// overflows.
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// An amount of whole thousandths.
    pub const fn from_milli(milli: u64) -> Self {
        Self(milli)
    }

    /// An amount of whole units (cpus, megabytes).
    pub const fn from_units(units: u64) -> Self {
        Self(units.saturating_mul(1000))
    }

    /// An amount as the wire carries it, rounded to thousandths.
    ///
    /// # Errors
    /// NaN, infinite, negative, above [`Scalar::MAX`], or so small that it rounds to zero.
    pub fn parse(number: f64) -> Result<Self, InvalidScalar> {
        if !number.is_finite() {
            return Err(InvalidScalar::NotFinite(number));
        }
        if number < 0.0 {
            return Err(InvalidScalar::Negative(number));
        }
        let milli = (number * 1000.0).round();
        if milli > 1e15 {
            return Err(InvalidScalar::TooLarge(number));
        }
        if milli == 0.0 && number != 0.0 {
            return Err(InvalidScalar::TooSmall(number));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Self(milli as u64))
    }

    /// Whole thousandths.
    pub const fn as_milli(self) -> u64 {
        self.0
    }

    /// The number as the wire carries it.
    #[allow(clippy::cast_precision_loss)]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Bytes, for an amount of megabytes (2^20 bytes), rounded down.
    pub fn megabytes_as_bytes(self) -> u64 {
        u64::try_from(u128::from(self.0) * 1_048_576 / 1000).unwrap_or(u64::MAX)
    }

    /// True for nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum; `None` on overflow.
    pub const fn checked_add(self, rhs: Self) -> Option<Self> {
        match self.0.checked_add(rhs.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference; `None` when `rhs` is more.
    pub const fn checked_sub(self, rhs: Self) -> Option<Self> {
        match self.0.checked_sub(rhs.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// The sum, held at the largest number.
    #[must_use]
    pub const fn saturating_add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }

    /// The difference, held at nothing.
    #[must_use]
    pub const fn saturating_sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, milli) = (self.0 / 1000, self.0 % 1000);
        if milli == 0 {
            return write!(f, "{units}");
        }
        let digits = format!("{milli:03}");
        write!(f, "{units}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_thousandths_and_nonsense_is_refused() {
        assert_eq!(Scalar::parse(0.1).map(Scalar::as_milli), Ok(100));
        assert_eq!(Scalar::parse(1.0005).map(Scalar::as_milli), Ok(1001));
        assert!(matches!(Scalar::parse(f64::NAN), Err(InvalidScalar::NotFinite(_))));
        assert_eq!(Scalar::parse(-1.0), Err(InvalidScalar::Negative(-1.0)));
        assert_eq!(Scalar::parse(0.0001), Err(InvalidScalar::TooSmall(0.0001)));
        assert_eq!(Scalar::parse(1e300), Err(InvalidScalar::TooLarge(1e300)));
    }

    #[test]
    fn an_amount_prints_without_needless_digits() {
        assert_eq!(Scalar::from_milli(1500).to_string(), "1.5");
        assert_eq!(Scalar::from_units(32).to_string(), "32");
    }

    #[test]
    fn megabytes_become_bytes() {
        assert_eq!(Scalar::from_milli(500).megabytes_as_bytes(), 524_288);
    }
}
