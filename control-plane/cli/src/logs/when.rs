//! Instants: a time ago, or RFC 3339.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::span;

const DAY_SECONDS: i64 = 86_400;

/// Milliseconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(pub(crate) u64);

impl Instant {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads `5m` as five minutes before now, and `2030-01-02T03:04:05Z` as it is.
    pub(crate) fn parse_since(text: &str) -> Result<Self, String> {
        if let Ok(ago) = span::parse(text) {
            let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
            return Ok(Self(Self::now().0.saturating_sub(ago)));
        }
        parse(text).ok_or_else(|| {
            "expected a time ago (90s, 5m, 2h, 1d) or an instant (2030-01-02T03:04:05Z)".to_owned()
        })
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1_000).unwrap_or(i64::MAX);
        let (days, rest) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        let millis = self.0 % 1_000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// An instant of RFC 3339 after 1970; fractions beyond milliseconds are left out.
fn parse(text: &str) -> Option<Instant> {
    let (day, rest) = text.split_once(['T', 't', ' '])?;
    let mut parts = day.split('-').map(|part| number(part, if part.len() == 4 { 4 } else { 2 }));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone_at);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_over = parts.next().is_some() || clock.next().is_some();
    if is_over
        || !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || (hour > 23 || minute > 59 || second > 60)
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let days = days(year, month, day);
    // 31 February is no day.
    if date(days) != (year, month, day) {
        return None;
    }
    let seconds = days * DAY_SECONDS + hour * 3_600 + minute * 60 + second - offset(zone)?;
    Some(Instant(u64::try_from(seconds).ok()? * 1_000 + millis))
}

/// Seconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next()? {
        'Z' | 'z' => return (zone.len() == 1).then_some(0),
        '-' => -1,
        _ => 1,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The date of a day since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month < 3), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_and_shown() {
        for (text, shown) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("2024-02-29T23:59:59.5Z", "2024-02-29T23:59:59.500Z"),
            ("2030-01-02T03:04:05+02:00", "2030-01-02T01:04:05.000Z"),
            ("2030-01-01 00:30:00.123456-01:30", "2030-01-01T02:00:00.123Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(parse("2001-09-09T01:46:40Z"), Some(Instant(1_000_000_000_000)));
    }

    #[test]
    fn every_day_has_one_date() {
        for day in 0..200_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "yesterday",
            "2030-01-02",
            "2030-01-02T03:04:05",
            "2030-02-31T03:04:05Z",
            "2030-13-01T03:04:05Z",
            "1969-12-31T00:00:00Z",
            "2030-01-02T25:04:05Z",
            "2030-01-02T03:04:05+0200",
            "2030-01-02T03:04:05.xZ",
            "+030-01-02T03:04:05Z",
        ] {
            assert!(Instant::parse_since(text).is_err(), "{text}");
        }
        let ago = Instant::now().0 - Instant::parse_since("5m").unwrap().0;
        assert!((299_000..=301_000).contains(&ago));
    }
}
