use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tepui_types::Term;

use crate::backend::{Batch, Key, Op, Revision, Store, StoreError};

/// A store that lives as long as its last handle: for tests and simulation.
///
/// Clones share their contents, as two connections to one database do; so dropping a handle and
/// cloning another one is a restart, and two handles are two leaders.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    term: Term,
    revision: Revision,
    records: BTreeMap<Key, Vec<u8>>,
    full: bool,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every write is refused with [`StoreError::NoSpace`], or no longer is.
    pub fn set_full(&self, full: bool) {
        self.contents().full = full;
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Contents change in one step after every check, so a panic leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn ensure_space(&self) -> Result<(), StoreError> {
        if self.full {
            return Err(StoreError::NoSpace { path: "memory".to_owned() });
        }
        Ok(())
    }
}

impl Store for Memory {
    fn acquire(&mut self) -> Result<Term, StoreError> {
        let mut contents = self.contents();
        contents.ensure_space()?;
        contents.term = Term(contents.term.0.saturating_add(1));
        Ok(contents.term)
    }

    fn load(&self, prefix: &str) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        Ok(self
            .contents()
            .records
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn commit(&mut self, term: Term, batch: Batch) -> Result<Revision, StoreError> {
        let mut contents = self.contents();
        if term != contents.term {
            return Err(StoreError::Fenced { ours: term, current: contents.term });
        }
        contents.ensure_space()?;
        for op in batch.ops {
            match op {
                Op::Put { key, value } => {
                    contents.records.insert(key, value);
                }
                Op::Delete { key } => {
                    contents.records.remove(&key);
                }
            }
        }
        contents.revision = Revision(contents.revision.0.saturating_add(1));
        Ok(contents.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_obeys_the_suite() {
        crate::suite::run(|| {
            let store = Memory::new();
            move || Box::new(store.clone()) as Box<dyn Store>
        });
    }

    #[test]
    fn a_second_handle_fences_the_first() {
        let mut first = Memory::new();
        let mut second = first.clone();
        let old = first.acquire().unwrap();
        let new = second.acquire().unwrap();
        let batch = Batch { ops: vec![Op::Put { key: "k".into(), value: vec![1] }] };
        assert!(matches!(
            first.commit(old, batch.clone()),
            Err(StoreError::Fenced { ours, current }) if ours == old && current == new
        ));
        second.commit(new, batch).unwrap();
    }

    #[test]
    fn a_full_store_refuses_and_recovers() {
        let mut store = Memory::new();
        let term = store.acquire().unwrap();
        let batch = Batch { ops: vec![Op::Put { key: "k".into(), value: vec![1] }] };
        store.set_full(true);
        assert!(matches!(store.commit(term, batch.clone()), Err(StoreError::NoSpace { .. })));
        assert_eq!(store.load("").unwrap(), []);
        store.set_full(false);
        assert_eq!(store.commit(term, batch).unwrap(), Revision(1));
    }
}
