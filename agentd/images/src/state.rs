//! What the store holds, in memory.
//!
//! A reader of the catalog takes no lock: it loads the current one, finds the image, and counts
//! itself as a user with one atomic step, which fails once the image is being collected. Everything
//! that changes the catalog holds the books.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{ConfigFile, ImageConfig};
use crate::digest::Digest;
use crate::store::{Found, ImageRecord, LayerKey, Store};

/// Set in [`Entry::uses`] when an image is being collected.
const DEAD: u64 = 1 << 63;

/// An image that is here.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) digest: Digest,
    pub(crate) config: ImageConfig,
    /// Lowest first, each once.
    pub(crate) layers: Vec<LayerKey>,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) pulled: u64,
    uses: AtomicU64,
    /// Seconds since 1970.
    used: AtomicU64,
    /// The same, as the disk has it.
    used_stored: AtomicU64,
}

impl Entry {
    pub(crate) fn new(store: &Store, record: &ImageRecord, used: u64) -> Option<Arc<Self>> {
        let digest = Digest::parse(&record.digest).ok()?;
        let config = ConfigFile::parse(record.config.as_bytes()).ok()?.config;
        let layers = once_each(&record.layers);
        let mut paths: Vec<PathBuf> = layers.iter().map(|key| store.layer_path(key)).collect();
        if paths.is_empty() {
            paths.push(store.empty());
        }
        Some(Arc::new(Self {
            digest,
            config,
            layers,
            paths,
            pulled: record.pulled,
            uses: AtomicU64::new(0),
            used: AtomicU64::new(used),
            used_stored: AtomicU64::new(used),
        }))
    }

    /// Counts a user; `None` when the image is being collected.
    pub(crate) fn acquire(self: &Arc<Self>) -> Option<Prepared> {
        let count = |uses: u64| (uses & DEAD == 0).then_some(uses + 1);
        self.uses.fetch_update(Ordering::AcqRel, Ordering::Acquire, count).ok()?;
        self.used.store(seconds(SystemTime::now()), Ordering::Relaxed);
        Some(Prepared { entry: self.clone() })
    }

    /// Ends an image that nobody uses; whether it did.
    pub(crate) fn kill(&self) -> bool {
        self.uses.compare_exchange(0, DEAD, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Acquire) & !DEAD
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The time of last use, when the disk has another.
    pub(crate) fn used_to_store(&self) -> Option<u64> {
        let used = self.used();
        (self.used_stored.swap(used, Ordering::Relaxed) != used).then_some(used)
    }
}

/// Overlayfs refuses a folder that is named twice. The upper one of two equal layers hides the
/// lower.
fn once_each(layers: &[LayerKey]) -> Vec<LayerKey> {
    let mut seen = HashSet::new();
    let mut kept: Vec<LayerKey> =
        layers.iter().rev().filter(|key| seen.insert((*key).clone())).cloned().collect();
    kept.reverse();
    kept
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An image that is here and stays while this is held.
pub struct Prepared {
    entry: Arc<Entry>,
}

impl Prepared {
    /// The digest of the image's manifest; of its configuration where no manifest has one.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.entry.digest
    }

    /// The unpacked layers, lowest first, at least one: what overlayfs takes as `lowerdir`, in
    /// reverse order. They are never written to.
    #[must_use]
    pub fn layers(&self) -> &[PathBuf] {
        &self.entry.paths
    }

    /// What the image says about its containers.
    #[must_use]
    pub fn config(&self) -> &ImageConfig {
        &self.entry.config
    }

    /// The value of overlayfs's `lowerdir`: highest first, with colons between. A colon in the
    /// store's own path cannot be given this way; use the mount API's `lowerdir+` there.
    #[must_use]
    pub fn lowerdir(&self) -> std::ffi::OsString {
        let mut value = std::ffi::OsString::new();
        for (index, path) in self.entry.paths.iter().rev().enumerate() {
            if index > 0 {
                value.push(":");
            }
            value.push(path);
        }
        value
    }
}

impl Clone for Prepared {
    fn clone(&self) -> Self {
        // No image with a user is collected, so this cannot be too late.
        self.entry.uses.fetch_add(1, Ordering::AcqRel);
        Self { entry: self.entry.clone() }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.entry.used.store(seconds(SystemTime::now()), Ordering::Relaxed);
        self.entry.uses.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("digest", &self.entry.digest).finish_non_exhaustive()
    }
}

/// What readers see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) images: HashMap<Digest, Arc<Entry>>,
    pub(crate) names: BTreeMap<String, Arc<Entry>>,
}

/// A layer on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerState {
    pub(crate) bytes: u64,
    /// Since when it is here, in seconds since 1970.
    pub(crate) since: u64,
}

/// What only those see who change something.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) pins: BTreeMap<String, Digest>,
    pub(crate) layers: HashMap<LayerKey, LayerState>,
    /// Layers that pulls under way count on.
    pub(crate) pulling: HashMap<LayerKey, usize>,
}

/// Rebuilds everything from what is on disk. Names and pins of images that are not whole go.
pub(crate) fn rebuild(store: &Store, found: Found) -> (Catalog, Books) {
    let mut books = Books::default();
    let since = seconds(SystemTime::now());
    for (key, record) in found.layers {
        books.layers.insert(key, LayerState { bytes: record.bytes, since });
    }
    let mut catalog = Catalog::default();
    for (record, used) in found.images {
        let whole = record.layers.iter().all(|key| books.layers.contains_key(key));
        match Entry::new(store, &record, used).filter(|_| whole) {
            Some(entry) => {
                catalog.images.insert(entry.digest.clone(), entry);
            }
            None => {
                tracing::warn!(
                    digest = record.digest,
                    "an image lost layers or its configuration, removed"
                );
                if let Ok(digest) = Digest::parse(&record.digest) {
                    log(store.drop_image(&digest));
                }
            }
        }
    }
    let entry_of = |text: &str| Some(catalog.images.get(&Digest::parse(text).ok()?)?.clone());
    let mut names = BTreeMap::new();
    for record in found.names {
        match entry_of(&record.digest) {
            Some(entry) => {
                names.insert(record.name, entry);
            }
            None => log(store.drop_name(&record.name)),
        }
    }
    for record in found.pins {
        match entry_of(&record.digest) {
            Some(entry) => {
                books.pins.insert(record.name, entry.digest.clone());
            }
            None => log(store.drop_pin(&record.name)),
        }
    }
    catalog.names = names;
    (catalog, books)
}

fn log(result: Result<(), crate::StoreError>) {
    if let Err(error) = result {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "failed to remove a record of the image store, left");
    }
}

/// The bytes of these layers.
pub(crate) fn bytes_of<'a>(books: &Books, layers: impl Iterator<Item = &'a LayerKey>) -> u64 {
    layers.filter_map(|key| books.layers.get(key)).map(|layer| layer.bytes).sum()
}

/// Where the store is, for errors.
pub(crate) fn place(store: &Store) -> &Path {
    store.root()
}
