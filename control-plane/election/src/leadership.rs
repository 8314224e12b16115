//! The record of who leads, as it lies in the store: JSON, so that an operator can read it there.

use serde::{Deserialize, Serialize};
use tepui_types::{Term, Uuid};

/// The form that this program writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// A control plane that leads or could, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Names this life of the process.
    pub id: String,
    /// Its host, for people.
    pub hostname: String,
    /// `host:port` of the Mesos APIs.
    pub mesos: String,
    /// `host:port` of Marathon's API.
    pub marathon: String,
    /// `host:port` that agents connect to.
    pub agents: String,
}

/// Who leads, and how far the records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Names the cluster since its store was first used.
    pub cluster: Uuid,
    /// The term in force.
    pub term: Term,
    /// Batches committed so far, of all terms.
    pub revision: u64,
    /// Grows with each write of this record, so that a leader that does nothing but live changes
    /// it too.
    pub writes: u64,
    /// Who leads in this term; nobody after a leader stepped down.
    pub leader: Option<Candidate>,
    /// Parts of the batch of this revision that lie aside and are not in the records yet.
    pub staged: u32,
}

/// Why stored bytes are no such record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeadershipError {
    /// Another program wrote it.
    #[error("the record of who leads has format {found}, this program reads format {FORMAT}")]
    Format {
        /// The format found.
        found: u32,
    },
    /// It is not what was written.
    #[error("the record of who leads is damaged: {0}")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    cluster: String,
    term: u64,
    revision: u64,
    writes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leader: Option<Candidate>,
    #[serde(default, skip_serializing_if = "is_zero")]
    staged: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Reads no more of a record than its format.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl Leadership {
    /// The record before anybody led.
    pub fn none(cluster: Uuid) -> Self {
        Self { cluster, term: Term(0), revision: 0, writes: 0, leader: None, staged: 0 }
    }

    /// The record as it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            format: FORMAT,
            cluster: self.cluster.to_string(),
            term: self.term.0,
            revision: self.revision,
            writes: self.writes,
            leader: self.leader.clone(),
            staged: self.staged,
        };
        serde_json::to_vec(&stored).expect("a record of texts and numbers has a JSON form")
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// When another program wrote it, or it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, LeadershipError> {
        let damaged = |error: serde_json::Error| LeadershipError::Damaged(error.to_string());
        let header: Header = serde_json::from_slice(bytes).map_err(damaged)?;
        if header.format != FORMAT {
            return Err(LeadershipError::Format { found: header.format });
        }
        let stored: Stored = serde_json::from_slice(bytes).map_err(damaged)?;
        let Some(cluster) = Uuid::parse(&stored.cluster) else {
            return Err(LeadershipError::Damaged(format!("{:?} is no UUID", stored.cluster)));
        };
        Ok(Self {
            cluster,
            term: Term(stored.term),
            revision: stored.revision,
            writes: stored.writes,
            leader: stored.leader,
            staged: stored.staged,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Leadership {
        Leadership {
            cluster: Uuid::from_bytes([7; 16]),
            term: Term(3),
            revision: 41,
            writes: 99,
            leader: Some(Candidate {
                id: "one".into(),
                hostname: "a".into(),
                mesos: "a:5050".into(),
                marathon: "a:8080".into(),
                agents: "a:5052".into(),
            }),
            staged: 0,
        }
    }

    #[test]
    fn what_is_stored_does_not_change() {
        let text = String::from_utf8(record().encode()).unwrap();
        assert_eq!(
            text,
            r#"{"format":1,"cluster":"07070707-0707-0707-0707-070707070707","term":3,"revision":41,"writes":99,"leader":{"id":"one","hostname":"a","mesos":"a:5050","marathon":"a:8080","agents":"a:5052"}}"#
        );
    }

    #[test]
    fn what_was_stored_is_read() {
        for record in [record(), Leadership::none(Uuid::from_bytes([1; 16]))] {
            assert_eq!(Leadership::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn another_format_is_named_and_damage_is_no_panic() {
        let newer = br#"{"format":2,"whatever":true}"#;
        assert_eq!(Leadership::decode(newer), Err(LeadershipError::Format { found: 2 }));
        let whole = record().encode();
        for end in 0..whole.len() {
            assert!(Leadership::decode(&whole[..end]).is_err());
        }
    }
}
