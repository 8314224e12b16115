//! One pull: from a name to an image that is here.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::RwLock;

use crate::Shared;
use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::{ImageError, StoreError};
use crate::progress::{LayerProgress, Stage, Teller};
use crate::resolve::Resolved;
use crate::source::{Blob, LayerPart, Source};
use crate::state::{Entry, LayerState, Prepared, place, seconds};
use crate::store::{ImageRecord, LayerKey, LayerRecord, NameRecord, Unfinished};
use crate::unpack::{Deferred, Job, Room, Unpacked, settle, unpack};

/// Tells the blocking half that nobody waits any more.
#[derive(Debug, Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps layers from being collected while a pull counts on them.
struct Claim {
    shared: Arc<Shared>,
    keys: Vec<LayerKey>,
}

impl Claim {
    fn new(shared: &Arc<Shared>, keys: Vec<LayerKey>) -> Self {
        let mut books = shared.books.lock();
        for key in &keys {
            *books.pulling.entry(key.clone()).or_default() += 1;
        }
        drop(books);
        Self { shared: shared.clone(), keys }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut books = self.shared.books.lock();
        for key in &self.keys {
            if let Some(count) = books.pulling.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    books.pulling.remove(key);
                }
            }
        }
    }
}

/// A layer after its first half.
enum Fetched {
    /// It is in the store.
    Here(LayerKey),
    /// It depends on the layers below.
    Held(Unfinished, Deferred, u64),
}

/// One layer of a pull.
#[derive(Clone)]
struct Layer {
    index: usize,
    part: LayerPart,
    alone: LayerKey,
    upon: LayerKey,
}

/// A pull under way.
pub(crate) struct Pull {
    pub(crate) shared: Arc<Shared>,
    /// The image's full name.
    pub(crate) name: String,
    pub(crate) teller: Teller,
    /// Shared by threads that unpack, so that a failed pull can wait until they have tidied up.
    pub(crate) busy: Arc<RwLock<()>>,
}

impl Pull {
    /// Brings a resolved image into the store.
    pub(crate) async fn bring(self, image: Resolved) -> Result<Prepared, ImageError> {
        let store_root = place(&self.shared.store).to_owned();
        let (name, busy) = (self.name.clone(), self.busy.clone());
        let outcome = self.layers_and_image(image).await;
        if outcome.is_err() {
            drop(busy.write().await);
        }
        outcome.map_err(|e| e.or_full(&name, &store_root))
    }

    async fn layers_and_image(self, image: Resolved) -> Result<Prepared, ImageError> {
        let layers = layers_of(&image.layers);
        let keys = layers.iter().flat_map(|l| [l.alone.clone(), l.upon.clone()]).collect();
        let _claim = Claim::new(&self.shared, keys);
        self.teller.layers(layers.iter().map(progress_of).collect());
        self.check_room(&layers, &image.source)?;
        let keys = self.all_layers(&layers, &image.source).await?;
        self.teller.stage(Stage::Finishing);
        let shared = self.shared.clone();
        let name = self.name.clone();
        let kept = blocking(&self.name, move || commit(&shared, &name, &image, keys)).await?;
        Ok(kept?)
    }

    /// Refuses early what will not fit: what is to be transferred, and at least as much unpacked.
    fn check_room(&self, layers: &[Layer], source: &Source) -> Result<(), ImageError> {
        let missing = |layer: &&Layer| self.present(layer).is_none();
        let mut seen = HashSet::new();
        let bytes: u64 = layers
            .iter()
            .filter(missing)
            .filter(|layer| seen.insert(&layer.alone))
            .map(|layer| layer.part.blob.size())
            .fold(0, u64::saturating_add);
        let needed = match source {
            Source::Registry(_) => bytes.saturating_mul(2),
            Source::Layout(_) | Source::Archive(_) => bytes,
        };
        let room = self.shared.store.room()?;
        if needed <= room {
            return Ok(());
        }
        Err(ImageError::DiskFull {
            image: self.name.clone(),
            store: place(&self.shared.store).to_owned(),
            reason: format!("at least {needed} bytes are needed, {room} are free"),
        })
    }

