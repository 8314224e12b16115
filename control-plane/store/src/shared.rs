//! Records that several control planes share, in etcd or ZooKeeper.
//!
//! Every write is one swap of the record of who leads together with the changed records, so a
//! writer that is not the last one to have written finds out before anything changes. A batch
//! that is too large for one swap lies aside in parts first; the swap that names the parts commits
//! it, and whoever leads next finishes what its writer could not.

mod layout;
mod replica;

use std::time::{Duration, Instant};

use tepui_election::{Candidate, Leadership, RENEWALS};
use tepui_ensemble::{Change, Ensemble, EnsembleError, News, Place, Stamp, SwapError};
use tepui_types::{Term, Uuid};
use tokio::runtime::Handle;
use tracing::warn;

use crate::backend::{Batch, Key, Op, Revision, Store, StoreError};
use layout::{Known, Learned};
pub use replica::Replica;
use replica::read_leadership;

/// The pause before a request is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// How an attempt to lead ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Campaign {
    /// This process leads in this term.
    Won(Term),
    /// Somebody else does.
    Lost,
}

/// Records in an ensemble. Its calls block, and so belong into a thread that is not the
/// runtime's.
pub struct Shared {
    ensemble: Ensemble,
    runtime: Handle,
    me: Candidate,
    /// The cluster's id if nobody has given it one.
    fresh: Uuid,
    /// How long a leader is believed without a sign of life; servers that are away longer end
    /// the leader's process.
    lease: Duration,
    /// Terms to come are above this one.
    above: Term,
    held: Option<Held>,
    /// Told of each write that the servers did not take, which is tried again.
    on_failure: Box<dyn Fn() + Send>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("me", &self.me)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

/// What the leader knows of what it wrote.
#[derive(Debug)]
struct Held {
    stamp: Stamp,
    leadership: Leadership,
    /// What is there; read when it is first needed.
    known: Option<Known>,
}

impl Shared {
    /// Records in `ensemble`, written as `me`.
    pub fn new(
        ensemble: Ensemble,
        runtime: Handle,
        me: Candidate,
        fresh: Uuid,
        lease: Duration,
    ) -> Self {
        Self {
            ensemble,
            runtime,
            me,
            fresh,
            lease,
            above: Term::default(),
            held: None,
            on_failure: Box::new(|| ()),
        }
    }

    /// Takes terms above this one only: agents that obeyed another store's leader obey no lower one.
    #[must_use]
    pub fn above(self, term: Term) -> Self {
        Self { above: term, ..self }
    }

    /// Has `told` called for each write that the servers did not take; most succeed when they are
    /// tried again, so nobody else hears of them.
    #[must_use]
    pub fn on_failure(self, told: impl Fn() + Send + 'static) -> Self {
        Self { on_failure: Box::new(told), ..self }
    }

    /// Raises the term if nobody but the leader of `seen` has led since (`None`: nobody ever).
    /// Unless that leader is known to be `gone`, it stays if it has written since. The term is above
    /// `known` too, the highest that the caller ever knew of: in a store that was emptied or set back,
    /// somebody may still lead in that one (invariant I-16).
    ///
    /// # Errors
    /// When the servers do not answer, or what is stored is damaged.
    pub fn campaign(
        &mut self,
        seen: Option<&Leadership>,
        gone: bool,
        known: Term,
    ) -> Result<Campaign, StoreError> {
        self.held = None;
        let (stamp, current) = self.current()?;
        let same = match (seen, stamp) {
            (None, None) => true,
            (Some(seen), Some(_)) => {
                seen.term == current.term && (gone || seen.writes == current.writes)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !same {
            return Ok(Campaign::Lost);
        }
        self.raise(stamp, current, known)
    }

    fn raise(
        &mut self,
        stamp: Option<Stamp>,
        current: Leadership,
        known: Term,
    ) -> Result<Campaign, StoreError> {
        let term = Term(current.term.max(self.above).max(known).0.saturating_add(1));
        let leadership = Leadership {
            term,
            writes: current.writes.saturating_add(1),
            leader: Some(self.me.clone()),
            ..current
        };
        match self.swap_surely(stamp, &leadership, &[])? {
            Some(stamp) => {
                self.held = Some(Held { stamp, leadership, known: None });
                Ok(Campaign::Won(term))
            }
            None => Ok(Campaign::Lost),
        }
    }

    /// Takes from a copy that followed this leader's election what is there, so that it need not
    /// be read.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn adopt(&mut self, replica: &Replica) -> Result<(), StoreError> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if replica.leadership() != Some(&held.leadership) {
            return Ok(());
        }
        held.known = Some(replica.known()?);
        let staged = replica.staged()?;
        let aside = replica.aside()?;
        self.finish(&staged, &aside)
    }

