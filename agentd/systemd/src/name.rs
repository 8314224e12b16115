//! Names of units: any id becomes a name that systemd takes, and two ids never become the same.

use std::fmt;
use std::fmt::Write;

/// Longest unit name that we make; systemd takes 255 bytes.
const MAX_NAME: usize = 200;

/// Name of a task's service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitName(String);

impl UnitName {
    /// What the names of all our tasks begin with.
    pub const PREFIX: &str = "tepui-task-";

    /// The service of a task. Characters other than letters, digits, `:`, `_` and `.` are escaped as
    /// systemd does; what gets too long is cut and keeps a hash of the whole.
    #[must_use]
    pub fn of_task(id: &str) -> Self {
        let room = MAX_NAME - Self::PREFIX.len() - ".service".len();
        Self(format!("{}{}.service", Self::PREFIX, fitted(&escape(id), id, room)))
    }

    /// The service whose control group holds tasks that are no units.
    #[must_use]
    pub fn of_processes() -> Self {
        Self("tepui-processes.service".to_owned())
    }

    /// A name that systemd or a record told; `None` unless it is one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ours = text.starts_with(Self::PREFIX) && text.ends_with(".service");
        (ours && text.len() <= 255).then(|| Self(text.to_owned()))
    }

    /// The name with its suffix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of the slice of a role's tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SliceName(String);

impl SliceName {
    /// All tasks of the host are below it.
    pub const TASKS: &str = "tepui-tasks.slice";

    /// Slices below each other that a role gets at most.
    pub const MOST_LEVELS: usize = 4;

    /// The slice of a role. A dash in a slice's name means "below", so the role's own slashes become
    /// dashes and everything else is escaped; the default role is named `default`. What of a role is
    /// deeper than [`Self::MOST_LEVELS`] shares the name of the last slice, slashes escaped, so that
    /// no task lies below what the programs in the kernel look at.
    #[must_use]
    pub fn of_role(role: &str) -> Self {
        let role = if role == "*" { "default" } else { role };
        let parts: Vec<String> = role.splitn(Self::MOST_LEVELS, '/').map(escape).collect();
        let room = MAX_NAME - "tepui-tasks-.slice".len();
        Self(format!("tepui-tasks-{}.slice", fitted(&parts.join("-"), role, room)))
    }

    /// The slice of all tasks.
    #[must_use]
    pub fn of_tasks() -> Self {
        Self(Self::TASKS.to_owned())
    }

    /// The name with its suffix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b':' || byte == b'_';
        if plain || (byte == b'.' && at > 0) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Cuts a name that is too long, and adds a hash of what it stands for.
fn fitted(escaped: &str, whole: &str, room: usize) -> String {
    if escaped.len() <= room {
        return escaped.to_owned();
    }
    let mut end = room - 17;
    // Not in the middle of an escape.
    if let Some(begun) = escaped[..end].rfind('\\').filter(|at| end - at < 4) {
        end = begun;
    }
    format!("{}.{:016x}", &escaped[..end], fnv(whole.as_bytes()))
}

/// FNV-1a, 64 bits: no secret is at stake, only that long names differ.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_become_names_as_systemd_escapes_them() {
        let name = UnitName::of_task("shop_cart.instance-1._app.2");
        assert_eq!(name.as_str(), "tepui-task-shop_cart.instance\\x2d1._app.2.service");
        assert_eq!(SliceName::of_role("*").as_str(), "tepui-tasks-default.slice");
        assert_eq!(SliceName::of_role("eng/web-1").as_str(), "tepui-tasks-eng-web\\x2d1.slice");
        assert_eq!(UnitName::parse(name.as_str()), Some(name));
        let four = SliceName::of_role("a/b/c/d");
        assert_eq!(four.as_str(), "tepui-tasks-a-b-c-d.slice");
        let twelve = SliceName::of_role("a/b/c/d/e/f/g/h/i/j/k/l");
        let last = ["d", "e", "f", "g", "h", "i", "j", "k", "l"].join("\\x2f");
        assert_eq!(twelve.as_str(), format!("tepui-tasks-a-b-c-{last}.slice"));
        assert_eq!(UnitName::parse("ssh.service"), None);
    }

    proptest! {
        #[test]
        fn every_id_becomes_a_legal_name_of_its_own(a in ".{1,300}", b in ".{1,300}") {
            let (one, other) = (UnitName::of_task(&a), UnitName::of_task(&b));
            prop_assert_eq!(a == b, one == other);
            prop_assert!(one.as_str().len() <= MAX_NAME);
            let legal = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
            prop_assert!(one.as_str().chars().all(legal));
            prop_assert!(SliceName::of_role(&a).as_str().len() <= MAX_NAME);
        }

        #[test]
        fn no_role_is_deeper_than_the_kernels_programs_look_and_none_shares_a_slice(
            a in "[a-c-]{1,3}(/[a-c]{1,3}){0,15}",
            b in "[a-c-]{1,3}(/[a-c]{1,3}){0,15}",
        ) {
            let (one, other) = (SliceName::of_role(&a), SliceName::of_role(&b));
            prop_assert_eq!(a == b, one == other);
            let below_all = one.as_str().matches('-').count() - SliceName::TASKS.matches('-').count();
            prop_assert!(below_all <= SliceName::MOST_LEVELS, "{}", one.as_str());
        }
    }
}