    fn present(&self, layer: &Layer) -> Option<LayerKey> {
        let books = self.shared.books.lock();
        let here = |key: &&LayerKey| books.layers.contains_key(*key);
        [&layer.alone, &layer.upon].into_iter().find(here).cloned()
    }

    /// Downloads and unpacks a layer, unless it is here or another pull is at it.
    async fn fetch(&self, layer: Layer, source: &Source) -> Result<(usize, Fetched), ImageError> {
        let alone = self.shared.lock_of(&layer.alone);
        let _alone = alone.lock().await;
        let fetched = match self.present(&layer) {
            Some(key) => Fetched::Here(key),
            None => self.fetch_missing(&layer, source).await?,
        };
        self.teller.ready(layer.index);
        Ok((layer.index, fetched))
    }

    async fn fetch_missing(&self, layer: &Layer, source: &Source) -> Result<Fetched, ImageError> {
        let cancel = CancelOnDrop::default();
        let mut job = Job {
            digest: None,
            diff_id: layer.part.diff_id.clone(),
            size: layer.part.blob.size(),
            limits: self.shared.settings.limits,
            cancelled: cancel.0.clone(),
        };
        // Held until it is unpacked: dropping removes it.
        let mut downloaded = None;
        let opened: Box<dyn FnOnce() -> io::Result<Reader> + Send> =
            match (source, &layer.part.blob) {
                (Source::Registry(registry), Blob::Named(blob)) => {
                    let (unfinished, file) = self.shared.store.new_file()?;
                    let mut to = tokio::fs::File::from_std(file);
                    let tell = |bytes| self.teller.bytes(layer.index, bytes);
                    let count = |bytes| self.shared.stats.download(bytes);
                    let progress = Counting::new(&tell, &count);
                    registry
                        .download(blob, &mut to, &|bytes| progress.at(bytes))
                        .await
                        .map_err(|source| self.registry_error(source))?;
                    let path = unfinished.path().to_owned();
                    downloaded = Some(unfinished);
                    Box::new(move || Ok(Box::new(File::open(path)?) as Reader))
                }
                (Source::Layout(layout), Blob::Named(blob)) => {
                    job.digest = Some(blob.digest.clone());
                    let (layout, blob) = (layout.clone(), blob.clone());
                    Box::new(move || Ok(Box::new(layout.blob(&blob)?) as Reader))
                }
                (Source::Archive(archive), Blob::Named(blob)) => {
                    job.digest = Some(blob.digest.clone());
                    let (archive, blob) = (archive.clone(), blob.clone());
                    Box::new(move || Ok(Box::new(archive.blob(&blob)?) as Reader))
                }
                (Source::Archive(archive), Blob::At { offset, size }) => {
                    let (archive, offset, size) = (archive.clone(), *offset, *size);
                    Box::new(move || Ok(Box::new(archive.at(offset, size)) as Reader))
                }
                (Source::Registry(_) | Source::Layout(_), Blob::At { .. }) => {
                    return Err(self.local_error("a layer", io::ErrorKind::InvalidInput.into()));
                }
            };
        let permit = self.shared.unpackers.clone().acquire_owned().await;
        let busy = self.busy.clone().read_owned().await;
        let (shared, key, name) = (self.shared.clone(), layer.alone.clone(), self.name.clone());
        let diff_id = layer.part.diff_id.clone();
        let done = blocking(&self.name, move || {
            let _until_the_end = (busy, permit);
            let layer = shared.store.new_layer()?;
            let reader = opened().map_err(|source| ImageError::Local {
                image: name.clone(),
                part: format!("layer {diff_id}"),
                source: Arc::new(source),
            })?;
            let unpacked = unpack(reader, &layer.path().join("fs"), &job);
            let Unpacked { disk_bytes, deferred } = unpacked.map_err(|source| {
                ImageError::Unpack { image: name, layer: diff_id.clone(), source: Arc::new(source) }
            })?;
            if !deferred.is_empty() {
                return Ok(Fetched::Held(layer, deferred, disk_bytes));
            }
            keep(&shared, layer, &key, &diff_id, disk_bytes)?;
            Ok(Fetched::Here(key))
        })
        .await?;
        drop((cancel, downloaded));
        done
    }

