//! Versions: instants in milliseconds, written `2030-01-02T03:04:05.678Z`.

use std::fmt;

use serde::{Serialize, Serializer};

const MILLIS_PER_SECOND: i64 = 1_000;
const MILLIS_PER_DAY: i64 = 86_400_000;
/// 9999-12-31T23:59:59.999Z: the last instant that has four digits of year.
const MAX_MILLIS: i64 = 253_402_300_799_999;

/// An instant as Marathon writes it: UTC with exactly three digits of fraction.
///
/// It serves as the version of apps, groups and deployments (`marathon-behaviour.md` section 1) and
/// as the timestamp of tasks and events. Holds milliseconds since 1970, never before it and never
/// after the year 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(i64);

/// The text is not an ISO-8601 date and time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid timestamp provided '{text}'. Expecting ISO-8601 datetime string.")]
pub struct InvalidVersion {
    /// What was given, at most 64 characters of it.
    pub text: String,
}

impl Version {
    /// From milliseconds since 1970-01-01T00:00:00Z; values outside the years 1970 to 9999 are
    /// clamped.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, MAX_MILLIS))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The next version: one millisecond later. Versions of one object must differ even when two
    /// changes fall into the same millisecond.
    #[must_use]
    pub fn next(self) -> Self {
        Self::from_millis(self.0 + 1)
    }

    /// Parses an ISO-8601 instant: `T` between date and time, up to nine digits of fraction
    /// (truncated to milliseconds), `Z` or a numeric offset.
    ///
    /// # Errors
    /// The text has another form or names no existing instant from 1970 to 9999.
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        parse_millis(text.as_bytes())
            .filter(|millis| (0..=MAX_MILLIS).contains(millis))
            .map(Self)
            .ok_or_else(|| InvalidVersion { text: text.chars().take(64).collect() })
    }
}

fn parse_millis(text: &[u8]) -> Option<i64> {
    let mut rest = text;
    let year = take_number(&mut rest, 4)?;
    take_byte(&mut rest, b'-')?;
    let month = take_number(&mut rest, 2)?;
    take_byte(&mut rest, b'-')?;
    let day = take_number(&mut rest, 2)?;
    take_byte(&mut rest, b'T').or_else(|| take_byte(&mut rest, b't'))?;
    let hour = take_number(&mut rest, 2)?;
    take_byte(&mut rest, b':')?;
    let minute = take_number(&mut rest, 2)?;
    let second = if take_byte(&mut rest, b':').is_some() { take_number(&mut rest, 2)? } else { 0 };
    let millis = if take_byte(&mut rest, b'.').is_some() { take_fraction(&mut rest)? } else { 0 };
    let offset = take_offset(&mut rest)?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !rest.is_empty() || !in_range {
        return None;
    }
    let of_day = ((hour * 60 + minute) * 60 + second) * MILLIS_PER_SECOND + millis;
    Some(days_from_civil(year, month, day) * MILLIS_PER_DAY + of_day - offset)
}

fn take_byte(rest: &mut &[u8], byte: u8) -> Option<()> {
    let (first, tail) = rest.split_first()?;
    (*first == byte).then(|| *rest = tail)
}

fn take_number(rest: &mut &[u8], digits: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(digits)?;
    if !head.iter().all(u8::is_ascii_digit) {
        return None;
    }
    *rest = tail;
    Some(head.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

fn take_fraction(rest: &mut &[u8]) -> Option<i64> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let nanos = take_number(rest, digits)? * 10_i64.pow(9 - u32::try_from(digits).ok()?);
    Some(nanos / 1_000_000)
}

/// The zone's distance from UTC in milliseconds.
fn take_offset(rest: &mut &[u8]) -> Option<i64> {
    if take_byte(rest, b'Z').or_else(|| take_byte(rest, b'z')).is_some() {
        return Some(0);
    }
    let sign = if take_byte(rest, b'+').is_some() {
        1
    } else {
        take_byte(rest, b'-')?;
        -1
    };
    let hours = take_number(rest, 2)?;
    let minutes = match take_byte(rest, b':') {
        None if rest.is_empty() => 0,
        _ => take_number(rest, 2)?,
    };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * MILLIS_PER_SECOND)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; the year starts in March here, so
/// that the leap day is its last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(MILLIS_PER_DAY));
        let of_day = self.0.rem_euclid(MILLIS_PER_DAY);
        let seconds = of_day / MILLIS_PER_SECOND;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            of_day % MILLIS_PER_SECOND
        )
    }
}

impl std::str::FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants_have_their_known_text() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_427_967_420_596, "2015-04-02T09:37:00.596Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_893_553_445_678, "2030-01-02T03:04:05.678Z"),
            (MAX_MILLIS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Version::from_millis(millis).to_string(), text);
            assert_eq!(Version::parse(text).unwrap(), Version::from_millis(millis));
        }
    }

    #[test]
    fn other_iso_forms_name_the_same_instant() {
        let noon = Version::parse("2030-01-02T12:00:00.000Z").unwrap();
        for text in [
            "2030-01-02T12:00Z",
            "2030-01-02T12:00:00Z",
            "2030-01-02T14:00:00.000+02:00",
            "2030-01-02T06:30:00.0-0530",
            "2030-01-02T12:00:00.000999999Z",
        ] {
            assert_eq!(Version::parse(text).unwrap(), noon, "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused_with_the_documented_text() {
        for text in [
            "",
            "now",
            "2030-13-01T00:00:00Z",
            "2030-02-29T00:00:00Z",
            "2030-01-01",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:00:00",
            "2030-01-01T00:00:00.Z",
            "1969-12-31T23:59:59Z",
            "2030-01-01T00:00:00Zx",
            "2030-01-01T00:00:00.1234567890Z",
        ] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Version::parse("x").unwrap_err().to_string(),
            "Invalid timestamp provided 'x'. Expecting ISO-8601 datetime string."
        );
    }

    proptest! {
        #[test]
        fn every_instant_survives_its_text(millis in 0..=MAX_MILLIS) {
            let version = Version::from_millis(millis);
            prop_assert_eq!(Version::parse(&version.to_string()).unwrap(), version);
        }

        #[test]
        fn any_text_is_either_an_instant_or_an_error(text in "\\PC{0,40}") {
            let _ = Version::parse(&text);
        }
    }
}
