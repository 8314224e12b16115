//! The store as its users see it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::collect::{self, Collected, ImageInfo, Policy};
use crate::credentials::{Auth, DockerConfig};
use crate::digest::Digest;
use crate::error::{ImageError, StoreError};
use crate::local;
use crate::progress::{Progress, Teller};
use crate::pull::{Pull, blocking, name_present};
use crate::reference::Reference;
use crate::registry::SharedClient;
use crate::resolve::{Resolution, complete, resolve};
use crate::settings::Settings;
use crate::state::{Books, Catalog, Prepared, rebuild};
use crate::stats::Stats;
use crate::store::{LayerKey, NameRecord, SharedStore, Store};

/// Images of one host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Images {
    shared: Arc<Shared>,
}

/// What all handles and pulls share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: SharedStore,
    pub(crate) settings: Settings,
    pub(crate) client: SharedClient,
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) books: Mutex<Books>,
    pub(crate) unpackers: Arc<Semaphore>,
    pub(crate) stats: Stats,
    flights: Mutex<HashMap<FlightKey, Weak<Flight>>>,
    layer_locks: Mutex<HashMap<LayerKey, Weak<tokio::sync::Mutex<()>>>>,
}

/// An image that is wanted.
#[derive(Clone, Debug, Default)]
pub struct ImageRequest {
    /// As [`Reference::parse`] takes it.
    pub reference: String,
    /// Ask the registry even when the image is here (Marathon's `forcePullImage`).
    pub fresh: bool,
    /// Credentials of whoever wants it; before those of the settings.
    pub credentials: Option<DockerConfig>,
}

impl ImageRequest {
    /// A request without credentials that takes what is here.
    #[must_use]
    pub fn new(reference: impl Into<String>) -> Self {
        Self { reference: reference.into(), ..Self::default() }
    }
}

/// Pulls are shared by those who want the same with the same right.
type FlightKey = (String, Option<DockerConfig>);

/// A pull under way.
#[derive(Clone, Debug, PartialEq)]
pub struct PullInfo {
    /// The image's full name.
    pub image: String,
    /// How far it is.
    pub progress: Progress,
    /// For how long it is under way.
    pub since: Duration,
}

/// A pull that several wait for; the last who goes ends it.
struct Flight {
    began: Instant,
    outcome: SharedFuture<BoxFuture<'static, Result<Prepared, ImageError>>>,
    progress: watch::Receiver<Progress>,
    abort: AbortHandle,
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Images {
    /// Opens the store in this folder, which is made if it is missing, and belongs to this process
    /// from then on. What an earlier process left unfinished is removed. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when another process has it, it was made by a newer version, or it cannot be
    /// read and written.
    pub fn open(root: &Path, settings: Settings) -> Result<Self, StoreError> {
        let (store, found) = Store::open(root)?;
        let (catalog, books) = rebuild(&store, found);
        let unpackers = Arc::new(Semaphore::new(settings.limits.unpackers.max(1)));
        Ok(Self {
            shared: Arc::new(Shared {
                store: Arc::new(store),
                settings,
                client: SharedClient::default(),
                catalog: ArcSwap::from_pointee(catalog),
                books: Mutex::new(books),
                unpackers,
                stats: Stats::default(),
                flights: Mutex::default(),
                layer_locks: Mutex::default(),
            }),
        })
    }

    /// An image, pulled if it is not here. One that is here takes neither lock nor network.
    /// One that is wanted fresh is asked for at its registry, and what is here does not stand in for
    /// it: as with Mesos and Docker, whoever pulls for every task wants the image of now or none.
    /// `progress` is called in between, by the caller's own task. When the future is dropped and
    /// nobody else waits, the pull ends soon and leaves whole layers or nothing.
    ///
    /// # Errors
    ///
    /// [`ImageError`], naming the image.
    pub async fn ensure(
        &self,
        request: &ImageRequest,
        progress: impl Fn(&Progress),
    ) -> Result<Prepared, ImageError> {
        let reference =
            Reference::parse(&request.reference, &self.shared.settings.default_registry)?;
        let name = reference.to_string();
        // Also one that is here: it may have come under another setting.
        if let Reference::Layout { path, .. } | Reference::Archive { path, .. } = &reference
            && !local::is_named(&self.shared.settings.local_images, path)
        {
            return Err(ImageError::NotNamed { image: name });
        }
        if !request.fresh
            && let Some(prepared) = self.find_name(&name)
        {
            return Ok(prepared);
        }
        let flight = self.flight(name.clone(), reference, request.credentials.clone());
        let (mut outcome, mut heard) = (flight.outcome.clone(), flight.progress.clone());
        loop {
            tokio::select! {
                biased;
                done = &mut outcome => {
                    return done.map_err(|error| match self.find_name(&name) {
                        Some(_) => ImageError::NotFresh { image: name, source: Box::new(error) },
                        None => error,
                    });
                }
                Ok(()) = heard.changed() => {
                    let now = heard.borrow_and_update().clone();
                    progress(&now);
                }
            }
        }
    }

    /// An image by its full name, if it is here.
    fn find_name(&self, name: &str) -> Option<Prepared> {
        self.shared.catalog.load().names.get(name)?.acquire()
    }

    /// An image that is here, by digest.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<Prepared> {
        self.shared.catalog.load().images.get(digest)?.acquire()
    }

