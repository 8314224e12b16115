//! Garbage collection: what goes, and in which order, so that a crash leaves nothing half.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::Shared;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::reference::Reference;
use crate::state::{Books, Catalog, Entry, bytes_of, seconds};
use crate::store::{LayerKey, Unfinished};

/// Layers of a pull that failed are kept so long for the next attempt.
const ORPHAN_GRACE: Duration = Duration::from_secs(3600);

/// What may stay. An image that is in use or pinned always does.
#[derive(Clone, Debug)]
pub struct Policy {
    /// An image that nobody has used for so long goes.
    pub unused_for: Duration,
    /// While all layers take more, the image goes that was used least recently.
    pub max_bytes: Option<u64>,
    /// Names of images that stay (Mesos's `excluded_images`).
    pub keep: Vec<String>,
}

impl Policy {
    /// Everything goes that is not in use or pinned, but for these.
    #[must_use]
    pub fn prune(keep: Vec<String>) -> Self {
        Self { unused_for: Duration::ZERO, max_bytes: None, keep }
    }
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Digests of images.
    pub images: Vec<Digest>,
    /// Layers that no image needs any more.
    pub layers: usize,
    /// Bytes of these layers.
    pub bytes: u64,
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its full names; none when they mean newer images now.
    pub names: Vec<String>,
    /// Bytes of its layers, also where it shares them.
    pub bytes: u64,
    /// When it was pulled, in seconds since 1970.
    pub pulled: u64,
    /// When it was last used, in seconds since 1970.
    pub used: u64,
    /// How many hold it now.
    pub users: u64,
    /// Who pinned it.
    pub pinned_by: Vec<String>,
}

pub(crate) fn list(shared: &Shared) -> Vec<ImageInfo> {
    let books = shared.books.lock();
    let catalog = shared.catalog.load();
    let mut names: HashMap<&Digest, Vec<String>> = HashMap::new();
    for (name, entry) in &catalog.names {
        names.entry(&entry.digest).or_default().push(name.clone());
    }
    let info = |entry: &Arc<Entry>| ImageInfo {
        digest: entry.digest.clone(),
        names: names.remove(&entry.digest).unwrap_or_default(),
        bytes: bytes_of(&books, entry.layers.iter()),
        pulled: entry.pulled,
        used: entry.used(),
        users: entry.uses(),
        pinned_by: pins_of(&books, &entry.digest),
    };
    let mut all: Vec<ImageInfo> = catalog.images.values().map(info).collect();
    all.sort_by(|a, b| (&a.names, &a.digest).cmp(&(&b.names, &b.digest)));
    all
}

fn pins_of(books: &Books, digest: &Digest) -> Vec<String> {
    books
        .pins
        .iter()
        .filter(|(_, pinned)| *pinned == digest)
        .map(|(owner, _)| owner.clone())
        .collect()
}

pub(crate) fn collect(
    shared: &Shared,
    policy: &Policy,
    now: SystemTime,
) -> Result<Collected, StoreError> {
    let now = seconds(now);
    let mut books = shared.books.lock();
    let before = shared.catalog.load_full();
    note_uses(shared, &before)?;
    let kept = kept_names(shared, policy);
    let spared: HashSet<Digest> = before
        .names
        .iter()
        .filter(|(name, _)| kept.contains(*name))
        .map(|(_, entry)| entry.digest.clone())
        .chain(books.pins.values().cloned())
        .collect();
    let mut candidates: Vec<Arc<Entry>> = before
        .images
        .values()
        .filter(|entry| entry.uses() == 0 && !spared.contains(&entry.digest))
        .cloned()
        .collect();
    candidates.sort_by_key(|entry| (entry.used(), entry.digest.clone()));
    let named: HashSet<&Digest> = before.names.values().map(|entry| &entry.digest).collect();
    let mut catalog = before.as_ref().clone();
    let mut collected = Collected::default();
    let mut orphans = Orphans::new(&catalog, &books);
    for entry in candidates {
        let idle = now.saturating_sub(entry.used()) >= policy.unused_for.as_secs();
        let nameless = !named.contains(&entry.digest);
        let over = policy.max_bytes.is_some_and(|max| orphans.bytes_kept(&books) > max);
        if !(idle || nameless || over) || !entry.kill() {
            continue;
        }
        forget(shared, &mut catalog, &entry)?;
        orphans.release(&entry);
        collected.images.push(entry.digest.clone());
    }
    let over = policy.max_bytes.is_some_and(|max| total_bytes(&books) > max);
    let grace = if over { Duration::ZERO } else { policy.unused_for.min(ORPHAN_GRACE) };
    // A layer of an image that just went has had its time.
    let dropped = sweep(shared, &mut books, &orphans, now, grace, &mut collected)?;
    drop(books);
    // Many files: not while anybody waits for the books.
    drop(dropped);
    Ok(collected)
}

