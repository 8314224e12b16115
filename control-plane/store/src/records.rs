//! The records of the state machines as keys and bytes.
//!
//! A value is one byte of version and then a protobuf message of this module; app definitions are
//! in it as the JSON the API shows. Nothing here follows from the layout of the machines' types,
//! so the disk format changes only when this module does.
//!
//! | key | record |
//! |---|---|
//! | `cluster/counters` | ids handed out |
//! | `cluster/agents/<id>`, `cluster/frameworks/<id>`, `cluster/weights/<role>` | the registry |
//! | `apps/framework` | the id the apps are registered with |
//! | `apps/apps/<path>@<version>`, `apps/groups/<path>@<version>` | definitions |
//! | `apps/instances/<id>`, `apps/deployments/<uuid>`, `apps/failures/<path>` | what goes on |

mod apps;
mod cluster;

use prost::Message;

use crate::backend::{Key, Op, Store, StoreError};

/// The version of every value's layout. Raise it when a message changes in a way that older
/// programs would misread, and keep reading the former ones.
const VERSION: u8 = 1;
const CLUSTER: &str = "cluster/";
const APPS: &str = "apps/";

/// Why a stored record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store could not be read.
    #[error("failed to read the stored records")]
    Store(#[source] StoreError),
    /// A newer program wrote it.
    #[error("stored record {key:?} has version {found}, this program reads up to {VERSION}")]
    Version {
        /// Where.
        key: Key,
        /// Its version.
        found: u8,
    },
    /// It is whole, but not what this program would have written.
    #[error("stored record {key:?} is not valid: {why}")]
    Invalid {
        /// Where.
        key: Key,
        /// How it shows.
        why: String,
    },
}

/// The change that makes a fact of the registry durable.
pub fn save_cluster(record: &tepui_cluster::Record) -> Op {
    Op::Put { key: cluster::key(record), value: cluster::encode(record) }
}

/// The change that removes a fact of the registry: whatever has the same key.
pub fn forget_cluster(record: &tepui_cluster::Record) -> Op {
    Op::Delete { key: cluster::key(record) }
}

/// The change that makes a fact of the apps durable.
pub fn save_apps(record: &tepui_apps::Record) -> Op {
    Op::Put { key: apps::key(&record.key()), value: apps::encode(record) }
}

/// The change that removes a fact of the apps.
pub fn forget_apps(key: &tepui_apps::RecordKey) -> Op {
    Op::Delete { key: apps::key(key) }
}

/// Everything that was durable: what a new leader begins with.
///
/// # Errors
/// When the store cannot be read, or any record is of a newer version or not valid; never fewer
/// records than were written.
pub fn load_all(
    store: &(impl Store + ?Sized),
) -> Result<(Vec<tepui_cluster::Record>, Vec<tepui_apps::Record>), LoadError> {
    read_all(store.load("").map_err(LoadError::Store)?)
}

/// Reads every fact, given all that a store holds.
///
/// # Errors
/// As [`load_all`].
pub fn read_all(
    all: Vec<(Key, Vec<u8>)>,
) -> Result<(Vec<tepui_cluster::Record>, Vec<tepui_apps::Record>), LoadError> {
    let mut registry = Vec::new();
    let mut definitions = Vec::new();
    for (key, value) in all {
        if key.starts_with(CLUSTER) {
            registry.push(decode_cluster(&key, &value)?);
        } else if key.starts_with(APPS) {
            definitions.push(decode_apps(&key, &value)?);
        } else {
            return Err(LoadError::Invalid { key, why: "no record has such a key".to_owned() });
        }
    }
    Ok((registry, definitions))
}

/// Reads a fact of the registry.
///
/// # Errors
/// When the bytes are of a newer version, not valid, or of another key.
pub fn decode_cluster(key: &str, value: &[u8]) -> Result<tepui_cluster::Record, LoadError> {
    let record = decode(key, value, |body| cluster::decode(key, body))?;
    check_key(key, &cluster::key(&record)).map(|()| record)
}

/// Reads a fact of the apps.
///
/// # Errors
/// When the bytes are of a newer version, not valid, or of another key.
pub fn decode_apps(key: &str, value: &[u8]) -> Result<tepui_apps::Record, LoadError> {
    let record = decode(key, value, |body| apps::decode(key, body))?;
    check_key(key, &apps::key(&record.key())).map(|()| record)
}

fn decode<R>(
    key: &str,
    value: &[u8],
    read: impl FnOnce(&[u8]) -> Result<R, Invalid>,
) -> Result<R, LoadError> {
    match value.split_first() {
        Some((&VERSION, body)) => {
            read(body).map_err(|Invalid(why)| LoadError::Invalid { key: key.to_owned(), why })
        }
        Some((&found, _)) => Err(LoadError::Version { key: key.to_owned(), found }),
        None => Err(LoadError::Invalid { key: key.to_owned(), why: "it is empty".to_owned() }),
    }
}

fn check_key(stored: &str, own: &str) -> Result<(), LoadError> {
    if stored == own {
        return Ok(());
    }
    let why = format!("it belongs under {own:?}");
    Err(LoadError::Invalid { key: stored.to_owned(), why })
}

/// What is wrong with a value.
#[derive(Debug)]
struct Invalid(String);

impl Invalid {
    fn field(field: &str, value: impl std::fmt::Debug) -> Self {
        Self(format!("{field} is {value:?}"))
    }

    fn missing(field: &str) -> Self {
        Self(format!("{field} is missing"))
    }
}

fn with_version(message: &impl Message) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + message.encoded_len());
    value.push(VERSION);
    message.encode(&mut value).expect("a vector grows as needed");
    value
}

fn message<M: Message + Default>(body: &[u8]) -> Result<M, Invalid> {
    M::decode(body).map_err(|error| Invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
