//! Instance and task ids with all forms that are still read (`marathon-behaviour.md` section 1).

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::path::PathId;

/// Container name that stands for "the app itself" in task ids.
const APP_CONTAINER: &str = "_app";
const UUID_LENGTH: usize = 36;

/// The text is not the id of an instance or task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid {kind} id '{text}'.")]
pub struct InvalidId {
    /// `instance` or `task`.
    pub kind: &'static str,
    /// What was given, at most 300 characters of it.
    pub text: String,
}

impl InvalidId {
    fn new(kind: &'static str, text: &str) -> Self {
        Self { kind, text: text.chars().take(300).collect() }
    }
}

/// The id of one desired copy of an app: `<path with / as _>.instance-<uuid>`.
///
/// The older prefix `marathon-` is read and kept. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId {
    text: Arc<str>,
    run_spec: PathId,
}

impl InstanceId {
    /// A new instance of `app`, named by a time-based uuid made from `unix_millis` and `entropy`.
    #[must_use]
    pub fn generate(app: &PathId, unix_millis: i64, entropy: u64) -> Self {
        let uuid = time_uuid(unix_millis, entropy);
        Self { text: format!("{}.instance-{uuid}", app.safe()).into(), run_spec: app.clone() }
    }

    /// Parses `<path>.instance-<uuid>` or `<path>.marathon-<uuid>`.
    ///
    /// # Errors
    /// The text has neither form.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new("instance", text);
        let (path, name) = text.rsplit_once('.').ok_or_else(invalid)?;
        let uuid = name
            .strip_prefix("instance-")
            .or_else(|| name.strip_prefix("marathon-"))
            .filter(|uuid| is_uuid(uuid));
        if uuid.is_none() {
            return Err(invalid());
        }
        let run_spec = PathId::from_safe(path).map_err(|_| invalid())?;
        Ok(Self { text: text.into(), run_spec })
    }

    /// The app (or pod) this is an instance of.
    #[must_use]
    pub fn run_spec(&self) -> &PathId {
        &self.run_spec
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The id of one Mesos task of an instance.
///
/// Current form `<instance>._app.<incarnation>` (apps) or `<instance>.<container>.<incarnation>`
/// (pods); `<instance>._app`, `<instance>.<container>` and `<path>.<uuid>` of older releases are
/// read and kept. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    text: Arc<str>,
    instance: InstanceId,
    incarnation: Option<u32>,
}

impl TaskId {
    /// The id of the app task of `instance`; `incarnation` starts at 1 and grows by 1 with each
    /// relaunch of the same instance.
    #[must_use]
    pub fn for_app(instance: &InstanceId, incarnation: u32) -> Self {
        Self {
            text: format!("{instance}.{APP_CONTAINER}.{incarnation}").into(),
            instance: instance.clone(),
            incarnation: Some(incarnation),
        }
    }

