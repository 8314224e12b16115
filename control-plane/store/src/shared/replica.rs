//! A copy of everything that an ensemble keeps, kept up to date by what it tells.

use std::collections::{BTreeMap, BTreeSet};

use tepui_election::Leadership;
use tepui_ensemble::{News, Place};

use super::layout::{self, Known, Stored};
use crate::backend::{Key, Op, StoreError};

/// What a standby has at hand when it takes over.
#[derive(Debug, Default)]
pub struct Replica {
    leadership: Option<Leadership>,
    places: BTreeMap<Place, Vec<u8>>,
}

impl Replica {
    /// Takes what the ensemble tells.
    ///
    /// # Errors
    /// When the record of who leads is damaged or of another program.
    pub fn take(&mut self, news: News) -> Result<(), StoreError> {
        match news {
            News::Snapshot(all) => {
                self.leadership = None;
                self.places.clear();
                for (place, value) in all {
                    self.put(place, value)?;
                }
            }
            News::Changes(changes) => {
                for (place, value) in changes {
                    match value {
                        Some(value) => self.put(place, value)?,
                        None if place == Place::Meta => self.leadership = None,
                        None => drop(self.places.remove(&place)),
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, place: Place, value: Vec<u8>) -> Result<(), StoreError> {
        if place == Place::Meta {
            self.leadership = Some(read_leadership(&value)?);
        } else {
            self.places.insert(place, value);
        }
        Ok(())
    }

    /// Who leads, and how far the records are; `None` in an empty store.
    pub fn leadership(&self) -> Option<&Leadership> {
        self.leadership.as_ref()
    }

    /// Every record whose key begins with `prefix`, in the order of keys.
    ///
    /// # Errors
    /// When one is damaged; never a shortened list.
    pub fn records(&self, prefix: &str) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let mut found = BTreeMap::new();
        for (key, stored) in self.stored() {
            if key.starts_with(prefix) {
                found.insert(key.clone(), self.whole(key, stored)?);
            }
        }
        for op in self.staged()? {
            match op {
                Op::Put { key, value } if key.starts_with(prefix) => drop(found.insert(key, value)),
                Op::Delete { key } => drop(found.remove(&key)),
                Op::Put { .. } => {}
            }
        }
        Ok(found.into_iter().collect())
    }

    fn stored(&self) -> impl Iterator<Item = (&Key, &Vec<u8>)> {
        self.places.iter().filter_map(|(place, stored)| match place {
            Place::Record(key) => Some((key, stored)),
            Place::Meta | Place::Part(_) | Place::Staged(_) => None,
        })
    }

    fn whole(&self, key: &Key, stored: &[u8]) -> Result<Vec<u8>, StoreError> {
        let corrupt = |why: &str| StoreError::Corrupt { key: key.clone(), why: why.to_owned() };
        match layout::read(stored).map_err(corrupt)? {
            Stored::Whole(value) => Ok(value.to_vec()),
            Stored::InParts { parts, check } => {
                let mut value = Vec::new();
                for name in parts.names() {
                    let part = self.places.get(&Place::Part(name));
                    value.extend(part.ok_or_else(|| corrupt("a part of it is gone"))?);
                }
                if crc32fast::hash(&value) != check {
                    return Err(corrupt("its checksum is another"));
                }
                Ok(value)
            }
        }
    }

    /// The changes of a batch that is committed and not in the records yet.
    pub(super) fn staged(&self) -> Result<Vec<Op>, StoreError> {
        let Some(leadership) = self.leadership.as_ref().filter(|record| record.staged > 0) else {
            return Ok(Vec::new());
        };
        let revision = leadership.revision;
        let corrupt = |why: &str| StoreError::Corrupt {
            key: format!("the batch of revision {revision}"),
            why: why.to_owned(),
        };
        let mut parts = Vec::new();
        for part in 0..leadership.staged {
            let part = self.places.get(&layout::staged_place(revision, part));
            parts.push(part.ok_or_else(|| corrupt("a part of it is gone"))?.as_slice());
        }
        layout::unstage(&parts).map_err(corrupt)
    }

    /// Everything that lies aside and that no record names: what leaders left that ended halfway.
    pub(super) fn aside(&self) -> Result<Vec<Place>, StoreError> {
        let known = self.known()?;
        let named: BTreeSet<String> =
            known.values().flatten().flat_map(|parts| parts.names().collect::<Vec<_>>()).collect();
        let aside = self.places.keys().filter(|place| match place {
            Place::Staged(_) => true,
            Place::Part(name) => !named.contains(name),
            Place::Meta | Place::Record(_) => false,
        });
        Ok(aside.cloned().collect())
    }

    /// The keys of all records, with the parts that they lie in.
    pub(super) fn known(&self) -> Result<Known, StoreError> {
        self.stored()
            .map(|(key, stored)| match layout::read(stored) {
                Ok(Stored::Whole(_)) => Ok((key.clone(), None)),
                Ok(Stored::InParts { parts, .. }) => Ok((key.clone(), Some(parts))),
                Err(why) => Err(StoreError::Corrupt { key: key.clone(), why: why.to_owned() }),
            })
            .collect()
    }
}

pub(super) fn read_leadership(value: &[u8]) -> Result<Leadership, StoreError> {
    Leadership::decode(value)
        .map_err(|error| StoreError::Corrupt { key: "meta".to_owned(), why: error.to_string() })
}
