//! The embedded backend: one SQLite database in a directory of its own.
//!
//! `store.db` with its log `store.db-wal` holds the records; `store.mark` says what was
//! acknowledged last and carries the lock. Closing writes nothing: every end is a crash, and
//! every start a recovery.

mod mark;
mod tables;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};
use tepui_types::{Term, Uuid};

use crate::backend::{Batch, Key, Revision, Store, StoreError};
use mark::{Mark, MarkError, MarkFile};
use tables::{Meta, TableError};

/// Commits after which the log is folded into the database. The log grows by about 12 KiB per
/// small commit, so it stays near 6 MiB.
const COMMITS_PER_CHECKPOINT: u32 = 512;
/// Bytes of values after which it is folded even earlier.
const BYTES_PER_CHECKPOINT: usize = 8 << 20;
/// How far the term jumps when the mark is gone: the database may be an older copy, and terms
/// given out since must not be given out again (invariant I-16).
const TERMS_PER_RESTORE: u64 = 1 << 20;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store at {path} is in use by another process", path = path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A newer or older program made it.
    #[error(
        "the store at {path} has format {found}, this program reads format {ours}",
        path = path.display(), ours = tables::FORMAT
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// The format there.
        found: i64,
    },
    /// Its files do not belong together, or are not what was written (invariant I-49).
    #[error("the store at {path} is damaged: {why}", path = path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// How it shows, and what to do.
        why: String,
    },
    /// The directory or a file could not be made, opened or read.
    #[error("failed to {what} {path}", path = path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database refused.
    #[error("failed to {what} the store at {path}", path = path.display())]
    Sql {
        /// What was attempted.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// Records on the local disk, durable when `commit` returns.
#[derive(Debug)]
pub struct Embedded {
    connection: Connection,
    mark: MarkFile,
    path: PathBuf,
    meta: Meta,
    /// The mark was gone when the store was opened.
    restored: bool,
    /// Terms to come are above this one.
    above: Term,
    /// A write failed half way: what is durable is unknown, so nothing is done any more.
    failed: bool,
    commits_since_checkpoint: u32,
    bytes_since_checkpoint: usize,
}

impl Embedded {
    /// Takes terms above this one only: agents that obeyed another store's leader obey no lower one.
    #[must_use]
    pub fn above(self, term: Term) -> Self {
        Self { above: term, ..self }
    }

    /// Opens the store in the directory `path`, making both when there is none; a new store gets
    /// the random `fresh` as its cluster id.
    ///
    /// # Errors
    /// When another process has the store, it is damaged or of another format, or the disk
    /// refuses. A store whose database vanished is damaged, not new (invariant I-49).
    pub fn open(path: &Path, fresh: Uuid) -> Result<Self, OpenError> {
        let at = Place(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| at.io("make the directory", path, source))?;
        let mark_path = path.join("store.mark");
        let mark = MarkFile::open(mark_path.clone()).map_err(|error| match error {
            MarkError::Locked => OpenError::Locked { path: path.to_owned() },
            MarkError::Io(source) => at.io("open", &mark_path, source),
        })?;
        let noted = match mark.load().map_err(|source| at.io("read", &mark_path, source))? {
            Some(Ok(noted)) => Some(noted),
            Some(Err(why)) => return Err(at.damaged(format!("store.mark is corrupt: {why}"))),
            None => None,
        };
        let database = path.join("store.db");
        ensure_database_file(&at, &database, noted.is_some())?;
        let mut connection = connect(&database).map_err(|error| at.table("open", error))?;
        if !tables::exist(&connection).map_err(|error| at.table("read", error))? {
            if noted.is_some() {
                return Err(at.damaged("store.db is empty and was not".to_owned()));
            }
            create_tables(&mut connection, fresh).map_err(|error| at.table("create", error))?;
        }
        quick_check(&at, &connection)?;
        let meta = tables::load_meta(&connection).map_err(|error| at.table("read", error))?;
        check_mark(&at, &meta, noted.as_ref())?;
        let restored = noted.is_none() && meta.term > Term::default();
        let store = Self {
            connection,
            mark,
            path: path.to_owned(),
            meta,
            restored,
            above: Term::default(),
            failed: false,
            commits_since_checkpoint: 0,
            bytes_since_checkpoint: 0,
        };
        // A missing mark is written by `acquire`, once the term has jumped.
        let noted = if restored { Ok(()) } else { store.note_mark() };
        noted
            .and_then(|()| store.mark.sync())
            .and_then(|()| File::open(path)?.sync_all())
            .map_err(|source| at.io("write", store.mark.path(), source))?;
        Ok(store)
    }

    /// The id the store got when it was made.
    pub fn cluster_id(&self) -> Uuid {
        self.meta.cluster
    }

    /// The term in force, and with it which leader may write.
    pub fn term(&self) -> Term {
        self.meta.term
    }

    fn note_mark(&self) -> io::Result<()> {
        self.mark.note(Mark {
            cluster: self.meta.cluster,
            term: self.meta.term,
            revision: self.meta.revision,
        })
    }

    fn ensure_working(&self) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Failed {
                what: "use the store after a failed write",
                path: self.path.display().to_string(),
                source: "an earlier write or sync failed".into(),
            });
        }
        Ok(())
    }

    /// Writes `next` and the changes in one transaction, then notes it in the mark.
    fn write(
        &mut self,
        what: &'static str,
        mut next: Meta,
        batch: &Batch,
    ) -> Result<(), StoreError> {
        let result = self.transact(&mut next, batch);
        if let Err(error) = result {
            return Err(self.fail(what, error));
        }
        self.meta = next;
        if let Err(source) = self.note_mark() {
            return Err(self.poison(what, source.into()));
        }
        self.checkpoint_when_due(batch)
    }

    fn transact(&mut self, next: &mut Meta, batch: &Batch) -> Result<(), TableError> {
        let transaction = self.connection.transaction()?;
        for op in &batch.ops {
            tables::apply(&transaction, next, op)?;
        }
        tables::save_meta(&transaction, next)?;
        Ok(transaction.commit()?)
    }

    /// Folds the log into the database. SQLite would do so by itself, but ignores a failed sync
    /// there, and a second sync of the same file may then wrongly succeed (design, decision 14).
    fn checkpoint_when_due(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.commits_since_checkpoint += 1;
        self.bytes_since_checkpoint += batch.ops.iter().map(op_bytes).sum::<usize>();
        if self.commits_since_checkpoint < COMMITS_PER_CHECKPOINT
            && self.bytes_since_checkpoint < BYTES_PER_CHECKPOINT
        {
            return Ok(());
        }
        let result = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        match result {
            Ok(()) => {
                self.commits_since_checkpoint = 0;
                self.bytes_since_checkpoint = 0;
                Ok(())
            }
            // The commit is durable in the log, which just stays longer.
            Err(error) if is_no_space(&error) => Ok(()),
            Err(error) => Err(self.fail("fold the log of the store", error.into())),
        }
    }

    fn fail(&mut self, what: &'static str, error: TableError) -> StoreError {
        match error {
            TableError::Sql(error) if is_no_space(&error) && self.connection.is_autocommit() => {
                StoreError::NoSpace { path: self.path.display().to_string() }
            }
            TableError::Sql(error) => self.poison(what, error.into()),
            other => {
                self.failed = true;
                self.corrupt(other)
            }
        }
    }

    fn poison(
        &mut self,
        what: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> StoreError {
        self.failed = true;
        StoreError::Failed { what, path: self.path.display().to_string(), source }
    }

    fn corrupt(&self, error: TableError) -> StoreError {
        let database = || self.path.join("store.db").display().to_string();
        match error {
            TableError::Record(key, why) => StoreError::Corrupt { key, why: why.to_owned() },
            TableError::Meta(why) => StoreError::Corrupt { key: database(), why },
            TableError::Format(found) => {
                StoreError::Corrupt { key: database(), why: format!("its format is {found}") }
            }
            TableError::Sql(error) if is_corrupt(&error) => {
                StoreError::Corrupt { key: database(), why: error.to_string() }
            }
            TableError::Sql(error) => StoreError::Failed {
                what: "read the store",
                path: database(),
                source: error.into(),
            },
        }
    }
}

