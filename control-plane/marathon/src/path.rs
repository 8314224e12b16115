//! Absolute path ids of apps and groups (`marathon-behaviour.md` section 1).

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Longest accepted id in bytes, counted after resolution against the enclosing group.
pub const MAX_ID_BYTES: usize = 255;

/// Last segments no app may use: they name sub-resources of the REST API.
pub const RESERVED_SEGMENTS: [&str; 5] = ["restart", "tasks", "versions", ".", ".."];

/// The absolute, resolved id of an app or a group, such as `/shop/web`; the root group is `/`.
///
/// A value of this type is always well formed: it starts with `/`, has no empty, `.` or `..`
/// segment, every segment consists of dot-separated labels of lower-case letters, digits and inner
/// hyphens, and it is at most [`MAX_ID_BYTES`] long. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathId(Arc<str>);

/// The id of an app. Apps and groups share one name space, hence one type.
pub type AppId = PathId;

/// The id of a group.
pub type GroupId = PathId;

/// Why a text is not a path id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPathId {
    /// A segment has characters or a form that ids do not allow.
    #[error("the segment {segment:?} of the id {id:?} is not a lower-case name")]
    Segment {
        /// The whole text.
        id: String,
        /// The segment that was refused.
        segment: String,
    },
    /// The id is longer than [`MAX_ID_BYTES`].
    #[error("the id has {length} bytes; at most {MAX_ID_BYTES} are allowed")]
    TooLong {
        /// Length of the resolved id in bytes.
        length: usize,
    },
    /// The id has no leading slash where an absolute one is needed.
    #[error("the id {0:?} is not absolute")]
    Relative(String),
    /// The text is empty.
    #[error("the id is empty")]
    Empty,
}

impl PathId {
    /// The root group, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// Parses an absolute id; `.` and `..` steps are resolved.
    ///
    /// # Errors
    /// The text is empty, relative, too long or has a malformed segment.
    pub fn parse(text: &str) -> Result<Self, InvalidPathId> {
        if !text.starts_with('/') && !text.is_empty() {
            return Err(InvalidPathId::Relative(shorten(text)));
        }
        Self::resolve(text, &Self::root())
    }

    /// Parses an id that may be relative to `base`; `.` and `..` steps are resolved and never climb
    /// above the root.
    ///
    /// # Errors
    /// The text is empty, the resolved id is too long, or a segment is malformed.
    pub fn resolve(text: &str, base: &Self) -> Result<Self, InvalidPathId> {
        if text.is_empty() {
            return Err(InvalidPathId::Empty);
        }
        let mut segments: Vec<&str> =
            if text.starts_with('/') { Vec::new() } else { base.segments().collect() };
        let mut length: usize = segments.iter().map(|segment| segment.len() + 1).sum();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    length -= segments.pop().map_or(0, |segment| segment.len() + 1);
                }
                name if is_segment(name) => {
                    segments.push(name);
                    length += name.len() + 1;
                }
                name => {
                    return Err(InvalidPathId::Segment {
                        id: shorten(text),
                        segment: shorten(name),
                    });
                }
            }
        }
        if length > MAX_ID_BYTES {
            return Err(InvalidPathId::TooLong { length });
        }
        if segments.is_empty() {
            return Ok(Self::root());
        }
        let mut resolved = String::with_capacity(length);
        for segment in segments {
            resolved.push('/');
            resolved.push_str(segment);
        }
        Ok(Self(resolved.into()))
    }

    /// The id under which task and instance ids carry this path: segments joined by `_`.
    ///
    /// `/a/b` becomes `a_b`. Segments never contain `_`, so the form can be read back.
    #[must_use]
    pub fn safe(&self) -> String {
        self.0.trim_start_matches('/').replace('/', "_")
    }

    /// Reads the form written by [`PathId::safe`].
    ///
    /// # Errors
    /// The text names no path.
    pub fn from_safe(text: &str) -> Result<Self, InvalidPathId> {
        if text.contains('/') {
            return Err(InvalidPathId::Segment { id: shorten(text), segment: shorten(text) });
        }
        if text.is_empty() {
            return Err(InvalidPathId::Empty);
        }
        Self::parse(&format!("/{}", text.replace('_', "/")))
    }

    /// The whole id, with its leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root group.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The segments from the top, none for the root.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The last segment, or `None` for the root.
    #[must_use]
    pub fn last_segment(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|segment| !segment.is_empty())
    }

    /// The enclosing group, or `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        match self.0.rfind('/') {
            None | Some(0) => Some(Self::root()),
            Some(end) => Some(Self(Arc::from(&self.0[..end]))),
        }
    }

    /// The groups around this id, from the direct parent up to the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// The top-level group or app this id lies in (`/a` for `/a/b/c`), `None` for the root.
    #[must_use]
    pub fn top_level(&self) -> Option<Self> {
        self.segments().next().map(|first| Self(format!("/{first}").into()))
    }

    /// Whether this id lies below `ancestor`, at any depth; no id is its own child.
    #[must_use]
    pub fn is_child_of(&self, ancestor: &Self) -> bool {
        if ancestor.is_root() {
            return !self.is_root();
        }
        self.0.strip_prefix(&*ancestor.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether this id lies directly in the group `parent`.
    #[must_use]
    pub fn is_direct_child_of(&self, parent: &Self) -> bool {
        self.is_child_of(parent)
            && !self.0[if parent.is_root() { 1 } else { parent.0.len() + 1 }..].contains('/')
    }
}

/// Whether `text` can be one segment: dot-separated labels of `[a-z0-9-]`, hyphens only inside.
#[must_use]
pub fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Keeps error values small whatever the client sent.
fn shorten(text: &str) -> String {
    const KEPT: usize = 80;
    if text.chars().count() <= KEPT {
        return text.to_owned();
    }
    text.chars().take(KEPT).chain(std::iter::once('…')).collect()
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathId({})", self.0)
    }
}

