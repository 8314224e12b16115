//! What the codecs know about each message: field names, numbers, labels, kinds and defaults.
//!
//! The statics are written by the build script from the compiled descriptors.

/// The shape of one message.
#[derive(Debug)]
pub struct MessageSchema {
    /// Full protobuf name, such as `mesos.v1.TaskInfo`.
    pub name: &'static str,
    /// Ascending by number; at most 64.
    pub fields: &'static [FieldSchema],
    /// Indices into `fields`, ascending by field name.
    pub(crate) by_name: &'static [u8],
    /// One bit per index into `fields`: the field must be set.
    pub(crate) required: u64,
    /// Whether a map with messages as values can occur in it, at any depth.
    pub(crate) holds_maps: bool,
}

impl MessageSchema {
    /// The index of the field with this name, exactly as written in the protobuf file.
    pub(crate) fn index_of_name(&self, name: &str) -> Option<usize> {
        let name_of = |index: &u8| self.fields[usize::from(*index)].name;
        let place = self.by_name.binary_search_by(|index| name_of(index).cmp(name)).ok()?;
        Some(usize::from(self.by_name[place]))
    }

    /// The index of the field with this number.
    pub(crate) fn index_of_number(&self, number: u32) -> Option<usize> {
        // Most messages number their fields 1, 2, 3…
        let guess = (number as usize).wrapping_sub(1);
        if self.fields.get(guess).is_some_and(|field| field.number == number) {
            return Some(guess);
        }
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }

    /// The required fields whose bit is not in `set`.
    pub(crate) fn missing(&self, set: u64) -> impl Iterator<Item = &'static FieldSchema> {
        let missing = self.required & !set;
        let numbered = self.fields.iter().enumerate();
        numbered.filter(move |(index, _)| missing & (1 << index) != 0).map(|(_, field)| field)
    }
}

/// The shape of one field.
#[derive(Debug)]
pub struct FieldSchema {
    /// The name, which is also the JSON key.
    pub name: &'static str,
    /// The number on the binary wire.
    pub number: u32,
    /// How often it may or must occur.
    pub label: Label,
    /// What it holds; for maps, what each value holds (keys are strings).
    pub kind: Kind,
    /// The JSON text written while the field is unset: for optional fields that declare a default
    /// and are not deprecated.
    pub default: Option<&'static str>,
}

/// How often a field may or must occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Label {
    Optional,
    Required,
    Repeated,
    Map,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Double,
    String,
    Bytes,
    Enum(&'static EnumSchema),
    Message(&'static MessageSchema),
}

/// The values of one enum.
#[derive(Debug)]
pub struct EnumSchema {
    /// Full protobuf name, such as `mesos.v1.TaskState`.
    pub name: &'static str,
    /// Ascending by name.
    pub(crate) by_name: &'static [(&'static str, i32)],
    /// Ascending by number, each number once.
    pub(crate) by_number: &'static [(i32, &'static str)],
}

impl EnumSchema {
    pub(crate) fn number_of(&self, name: &str) -> Option<i32> {
        let place = self.by_name.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        Some(self.by_name[place].1)
    }

    pub(crate) fn name_of(&self, number: i32) -> Option<&'static str> {
        let place = self.by_number.binary_search_by_key(&number, |(known, _)| *known).ok()?;
        Some(self.by_number[place].1)
    }

    /// The names of all values, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.by_number.iter().map(|(_, name)| *name)
    }

    /// The numbers of all values, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = i32> {
        self.by_number.iter().map(|(number, _)| *number)
    }
}

/// A generated message that the codecs of this crate read and write.
///
/// Implemented by the build script for every message of the Mesos v1 surface.
pub trait WireMessage: prost::Message + Default {
    /// Its shape.
    const SCHEMA: &'static MessageSchema;
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));
