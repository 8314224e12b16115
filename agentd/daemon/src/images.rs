//! The host's images: what runs hold of them, and what goes when nobody does.
//!
//! A run pins each of its images under its own name before it starts, so that neither a collection
//! nor the end of this process takes a layer from under a container.

mod options;

use std::time::{Duration, SystemTime};

use anyhow::Context;
use tepui_container::{ImageWish, RegistryAuth};
use tepui_images::{
    Auth, DockerConfig, ImageRequest, Images, Policy, Prepared, Progress, Reference,
};
use tepui_types::ContainerId;
use tracing::{info, warn};

use crate::detect;

pub use options::{ImageKeys, ImageOptions};

/// The images of this host, for runs, the API and the collector. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ImageStore {
    images: Images,
    options: ImageOptions,
}

/// Figures for metrics.
impl From<&ImageStore> for tepui_agent_api::ImageFigures {
    fn from(store: &ImageStore) -> Self {
        let stats = store.images.stats();
        Self {
            images: store.images.list().len() as u64,
            bytes: store.images.store_bytes(),
            pulls: stats.pulls(),
            failures: stats.failures(),
            downloaded_bytes: stats.downloaded_bytes(),
            pull_seconds: stats.pull_time().as_secs_f64(),
            recent_pulls_ms: stats
                .recent_pulls()
                .iter()
                .map(|t| t.as_secs_f64() * 1000.0)
                .collect(),
        }
    }
}

impl ImageStore {
    /// Opens the store. Blocks.
    ///
    /// # Errors
    /// When it cannot be made or read, or another agent has it.
    pub fn open(options: ImageOptions) -> anyhow::Result<Self> {
        let images = Images::open(&options.folder, options.settings.clone())
            .context("failed to open the image store")?;
        info!(
            path = %options.folder.display(),
            images = images.list().len(),
            bytes = images.store_bytes(),
            "image store is open"
        );
        Ok(Self { images, options })
    }

    /// The images that a run wants, in this order, pulled where they are not here, and pinned until
    /// [`Self::release`]. `tell` hears how far a pull is.
    ///
    /// # Errors
    /// What to tell the framework; nothing stays pinned then.
    pub async fn bring(
        &self,
        run: &ContainerId,
        wishes: &[ImageWish],
        tell: impl Fn(&str, &Progress),
    ) -> Result<Vec<Prepared>, String> {
        let mut brought = Vec::new();
        for (index, wish) in wishes.iter().enumerate() {
            let one = self.bring_one(wish, |progress| tell(&wish.reference, progress)).await;
            let pinned = match one {
                Ok(image) => {
                    let (images, owner) = (self.images.clone(), owner(run, index));
                    let digest = image.digest().clone();
                    let pin = move || images.pin(&digest, &owner);
                    let pinned = tokio::task::spawn_blocking(pin).await;
                    let pinned = pinned.map_err(|_| "the agent is stopping".to_owned());
                    pinned.and_then(|done| done.map_err(|e| chain(&e))).map(|()| image)
                }
                Err(error) => Err(error),
            };
            match pinned {
                Ok(image) => brought.push(image),
                Err(error) => {
                    self.release(run);
                    return Err(error);
                }
            }
        }
        Ok(brought)
    }

    async fn bring_one(
        &self,
        wish: &ImageWish,
        tell: impl Fn(&Progress),
    ) -> Result<Prepared, String> {
        let credentials = match &wish.auth {
            None => None,
            Some(auth) => Some(self.credentials(&wish.reference, auth)?),
        };
        let request =
            ImageRequest { reference: wish.reference.clone(), fresh: wish.fresh, credentials };
        self.images.ensure(&request, tell).await.map_err(|error| chain(&error))
    }

    fn credentials(&self, image: &str, auth: &RegistryAuth) -> Result<DockerConfig, String> {
        match auth {
            RegistryAuth::DockerConfig(text) => {
                DockerConfig::parse(text.as_bytes()).map_err(|error| error.to_string())
            }
            RegistryAuth::Basic { name, password } => {
                let reference = Reference::parse(image, &self.options.settings.default_registry);
                let registry = match reference.map_err(|error| error.to_string())? {
                    Reference::Registry(reference) => reference.registry().to_owned(),
                    Reference::Layout { .. } | Reference::Archive { .. } => String::new(),
                };
                let auth = Auth::Basic { user: name.clone(), password: password.clone() };
                Ok(DockerConfig::single(&registry, auth))
            }
        }
    }

    /// The images that a run of this or an earlier process holds, in the order of its wishes.
    #[must_use]
    pub fn of_run(&self, run: &ContainerId) -> Vec<Prepared> {
        (0..).map_while(|index| self.images.pinned(&owner(run, index))).collect()
    }

    /// A run needs its images no longer. Blocks for some writes.
    pub fn release(&self, run: &ContainerId) {
        let prefix = prefix(run);
        self.unpin(|owner| owner.starts_with(&prefix));
    }

    /// Only these runs need images: pins of others were left by a crash. Blocks for some writes.
    pub fn release_others(&self, runs: &[ContainerId]) {
        let kept: Vec<String> = runs.iter().map(prefix).collect();
        self.unpin(|owner| !kept.iter().any(|prefix| owner.starts_with(prefix.as_str())));
    }

    fn unpin(&self, is_over: impl Fn(&str) -> bool) {
        for owner in self.images.pin_owners().iter().filter(|owner| is_over(owner)) {
            if let Err(error) = self.images.unpin(owner) {
                let error = &error as &dyn std::error::Error;
                warn!(owner, error, "an image stays pinned until the next start");
            }
        }
    }

    /// Removes every image that is not in use, but for those named (`PRUNE_IMAGES`). Blocks.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub fn prune(&self, excluded: Vec<String>) -> Result<(), String> {
        self.collect(&Policy::prune(excluded)).map_err(|error| chain(&error))
    }

    fn collect(&self, policy: &Policy) -> Result<(), tepui_images::StoreError> {
        let gone = self.images.collect(policy, SystemTime::now())?;
        if gone.images.len() + gone.layers > 0 {
            info!(
                images = gone.images.len(),
                layers = gone.layers,
                bytes = gone.bytes,
                "images that nobody uses are removed"
            );
        }
        Ok(())
    }

    /// Collects for ever: images idle for too long, and all idle ones when the disk is short of
    /// room.
    pub async fn watch(self) {
        let mut turns = tokio::time::interval(self.options.interval);
        loop {
            turns.tick().await;
            let store = self.clone();
            let collected = tokio::task::spawn_blocking(move || {
                let policy =
                    store.options.policy(detect::fullness_thousandths(&store.options.folder));
                store.collect(&policy)
            });
            match collected.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "failed to collect images, tried again later");
                }
                // The process ends.
                Err(_) => return,
            }
        }
    }
}

fn prefix(run: &ContainerId) -> String {
    format!("run {run} ")
}

fn owner(run: &ContainerId, index: usize) -> String {
    format!("{}{index}", prefix(run))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// How often images are collected, unless configured.
const INTERVAL: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
