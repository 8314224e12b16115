//! Percent-encoding and query parameters (`marathon-api.md` section 1).

/// The parameters of a request in their order; names may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; percent escapes and `+` are decoded.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    /// The first value of a parameter.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean: `true` in any case is true, any other text false, absence the default.
    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.first(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

/// Decodes percent escapes; incomplete ones stay as they are, bytes that are no UTF-8 become the
/// replacement character.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit =
            |offset: usize| bytes.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
        let escaped = (byte == b'%')
            .then(|| Some((digit(1)?, digit(2)?)))
            .flatten()
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn booleans_are_compared_without_case_and_default_only_when_absent() {
        let query = Query::parse("force=True&scale=False&wipe=&x=1&label=a%3D%3Db&embed=a&embed=b");
        assert!(query.flag("force", false));
        assert!(!query.flag("scale", true));
        assert!(!query.flag("wipe", true));
        assert!(!query.flag("x", true));
        assert!(query.flag("missing", true));
        assert_eq!(query.first("label"), Some("a==b"));
        assert_eq!(query.all("embed").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(decode("%3A%3astatus%2"), "::status%2");
        assert_eq!(decode("%zz%"), "%zz%");
    }

    proptest! {
        #[test]
        fn any_text_decodes(text in "\\PC{0,40}") {
            let _ = Query::parse(&text);
        }
    }
}
