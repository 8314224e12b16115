//! Which node holds what. Names are escaped and spread over buckets, because ZooKeeper lists a
//! folder in one answer.

use crate::place::Place;

pub(super) const BUCKETS: u8 = 128;
pub(super) const SPACES: [&str; 3] = ["part", "record", "staged"];
/// ZooKeeper has no empty names.
const EMPTY: &str = "%";

/// The node of a place, below `root` and `ours`.
pub(super) fn path(root: &str, ours: &str, place: &Place) -> String {
    let (space, name) = match place {
        Place::Meta => return format!("{root}{ours}/meta"),
        Place::Part(name) => ("part", name),
        Place::Record(name) => ("record", name),
        Place::Staged(name) => ("staged", name),
    };
    format!("{root}{ours}/{space}/{:02x}/{}", bucket(name), escape(name))
}

/// The place of a node, named from below `ours` without the first slash.
pub(super) fn place(rest: &str) -> Option<Place> {
    if rest == "meta" {
        return Some(Place::Meta);
    }
    let mut parts = rest.splitn(3, '/');
    let (space, _bucket, name) = (parts.next()?, parts.next()?, parts.next()?);
    let name = unescape(name)?;
    match space {
        "part" => Some(Place::Part(name)),
        "record" => Some(Place::Record(name)),
        "staged" => Some(Place::Staged(name)),
        _ => None,
    }
}

/// FNV-1a: it must never change, for it says where stored records are.
fn bucket(name: &str) -> u8 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.to_le_bytes()[7] % BUCKETS
}

fn escape(name: &str) -> String {
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02x}"));
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    if escaped == EMPTY {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_node_and_the_node_names_it() {
        for name in ["", "apps", "apps/ä", "agents/", "a.b", "..", "%", "a~1", "\u{0}"] {
            for place in [
                Place::Record(name.to_owned()),
                Place::Part(name.to_owned()),
                Place::Staged(name.to_owned()),
            ] {
                let node = path("/mesos", "/tepui", &place);
                let rest = node.strip_prefix("/mesos/tepui/").unwrap();
                assert_eq!(rest.matches('/').count(), 2, "{node}");
                assert_eq!(super::place(rest), Some(place), "{node}");
            }
        }
        assert_eq!(path("", "/tepui", &Place::Meta), "/tepui/meta");
        assert_eq!(place("meta"), Some(Place::Meta));
    }

    #[test]
    fn where_records_are_does_not_change() {
        let node = |name: &str| path("", "/tepui", &Place::Record(name.to_owned()));
        assert_eq!(node("apps/shop"), "/tepui/record/47/apps%2fshop");
    }

    #[test]
    fn a_node_of_somebody_else_is_no_place() {
        for rest in ["record", "record/00", "other/00/x", "record/00/%zz", "record/00/%f"] {
            assert_eq!(place(rest), None, "{rest}");
        }
    }
}
