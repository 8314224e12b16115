//! Getting the bytes, from the web or from this host.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;

use futures_util::StreamExt;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use tepui_types::FOR_TASK;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

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
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static(FOR_TASK),
            HeaderValue::from_static("fetch"),
        )]);
        let made = reqwest::Client::builder()
            .default_headers(headers)
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
/// must not get by way of the fetcher what it could not open itself. No thread waits for what never
/// comes, as from a pipe.
pub(crate) async fn copy_local(
    uri: &str,
    path: &Path,
    owner: Owner,
    to: File,
    limits: &Limits,
) -> Result<u64, FetchError> {
    let error = |source| FetchError::Read { uri: uri.to_owned(), source };
    let me = rustix::process::geteuid();
    let Some((user, group)) = owner.filter(|(user, _)| me.is_root() && *user != 0) else {
        return pour(uri, open_own(path).await.map_err(error)?, to, limits).await;
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
        .kill_on_drop(true)
        .spawn()
        .map_err(error)?;
    let output = reader.stdout.take().ok_or_else(|| error(ErrorKind::BrokenPipe.into()))?;
    let total = pour(uri, output, to, limits).await?;
    let done = reader.wait_with_output().await.map_err(error)?;
    if done.status.success() {
        return Ok(total);
    }
    // The reader's own words say what it could not read.
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(error(std::io::Error::other(words)))
}

/// A file that is the agent's own to read. A pipe in its place is not waited for.
async fn open_own(path: &Path) -> std::io::Result<tokio::fs::File> {
    let mut options = tokio::fs::OpenOptions::new();
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = options.read(true).custom_flags(flags).open(path).await?;
    if !file.metadata().await?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

async fn pour(
    uri: &str,
    mut from: impl AsyncRead + Unpin,
    to: File,
    limits: &Limits,
) -> Result<u64, FetchError> {
    let error = |source| FetchError::Read { uri: uri.to_owned(), source };
    let stalled = |_| FetchError::TooSlow {
        uri: uri.to_owned(),
        what: "reading it",
        seconds: limits.stall.as_secs(),
    };
    let mut to = tokio::fs::File::from_std(to);
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        let read = tokio::time::timeout(limits.stall, from.read(&mut buffer)).await;
        let length = read.map_err(stalled)?.map_err(error)?;
        if length == 0 {
            to.flush().await.map_err(error)?;
            return Ok(total);
        }
        total += length as u64;
        if total > limits.download_bytes {
            return Err(FetchError::TooLarge { uri: uri.to_owned(), limit: limits.download_bytes });
        }
        to.write_all(&buffer[..length]).await.map_err(error)?;
    }
}