    /// All layers, several at a time; each is finished when those below it are.
    async fn all_layers(
        &self,
        layers: &[Layer],
        source: &Source,
    ) -> Result<Vec<LayerKey>, ImageError> {
        let mut fetching = stream::iter(layers.to_vec())
            .map(|layer| self.fetch(layer, source))
            .buffer_unordered(self.shared.settings.limits.downloads.max(1));
        let mut fetched: BTreeMap<usize, Fetched> = BTreeMap::new();
        let mut keys: Vec<LayerKey> = Vec::new();
        // What is copied from layer to layer, for all of the image.
        let mut left = self.shared.settings.limits.unpacked_bytes;
        while let Some((index, one)) = fetching.try_next().await? {
            fetched.insert(index, one);
            while let Some(next) = fetched.remove(&keys.len()) {
                let key = match next {
                    Fetched::Here(key) => key,
                    Fetched::Held(unfinished, deferred, bytes) => {
                        let layer = &layers[keys.len()];
                        let held = (unfinished, deferred, bytes);
                        let copied = self.settle_one(layer, &keys, held, left).await?;
                        left = left.saturating_sub(copied);
                        layer.upon.clone()
                    }
                };
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// Finishes a layer that depends on those below, which are in the store; the bytes that it took
    /// beside its own.
    async fn settle_one(
        &self,
        layer: &Layer,
        lower: &[LayerKey],
        (unfinished, deferred, bytes): (Unfinished, Deferred, u64),
        left: u64,
    ) -> Result<u64, ImageError> {
        let size = layer.part.blob.size();
        let room = Room { limits: self.shared.settings.limits, size, left };
        let lower: Vec<PathBuf> =
            lower.iter().rev().map(|key| self.shared.store.layer_path(key)).collect();
        let (shared, name) = (self.shared.clone(), self.name.clone());
        let (key, diff_id) = (layer.upon.clone(), layer.part.diff_id.clone());
        blocking(&self.name, move || {
            let more = settle(&unfinished.path().join("fs"), &lower, deferred, &room);
            let more = more.map_err(|source| ImageError::Unpack {
                image: name,
                layer: diff_id.clone(),
                source: Arc::new(source),
            })?;
            keep(&shared, unfinished, &key, &diff_id, bytes.saturating_add(more))?;
            Ok(more)
        })
        .await?
    }

    fn registry_error(&self, source: crate::RegistryError) -> ImageError {
        ImageError::Registry { image: self.name.clone(), source: Arc::new(source) }
    }

    fn local_error(&self, part: &str, source: io::Error) -> ImageError {
        let (image, part) = (self.name.clone(), part.to_owned());
        ImageError::Local { image, part, source: Arc::new(source) }
    }
}

type Reader = Box<dyn io::Read>;

/// Turns totals, which may go back, into bytes that were transferred.
struct Counting<'a> {
    tell: &'a (dyn Fn(u64) + Send + Sync),
    count: &'a (dyn Fn(u64) + Send + Sync),
    last: std::sync::atomic::AtomicU64,
}

impl<'a> Counting<'a> {
    fn new(tell: &'a (dyn Fn(u64) + Send + Sync), count: &'a (dyn Fn(u64) + Send + Sync)) -> Self {
        Self { tell, count, last: std::sync::atomic::AtomicU64::new(0) }
    }

    fn at(&self, total: u64) {
        let last = self.last.swap(total, Ordering::Relaxed);
        (self.count)(total.saturating_sub(last));
        (self.tell)(total);
    }
}

fn layers_of(parts: &[LayerPart]) -> Vec<Layer> {
    let diff_ids: Vec<Digest> = parts.iter().map(|part| part.diff_id.clone()).collect();
    parts
        .iter()
        .enumerate()
        .map(|(index, part)| Layer {
            index,
            part: part.clone(),
            alone: LayerKey::alone(&part.diff_id),
            upon: LayerKey::upon(&diff_ids[..index], &part.diff_id),
        })
        .collect()
}

fn progress_of(layer: &Layer) -> LayerProgress {
    let digest = match &layer.part.blob {
        Blob::Named(blob) => blob.digest.clone(),
        Blob::At { .. } => layer.part.diff_id.clone(),
    };
    let total_bytes = layer.part.blob.size();
    LayerProgress { digest, total_bytes, done_bytes: 0, ready: false }
}

fn keep(
    shared: &Shared,
    layer: Unfinished,
    key: &LayerKey,
    diff_id: &Digest,
    bytes: u64,
) -> Result<(), ImageError> {
    let record = LayerRecord { diff_id: diff_id.to_string(), bytes };
    shared.store.keep_layer(layer, key, &record)?;
    let state = LayerState { bytes, since: seconds(SystemTime::now()) };
    shared.books.lock().layers.insert(key.clone(), state);
    Ok(())
}

/// Writes the image down and shows it to everybody. Blocks.
fn commit(
    shared: &Shared,
    name: &str,
    image: &Resolved,
    layers: Vec<LayerKey>,
) -> Result<Prepared, StoreError> {
    let pulled = seconds(SystemTime::now());
    let record = ImageRecord {
        digest: image.digest.to_string(),
        layers,
        config: String::from_utf8_lossy(&image.config).into_owned(),
        pulled,
    };
    let invalid =
        || StoreError::io("keep image in", shared.store.root())(io::ErrorKind::InvalidData.into());
    let books = shared.books.lock();
    let mut catalog = shared.catalog.load().as_ref().clone();
    let prepared = catalog.images.get(&image.digest).and_then(Entry::acquire);
    let prepared = match prepared {
        Some(prepared) => prepared,
        None => {
            shared.store.keep_image(&image.digest, &record)?;
            let entry = Entry::new(&shared.store, &record, pulled).ok_or_else(invalid)?;
            catalog.images.insert(image.digest.clone(), entry.clone());
            entry.acquire().ok_or_else(invalid)?
        }
    };
    let entry = catalog.images.get(&image.digest).cloned().ok_or_else(invalid)?;
    let record = NameRecord { name: name.to_owned(), digest: image.digest.to_string() };
    shared.store.keep_name(&record)?;
    catalog.names.insert(name.to_owned(), entry);
    shared.catalog.store(Arc::new(catalog));
    drop(books);
    Ok(prepared)
}

/// Gives a name to an image that is here; `None` when it is not. Blocks.
pub(crate) fn name_present(
    shared: &Shared,
    name: &str,
    digest: &Digest,
) -> Result<Option<Prepared>, StoreError> {
    let books = shared.books.lock();
    let mut catalog = shared.catalog.load().as_ref().clone();
    let Some(entry) = catalog.images.get(digest).cloned() else { return Ok(None) };
    let Some(prepared) = entry.acquire() else { return Ok(None) };
    let named = catalog.names.get(name).is_some_and(|named| named.digest == *digest);
    if !named {
        shared
            .store
            .keep_name(&NameRecord { name: name.to_owned(), digest: digest.to_string() })?;
        catalog.names.insert(name.to_owned(), entry);
        shared.catalog.store(Arc::new(catalog));
    }
    drop(books);
    Ok(Some(prepared))
}

/// Work that blocks, on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    image: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ImageError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ImageError::GivenUp { image: image.to_owned() })
}

/// Whether a configuration is for this host; an empty one is taken at its word.
pub(crate) fn suits_host(file: &ConfigFile) -> bool {
    let host = crate::platform::Platform::of_host();
    (file.platform.os.is_empty() && file.platform.architecture.is_empty())
        || host.rank(&file.platform).is_some()
}
