use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use tepui_types::Entropy;

use super::*;
use crate::Op;

const CLUSTER: Uuid = Uuid::from_bytes([7; 16]);

fn open(path: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(path, CLUSTER)
}

fn put(key: &str, value: &[u8]) -> Op {
    Op::Put { key: key.to_owned(), value: value.to_vec() }
}

fn commit(store: &mut Embedded, ops: Vec<Op>) -> Result<Revision, StoreError> {
    let term = store.term();
    store.commit(term, Batch { ops })
}

/// A store with some history in `path`, part of it folded into the database and part in the log.
fn fill(path: &Path) -> Embedded {
    let mut store = open(path).unwrap();
    store.acquire().unwrap();
    for i in 0..40_u8 {
        commit(&mut store, vec![put(&format!("agents/{i}"), &vec![i; 300])]).unwrap();
    }
    commit(&mut store, vec![put("apps/root", &[9; 9000])]).unwrap();
    commit(&mut store, (10..30).map(|i| Op::Delete { key: format!("agents/{i}") }).collect())
        .unwrap();
    store.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    for i in 0..10_u8 {
        commit(&mut store, vec![put(&format!("agents/{i}"), &[i; 200])]).unwrap();
    }
    store
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for file in ["store.db", "store.db-wal", "store.mark"] {
        fs::copy(from.join(file), to.path().join(file)).unwrap();
    }
    to
}

#[test]
fn embedded_obeys_the_suite() {
    crate::suite::run(|| {
        let place = TempDir::new().unwrap();
        move || Box::new(open(place.path()).unwrap()) as Box<dyn Store>
    });
}

#[test]
fn a_second_opener_is_refused_and_told_where() {
    let place = TempDir::new().unwrap();
    let store = open(place.path()).unwrap();
    let refused = open(place.path()).unwrap_err();
    assert!(matches!(&refused, OpenError::Locked { path } if path == place.path()));
    assert!(refused.to_string().contains(&place.path().display().to_string()));
    drop(store);
    open(place.path()).unwrap();
}

#[test]
fn only_the_owner_may_read_the_files() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("deep/state");
    let _store = fill(&path);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        let file = entry.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn the_cluster_id_is_given_once() {
    let place = TempDir::new().unwrap();
    assert_eq!(open(place.path()).unwrap().cluster_id(), CLUSTER);
    let again = Embedded::open(place.path(), Uuid::from_bytes([8; 16])).unwrap();
    assert_eq!(again.cluster_id(), CLUSTER);
}

#[test]
fn a_full_disk_writes_nothing_and_a_later_try_works() {
    let place = TempDir::new().unwrap();
    let mut store = fill(place.path());
    let before = store.load("").unwrap();
    let pages: i64 = store.connection.query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    let limit = |store: &Embedded, pages: i64| {
        store.connection.pragma_update(None, "max_page_count", pages).unwrap();
    };
    limit(&store, pages);
    let large = vec![put("agents/0", b"new"), put("large", &[1; 200_000])];
    let refused = commit(&mut store, large.clone());
    assert!(matches!(refused, Err(StoreError::NoSpace { .. })), "{refused:?}");
    assert_eq!(store.load("").unwrap(), before);
    limit(&store, 1 << 30);
    let revision = commit(&mut store, large).unwrap();
    assert_eq!(revision, Revision(53));
    assert_eq!(store.load("large").unwrap().len(), 1);
}

#[test]
fn nothing_is_done_after_a_failed_write() {
    let place = TempDir::new().unwrap();
    let mut store = fill(place.path());
    store.connection.execute_batch("ALTER TABLE meta RENAME TO gone").unwrap();
    let failed = commit(&mut store, vec![put("a", b"1")]);
    assert!(matches!(failed, Err(StoreError::Failed { .. })), "{failed:?}");
    store.connection.execute_batch("ALTER TABLE gone RENAME TO meta").unwrap();
    assert!(matches!(commit(&mut store, vec![]), Err(StoreError::Failed { .. })));
    assert!(matches!(store.load(""), Err(StoreError::Failed { .. })));
    assert!(matches!(store.acquire(), Err(StoreError::Failed { .. })));
}

#[test]
fn only_a_full_disk_may_be_tried_again() {
    let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    assert!(is_no_space(&failure(ffi::SQLITE_FULL)));
    assert!(!is_no_space(&failure(ffi::SQLITE_IOERR_FSYNC)));
    assert!(!is_no_space(&failure(ffi::SQLITE_IOERR_WRITE)));
}

#[test]
fn a_vanished_database_is_not_a_new_one() {
    let place = TempDir::new().unwrap();
    drop(fill(place.path()));
    let database = place.path().join("store.db");
    let bytes = fs::read(&database).unwrap();
    fs::remove_file(&database).unwrap();
    assert!(matches!(open(place.path()), Err(OpenError::Damaged { .. })));
    fs::write(&database, []).unwrap();
    assert!(matches!(open(place.path()), Err(OpenError::Damaged { .. })));
    fs::write(&database, bytes).unwrap();
    assert_eq!(open(place.path()).unwrap().load("").unwrap().len(), 21);
}

#[test]
fn a_new_store_may_begin_above_a_term() {
    let place = TempDir::new().unwrap();
    let mut store = open(place.path()).unwrap().above(Term(40));
    assert_eq!(store.acquire().unwrap(), Term(41));
    assert_eq!(store.acquire().unwrap(), Term(42));
    drop(store);
    assert_eq!(open(place.path()).unwrap().acquire().unwrap(), Term(43));
}