    /// Keeps an image from being collected, beyond the end of this process, until its owner is
    /// unpinned. An owner pins one image; another one takes its place. Blocks for a write.
    ///
    /// # Errors
    ///
    /// [`ImageError::Unknown`] when no such image is here, [`ImageError::Store`] when the pin
    /// cannot be written.
    pub fn pin(&self, digest: &Digest, owner: &str) -> Result<(), ImageError> {
        if owner.is_empty() || owner.len() > 1000 {
            return Err(StoreError::Owner(owner.chars().take(100).collect()).into());
        }
        let mut books = self.shared.books.lock();
        if books.pins.get(owner) == Some(digest) {
            return Ok(());
        }
        // Held while it is written down, so that it cannot be collected meanwhile.
        let held = self.find(digest).ok_or_else(|| ImageError::Unknown(digest.clone()))?;
        let record = NameRecord { name: owner.to_owned(), digest: digest.to_string() };
        self.shared.store.keep_pin(&record)?;
        books.pins.insert(owner.to_owned(), digest.clone());
        drop(books);
        drop(held);
        Ok(())
    }

    /// Ends an owner's pin, if it has one. Blocks for a write.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it cannot be written; the pin then stays.
    pub fn unpin(&self, owner: &str) -> Result<(), StoreError> {
        let mut books = self.shared.books.lock();
        if books.pins.contains_key(owner) {
            self.shared.store.drop_pin(owner)?;
            books.pins.remove(owner);
        }
        Ok(())
    }

    /// The image that an owner has pinned.
    #[must_use]
    pub fn pinned(&self, owner: &str) -> Option<Prepared> {
        let digest = self.shared.books.lock().pins.get(owner).cloned()?;
        self.find(&digest)
    }

    /// Everybody who has pinned an image.
    #[must_use]
    pub fn pin_owners(&self) -> Vec<String> {
        self.shared.books.lock().pins.keys().cloned().collect()
    }

    /// Removes what the policy no longer wants to keep; never what is in use or pinned. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError`] at the first step that fails; what was removed before stays removed.
    pub fn collect(&self, policy: &Policy, now: SystemTime) -> Result<Collected, StoreError> {
        collect::collect(&self.shared, policy, now)
    }

    /// Removes a name, and the image when nothing else holds it. Whether the name was here. Blocks.
    ///
    /// # Errors
    ///
    /// [`ImageError`] for a name that names nothing, or when the store fails.
    pub fn remove(&self, reference: &str) -> Result<bool, ImageError> {
        let reference = Reference::parse(reference, &self.shared.settings.default_registry)?;
        Ok(collect::remove(&self.shared, &reference.to_string())?)
    }

    /// Everything that is here.
    #[must_use]
    pub fn list(&self) -> Vec<ImageInfo> {
        collect::list(&self.shared)
    }

    /// Every pull that is under way now, by name of its image.
    #[must_use]
    pub fn pulls(&self) -> Vec<PullInfo> {
        let flights = self.shared.flights.lock();
        let under_way = flights.iter().filter_map(|((image, _), flight)| {
            let flight = flight.upgrade().filter(|flight| flight.outcome.peek().is_none())?;
            let progress = flight.progress.borrow().clone();
            Some(PullInfo { image: image.clone(), progress, since: flight.began.elapsed() })
        });
        let mut pulls: Vec<PullInfo> = under_way.collect();
        pulls.sort_by(|a, b| a.image.cmp(&b.image));
        pulls
    }