impl Store for Embedded {
    fn acquire(&mut self) -> Result<Term, StoreError> {
        self.ensure_working()?;
        let step = if self.restored { TERMS_PER_RESTORE } else { 1 };
        let term = Term(self.meta.term.0.saturating_add(step).max(self.above.0.saturating_add(1)));
        self.write("raise the term of the store", Meta { term, ..self.meta }, &Batch::default())?;
        if let Err(source) = self.mark.sync() {
            return Err(self.poison("sync the mark of the store", source.into()));
        }
        self.restored = false;
        Ok(term)
    }

    fn load(&self, prefix: &str) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        self.ensure_working()?;
        tables::load(&self.connection, &self.meta, prefix).map_err(|error| self.corrupt(error))
    }

    fn commit(&mut self, term: Term, batch: Batch) -> Result<Revision, StoreError> {
        self.ensure_working()?;
        if term != self.meta.term {
            return Err(StoreError::Fenced { ours: term, current: self.meta.term });
        }
        let revision = Revision(self.meta.revision.0.saturating_add(1));
        self.write("commit to the store", Meta { revision, ..self.meta }, &batch)?;
        Ok(revision)
    }
}

fn op_bytes(op: &crate::Op) -> usize {
    match op {
        crate::Op::Put { key, value } => key.len() + value.len(),
        crate::Op::Delete { key } => key.len(),
    }
}

