use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Why a text is not an id (`spec/mesos-http.md` 1.5, "task id").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("ID must not be empty")]
    Empty,
    /// The text has more than 255 bytes.
    #[error("ID must not be greater than 255 characters")]
    TooLong,
    /// The text is `.` or `..`.
    #[error("'{0}' is disallowed")]
    Dots(String),
    /// The text has a control character, `/` or `\`.
    #[error("'{0}' contains invalid characters")]
    Character(String),
}

/// Longest id, in bytes.
const MAX_ID_BYTES: usize = 255;

fn check_path_safe(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong);
    }
    if text == "." || text == ".." {
        return Err(InvalidId::Dots(text.to_owned()));
    }
    if text.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
        return Err(InvalidId::Character(text.escape_debug().to_string()));
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text once, where it enters; after that nobody checks again.
            ///
            /// # Errors
            /// When the text is empty, longer than 255 bytes, `.`, `..`, or has a control
            /// character, `/` or `\`.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check_path_safe(text).map(|()| Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

id!(
    /// An agent: `<leader uuid>-S<n>`.
    AgentId
);
id!(
    /// A framework: `<leader uuid>-NNNN`, or whatever id a framework came back with.
    FrameworkId
);
id!(
    /// An offer: `<leader uuid>-O<n>`.
    OfferId
);
id!(
    /// A task; chosen by its framework and unique there.
    TaskId
);
id!(
    /// An executor; chosen by its framework and unique per agent.
    ExecutorId
);
id!(
    /// One run of an executor or command task on an agent: the sandbox's last path component.
    ContainerId
);
id!(
    /// The kernel's boot id of a host: tells that it was rebooted.
    BootId
);

/// 16 bytes that name one thing for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// The UUID made of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The UUID in a wire field; `None` unless it has exactly 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads the hyphenated form (8-4-4-4-12, either case).
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|&i| bytes[i] != b'-') {
            return None;
        }
        let mut digits = bytes.iter().filter(|&&b| b != b'-');
        let mut out = [0; 16];
        for byte in &mut out {
            let high = char::from(*digits.next()?).to_digit(16)?;
            let low = char::from(*digits.next()?).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        digits.next().is_none().then_some(Self(out))
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one status update; the framework acknowledges it.
pub type UpdateId = Uuid;

/// Names one subscription of a framework: the `Mesos-Stream-Id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub Uuid);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one request that waits for its answer inside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names one connection between the control plane and an agent inside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// The fence of leadership: every directive carries it, agents refuse lower ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_a_slash_or_dots_is_refused() {
        assert_eq!(TaskId::parse("../x"), Err(InvalidId::Character("../x".into())));
        assert_eq!(TaskId::parse(".."), Err(InvalidId::Dots("..".into())));
        assert_eq!(TaskId::parse(""), Err(InvalidId::Empty));
        assert_eq!(TaskId::parse(&"a".repeat(256)), Err(InvalidId::TooLong));
        assert!(TaskId::parse(&"a".repeat(255)).is_ok());
    }

    #[test]
    fn a_uuid_reads_back_what_it_shows() {
        let uuid = crate::Entropy::seeded(7).uuid();
        assert_eq!(Uuid::parse(&uuid.to_string()), Some(uuid));
        assert_eq!(Uuid::parse("not-a-uuid"), None);
    }
}
