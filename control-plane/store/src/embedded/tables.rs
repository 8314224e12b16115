//! The tables: SQL, the checksums of rows, and nothing about when they are written.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use tepui_types::{Term, Uuid};

use crate::backend::{Key, Op, Revision};

/// The version of everything in this file; a store of another version is refused.
pub(super) const FORMAT: i64 = 1;

/// Keys are blobs, so that their order is the order of bytes whatever the header says.
const SCHEMA: &str = "
    CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        format INTEGER NOT NULL, cluster BLOB NOT NULL, term INTEGER NOT NULL,
        revision INTEGER NOT NULL, records INTEGER NOT NULL, digest INTEGER NOT NULL,
        crc INTEGER NOT NULL
    );
    CREATE TABLE records (
        key BLOB PRIMARY KEY, revision INTEGER NOT NULL, crc INTEGER NOT NULL, value BLOB NOT NULL
    ) WITHOUT ROWID;";

/// The one row of `meta`: what the store is, and what its records must add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) cluster: Uuid,
    pub(super) term: Term,
    pub(super) revision: Revision,
    /// How many records there are.
    pub(super) records: u64,
    /// The sum of all records' checksums, modulo 2^64: a lost record shows even when the rest of
    /// its page is whole.
    pub(super) digest: u64,
}

/// Why rows cannot be used.
#[derive(Debug)]
pub(super) enum TableError {
    Sql(rusqlite::Error),
    /// A record is not what was written.
    Record(Key, &'static str),
    /// The books are not what was written.
    Meta(String),
    /// A store of another version of this program.
    Format(i64),
}

impl From<rusqlite::Error> for TableError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sql(source)
    }
}

impl Meta {
    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&FORMAT.to_le_bytes());
        hasher.update(self.cluster.as_bytes());
        for number in [self.term.0, self.revision.0, self.records, self.digest] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.finalize()
    }

    fn add(&mut self, checksum: u32) {
        self.records = self.records.wrapping_add(1);
        self.digest = self.digest.wrapping_add(u64::from(checksum));
    }

    fn subtract(&mut self, checksum: u32) {
        self.records = self.records.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(u64::from(checksum));
    }
}

pub(super) fn create(transaction: &Transaction<'_>, meta: &Meta) -> Result<(), TableError> {
    transaction.execute_batch(SCHEMA)?;
    save_meta(transaction, meta)
}

/// Whether there are tables: a database without any is one whose creation was interrupted.
pub(super) fn exist(connection: &Connection) -> Result<bool, TableError> {
    let count: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    Ok(count != 0)
}

pub(super) fn save_meta(connection: &Connection, meta: &Meta) -> Result<(), TableError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO meta (one, format, cluster, term, revision, records, digest, crc)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            FORMAT,
            meta.cluster.as_bytes(),
            meta.term.0.cast_signed(),
            meta.revision.0.cast_signed(),
            meta.records.cast_signed(),
            meta.digest.cast_signed(),
            meta.checksum(),
        ])?;
    Ok(())
}

pub(super) fn load_meta(connection: &Connection) -> Result<Meta, TableError> {
    let row = connection
        .query_row(
            "SELECT format, cluster, term, revision, records, digest, crc FROM meta",
            [],
            |row| Ok((row.get::<_, i64>(0)?, read_meta(row)?, row.get::<_, u32>(6)?)),
        )
        .optional()?;
    let Some((format, meta, checksum)) = row else {
        return Err(TableError::Meta("they are gone".to_owned()));
    };
    let meta = meta.ok_or_else(|| TableError::Meta("the cluster id is cut short".to_owned()))?;
    if format != FORMAT {
        return Err(TableError::Format(format));
    }
    if meta.checksum() != checksum {
        return Err(TableError::Meta("their checksum is wrong".to_owned()));
    }
    Ok(meta)
}

fn read_meta(row: &Row<'_>) -> rusqlite::Result<Option<Meta>> {
    let number = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let (term, revision, records, digest) = (number(2)?, number(3)?, number(4)?, number(5)?);
    let cluster = Uuid::from_slice(&row.get::<_, Vec<u8>>(1)?);
    Ok(cluster.map(|cluster| Meta {
        cluster,
        term: Term(term),
        revision: Revision(revision),
        records,
        digest,
    }))
}

/// Performs one change and keeps the books in `meta`, whose revision the record gets.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    meta: &mut Meta,
    op: &Op,
) -> Result<(), TableError> {
    let key = match op {
        Op::Put { key, .. } | Op::Delete { key } => key,
    };
    let former: Option<u32> = transaction
        .prepare_cached("SELECT crc FROM records WHERE key = ?1")?
        .query_row([key.as_bytes()], |row| row.get(0))
        .optional()?;
    if let Some(checksum) = former {
        meta.subtract(checksum);
    }
    match op {
        Op::Put { key, value } => {
            let revision = meta.revision.0.cast_signed();
            let checksum = record_checksum(key.as_bytes(), revision, value);
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO records (key, revision, crc, value)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![key.as_bytes(), revision, checksum, value])?;
            meta.add(checksum);
        }
        Op::Delete { key } if former.is_some() => {
            transaction
                .prepare_cached("DELETE FROM records WHERE key = ?1")?
                .execute([key.as_bytes()])?;
        }
        Op::Delete { .. } => {}
    }
    Ok(())
}

/// Reads and checks every record, compares the whole with the books, and returns those whose key
/// begins with `prefix`.
pub(super) fn load(
    connection: &Connection,
    meta: &Meta,
    prefix: &str,
) -> Result<Vec<(Key, Vec<u8>)>, TableError> {
    let mut found = Vec::new();
    let mut seen = Meta { records: 0, digest: 0, ..*meta };
    let mut last: Option<Vec<u8>> = None;
    let mut statement =
        connection.prepare_cached("SELECT key, revision, crc, value FROM records ORDER BY key")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
        let value = row.get_ref(3)?.as_bytes().map_err(rusqlite::Error::from)?;
        let (revision, checksum) = (row.get::<_, i64>(1)?, row.get::<_, u32>(2)?);
        let name = || String::from_utf8_lossy(bytes).into_owned();
        if record_checksum(bytes, revision, value) != checksum {
            return Err(TableError::Record(name(), "its checksum is wrong"));
        }
        if last.as_deref().is_some_and(|last| last >= bytes) {
            return Err(TableError::Record(name(), "it is out of order"));
        }
        last = Some(bytes.to_vec());
        seen.add(checksum);
        let key = str::from_utf8(bytes)
            .map_err(|_| TableError::Record(name(), "its key is not UTF-8"))?;
        if key.starts_with(prefix) {
            found.push((key.to_owned(), value.to_vec()));
        }
    }
    if seen != *meta {
        return Err(TableError::Meta(format!(
            "{} records are there where {} were written, or some are not the latest",
            seen.records, meta.records
        )));
    }
    Ok(found)
}

fn record_checksum(key: &[u8], revision: i64, value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(&revision.to_le_bytes());
    hasher.update(value);
    hasher.finalize()
}