    /// Bytes of all layers on disk.
    #[must_use]
    pub fn store_bytes(&self) -> u64 {
        self.shared.books.lock().layers.values().map(|layer| layer.bytes).sum()
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// The full name of a reference, as [`ImageInfo::names`] has it.
    ///
    /// # Errors
    ///
    /// [`crate::InvalidReference`].
    pub fn full_name(&self, reference: &str) -> Result<String, crate::InvalidReference> {
        let registry = &self.shared.settings.default_registry;
        Reference::parse(reference, registry).map(|reference| reference.to_string())
    }

    fn flight(
        &self,
        name: String,
        reference: Reference,
        credentials: Option<DockerConfig>,
    ) -> Arc<Flight> {
        let key = (name.clone(), credentials.clone());
        let mut flights = self.shared.flights.lock();
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(&key).and_then(Weak::upgrade)
            && flight.outcome.peek().is_none()
        {
            return flight;
        }
        let teller = Teller::new();
        let progress = teller.listen();
        let shared = self.shared.clone();
        let given_up = ImageError::GivenUp { image: name.clone() };
        let pull = tokio::spawn(fly(shared, name, reference, credentials, teller));
        let abort = pull.abort_handle();
        let outcome = async move { pull.await.unwrap_or(Err(given_up)) }.boxed().shared();
        let flight = Arc::new(Flight { began: Instant::now(), outcome, progress, abort });
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

impl Shared {
    /// The lock of a layer: whoever holds it pulls it.
    pub(crate) fn lock_of(&self, key: &LayerKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.layer_locks.lock();
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// One pull, within its time.
async fn fly(
    shared: Arc<Shared>,
    name: String,
    reference: Reference,
    credentials: Option<DockerConfig>,
    teller: Teller,
) -> Result<Prepared, ImageError> {
    let limit = shared.settings.limits.total;
    let (measured, began) = (shared.stats.pull(), Instant::now());
    let pulling = fly_untimed(&shared, &name, &reference, credentials.as_ref(), teller);
    let outcome = tokio::time::timeout(limit, pulling).await;
    let outcome =
        outcome.unwrap_or_else(|_| Err(ImageError::TooSlow { image: name.clone(), limit }));
    measured.ended(outcome.is_ok());
    if let Ok(image) = &outcome {
        let (digest, took) = (image.digest(), began.elapsed());
        tracing::info!(image = name, %digest, seconds = took.as_secs_f32(), "image is here");
    }
    outcome
}

async fn fly_untimed(
    shared: &Arc<Shared>,
    name: &str,
    reference: &Reference,
    credentials: Option<&DockerConfig>,
    teller: Teller,
) -> Result<Prepared, ImageError> {
    let resolution = resolve(shared, name, reference, credentials).await?;
    let digest = match &resolution {
        Resolution::Manifest(digest, ..) => digest.clone(),
        Resolution::Parts(parts) => parts.digest.clone(),
    };
    let here = {
        let (shared, name, digest) = (shared.clone(), name.to_owned(), digest.clone());
        let full = name.clone();
        blocking(&full, move || name_present(&shared, &name, &digest)).await??
    };
    if let Some(prepared) = here {
        return Ok(prepared);
    }
    let resolved = match resolution {
        Resolution::Parts(parts) => parts,
        Resolution::Manifest(digest, manifest, source) => {
            complete(shared, name, digest, manifest, source).await?
        }
    };
    let (shared, name, busy) = (shared.clone(), name.to_owned(), Arc::default());
    Pull { shared, name, teller, busy }.bring(resolved).await
}

impl From<(&str, Auth)> for DockerConfig {
    fn from((registry, auth): (&str, Auth)) -> Self {
        Self::single(registry, auth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Limits;

    #[tokio::test]
    async fn what_the_host_trusts_is_read_when_a_registry_is_asked_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { attempts: 1, ..Limits::default() };
        let settings = Settings { limits, ..Settings::default() };
        let images = Images::open(&dir.path().join("store"), settings).unwrap();
        assert!(!images.shared.client.is_made());
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let request = ImageRequest::new(format!("{closed}/web"));
        images.ensure(&request, |_| {}).await.unwrap_err();
        assert!(images.shared.client.is_made());
    }

    #[tokio::test]
    async fn an_image_that_is_here_is_found_while_every_lock_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let local_images = vec![dir.path().to_owned()];
        let settings = Settings { local_images, ..Settings::default() };
        let images = Images::open(&dir.path().join("store"), settings).unwrap();
        let layout = dir.path().join("layout");
        let config = br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let of = |kind: &str, bytes: &[u8]| {
            let digest = Digest::of(bytes);
            let blobs = layout.join("blobs/sha256");
            std::fs::create_dir_all(&blobs).unwrap();
            std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
            let kind = format!("application/vnd.oci.image.{kind}.v1+json");
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{}}}"#, bytes.len())
        };
        let config = of("config", config);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
        let manifest = of("manifest", manifest.as_bytes());
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{manifest}]}}"#);
        std::fs::write(layout.join("index.json"), index).unwrap();
        std::fs::write(layout.join("oci-layout"), "{}").unwrap();
        let request = ImageRequest::new(format!("oci:{}", layout.display()));
        images.ensure(&request, |_| {}).await.unwrap();

        let shared = images.shared.clone();
        let (locked, is_locked) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holder = std::thread::spawn(move || {
            let held = (shared.books.lock(), shared.flights.lock(), shared.layer_locks.lock());
            locked.send(()).unwrap();
            released.recv().unwrap();
            drop(held);
        });
        is_locked.recv().unwrap();
        let found = images.ensure(&request, |_| {}).await.unwrap();
        assert!(images.find(found.digest()).is_some());
        release.send(()).unwrap();
        holder.join().unwrap();
    }
}