/// Makes the file before SQLite does, so that nobody else can ever read it; and refuses a vanished
/// one before SQLite, which throws the log of an empty database away, can see it.
fn ensure_database_file(at: &Place<'_>, database: &Path, was_there: bool) -> Result<(), OpenError> {
    let length = match std::fs::metadata(database) {
        Ok(metadata) => Some(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(at.io("look for", database, source)),
    };
    if was_there && length.unwrap_or(0) == 0 {
        return Err(at.damaged(
            "store.db is gone or empty though store.mark says it was not; to begin an empty \
             cluster, remove store.mark and store.db-wal too"
                .to_owned(),
        ));
    }
    if length.is_none() {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(database)
            .map_err(|source| at.io("make", database, source))?;
    }
    Ok(())
}

fn connect(database: &Path) -> Result<Connection, TableError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Exclusive before the log is first touched: then there is no shared-memory file.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(TableError::Meta(format!("the journal mode stays {mode} where it was wal")));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", 4 * BYTES_PER_CHECKPOINT as i64)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn create_tables(connection: &mut Connection, cluster: Uuid) -> Result<(), TableError> {
    let meta = Meta {
        cluster,
        term: Term::default(),
        revision: Revision::default(),
        records: 0,
        digest: 0,
    };
    let transaction = connection.transaction()?;
    tables::create(&transaction, &meta)?;
    Ok(transaction.commit()?)
}

fn quick_check(at: &Place<'_>, connection: &Connection) -> Result<(), OpenError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| at.table("check", error.into()))?;
    if verdict != "ok" {
        return Err(at.damaged(format!("store.db: {verdict}")));
    }
    Ok(())
}

/// The database must be of the same cluster as the mark and at least as new.
fn check_mark(at: &Place<'_>, meta: &Meta, noted: Option<&Mark>) -> Result<(), OpenError> {
    let Some(noted) = noted else { return Ok(()) };
    if noted.cluster != meta.cluster {
        return Err(at.damaged(format!(
            "store.db is of cluster {} and store.mark of cluster {}",
            meta.cluster, noted.cluster
        )));
    }
    if meta.term < noted.term || meta.revision < noted.revision {
        return Err(at.damaged(format!(
            "it holds revision {} of term {}, but revision {} of term {} was acknowledged; if you \
             restored an older copy on purpose, remove store.mark",
            meta.revision.0, meta.term.0, noted.revision.0, noted.term.0
        )));
    }
    Ok(())
}

fn is_no_space(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => {
            // A short read in the middle of a file is what truncation looks like.
            matches!(
                code.code,
                rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase
            ) || code.extended_code == ffi::SQLITE_IOERR_SHORT_READ
                // A damaged schema: tables or columns that were made are not there.
                || code.extended_code == ffi::SQLITE_ERROR
        }
        // A damaged header of a row: values are of other types than were written.
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => true,
        _ => false,
    }
}

/// Makes errors that name the store's directory.
struct Place<'a>(&'a Path);

impl Place<'_> {
    fn damaged(&self, why: String) -> OpenError {
        OpenError::Damaged { path: self.0.to_owned(), why }
    }

    fn io(&self, what: &'static str, path: &Path, source: io::Error) -> OpenError {
        let _ = self;
        OpenError::Io { what, path: path.to_owned(), source }
    }

    fn sql(&self, what: &'static str, source: rusqlite::Error) -> OpenError {
        if is_corrupt(&source) {
            return self.damaged(format!("store.db: {source}"));
        }
        OpenError::Sql { what, path: self.0.to_owned(), source }
    }

    fn table(&self, what: &'static str, error: TableError) -> OpenError {
        match error {
            TableError::Sql(source) => self.sql(what, source),
            TableError::Format(found) => OpenError::Format { path: self.0.to_owned(), found },
            TableError::Meta(why) => self.damaged(format!("the books of store.db: {why}")),
            TableError::Record(key, why) => self.damaged(format!("record {key:?}: {why}")),
        }
    }
}

#[cfg(test)]
mod tests;
