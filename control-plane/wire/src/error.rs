//! Why bytes could not be decoded into a message.

use std::fmt;

use crate::{
    media::MediaType,
    path::Path,
    schema::{FieldSchema, MessageSchema},
};

/// Missing fields that an error lists by name; the rest is counted.
const MAX_LISTED: usize = 20;

/// A message could not be decoded. The text is fit for the body of a 400 answer: it names the
/// message, the path inside it, what was found and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to decode {} as {message}: {problem}", name_of(*.media))]
pub struct DecodeError {
    /// Full protobuf name of the message that was wanted.
    pub message: &'static str,
    /// The form the bytes were in.
    pub media: MediaType,
    /// What was wrong.
    pub problem: Problem,
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The bytes are not well-formed JSON or protobuf.
    Malformed {
        /// Where; empty at the top.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// A field holds something it cannot hold.
    Invalid {
        /// Which field; empty for the message itself.
        path: String,
        /// What was found, and what would be right.
        reason: String,
    },
    /// Required fields are not set.
    MissingRequired(MissingFields),
    /// Messages, objects or arrays are nested deeper than `limit`.
    TooDeep {
        /// The first fields of the path that goes too deep.
        path: String,
        /// Levels that are accepted.
        limit: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { path, reason } | Self::Invalid { path, reason }
                if path.is_empty() =>
            {
                f.write_str(reason)
            }
            Self::Malformed { path, reason } | Self::Invalid { path, reason } => {
                write!(f, "{path}: {reason}")
            }
            Self::MissingRequired(missing) => missing.fmt(f),
            Self::TooDeep { path, limit } if path.is_empty() => {
                write!(f, "nested deeper than {limit} levels")
            }
            Self::TooDeep { path, limit } => write!(f, "{path}: nested deeper than {limit} levels"),
        }
    }
}

/// Required fields that were not set, as paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingFields {
    /// The first of them.
    pub paths: Vec<String>,
    /// How many more there are.
    pub unlisted: usize,
}

impl MissingFields {
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Notes the required fields of the message at `path` whose bits are not in `set`.
    pub(crate) fn note(&mut self, schema: &'static MessageSchema, set: u64, path: &Path) {
        for field in schema.missing(set) {
            if self.paths.len() < MAX_LISTED {
                self.paths.push(path.child(field));
            } else {
                self.unlisted += 1;
            }
        }
    }

    /// Forgets what was noted below a field, because a later value replaces it.
    pub(crate) fn forget(&mut self, field: &'static FieldSchema, path: &Path) {
        if self.paths.is_empty() {
            return;
        }
        let gone = path.child(field);
        self.paths.retain(|noted| {
            let below = noted.strip_prefix(&gone);
            !below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
    }
}

impl fmt::Display for MissingFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Missing required fields: {}", self.paths.join(", "))?;
        match self.unlisted {
            0 => Ok(()),
            unlisted => write!(f, " and {unlisted} more"),
        }
    }
}

fn name_of(media: MediaType) -> &'static str {
    match media {
        MediaType::Json => "JSON",
        MediaType::Protobuf => "protobuf",
        MediaType::RecordIo => "RecordIO",
    }
}
