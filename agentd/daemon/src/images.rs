//! The host's images: where they are from, what goes when nobody needs it, and figures.
//!
//! A container pins its images under its run's name before it starts, so that neither a collection
//! nor the end of this process takes a layer from under it.

mod options;

use std::time::{Duration, SystemTime};

use anyhow::Context;
use tepui_agent_api::{ImageEntry, PullEntry};
use tepui_images::{ImageInfo, Images, LayerProgress, Policy, PullInfo};
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

    /// The store, for those who make containers.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// What is here and what is on its way, for operators.
    #[must_use]
    pub fn listed(&self) -> (Vec<ImageEntry>, Vec<PullEntry>) {
        let entry = |image: ImageInfo| ImageEntry {
            digest: image.digest.to_string(),
            names: image.names,
            bytes: image.bytes,
            times: (image.pulled, image.used),
            held_by: image.pinned_by,
        };
        let pull = |pull: PullInfo| {
            let sum = |of: fn(&LayerProgress) -> u64| pull.progress.layers.iter().map(of).sum();
            PullEntry {
                bytes: (sum(|layer| layer.done_bytes), sum(|layer| layer.total_bytes)),
                progress: pull.progress.to_string(),
                seconds: pull.since.as_secs_f64(),
                waiting: Vec::new(),
                image: pull.image,
            }
        };
        let images = self.images.list().into_iter().map(entry).collect();
        (images, self.images.pulls().into_iter().map(pull).collect())
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
