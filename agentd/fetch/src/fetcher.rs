//! The order of things: name, fetch or find, place, unpack.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::unistd::User;

use crate::artifact::{Archive, Origin};
use crate::cache::{self, Cache, Key};
use crate::meter::Meter;
use crate::sandbox::{Owner, Sandbox, copy};
use crate::source::{Web, copy_local};
use crate::unpack::unpack;
use crate::{Artifact, FetchError, Limits, UnpackError};

/// Fetches artifacts into sandboxes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    web: Web,
    cache: Cache,
}

/// Tells the blocking half that nobody waits any more.
#[derive(Debug, Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Fetcher {
    /// A fetcher with its cache in this directory, which is emptied.
    ///
    /// # Errors
    ///
    /// [`FetchError::Cache`] when the directory cannot be made or emptied.
    pub fn new(cache_dir: PathBuf, limits: Limits) -> Result<Self, FetchError> {
        let cache = Cache::open(cache_dir.clone(), limits.cache_bytes)
            .map_err(|source| FetchError::Cache { path: cache_dir, source })?;
        Ok(Self { inner: Arc::new(Inner { limits, web: Web::new(limits), cache }) })
    }

    /// Brings all artifacts into the sandbox at this path below `base`, one after the other, owned by
    /// the user; the first failure ends it. Dropping the future stops the work soon.
    ///
    /// `base` is nobody's but ours; below it tasks may own what leads to the sandbox, and no link is
    /// followed on that way.
    ///
    /// # Errors
    ///
    /// [`FetchError`], naming the URI.
    pub async fn fetch(
        &self,
        base: &Path,
        sandbox: &Path,
        user: Option<&str>,
        artifacts: Vec<Artifact>,
    ) -> Result<(), FetchError> {
        let owner = find_owner(user)?;
        let opened = Sandbox::open(base, sandbox, owner)
            .map_err(|source| FetchError::Sandbox { path: base.join(sandbox), source })?;
        let opened = Arc::new(opened);
        for artifact in artifacts {
            let uri = artifact.uri.clone();
            let one = self.fetch_one(opened.clone(), user, owner, artifact);
            let total = self.inner.limits.total;
            tokio::time::timeout(total, one).await.map_err(|_| FetchError::TooSlow {
                uri,
                what: "it",
                seconds: total.as_secs(),
            })??;
        }
        Ok(())
    }

    async fn fetch_one(
        &self,
        sandbox: Arc<Sandbox>,
        user: Option<&str>,
        owner: Owner,
        artifact: Artifact,
    ) -> Result<(), FetchError> {
        let origin = artifact.origin()?;
        let destination = artifact.destination(&origin)?;
        let job = Job {
            archive: artifact.archive(&destination),
            deadline: Instant::now() + self.inner.limits.total,
            cancel: CancelOnDrop::default(),
            artifact,
            origin,
            destination,
            sandbox,
            owner,
        };
        if job.artifact.cache {
            self.fetch_cached(job, user).await
        } else {
            self.fetch_directly(job).await
        }
    }

    /// Into the sandbox; an archive stays beside what it held, as with Mesos.
    async fn fetch_directly(&self, job: Job) -> Result<(), FetchError> {
        let file = job.place()?;
        let kept = file.try_clone().map_err(|e| job.place_error(e))?;
        self.obtain(&job, file).await?;
        if job.artifact.executable {
            Sandbox::make_executable(&kept).map_err(|e| job.place_error(e))?;
        }
        match job.archive {
            // The file was made for writing only, so that the task's user may be barred from it.
            Some(archive) => {
                let source = job.sandbox.open_file(&job.destination);
                let source = source.map_err(|_| {
                    job.place_error(std::io::Error::other("it was replaced meanwhile"))
                })?;
                self.unpack(job, archive, source).await
            }
            None => Ok(()),
        }
    }

    /// By way of the cache; an archive is unpacked from there and not copied.
    async fn fetch_cached(&self, job: Job, user: Option<&str>) -> Result<(), FetchError> {
        let key: Key = (user.map(str::to_owned), job.artifact.uri.clone());
        let flight = self.inner.cache.flight(&key);
        let found = {
            let _alone = flight.lock().await;
            match self.inner.cache.find(&key) {
                Some(found) => Ok(found),
                None => self.fill_cache(&job, key.clone()).await,
            }
        };
        self.inner.cache.landed(&key);
        let source = found?;
        match job.archive {
            Some(archive) => self.unpack(job, archive, source).await,
            None => self.copy_out(job, source).await,
        }
    }

    async fn fill_cache(&self, job: &Job, key: Key) -> Result<File, FetchError> {
        let io = |source| FetchError::Read { uri: job.artifact.uri.clone(), source };
        let (path, file) = self.inner.cache.blank().map_err(io)?;
        let guard = Unfinished(Some(path.clone()));
        let mut kept = file.try_clone().map_err(io)?;
        let bytes = self.obtain(job, file).await?;
        guard.finish();
        self.inner.cache.keep(key, &path, bytes);
        kept.seek(SeekFrom::Start(0)).map_err(io)?;
        Ok(kept)
    }

    async fn obtain(&self, job: &Job, to: File) -> Result<u64, FetchError> {
        let uri = job.artifact.uri.clone();
        match &job.origin {
            Origin::Web(url) => self.inner.web.download(&uri, url, to).await,
            Origin::File(path) => copy_local(&uri, path, job.owner, to, &self.inner.limits).await,
        }
    }

    async fn unpack(&self, job: Job, archive: Archive, source: File) -> Result<(), FetchError> {
        let Job { artifact, destination, sandbox, deadline, cancel, .. } = job;
        let limits = self.inner.limits;
        let uri = artifact.uri;
        let cancelled = cancel.0.clone();
        let unpacked = tokio::task::spawn_blocking(move || {
            let size = source.metadata().map_or(0, |meta| meta.len());
            let meter = Meter::new(&limits, size, deadline, cancelled);
            unpack(archive, source, &destination, &sandbox, &meter)
        })
        .await;
        drop(cancel);
        match unpacked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(UnpackError::Io { source, .. }))
                if source.kind() == std::io::ErrorKind::TimedOut =>
            {
                Err(FetchError::TooSlow { uri, what: "it", seconds: limits.total.as_secs() })
            }
            Ok(Err(source)) => Err(FetchError::Unpack { uri, source }),
            Err(_) => Err(FetchError::Stopping { uri }),
        }
    }

    async fn copy_out(&self, job: Job, mut source: File) -> Result<(), FetchError> {
        let uri = job.artifact.uri.clone();
        let copied = tokio::task::spawn_blocking(move || {
            let mut to = job.place()?;
            copy(&mut source, &mut to).map_err(|e| job.place_error(e))?;
            if job.artifact.executable {
                Sandbox::make_executable(&to).map_err(|e| job.place_error(e))?;
            }
            Ok(())
        });
        copied.await.unwrap_or(Err(FetchError::Stopping { uri }))
    }
}

