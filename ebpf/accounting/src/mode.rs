//! What happens when a task asks for a port that it was not given.

use std::mem::{offset_of, size_of};

use crate::layout::{put, settings};

/// What happens to a denied bind, connection or datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Counted and reported, let pass.
    Observe,
    /// Counted, reported and refused.
    #[default]
    Deny,
    /// As deny; what the task itself tried is to be its end.
    Kill,
}

impl Mode {
    pub(crate) fn raw(self) -> u32 {
        match self {
            Self::Observe => 1,
            Self::Deny => 2,
            Self::Kill => 3,
        }
    }

    pub(crate) fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::Observe),
            2 => Some(Self::Deny),
            3 => Some(Self::Kill),
            _ => None,
        }
    }
}

/// The host's rules about ports; a task may have its own [`Mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What happens to what is denied.
    pub mode: Mode,
    /// Refuse binds to port 0 too. Without it such a port can be had and used for outgoing
    /// traffic, but nothing from outside reaches it.
    pub strict: bool,
    /// A task may reach its own unlisted ports over loopback (helpers of language runtimes do).
    pub own_loopback: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { mode: Mode::Deny, strict: false, own_loopback: true }
    }
}

const STRICT: u32 = 1;
const OWN_LOOPBACK: u32 = 2;

impl Policy {
    /// The record of the settings map; levels are depths of tasks' groups in the hierarchy.
    pub(crate) fn encode(self, first_level: u32, last_level: u32) -> Vec<u8> {
        let mut record = vec![0; size_of::<settings>()];
        let flags =
            if self.strict { STRICT } else { 0 } | if self.own_loopback { OWN_LOOPBACK } else { 0 };
        let fields = [
            (offset_of!(settings, first_level), first_level),
            (offset_of!(settings, last_level), last_level),
            (offset_of!(settings, mode), self.mode.raw()),
            (offset_of!(settings, flags), flags),
        ];
        for (at, value) in fields {
            put(&mut record, at, &value.to_ne_bytes());
        }
        record
    }
}
