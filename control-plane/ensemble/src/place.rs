/// Where something is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Who leads, and how far the records are.
    Meta,
    /// A record, by its key.
    Record(String),
    /// A part of a record that is too long for one place.
    Part(String),
    /// A part of a batch that is too large for one swap.
    Staged(String),
}

/// One change of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a value where there is none.
    Create(Place, Vec<u8>),
    /// Replaces a value.
    Set(Place, Vec<u8>),
    /// Removes a value that is there.
    Remove(Place),
}

impl Change {
    /// Where.
    pub fn place(&self) -> &Place {
        match self {
            Self::Create(place, _) | Self::Set(place, _) | Self::Remove(place) => place,
        }
    }

    /// Roughly what it adds to a request.
    pub fn bytes(&self) -> usize {
        let name = match self.place() {
            Place::Meta => 0,
            Place::Record(name) | Place::Part(name) | Place::Staged(name) => name.len(),
        };
        let value = match self {
            Self::Create(_, value) | Self::Set(_, value) => value.len(),
            Self::Remove(_) => 0,
        };
        // Names may be escaped, threefold at worst.
        3 * name + value + 128
    }
}

/// Names one state of the record of who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub(crate) i64);

/// What one swap may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Changes.
    pub changes: usize,
    /// Bytes of all of them ([`Change::bytes`]).
    pub bytes: usize,
}

/// What a follower hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Everything there is; what was heard before is void.
    Snapshot(Vec<(Place, Vec<u8>)>),
    /// Values that changed, in order; `None` where one was removed. The changes of one swap
    /// come together, the record of who leads last.
    Changes(Vec<(Place, Option<Vec<u8>>)>),
}