    fn current(&self) -> Result<(Option<Stamp>, Leadership), StoreError> {
        let meta = self.runtime.block_on(self.ensemble.meta());
        match meta.map_err(|error| failed("read who leads", error))? {
            Some((bytes, stamp)) => Ok((Some(stamp), read_leadership(&bytes)?)),
            None => Ok((None, Leadership::none(self.fresh))),
        }
    }

    fn replica(&self) -> Result<Replica, StoreError> {
        let all = self.runtime.block_on(self.ensemble.load());
        let mut replica = Replica::default();
        replica.take(News::Snapshot(all.map_err(|error| failed("read the store", error))?))?;
        Ok(replica)
    }

    /// Makes one swap, again and again until its outcome is known. `None` when somebody else
    /// swapped.
    fn swap_surely(
        &self,
        stamp: Option<Stamp>,
        leadership: &Leadership,
        changes: &[Change],
    ) -> Result<Option<Stamp>, StoreError> {
        let bytes = leadership.encode();
        let begin = Instant::now();
        loop {
            let swapped = self.runtime.block_on(self.ensemble.swap(stamp, &bytes, changes));
            let error = match swapped {
                Ok(stamp) => return Ok(Some(stamp)),
                // An earlier try of ours may be what changed it, also one before a store that was
                // full: no two writes leave the same record.
                Err(SwapError::Conflict) => match self.runtime.block_on(self.ensemble.meta()) {
                    Ok(Some((found, stamp))) if found == bytes => return Ok(Some(stamp)),
                    Ok(_) => return Ok(None),
                    Err(error) => error,
                },
                Err(SwapError::Unknown(error)) => error,
            };
            (self.on_failure)();
            if let EnsembleError::NoSpace { servers } = error {
                return Err(StoreError::NoSpace { path: servers });
            }
            if begin.elapsed() >= self.lease {
                return Err(failed("write to the store", error));
            }
            warn!(error = &error as &dyn std::error::Error, "store does not answer, retrying");
            std::thread::sleep(PAUSE);
        }
    }

    /// Swaps as the leader; the record of who leads becomes `next`.
    fn advance(&mut self, next: Leadership, changes: &[Change]) -> Result<(), StoreError> {
        let Some(held) = &self.held else {
            return Err(StoreError::Fenced { ours: Term(0), current: Term(0) });
        };
        let (stamp, ours) = (held.stamp, held.leadership.term);
        match self.swap_surely(Some(stamp), &next, changes)? {
            Some(stamp) => {
                if let Some(held) = &mut self.held {
                    held.stamp = stamp;
                    held.leadership = next;
                }
                Ok(())
            }
            None => {
                self.held = None;
                let (_, current) = self.current()?;
                if current.term < ours {
                    return Err(StoreError::SetBack { ours, current: current.term });
                }
                if current.term == ours {
                    let why = "it is not what the leader of this term left there".to_owned();
                    return Err(StoreError::Corrupt { key: "meta".to_owned(), why });
                }
                Err(StoreError::Fenced { ours, current: current.term })
            }
        }
    }

    /// What is there, read if this leader has not yet; what a former one left undone is finished.
    fn know(&mut self) -> Result<(), StoreError> {
        if self.held.as_ref().is_some_and(|held| held.known.is_none()) {
            let replica = self.replica()?;
            let known = replica.known()?;
            let (staged, aside) = (replica.staged()?, replica.aside()?);
            if let Some(held) = &mut self.held {
                held.known = Some(known);
            }
            self.finish(&staged, &aside)?;
        }
        Ok(())
    }

