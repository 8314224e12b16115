use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A role: `*`, or a path like `eng/web` (`spec/mesos-http.md` 8.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role(Arc<str>);

/// Why a text is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("role '{role}' is invalid: {why}")]
pub struct InvalidRole {
    role: String,
    why: &'static str,
}

/// Longest role, in bytes.
const MAX_ROLE_BYTES: usize = 1024;

fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > MAX_ROLE_BYTES {
        return Some("it has more than 1024 bytes");
    }
    if text == "*" {
        return None;
    }
    for component in text.split('/') {
        if component.is_empty() {
            return Some("it begins or ends with '/' or has '//'");
        }
        if component == "." || component == ".." {
            return Some("it has '.' or '..' as a component");
        }
        if component == "*" {
            return Some("'*' stands only alone");
        }
        if component.starts_with('-') {
            return Some("a component begins with '-'");
        }
        if component.chars().any(|c| c.is_control() || c == ' ' || c == '\u{7f}') {
            return Some("it has a blank or control character");
        }
    }
    None
}

impl Role {
    /// Checks a role's name.
    ///
    /// # Errors
    /// When the name breaks a rule of `spec/mesos-http.md` 8.1; the error says which.
    pub fn parse(text: &str) -> Result<Self, InvalidRole> {
        match fault(text) {
            None => Ok(Self(text.into())),
            Some(why) => Err(InvalidRole { role: text.escape_debug().to_string(), why }),
        }
    }

    /// The default role, `*`.
    pub fn default_role() -> Self {
        Self("*".into())
    }

    /// True for `*`.
    pub fn is_default(&self) -> bool {
        &*self.0 == "*"
    }

    /// The role as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The role one level up; `None` for a top-level role.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.into()))
    }

    /// True when `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self == other || self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The components of the path, from the top.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl Default for Role {
    fn default() -> Self {
        Self::default_role()
    }
}

impl Borrow<str> for Role {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_below_another_is_within_it() {
        let parse = |text| Role::parse(text).unwrap();
        assert!(parse("a/b").is_within(&parse("a")));
        assert!(!parse("ab").is_within(&parse("a")));
        assert_eq!(parse("a/b").parent(), Some(parse("a")));
    }

    #[test]
    fn a_role_that_mesos_refuses_is_refused() {
        for bad in ["", ".", "..", "-a", "a b", "a//b", "/a", "a/", "a/*", "a\tb", "a/-b"] {
            assert!(Role::parse(bad).is_err(), "{bad:?}");
        }
    }
}
