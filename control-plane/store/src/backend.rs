//! The trait that every backend implements; one behavioural suite runs on all of them.

use std::time::Duration;

use tepui_types::Term;

/// A key: path-like text such as `agents/…` or `apps/root`.
pub type Key = String;

/// Grows by one with each committed batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a value, whether or not there was one.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Vec<u8>,
    },
    /// Removes a value if there is one.
    Delete {
        /// Where.
        key: Key,
    },
}

/// Changes that become durable together, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes in order; a later change of the same key wins.
    pub ops: Vec<Op>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The writer's term is not the current one: another leader took over (invariant I-15).
    #[error("term {ours} is over, the current term is {current}", ours = ours.0, current = current.0)]
    Fenced {
        /// The writer's term.
        ours: Term,
        /// The term in force.
        current: Term,
    },
    /// The store does not know the writer's term: it was emptied, replaced or set back, so it is not
    /// what the writer has in memory.
    #[error(
        "the store was emptied, replaced or set back: it is at term {current}, and this process led in \
         term {ours}", ours = ours.0, current = current.0
    )]
    SetBack {
        /// The writer's term.
        ours: Term,
        /// The store's; 0 where nobody ever led.
        current: Term,
    },
    /// Stored bytes are not what was written (invariant I-49).
    #[error("stored record {key:?} is corrupt: {why}")]
    Corrupt {
        /// Which record.
        key: Key,
        /// How it shows.
        why: String,
    },
    /// The disk is full; nothing was written, and a later try may work.
    #[error("no space left for the store at {path}")]
    NoSpace {
        /// Where.
        path: String,
    },
    /// A write or sync failed; whether it is durable is unknown, so the process must end.
    #[error("failed to {what} at {path}")]
    Failed {
        /// What was attempted.
        what: &'static str,
        /// Where.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Durable records.
pub trait Store: Send {
    /// Takes leadership of the store: raises the term above every earlier one, durably, and
    /// returns it. Writers with lower terms are refused from then on.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn acquire(&mut self) -> Result<Term, StoreError>;

    /// Every record whose key begins with `prefix`, in the order of keys.
    ///
    /// # Errors
    /// When the store cannot be read or a record is corrupt; never a shortened list.
    fn load(&self, prefix: &str) -> Result<Vec<(Key, Vec<u8>)>, StoreError>;

    /// Makes the batch durable if `term` is the one in force.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when it is not; [`StoreError::NoSpace`] when nothing was written;
    /// any other error ends the process (design, decision 14).
    fn commit(&mut self, term: Term, batch: Batch) -> Result<Revision, StoreError>;

    /// How long the leader may go without a commit, an empty one if need be, before others take
    /// it for dead; `None` where there are no others.
    fn renewal(&self) -> Option<Duration> {
        None
    }

    /// Gives leadership up, so that a standby need not wait. What was committed stays.
    ///
    /// # Errors
    /// When the store does not answer; then a standby waits.
    fn resign(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