/// One artifact on its way.
#[derive(Debug)]
struct Job {
    artifact: Artifact,
    origin: Origin,
    destination: PathBuf,
    archive: Option<Archive>,
    sandbox: Arc<Sandbox>,
    owner: Owner,
    deadline: Instant,
    cancel: CancelOnDrop,
}

impl Job {
    fn place(&self) -> Result<File, FetchError> {
        self.sandbox.create(&self.destination, 0o644).map_err(|e| self.place_error(e))
    }

    fn place_error(&self, source: std::io::Error) -> FetchError {
        FetchError::Place { uri: self.artifact.uri.clone(), path: self.destination.clone(), source }
    }
}

/// Removes a download that did not get to its end.
#[derive(Debug)]
struct Unfinished(Option<PathBuf>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            cache::remove(path);
        }
    }
}

fn find_owner(user: Option<&str>) -> Result<Owner, FetchError> {
    let Some(name) = user else { return Ok(None) };
    let found = User::from_name(name).ok().flatten();
    let found = found.ok_or_else(|| FetchError::NoSuchUser(name.to_owned()))?;
    // Only root gives files away; any other agent runs tasks as itself.
    let me = rustix::process::geteuid();
    Ok(me.is_root().then_some((found.uid.as_raw(), found.gid.as_raw())))
}
