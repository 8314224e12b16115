//! How records and batches lie in an ensemble, whose values and writes have a largest size.

use std::collections::BTreeMap;

use prost::Message;
use tepui_ensemble::{Change, Limits, Place};

use crate::backend::{Key, Op};

/// Bytes of a value in one place; longer ones lie in parts.
pub(super) const PART: usize = 600_000;
/// A whole value follows.
const WHOLE: u8 = 0;
/// The name of parts and their number follow.
const IN_PARTS: u8 = 1;

/// The parts that a long value lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    id: String,
    count: u32,
}

impl Parts {
    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.count).map(|part| format!("{}.{part}", self.id))
    }
}

/// The records that are there, with the parts of those that lie in parts.
pub(super) type Known = BTreeMap<Key, Option<Parts>>;

/// What a batch changes in what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// The record is there, in parts or not.
    There(Key, Option<Parts>),
    /// It is not.
    Gone(Key),
}

/// What stands at a record's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    Whole(&'a [u8]),
    InParts { parts: Parts, check: u32 },
}

/// Reads what stands at a record's place.
pub(super) fn read(stored: &[u8]) -> Result<Stored<'_>, &'static str> {
    let Some((kind, rest)) = stored.split_first() else { return Err("it is empty") };
    let Some((check, rest)) = rest.split_first_chunk::<4>() else { return Err("it is cut short") };
    let check = u32::from_le_bytes(*check);
    match *kind {
        WHOLE if crc32fast::hash(rest) == check => Ok(Stored::Whole(rest)),
        WHOLE => Err("its checksum is another"),
        IN_PARTS => {
            let Some((count, id)) = rest.split_first_chunk::<4>() else {
                return Err("it is cut short");
            };
            let Ok(id) = std::str::from_utf8(id) else { return Err("its parts have no name") };
            let parts = Parts { id: id.to_owned(), count: u32::from_le_bytes(*count) };
            Ok(Stored::InParts { parts, check })
        }
        _ => Err("it has an unknown form"),
    }
}

/// The changes that a batch makes where `known` says what is there. `id` names this batch among
/// all, ever. Each key is changed once: its last change wins.
pub(super) fn changes(known: &Known, ops: &[Op], id: &str) -> (Vec<Change>, Vec<Learned>) {
    let mut last: BTreeMap<&str, (usize, Option<&[u8]>)> = BTreeMap::new();
    for (index, op) in ops.iter().enumerate() {
        match op {
            Op::Put { key, value } => last.insert(key, (index, Some(value))),
            Op::Delete { key } => last.insert(key, (index, None)),
        };
    }
    let mut changes = Vec::new();
    let mut learned = Vec::new();
    for (key, (index, value)) in last {
        let there = known.get(key);
        let place = Place::Record(key.to_owned());
        match (value, there) {
            (None, None) => continue,
            (None, Some(_)) => {
                changes.push(Change::Remove(place));
                learned.push(Learned::Gone(key.to_owned()));
            }
            (Some(value), there) => {
                let (stored, parts) = store(value, &format!("{id}.{index}"), &mut changes);
                changes.push(match there {
                    Some(_) => Change::Set(place, stored),
                    None => Change::Create(place, stored),
                });
                learned.push(Learned::There(key.to_owned(), parts));
            }
        }
        // The parts of the former value go after what named them.
        if let Some(Some(parts)) = there {
            changes.extend(parts.names().map(|name| Change::Remove(Place::Part(name))));
        }
    }
    (changes, learned)
}

/// What to store for a value; its parts, if it needs any, are made first.
fn store(value: &[u8], id: &str, changes: &mut Vec<Change>) -> (Vec<u8>, Option<Parts>) {
    let check = crc32fast::hash(value).to_le_bytes();
    if value.len() <= PART {
        let mut stored = Vec::with_capacity(value.len() + 5);
        stored.push(WHOLE);
        stored.extend(check);
        stored.extend(value);
        return (stored, None);
    }
    let count = u32::try_from(value.len().div_ceil(PART)).unwrap_or(u32::MAX);
    let parts = Parts { id: id.to_owned(), count };
    for (name, part) in std::iter::zip(parts.names(), value.chunks(PART)) {
        changes.push(Change::Create(Place::Part(name), part.to_vec()));
    }
    let mut stored = vec![IN_PARTS];
    stored.extend(check);
    stored.extend(count.to_le_bytes());
    stored.extend(id.as_bytes());
    (stored, Some(parts))
}

/// Changes in groups that fit into one swap each, in order.
pub(super) fn groups(changes: Vec<Change>, limits: Limits) -> Vec<Vec<Change>> {
    let mut groups = vec![Vec::new()];
    let (mut count, mut bytes) = (0, 0);
    for change in changes {
        if count > 0 && (count + 1 > limits.changes || bytes + change.bytes() > limits.bytes) {
            groups.push(Vec::new());
            (count, bytes) = (0, 0);
        }
        count += 1;
        bytes += change.bytes();
        if let Some(group) = groups.last_mut() {
            group.push(change);
        }
    }
    groups
}

/// A batch as it lies aside until it is in the records.
#[derive(Clone, PartialEq, prost::Message)]
struct StagedBatch {
    #[prost(message, repeated, tag = "1")]
    ops: Vec<StagedOp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StagedOp {
    #[prost(string, tag = "1")]
    key: String,
    /// Absent where the record is removed.
    #[prost(bytes = "vec", optional, tag = "2")]
    value: Option<Vec<u8>>,
}

/// The parts that a batch lies aside in.
pub(super) fn stage(ops: &[Op]) -> Vec<Vec<u8>> {
    let ops = ops
        .iter()
        .map(|op| match op {
            Op::Put { key, value } => StagedOp { key: key.clone(), value: Some(value.clone()) },
            Op::Delete { key } => StagedOp { key: key.clone(), value: None },
        })
        .collect();
    let mut bytes = StagedBatch { ops }.encode_to_vec();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.chunks(PART).map(<[u8]>::to_vec).collect()
}

/// Reads a batch that lies aside.
pub(super) fn unstage(parts: &[&[u8]]) -> Result<Vec<Op>, &'static str> {
    let bytes = parts.concat();
    let Some((batch, check)) = bytes.split_last_chunk::<4>() else { return Err("it is cut short") };
    if crc32fast::hash(batch) != u32::from_le_bytes(*check) {
        return Err("its checksum is another");
    }
    let Ok(batch) = StagedBatch::decode(batch) else { return Err("it is no batch") };
    Ok(batch
        .ops
        .into_iter()
        .map(|StagedOp { key, value }| match value {
            Some(value) => Op::Put { key, value },
            None => Op::Delete { key },
        })
        .collect())
}

/// The place of one part of the batch that makes a revision.
pub(super) fn staged_place(revision: u64, part: u32) -> Place {
    Place::Staged(format!("{revision:020}.{part:06}"))
}
