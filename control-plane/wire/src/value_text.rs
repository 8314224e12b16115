//! Values as operators type them: `4`, `[31000-32000,33000-33100]`, `{a,b}`.

use tepui_types::{Range, Ranges};

/// A value in text, by its form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TextValue<'a> {
    Ranges(Ranges),
    Set(Vec<&'a str>),
    Number(f64),
    Text(&'a str),
}

/// Why a text is not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueTextError {
    /// Nothing there.
    #[error("a value is missing")]
    Empty,
    /// A bracket without its partner.
    #[error("'{0}' is not closed by '{1}'")]
    Unclosed(char, char),
    /// Not of the form `begin-end`.
    #[error("'{0}' is not a range such as 31000-32000")]
    BadRange(String),
    /// A range that ends before it begins.
    #[error("range {0}-{1} ends before it begins")]
    Backwards(u64, u64),
    /// An empty item in a set.
    #[error("a set has an empty item")]
    EmptyItem,
}

/// Reads a value whose blanks at both ends are gone.
pub(crate) fn parse(text: &str) -> Result<TextValue<'_>, ValueTextError> {
    if text.is_empty() {
        return Err(ValueTextError::Empty);
    }
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(ValueTextError::Unclosed('[', ']'))?;
        return parse_ranges(inner).map(TextValue::Ranges);
    }
    if let Some(inner) = text.strip_prefix('{') {
        let inner = inner.strip_suffix('}').ok_or(ValueTextError::Unclosed('{', '}'))?;
        return parse_set(inner).map(TextValue::Set);
    }
    Ok(parse_number(text).map_or(TextValue::Text(text), TextValue::Number))
}

/// Ranges may come in any order and overlap: they are coalesced.
fn parse_ranges(inner: &str) -> Result<Ranges, ValueTextError> {
    if inner.trim().is_empty() {
        return Ok(Ranges::new());
    }
    let ranges = inner.split(',').map(|part| parse_range(part.trim()));
    Ok(Ranges::from_ranges(ranges.collect::<Result<Vec<_>, _>>()?))
}

fn parse_range(text: &str) -> Result<Range, ValueTextError> {
    let bad = || ValueTextError::BadRange(crate::path::shortened(text, 64));
    let number = |text: &str| {
        let text = text.trim();
        // Rust's parser would also take a sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits).ok_or_else(bad)
    };
    let (begin, end) = text.split_once('-').ok_or_else(bad)?;
    let (begin, end) = (number(begin)?, number(end)?);
    Range::new(begin, end).map_err(|_| ValueTextError::Backwards(begin, end))
}

fn parse_set(inner: &str) -> Result<Vec<&str>, ValueTextError> {
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    let items: Vec<&str> = inner.split(',').map(str::trim).collect();
    if items.contains(&"") { Err(ValueTextError::EmptyItem) } else { Ok(items) }
}

/// A finite number; "nan", "inf" and other words are texts.
fn parse_number(text: &str) -> Option<f64> {
    let allowed = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    text.bytes().all(allowed).then(|| text.parse::<f64>().ok()).flatten().filter(|n| n.is_finite())
}
