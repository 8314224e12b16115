//! Getting the bytes, from the web or from this host.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use reqwest::redirect::Policy;
use tokio::io::AsyncWriteExt;

use crate::sandbox::Owner;
use crate::{FetchError, Limits};

/// A client made with the first download: an agent that never fetches does not pay for it.
#[derive(Debug)]
pub(crate) struct Web {
    client: OnceLock<reqwest::Client>,
    limits: Limits,
}

impl Web {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { client: OnceLock::new(), limits }
    }

    fn client(&self, uri: &str) -> Result<&reqwest::Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = reqwest::Client::builder()
            .redirect(Policy::limited(self.limits.redirects))
            .connect_timeout(self.limits.connect)
            .user_agent(concat!("tepui/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|source| FetchError::Http { uri: uri.to_owned(), source })?;
        Ok(self.client.get_or_init(|| made))
    }

    /// Downloads into the file; the length.
    pub(crate) async fn download(
        &self,
        uri: &str,
        url: &reqwest::Url,
        to: File,
    ) -> Result<u64, FetchError> {
        let web = |source| FetchError::Http { uri: uri.to_owned(), source };
        let disk = |source| FetchError::Read { uri: uri.to_owned(), source };
        let stalled = || FetchError::TooSlow {
            uri: uri.to_owned(),
            what: "waiting for the server",
            seconds: self.limits.stall.as_secs(),
        };
        let too_large =
            || FetchError::TooLarge { uri: uri.to_owned(), limit: self.limits.download_bytes };
        let request = self.client(uri)?.get(url.clone()).send();
        let response = tokio::time::timeout(self.limits.stall + self.limits.connect, request)
            .await
            .map_err(|_| stalled())?
            .map_err(web)?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(FetchError::Status { uri: uri.to_owned(), status });
        }
        if response.content_length().is_some_and(|length| length > self.limits.download_bytes) {
            return Err(too_large());
        }
        let mut to = tokio::fs::File::from_std(to);
        let mut body = response.bytes_stream();
        let mut total = 0;
        while let Some(chunk) =
            tokio::time::timeout(self.limits.stall, body.next()).await.map_err(|_| stalled())?
        {
            let chunk = chunk.map_err(web)?;
            total += chunk.len() as u64;
            if total > self.limits.download_bytes {
                return Err(too_large());
            }
            to.write_all(&chunk).await.map_err(disk)?;
        }
        to.flush().await.map_err(disk)?;
        Ok(total)
    }
}

/// Copies a file of this host, reading it with the rights of the user for whom it is: a task
/// must not get by way of the fetcher what it could not open itself. Blocks.
pub(crate) fn copy_local(
    uri: &str,
    path: &Path,
    owner: Owner,
    mut to: File,
    limit: u64,
    cancelled: &AtomicBool,
) -> Result<u64, FetchError> {
    let error = |source| FetchError::Read { uri: uri.to_owned(), source };
    let (mut from, reader) = open_as(path, owner).map_err(error)?;
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0;
    let copied = loop {
        if cancelled.load(Ordering::Relaxed) {
            break Err(FetchError::Stopping { uri: uri.to_owned() });
        }
        match from.read(&mut buffer) {
            Ok(0) => break Ok(total),
            Ok(length) => {
                total += length as u64;
                if total > limit {
                    break Err(FetchError::TooLarge { uri: uri.to_owned(), limit });
                }
                if let Err(source) = to.write_all(&buffer[..length]) {
                    break Err(error(source));
                }
            }
            Err(source) if source.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => break Err(error(source)),
        }
    };
    drop(from);
    match reader {
        Some(reader) => finish(reader, uri, copied),
        None => copied,
    }
}

/// The file itself where it is the agent's own to read, else the output of a reader that runs as
/// the user.
fn open_as(path: &Path, owner: Owner) -> std::io::Result<(Box<dyn Read>, Option<Child>)> {
    let me = rustix::process::geteuid();
    let other = owner.filter(|(user, _)| me.is_root() && *user != 0);
    let Some((user, group)) = other else {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        return Ok((Box::new(file), None));
    };
    let mut reader = Command::new("cat")
        .arg("--")
        .arg(path)
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/run/current-system/sw/bin")
        .current_dir("/")
        .gid(group)
        .uid(user)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    match reader.stdout.take() {
        Some(output) => Ok((Box::new(output), Some(reader))),
        None => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

/// Waits for the reader; its own words say what it could not read.
fn finish(
    mut reader: Child,
    uri: &str,
    copied: Result<u64, FetchError>,
) -> Result<u64, FetchError> {
    let error = |source| FetchError::Read { uri: uri.to_owned(), source };
    if copied.is_err() {
        // It may wait for somebody to read on.
        let _ = reader.kill();
        let _ = reader.wait();
        return copied;
    }
    let done = reader.wait_with_output().map_err(error)?;
    if done.status.success() {
        return copied;
    }
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(error(std::io::Error::other(words)))
}
