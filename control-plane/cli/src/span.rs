//! Lengths of time as people write them.

use std::time::Duration;

/// Reads `90`, `90s`, `5m`, `1h`, `2d`, `500ms`; a bare number is seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| "expected a time such as 90s, 5m or 1h".to_owned())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => return Err(format!("unknown unit '{other}', expected ms, s, m, h or d")),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

/// Writes a length of time in its one or two largest units: `45s`, `3m20s`, `2d4h`.
pub(crate) fn show(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_unit() {
        for (text, millis) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("20ms", 20),
            ("2d", 172_800_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1w", "1.5s", "99999999999999999999h", "9999999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_in_two_units() {
        let show = |seconds| super::show(Duration::from_secs(seconds));
        assert_eq!(show(45), "45s");
        assert_eq!(show(200), "3m20s");
        assert_eq!(show(7_260), "2h1m");
        assert_eq!(show(200_000), "2d7h");
    }
}
