use serde_json::{Map, Value};
use tepui_types::{InvalidScalar, Scalar};

use crate::number::Ratio;
use crate::path::{InvalidPathId, MAX_ID_BYTES, PathId};
use crate::reject::{Rejection, Violations};
use crate::version::Version;

/// The members of a JSON object.
pub(super) type Object = Map<String, Value>;

/// Largest integer Marathon's model can hold.
pub(super) const MAX_INT: u64 = 2_147_483_647;

/// Walks a JSON value, knows where it is, and collects what is wrong.
///
/// A getter returns `None` for "absent" and for "wrong"; wrong ones are in the list, so the caller
/// goes on with a placeholder and looks at the list once, at the end. `null` counts as absent.
#[derive(Debug, Default)]
pub(super) struct Reader {
    path: String,
    structure: Violations,
    rules: Violations,
}

impl Reader {
    /// Refuses the body if its structure was wrong; else hands out the broken rules found so far,
    /// which are reported together with those of the semantic validation.
    pub(super) fn finish(self) -> Result<Violations, Rejection> {
        if self.structure.is_empty() {
            Ok(self.rules)
        } else {
            Err(Rejection::invalid_json(self.structure))
        }
    }

    /// Notes a structural error where the reader stands.
    pub(super) fn wrong(&mut self, error: &str) {
        self.structure.add(&self.path, error);
    }

    /// Notes a broken rule where the reader stands.
    pub(super) fn broken(&mut self, error: impl Into<String>) {
        self.rules.add(&self.path, error);
    }

    /// Takes the broken rules noted since the reader was empty of them.
    pub(super) fn take_rules(&mut self) -> Violations {
        std::mem::take(&mut self.rules)
    }