    /// Brings a committed batch into the records, then clears what lies `aside`.
    fn finish(&mut self, ops: &[Op], aside: &[Place]) -> Result<(), StoreError> {
        let Some(held) = &self.held else { return Ok(()) };
        let limits = self.ensemble.limits();
        if held.leadership.staged > 0 {
            let id = format!("{}-{}", held.leadership.term.0, held.leadership.revision);
            let known = held.known.as_ref();
            let empty = Known::new();
            let (changes, learned) = layout::changes(known.unwrap_or(&empty), ops, &id);
            for group in layout::groups(changes, limits) {
                let next = self.held.as_ref().map(|held| next_write(&held.leadership));
                if let Some(next) = next {
                    self.advance(next, &group)?;
                }
            }
            self.learn(learned);
        }
        let clear = aside.iter().cloned().map(Change::Remove).collect();
        let unfinished = self.held.as_ref().is_some_and(|held| held.leadership.staged > 0);
        if aside.is_empty() && !unfinished {
            return Ok(());
        }
        for group in layout::groups(clear, limits) {
            let next = self.held.as_ref().map(|held| next_write(&held.leadership));
            if let Some(next) = next {
                self.advance(Leadership { staged: 0, ..next }, &group)?;
            }
        }
        Ok(())
    }

    fn learn(&mut self, learned: Vec<Learned>) {
        let Some(known) = self.held.as_mut().and_then(|held| held.known.as_mut()) else { return };
        for one in learned {
            match one {
                Learned::There(key, parts) => drop(known.insert(key, parts)),
                Learned::Gone(key) => drop(known.remove(&key)),
            }
        }
    }
}

fn next_write(leadership: &Leadership) -> Leadership {
    Leadership { writes: leadership.writes.saturating_add(1), ..leadership.clone() }
}

fn failed(what: &'static str, error: EnsembleError) -> StoreError {
    match error {
        EnsembleError::NoSpace { servers } => StoreError::NoSpace { path: servers },
        error => StoreError::Failed {
            what,
            path: "the shared store".to_owned(),
            source: Box::new(error),
        },
    }
}

impl Store for Shared {
    fn acquire(&mut self) -> Result<Term, StoreError> {
        loop {
            self.held = None;
            let (stamp, current) = self.current()?;
            if let Campaign::Won(term) = self.raise(stamp, current, Term::default())? {
                return Ok(term);
            }
        }
    }

    fn load(&self, prefix: &str) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        self.replica()?.records(prefix)
    }

    fn commit(&mut self, term: Term, batch: Batch) -> Result<Revision, StoreError> {
        let Some(held) = &self.held else {
            let (_, current) = self.current()?;
            return Err(StoreError::Fenced { ours: term, current: current.term });
        };
        if held.leadership.term != term {
            return Err(StoreError::Fenced { ours: term, current: held.leadership.term });
        }
        self.know()?;
        let Some(Held { leadership, known: Some(known), .. }) = &self.held else {
            return Err(StoreError::Fenced { ours: term, current: Term(0) });
        };
        let revision = leadership.revision.saturating_add(1);
        let next = Leadership { revision, ..next_write(leadership) };
        let (changes, learned) =
            layout::changes(known, &batch.ops, &format!("{}-{revision}", term.0));
        let limits = self.ensemble.limits();
        let mut groups = layout::groups(changes, limits);
        if groups.len() <= 1 {
            let group = groups.pop().unwrap_or_default();
            self.advance(next, &group)?;
            self.learn(learned);
            return Ok(Revision(revision));
        }
        let mut aside = Vec::new();
        for (part, bytes) in (0_u32..).zip(layout::stage(&batch.ops)) {
            let place = layout::staged_place(revision, part);
            aside.push(place.clone());
            let Some(held) = &self.held else { break };
            self.advance(next_write(&held.leadership), &[Change::Create(place, bytes)])?;
        }
        let staged = u32::try_from(aside.len()).unwrap_or(u32::MAX);
        let Some(held) = &self.held else {
            return Err(StoreError::Fenced { ours: term, current: Term(0) });
        };
        self.advance(Leadership { revision, staged, ..next_write(&held.leadership) }, &[])?;
        self.finish(&batch.ops, &aside)?;
        Ok(Revision(revision))
    }

    fn renewal(&self) -> Option<Duration> {
        Some(self.lease / RENEWALS)
    }

    fn resign(&mut self) -> Result<(), StoreError> {
        let Some(held) = &self.held else { return Ok(()) };
        let next = Leadership { leader: None, ..next_write(&held.leadership) };
        self.advance(next, &[])?;
        self.held = None;
        Ok(())
    }
}
