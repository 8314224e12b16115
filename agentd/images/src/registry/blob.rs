//! Downloading a layer: resumed where it broke off, verified at its end.

use futures_util::StreamExt;
use reqwest::{Response, StatusCode, header};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::{Registry, RegistryError};
use crate::digest::Hasher;
use crate::manifest::Descriptor;

/// A download under way.
struct Download<'a> {
    file: &'a mut File,
    blob: &'a Descriptor,
    what: String,
    hasher: Hasher,
    got: u64,
}

impl Registry {
    /// Downloads a blob into an empty file and verifies it. `progress` hears the bytes that are
    /// there; they may become fewer when a registry cannot resume.
    pub(crate) async fn download(
        &self,
        blob: &Descriptor,
        file: &mut File,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let mut download = Download {
            file,
            blob,
            what: format!("the layer {}", blob.digest),
            hasher: Hasher::new(blob.digest.algorithm()),
            got: 0,
        };
        let (mut failures, mut corrupt) = (0, false);
        loop {
            let before = download.got;
            let error = match self.attempt(&mut download, progress).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // Once: the disk of a cache between may be bad, and another attempt may go past it.
            if matches!(error, RegistryError::Corrupt { .. }) && !corrupt {
                corrupt = true;
                self.start_over(&mut download, progress).await?;
                continue;
            }
            failures = if download.got > before { 1 } else { failures + 1 };
            self.pause_or_give_up(failures, error).await?;
        }
    }

    async fn attempt(
        &self,
        download: &mut Download<'_>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let expected = download.blob.size;
        if download.got < expected || expected == 0 {
            let path = format!("blobs/{}", download.blob.digest);
            let from = (download.got > 0).then_some(download.got);
            let response = self.get(&path, "*/*", from, &download.what).await?;
            if from.is_some() && !resumes_at(&response, download.got) {
                self.start_over(download, progress).await?;
            }
            self.receive(response, download, progress).await?;
        }
        let (registry, what) = (self.name.clone(), download.what.clone());
        if download.got < expected {
            return Err(RegistryError::Truncated { registry, what, got: download.got, expected });
        }
        let got = download.hasher.clone().finish();
        if got != download.blob.digest {
            return Err(RegistryError::Corrupt { registry, what, got });
        }
        download.file.flush().await.map_err(|source| RegistryError::Write { what, source })
    }

    async fn receive(
        &self,
        response: Response,
        download: &mut Download<'_>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|source| self.transport(&download.what, source))?;
            let total = download.got + chunk.len() as u64;
            if total > download.blob.size {
                return Err(RegistryError::TooLarge {
                    registry: self.name.clone(),
                    what: download.what.clone(),
                    limit: download.blob.size,
                });
            }
            download.file.write_all(&chunk).await.map_err(|e| download.write_error(e))?;
            download.hasher.update(&chunk);
            download.got = total;
            progress(total);
        }
        Ok(())
    }

    async fn start_over(
        &self,
        download: &mut Download<'_>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        download.file.set_len(0).await.map_err(|e| download.write_error(e))?;
        download.file.rewind().await.map_err(|e| download.write_error(e))?;
        download.hasher = Hasher::new(download.blob.digest.algorithm());
        download.got = 0;
        progress(0);
        Ok(())
    }
}

impl Download<'_> {
    fn write_error(&self, source: std::io::Error) -> RegistryError {
        RegistryError::Write { what: self.what.clone(), source }
    }
}

/// Whether the answer goes on where the file ends.
fn resumes_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next());
    response.status() == StatusCode::PARTIAL_CONTENT
        && start.and_then(|start| start.parse().ok()) == Some(offset)
}
