//! Copies of downloads, each fetched once however many runs want it at the same time.
//!
//! As in Mesos, a copy is found by user and URI, and an agent begins with an empty cache. The
//! contents are not compared with the source again: who publishes a new file gives it a new URI.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// What names a copy: the user for whom it may be read, and the URI.
pub(crate) type Key = (Option<String>, String);

/// The cache of one agent.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    limit: u64,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    copies: HashMap<Key, Copy>,
    flights: HashMap<Key, Arc<tokio::sync::Mutex<()>>>,
    bytes: u64,
    clock: u64,
    next: u64,
}

#[derive(Debug)]
struct Copy {
    path: PathBuf,
    bytes: u64,
    used: u64,
}

impl Cache {
    /// Empties the directory, or makes it.
    pub(crate) fn open(dir: PathBuf, limit: u64) -> io::Result<Self> {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self { dir, limit, shelf: Mutex::default() })
    }

    /// The lock that whoever fetches this holds meanwhile.
    pub(crate) fn flight(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        self.shelf.lock().flights.entry(key.clone()).or_default().clone()
    }

    /// Forgets the lock when nobody else waits for it.
    pub(crate) fn landed(&self, key: &Key) {
        let mut shelf = self.shelf.lock();
        // One reference is the shelf's, one the caller's.
        if shelf.flights.get(key).is_some_and(|flight| Arc::strong_count(flight) <= 2) {
            shelf.flights.remove(key);
        }
    }

    /// The copy, opened, so that it can be read even when it is evicted meanwhile.
    pub(crate) fn find(&self, key: &Key) -> Option<File> {
        let mut shelf = self.shelf.lock();
        shelf.clock += 1;
        let now = shelf.clock;
        let copy = shelf.copies.get_mut(key)?;
        copy.used = now;
        File::open(&copy.path).ok()
    }

    /// A fresh file to download into; nobody finds it before [`Self::keep`].
    pub(crate) fn blank(&self) -> io::Result<(PathBuf, File)> {
        let number = {
            let mut shelf = self.shelf.lock();
            shelf.next += 1;
            shelf.next
        };
        let path = self.dir.join(number.to_string());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok((path, file))
    }

    /// Keeps a download, at the cost of those that were not used for longest.
    pub(crate) fn keep(&self, key: Key, path: &Path, bytes: u64) {
        let mut shelf = self.shelf.lock();
        shelf.clock += 1;
        let used = shelf.clock;
        if bytes > self.limit {
            remove(path);
            return;
        }
        while shelf.bytes + bytes > self.limit {
            let oldest = shelf.copies.iter().min_by_key(|(_, copy)| copy.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            if let Some(copy) = shelf.copies.remove(&oldest) {
                shelf.bytes -= copy.bytes;
                remove(&copy.path);
            }
        }
        shelf.bytes += bytes;
        let copy = Copy { path: path.to_owned(), bytes, used };
        if let Some(former) = shelf.copies.insert(key, copy) {
            shelf.bytes -= former.bytes;
            remove(&former.path);
        }
    }
}

/// Removes a file of the cache; the worst that a failure costs is its space until the next start.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(
            path = %path.display(),
            error = &error as &dyn std::error::Error,
            "cached file not removed, going on"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (None, name.to_owned())
    }

    fn put(cache: &Cache, name: &str, bytes: u64) {
        let (path, file) = cache.blank().unwrap();
        file.set_len(bytes).unwrap();
        cache.keep(key(name), &path, bytes);
    }

    #[test]
    fn the_copy_that_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache"), 100).unwrap();
        put(&cache, "a", 40);
        put(&cache, "b", 40);
        assert!(cache.find(&key("a")).is_some());
        put(&cache, "c", 40);
        assert!(cache.find(&key("b")).is_none());
        assert!(cache.find(&key("a")).is_some() && cache.find(&key("c")).is_some());
        put(&cache, "giant", 101);
        assert!(cache.find(&key("giant")).is_none());
        assert!(cache.find(&key("a")).is_some());
        let files = fs::read_dir(dir.path().join("cache")).unwrap().count();
        assert_eq!(files, 2);
    }

    #[test]
    fn another_user_does_not_see_the_copy() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache"), 100).unwrap();
        put(&cache, "a", 1);
        assert!(cache.find(&(Some("other".to_owned()), "a".to_owned())).is_none());
    }

    #[test]
    fn an_agent_begins_with_an_empty_cache() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("cache");
        put(&Cache::open(place.clone(), 100).unwrap(), "a", 1);
        let cache = Cache::open(place.clone(), 100).unwrap();
        assert!(cache.find(&key("a")).is_none());
        assert_eq!(fs::read_dir(place).unwrap().count(), 0);
    }
}