fn total_bytes(books: &Books) -> u64 {
    books.layers.values().map(|layer| layer.bytes).sum()
}

fn kept_names(shared: &Shared, policy: &Policy) -> HashSet<String> {
    let registry = &shared.settings.default_registry;
    let full = |name: &String| Reference::parse(name, registry).ok().map(|r| r.to_string());
    policy.keep.iter().filter_map(full).collect()
}

/// Times of last use reach the disk here, not on the way to a container.
fn note_uses(shared: &Shared, catalog: &Catalog) -> Result<(), StoreError> {
    for entry in catalog.images.values() {
        if let Some(used) = entry.used_to_store() {
            shared.store.touch_image(&entry.digest, used)?;
        }
    }
    Ok(())
}

/// Takes a dead image out of catalog and disk: names first, so that none is left without image.
fn forget(shared: &Shared, catalog: &mut Catalog, entry: &Arc<Entry>) -> Result<(), StoreError> {
    let names: Vec<String> = catalog
        .names
        .iter()
        .filter(|(_, named)| named.digest == entry.digest)
        .map(|(name, _)| name.clone())
        .collect();
    for name in &names {
        catalog.names.remove(name);
    }
    catalog.images.remove(&entry.digest);
    shared.catalog.store(Arc::new(catalog.clone()));
    for name in &names {
        shared.store.drop_name(name)?;
    }
    shared.store.drop_image(&entry.digest)
}

/// How many images need each layer.
struct Orphans {
    needed: BTreeMap<LayerKey, usize>,
    released: HashSet<LayerKey>,
}

impl Orphans {
    fn new(catalog: &Catalog, books: &Books) -> Self {
        let mut needed: BTreeMap<LayerKey, usize> = BTreeMap::new();
        for key in catalog.images.values().flat_map(|entry| &entry.layers) {
            *needed.entry(key.clone()).or_default() += 1;
        }
        for key in books.pulling.keys() {
            *needed.entry(key.clone()).or_default() += 1;
        }
        Self { needed, released: HashSet::new() }
    }

    fn release(&mut self, entry: &Entry) {
        for key in &entry.layers {
            if let Some(count) = self.needed.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.needed.remove(key);
                    self.released.insert(key.clone());
                }
            }
        }
    }

    fn bytes_kept(&self, books: &Books) -> u64 {
        bytes_of(books, self.needed.keys())
    }
}

/// Takes layers that no image needs out of the store.
fn sweep(
    shared: &Shared,
    books: &mut Books,
    orphans: &Orphans,
    now: u64,
    grace: Duration,
    collected: &mut Collected,
) -> Result<Vec<Unfinished>, StoreError> {
    let is_old = |since: u64| now.saturating_sub(since) >= grace.as_secs();
    let gone: Vec<LayerKey> = books
        .layers
        .iter()
        .filter(|(key, layer)| {
            !orphans.needed.contains_key(*key)
                && (orphans.released.contains(*key) || is_old(layer.since))
        })
        .map(|(key, _)| key.clone())
        .collect();
    let mut dropped = Vec::new();
    for key in gone {
        dropped.push(shared.store.drop_layer(&key)?);
        if let Some(layer) = books.layers.remove(&key) {
            collected.bytes += layer.bytes;
            collected.layers += 1;
        }
    }
    Ok(dropped)
}

pub(crate) fn remove(shared: &Shared, name: &str) -> Result<bool, StoreError> {
    let mut books = shared.books.lock();
    let mut catalog = shared.catalog.load().as_ref().clone();
    let Some(entry) = catalog.names.remove(name) else { return Ok(false) };
    shared.catalog.store(Arc::new(catalog.clone()));
    shared.store.drop_name(name)?;
    let still = catalog.names.values().any(|named| named.digest == entry.digest);
    let mut dropped = Vec::new();
    if !still && pins_of(&books, &entry.digest).is_empty() && entry.kill() {
        let mut orphans = Orphans::new(&catalog, &books);
        forget(shared, &mut catalog, &entry)?;
        orphans.release(&entry);
        let now = seconds(SystemTime::now());
        let mut collected = Collected::default();
        dropped = sweep(shared, &mut books, &orphans, now, ORPHAN_GRACE, &mut collected)?;
    }
    drop(books);
    drop(dropped);
    Ok(true)
}
