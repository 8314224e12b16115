//! Where the control planes are: listed one by one, or told by the store that they share.
//!
//! Agents and the command line tool find them the same way. What a listed address looks like is
//! the caller's business ([`Finder::parse`] is told how to read one); a store names the leader by
//! the record of who leads.

use std::fmt;
use std::sync::Arc;

use tepui_election::{Candidate, Leadership, LeadershipError};
use tepui_ensemble::{Address, Ensemble, EnsembleError, TlsFiles};
use tokio::sync::OnceCell;

/// Finds control planes; `T` is a listed one, as the caller reads it.
#[derive(Clone, Debug)]
pub struct Finder<T> {
    places: Arc<[Place<T>]>,
}

#[derive(Debug)]
enum Place<T> {
    Listed(T),
    Store(Box<Store>),
}

#[derive(Debug)]
struct Store {
    address: Address,
    /// Connected when it is first asked.
    ensemble: OnceCell<Ensemble>,
}

/// A control plane that may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It was listed, and may lead or not.
    Listed(T),
    /// The store says that it leads.
    Leader(Candidate),
}

/// Why a store does not tell who leads.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Its servers do not answer, or refuse.
    #[error("leader not found at {store}")]
    Store {
        /// Its address, without the password.
        store: String,
        /// Why.
        source: EnsembleError,
    },
    /// What stands there is no record of who leads.
    #[error("leader not found at {store}")]
    Record {
        /// Its address, without the password.
        store: String,
        /// Why.
        source: LeadershipError,
    },
    /// Nobody leads at the moment, or nobody ever did at this path.
    #[error("{store} names no leader")]
    Nobody {
        /// Its address, without the password.
        store: String,
    },
}

impl<T: Clone> Finder<T> {
    /// Reads addresses: those of stores here, all others by `listed`. One text may be a list with
    /// commas; `files` are for the stores that speak TLS.
    ///
    /// # Errors
    /// When an address makes no sense.
    pub fn parse<E: From<EnsembleError>>(
        texts: &[String],
        files: &TlsFiles,
        listed: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Self, E> {
        let mut places = Vec::new();
        for text in texts.iter().flat_map(|text| split(text)) {
            places.push(match Address::is_one(&text) {
                true => {
                    let address = Address::read(&text, files)?;
                    Place::Store(Box::new(Store { address, ensemble: OnceCell::new() }))
                }
                false => Place::Listed(listed(&text)?),
            });
        }
        Ok(Self { places: places.into() })
    }

    /// Control planes to try, in the order of their addresses.
    pub async fn look(&self) -> Vec<Result<Found<T>, FindError>> {
        let mut found = Vec::new();
        for place in &*self.places {
            found.push(match place {
                Place::Listed(listed) => Ok(Found::Listed(listed.clone())),
                Place::Store(store) => store.leader().await.map(Found::Leader),
            });
        }
        found
    }

    /// Whether one control plane is listed and nothing else: there is no other to try.
    pub fn is_single(&self) -> bool {
        matches!(&*self.places, [Place::Listed(_)])
    }

    /// Whether there is nobody to ask.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// The addresses, without passwords.
impl<T: fmt::Display> fmt::Display for Finder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, place) in self.places.iter().enumerate() {
            f.write_str(if number > 0 { ", " } else { "" })?;
            match place {
                Place::Listed(listed) => listed.fmt(f)?,
                Place::Store(store) => store.address.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl Store {
    async fn leader(&self) -> Result<Candidate, FindError> {
        let store = || self.address.to_string();
        let failed = |source| FindError::Store { store: store(), source };
        let connected = self.ensemble.get_or_try_init(|| Ensemble::connect_to_read(&self.address));
        let meta = connected.await.map_err(failed)?.meta().await.map_err(failed)?;
        let Some((meta, _)) = meta else { return Err(FindError::Nobody { store: store() }) };
        let record = Leadership::decode(&meta)
            .map_err(|source| FindError::Record { store: store(), source })?;
        record.leader.ok_or_else(|| FindError::Nobody { store: store() })
    }
}

/// The addresses of a list with commas. That of a store has commas of its own: it goes on up to its
/// path, or to the next address with a scheme.
pub fn split(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut open = false;
    for piece in text.split(',') {
        let piece = piece.trim();
        let begins = piece.contains("://");
        match all.last_mut() {
            Some(last) if open && !begins => {
                last.push(',');
                last.push_str(piece);
            }
            _ if piece.is_empty() => continue,
            _ => {
                open = Address::is_one(piece);
                all.push(piece.to_owned());
            }
        }
        let rest = piece.split_once("://").map_or(piece, |(_, rest)| rest);
        open = open && !rest.contains('/');
    }
    all
}

#[cfg(test)]
mod tests;