#[test]
fn an_older_copy_is_noticed_and_a_wanted_one_raises_the_term_beyond_all_given() {
    let place = TempDir::new().unwrap();
    let mut store = fill(place.path());
    let backup = copy(place.path());
    store.acquire().unwrap();
    commit(&mut store, vec![put("later", b"1")]).unwrap();
    let given = store.acquire().unwrap();
    fs::copy(place.path().join("store.mark"), backup.path().join("store.mark")).unwrap();
    let refused = open(backup.path()).unwrap_err();
    assert!(refused.to_string().contains("remove store.mark"), "{refused}");
    fs::remove_file(backup.path().join("store.mark")).unwrap();
    drop(open(backup.path()).unwrap());
    let mut restored = open(backup.path()).unwrap();
    assert_eq!(restored.load("").unwrap().len(), 21);
    let term = restored.acquire().unwrap();
    assert!(term > given, "{term:?} after {given:?}");
    drop(restored);
    let next = open(backup.path()).unwrap().acquire().unwrap();
    assert_eq!(next, Term(term.0 + 1));
}

#[test]
fn a_store_of_another_cluster_is_refused() {
    let ours = TempDir::new().unwrap();
    drop(fill(ours.path()));
    let other = TempDir::new().unwrap();
    drop(Embedded::open(other.path(), Uuid::from_bytes([8; 16])).unwrap());
    fs::copy(other.path().join("store.mark"), ours.path().join("store.mark")).unwrap();
    let refused = open(ours.path()).unwrap_err();
    assert!(refused.to_string().contains("of cluster"), "{refused}");
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    let place = TempDir::new().unwrap();
    let store = fill(place.path());
    store.connection.execute_batch("UPDATE meta SET format = 2").unwrap();
    drop(store);
    assert!(matches!(open(place.path()), Err(OpenError::Format { found: 2, .. })));
}

#[test]
fn a_lost_row_is_an_error_and_not_a_shorter_list() {
    let place = TempDir::new().unwrap();
    let store = fill(place.path());
    store
        .connection
        .execute_batch("DELETE FROM records WHERE key = x'617070732f726f6f74'")
        .unwrap();
    drop(store);
    let found = open(place.path()).unwrap().load("agents/");
    assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{found:?}");
}

#[test]
fn a_stale_row_is_an_error() {
    let place = TempDir::new().unwrap();
    let store = fill(place.path());
    store
        .connection
        .execute_batch(
            "CREATE TEMP TABLE old AS SELECT * FROM records WHERE key = x'617070732f726f6f74'",
        )
        .unwrap();
    let mut store = store;
    commit(&mut store, vec![put("apps/root", b"new")]).unwrap();
    store.connection.execute_batch("INSERT OR REPLACE INTO records SELECT * FROM old").unwrap();
    let found = store.load("");
    assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{found:?}");
}

/// What a damaged store says: everything that was written, or an error.
fn outcome(place: &Path) -> Result<Vec<(Key, Vec<u8>)>, String> {
    let mut store = open(place).map_err(|error| error.to_string())?;
    store.acquire().map_err(|error| error.to_string())?;
    store.load("").map_err(|error| error.to_string())
}

/// Damages a copy at every offset `damage` is called with and expects all or an error.
fn sweep(file: &str, offsets: impl Iterator<Item = u64>, bit: impl Fn(u64) -> u8) -> (u32, u32) {
    let place = TempDir::new().unwrap();
    let store = fill(place.path());
    let written = store.load("").unwrap();
    let (mut harmless, mut detected) = (0, 0);
    for offset in offsets {
        let broken = copy(place.path());
        let path = broken.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let Some(byte) = usize::try_from(offset).ok().and_then(|i| bytes.get_mut(i)) else { break };
        *byte ^= bit(offset);
        fs::write(&path, bytes).unwrap();
        match outcome(broken.path()) {
            Ok(found) => {
                assert!(found == written, "{file} byte {offset}: silently different");
                harmless += 1;
            }
            Err(_) => detected += 1,
        }
    }
    (harmless, detected)
}

#[test]
fn a_flipped_byte_of_the_mark_is_detected() {
    let (harmless, detected) = sweep("store.mark", 0..44, |offset| 1 << (offset % 8));
    assert_eq!((harmless, detected), (0, 44));
}

#[test]
fn a_flipped_byte_of_the_database_is_harmless_or_detected() {
    // Every byte of the header, then a walk through all pages.
    let offsets = (0..110).chain((110..).step_by(97));
    let (harmless, detected) = sweep("store.db", offsets, |offset| 1 << (offset % 8));
    assert!(detected > 50, "harmless {harmless}, detected {detected}");
}

#[test]
fn a_flipped_byte_of_the_log_is_harmless_or_detected() {
    let offsets = (0..60).chain((60..).step_by(241));
    let (harmless, detected) = sweep("store.db-wal", offsets, |offset| 0x80 >> (offset % 8));
    assert!(detected > 50, "harmless {harmless}, detected {detected}");
}

#[test]
fn a_file_that_is_cut_short_or_zeroed_is_detected() {
    let place = TempDir::new().unwrap();
    let store = fill(place.path());
    let written = store.load("").unwrap();
    let mut entropy = Entropy::seeded(16);
    for round in 0..60 {
        let broken = copy(place.path());
        let file = ["store.db", "store.db-wal", "store.mark"][round % 3];
        let path = broken.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let at = usize::try_from(entropy.below(bytes.len() as u64)).unwrap();
        if round % 2 == 0 {
            bytes.truncate(at);
        } else {
            let start = at / 4096 * 4096;
            let end = bytes.len().min(start + 4096);
            bytes[start..end].fill(0);
        }
        fs::write(&path, &bytes).unwrap();
        if let Ok(found) = outcome(broken.path()) {
            assert!(found == written, "round {round}, {file} at {at}: silently different");
        }
    }
}