    /// Reads with a fresh list of broken rules whose paths are relative to this place.
    pub(super) fn apart<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, Violations) {
        let outer = self.take_rules();
        let mut inner = Self { structure: std::mem::take(&mut self.structure), ..Self::default() };
        std::mem::swap(&mut inner.path, &mut self.path);
        let prefix = inner.path.clone();
        let value = read(&mut inner);
        self.path = inner.path;
        self.structure = inner.structure;
        self.rules = outer;
        (value, relative(&inner.rules, &prefix))
    }

    /// Reads something one step further down.
    pub(super) fn at<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push('/');
        self.path.extend(step.chars().take(120));
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// Reads the element `index` of the array the reader stands at.
    pub(super) fn at_index<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(&format!("({index})"));
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// The value of `key`, read by `read`; `None` when it is absent or `null`.
    pub(super) fn opt<'v, T>(
        &mut self,
        object: &'v Object,
        key: &str,
        read: impl FnOnce(&mut Self, &'v Value) -> Option<T>,
    ) -> Option<T> {
        let value = object.get(key).filter(|value| !value.is_null())?;
        self.at(key, |reader| read(reader, value))
    }

    /// As [`Reader::opt`], but absence is an error.
    pub(super) fn need<'v, T>(
        &mut self,
        object: &'v Object,
        key: &str,
        read: impl FnOnce(&mut Self, &'v Value) -> Option<T>,
    ) -> Option<T> {
        match object.get(key) {
            None | Some(Value::Null) => {
                self.at(key, |reader| reader.wrong("error.path.missing"));
                None
            }
            Some(value) => self.at(key, |reader| read(reader, value)),
        }
    }

    fn expect<T>(&mut self, value: Option<T>, error: &str) -> Option<T> {
        if value.is_none() {
            self.wrong(error);
        }
        value
    }

    pub(super) fn object<'v>(&mut self, value: &'v Value) -> Option<&'v Object> {
        self.expect(value.as_object(), "error.expected.jsobject")
    }

    pub(super) fn string(&mut self, value: &Value) -> Option<String> {
        self.expect(value.as_str().map(str::to_owned), "error.expected.jsstring")
    }

    /// A string of at least one character.
    pub(super) fn filled_string(&mut self, value: &Value) -> Option<String> {
        self.bounded_string(value, 1, usize::MAX)
    }

    /// A string with this many characters.
    pub(super) fn bounded_string(
        &mut self,
        value: &Value,
        min: usize,
        max: usize,
    ) -> Option<String> {
        let text = self.string(value)?;
        let length = text.chars().count();
        if length < min {
            self.wrong("error.minLength");
        } else if length > max {
            self.wrong("error.maxLength");
        }
        Some(text)
    }

    pub(super) fn boolean(&mut self, value: &Value) -> Option<bool> {
        self.expect(value.as_bool(), "error.expected.jsboolean")
    }

    /// An integer from `min` to `max`. Whole numbers written with a fraction (`5.0`) are accepted.
    pub(super) fn integer(&mut self, value: &Value, min: u64, max: u64) -> Option<u64> {
        let number = self
            .expect(value.as_f64(), "error.expected.jsnumber")
            .filter(|number| number.is_finite())?;
        if number.fract() != 0.0 {
            self.wrong("error.expected.jsnumber");
            return None;
        }
        #[allow(clippy::cast_precision_loss)]
        if number < min as f64 {
            self.wrong("error.min");
            return None;
        }
        #[allow(clippy::cast_precision_loss)]
        if number > max as f64 {
            self.wrong("error.max");
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(number as u64)
    }

    pub(super) fn unsigned(&mut self, value: &Value) -> Option<u32> {
        self.integer(value, 0, MAX_INT).and_then(|number| u32::try_from(number).ok())
    }

    pub(super) fn port(&mut self, value: &Value) -> Option<u16> {
        self.integer(value, 0, 65_535).and_then(|number| u16::try_from(number).ok())
    }

    /// An amount of at least `min`.
    pub(super) fn amount(&mut self, value: &Value, min: Scalar) -> Option<Scalar> {
        let number = self.expect(value.as_f64(), "error.expected.jsnumber")?;
        match Scalar::parse(number) {
            Ok(amount) if amount >= min => Some(amount),
            Ok(_) | Err(InvalidScalar::Negative(_) | InvalidScalar::TooSmall(_)) => {
                self.wrong("error.min");
                None
            }
            Err(_) => {
                self.wrong("error.max");
                None
            }
        }
    }

    /// A decimal from `min` to `max`.
    pub(super) fn ratio(&mut self, value: &Value, min: Ratio, max: Ratio) -> Option<Ratio> {
        let number = self.expect(value.as_f64(), "error.expected.jsnumber")?;
        match Ratio::parse(number) {
            Some(ratio) if ratio < min => self.wrong("error.min"),
            Some(ratio) if ratio > max => self.wrong("error.max"),
            Some(ratio) => return Some(ratio),
            None if number < 0.0 => self.wrong("error.min"),
            None => self.wrong("error.max"),
        }
        None
    }

    /// One of the named values, compared without case.
    pub(super) fn literal<T: Copy>(&mut self, value: &Value, names: &[(&str, T)]) -> Option<T> {
        let text = self.string(value)?;
        let found = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text));
        self.expect(found.map(|(_, value)| *value), "error.unknown.enum.literal")
    }

    /// An array; elements that cannot be read are left out (and noted).
    pub(super) fn array<'v, T>(
        &mut self,
        value: &'v Value,
        mut read: impl FnMut(&mut Self, &'v Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.expect(value.as_array(), "error.expected.jsarray")?;
        let mut list = Vec::with_capacity(items.len().min(1024));
        for (index, item) in items.iter().enumerate() {
            list.extend(self.at_index(index, |reader| read(reader, item)));
        }
        Some(list)
    }

    pub(super) fn strings(&mut self, value: &Value) -> Option<Vec<String>> {
        self.array(value, Self::string)
    }

    /// An object used as a map; members that cannot be read are left out (and noted).
    pub(super) fn map<'v, T>(
        &mut self,
        value: &'v Value,
        mut read: impl FnMut(&mut Self, &'v Value) -> Option<T>,
    ) -> Option<std::collections::BTreeMap<String, T>> {
        let object = self.object(value)?;
        let mut map = std::collections::BTreeMap::new();
        for (key, value) in object {
            if let Some(value) = self.at(key, |reader| read(reader, value)) {
                map.insert(key.clone(), value);
            }
        }
        Some(map)
    }

    pub(super) fn labels(&mut self, value: &Value) -> Option<crate::container::Labels> {
        self.map(value, Self::string)
    }

    /// A path id; relative ones are resolved against `base`.
    pub(super) fn path_id(&mut self, value: &Value, base: &PathId) -> Option<PathId> {
        let text = self.string(value)?;
        match PathId::resolve(&text, base) {
            Ok(id) => return Some(id),
            Err(InvalidPathId::TooLong { .. }) => {
                self.wrong("error.maxLength");
                self.wrong(&format!("an id may have at most {MAX_ID_BYTES} bytes"));
            }
            Err(_) => self.wrong("error.pattern"),
        }
        None
    }

    pub(super) fn version(&mut self, value: &Value) -> Option<Version> {
        let text = self.string(value)?;
        match Version::parse(&text) {
            Ok(version) => return Some(version),
            Err(error) => self.wrong(&error.to_string()),
        }
        None
    }
}

fn relative(rules: &Violations, prefix: &str) -> Violations {
    let mut stripped = Violations::default();
    for violation in rules.as_slice() {
        let path = violation.path.strip_prefix(prefix).unwrap_or(&violation.path);
        for error in &violation.errors {
            stripped.add(path, error.clone());
        }
    }
    stripped
}