impl std::str::FromStr for PathId {
    type Err = InvalidPathId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for PathId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PathId {
        PathId::parse(text).unwrap()
    }

    #[test]
    fn relative_ids_resolve_against_the_enclosing_group() {
        let base = id("/shop/eu");
        assert_eq!(PathId::resolve("web", &base).unwrap(), id("/shop/eu/web"));
        assert_eq!(PathId::resolve("../us/web", &base).unwrap(), id("/shop/us/web"));
        assert_eq!(PathId::resolve("/web", &base).unwrap(), id("/web"));
        assert_eq!(PathId::resolve("../../../..", &base).unwrap(), PathId::root());
        assert_eq!(id("/a/./b/../c//"), id("/a/c"));
    }

    #[test]
    fn parents_and_children_follow_whole_segments() {
        assert_eq!(id("/a/b").parent(), Some(id("/a")));
        assert_eq!(id("/a").parent(), Some(PathId::root()));
        assert_eq!(PathId::root().parent(), None);
        assert!(id("/a/b/c").is_child_of(&id("/a")));
        assert!(!id("/ab").is_child_of(&id("/a")));
        assert!(!id("/a").is_child_of(&id("/a")));
        assert!(id("/a").is_child_of(&PathId::root()));
        assert!(id("/a/b").is_direct_child_of(&id("/a")));
        assert!(id("/a").is_direct_child_of(&PathId::root()));
        assert!(!id("/a/b/c").is_direct_child_of(&id("/a")));
        assert_eq!(id("/a/b/c").top_level(), Some(id("/a")));
        assert_eq!(id("/a/b/c").ancestors().count(), 3);
    }

    #[test]
    fn the_safe_form_can_be_read_back() {
        assert_eq!(id("/a/b.c/d-e").safe(), "a_b.c_d-e");
        assert_eq!(PathId::from_safe("a_b.c_d-e").unwrap(), id("/a/b.c/d-e"));
        assert!(PathId::from_safe("a/b").is_err());
        assert!(PathId::from_safe("").is_err());
    }

    #[test]
    fn malformed_and_overlong_ids_are_refused() {
        for bad in ["", "/A", "/a_b", "/-a", "/a-", "/a..b", "/.a", "/a b", "/ä", "/*", "/\u{0}"] {
            assert!(PathId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(PathId::parse("a").unwrap_err(), InvalidPathId::Relative("a".to_owned()));
        assert!(PathId::parse(&format!("/{}", "a".repeat(254))).is_ok());
        assert_eq!(
            PathId::parse(&format!("/{}", "a".repeat(255))).unwrap_err(),
            InvalidPathId::TooLong { length: 256 }
        );
    }
}