    /// Parses every form, current and older.
    ///
    /// # Errors
    /// The text has none of the forms.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new("task", text);
        let (head, last) = text.rsplit_once('.').ok_or_else(invalid)?;
        if is_uuid(last) {
            let run_spec = PathId::from_safe(head).map_err(|_| invalid())?;
            let instance = InstanceId { text: format!("{head}.marathon-{last}").into(), run_spec };
            return Ok(Self { text: text.into(), instance, incarnation: None });
        }
        if let Ok(instance) = InstanceId::parse(head) {
            return is_container(last)
                .then(|| Self { text: text.into(), instance, incarnation: None })
                .ok_or_else(invalid);
        }
        let incarnation = parse_incarnation(last).ok_or_else(invalid)?;
        let (instance, container) = head.rsplit_once('.').ok_or_else(invalid)?;
        let instance = InstanceId::parse(instance).map_err(|_| invalid())?;
        is_container(container)
            .then(|| Self { text: text.into(), instance, incarnation: Some(incarnation) })
            .ok_or_else(invalid)
    }

    /// The instance the task belongs to.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The app the task belongs to.
    #[must_use]
    pub fn app(&self) -> &PathId {
        self.instance.run_spec()
    }

    /// How often the instance has been launched, counted from 1; `None` in the older forms.
    #[must_use]
    pub fn incarnation(&self) -> Option<u32> {
        self.incarnation
    }

    /// The id of the next launch of the same instance.
    #[must_use]
    pub fn next_incarnation(&self) -> Self {
        Self::for_app(&self.instance, self.incarnation.map_or(1, |last| last.saturating_add(1)))
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn parse_incarnation(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn is_container(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text == APP_CONTAINER || (!text.is_empty() && text.bytes().all(inner))
}

fn is_uuid(text: &str) -> bool {
    text.len() == UUID_LENGTH
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A version-1 (time-based) uuid for `unix_millis`, with `entropy` in the place of clock sequence
/// and host address (its multicast bit set, as RFC 9562 asks of random ones).
#[must_use]
pub fn time_uuid(unix_millis: i64, entropy: u64) -> String {
    /// 100 ns steps from the Gregorian reform of 1582 to 1970.
    const GREGORIAN_OFFSET: u64 = 0x01B2_1DD2_1381_4000;
    let ticks = u64::try_from(unix_millis)
        .unwrap_or(0)
        .wrapping_mul(10_000)
        .wrapping_add(GREGORIAN_OFFSET)
        // The clock has milliseconds; the ticks below one come from the entropy.
        .wrapping_add((entropy >> 48) % 10_000);
    let low = ticks & 0xFFFF_FFFF;
    let mid = (ticks >> 32) & 0xFFFF;
    let high = ((ticks >> 48) & 0x0FFF) | 0x1000;
    let sequence = ((entropy >> 50) & 0x3FFF) | 0x8000;
    let node = (entropy & 0xFFFF_FFFF_FFFF) | 0x0100_0000_0000;
    format!("{low:08x}-{mid:04x}-{high:04x}-{sequence:04x}-{node:012x}")
}

macro_rules! text_id {
    ($id:ident) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self.text)
            }
        }

        impl std::str::FromStr for $id {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }
    };
}

text_id!(InstanceId);
text_id!(TaskId);

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "11112222-3333-11ea-8000-0242ac110002";

    #[test]
    fn a_generated_id_carries_its_app_and_grows_incarnations() {
        let app = PathId::parse("/a/b.c").unwrap();
        let instance = InstanceId::generate(&app, 1_577_836_800_000, 0x1234_5678_9abc_def0);
        assert_eq!(InstanceId::parse(instance.as_str()).unwrap(), instance);
        assert!(instance.as_str().starts_with("a_b.c.instance-"));
        let task = TaskId::for_app(&instance, 1);
        assert_eq!(TaskId::parse(task.as_str()).unwrap(), task);
        assert_eq!(task.app(), &app);
        assert_eq!(task.next_incarnation().incarnation(), Some(2));
    }

    #[test]
    fn every_older_form_is_still_read() {
        for (text, instance, incarnation) in [
            (format!("a_b.instance-{UUID}._app.3"), format!("a_b.instance-{UUID}"), Some(3)),
            (format!("a_b.instance-{UUID}.side-car.1"), format!("a_b.instance-{UUID}"), Some(1)),
            (format!("a_b.instance-{UUID}._app"), format!("a_b.instance-{UUID}"), None),
            (format!("a_b.marathon-{UUID}._app"), format!("a_b.marathon-{UUID}"), None),
            (format!("a_b.{UUID}"), format!("a_b.marathon-{UUID}"), None),
        ] {
            let task = TaskId::parse(&text).unwrap();
            assert_eq!(task.instance().as_str(), instance, "{text}");
            assert_eq!(task.incarnation(), incarnation, "{text}");
            assert_eq!(task.app().as_str(), "/a/b");
            assert_eq!(task.as_str(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            ".",
            "x",
            "a_b",
            "a.b.c",
            "a_b.instance-1",
            "a_b.instance-._app.1",
            "../../etc",
            "._app.1",
            "A.11112222-3333-11ea-8000-0242ac110002",
        ] {
            assert!(TaskId::parse(text).is_err(), "{text}");
        }
        assert!(TaskId::parse(&format!("a.instance-{UUID}.{{}}.1")).is_err());
        assert!(TaskId::parse(&format!("a.instance-{UUID}._app.-1")).is_err());
        assert!(TaskId::parse(&format!("a.instance-{UUID}._app.99999999999")).is_err());
    }

    #[test]
    fn uuids_carry_their_version_and_variant() {
        let uuid = time_uuid(0, u64::MAX);
        assert!(is_uuid(&uuid));
        assert_eq!(&uuid[14..15], "1");
        assert!(is_uuid(&time_uuid(i64::MIN, 0)));
    }
}
