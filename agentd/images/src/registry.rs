//! A registry, spoken to by the OCI distribution protocol.
//!
//! Written here and not taken from `oci-client`, because a registry is chosen by whoever names an
//! image: every body that is held in memory has a limit, tokens are never shared between
//! credentials, and a refused token is told as such.

mod auth;
mod blob;

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, Response, StatusCode, header};
use serde::Deserialize;
use tepui_types::FOR_TASK;
use tokio::sync::Mutex;

use crate::credentials::Auth;
use crate::digest::Digest;
use crate::manifest::{ACCEPTED, Descriptor};
use crate::reference::{RegistryReference, api_host};
use crate::settings::{Limits, Settings};

const MAX_REDIRECTS: usize = 10;
/// Bytes of an error's text that are read.
const MAX_ERROR_BYTES: u64 = 16 * 1024;
/// The longest pause that a registry may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A registry that did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It could not be reached, or broke off.
    #[error("failed to get {what} from {registry}")]
    Transport {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// Cause.
        source: reqwest::Error,
    },
    /// TLS could not be set up.
    #[error("failed to set up TLS for {registry}")]
    Tls {
        /// Host and port.
        registry: String,
        /// Cause.
        source: reqwest::Error,
    },
    /// It wants to know who asks.
    #[error("{registry} refuses to give {what} to {who}: {reason}")]
    Denied {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// Who asked.
        who: &'static str,
        /// Its reason.
        reason: String,
    },
    /// It has no such thing.
    #[error("{registry} does not have {what}: {reason}")]
    Unknown {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// Its reason.
        reason: String,
    },
    /// Any other answer.
    #[error("{registry} answered with status {status} when asked for {what}: {reason}")]
    Status {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// Its status.
        status: u16,
        /// Its reason.
        reason: String,
        /// After which time it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It sends more than allowed, or than it said.
    #[error("{registry} sends more than {limit} bytes for {what}")]
    TooLarge {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// Limit in bytes.
        limit: u64,
    },
    /// It ended before all was there.
    #[error("{registry} sent {got} of {expected} bytes of {what}")]
    Truncated {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that were promised.
        expected: u64,
    },
    /// It sent something else.
    #[error("{registry} sent {what} with digest {got}")]
    Corrupt {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// The digest of what it sent.
        got: Digest,
    },
    /// Its way of asking who asks is not understood, or not to be trusted with a password.
    #[error("failed to log in at {registry}: {reason}")]
    Login {
        /// Host and port.
        registry: String,
        /// What is wrong.
        reason: String,
    },
    /// The downloaded bytes could not be written.
    #[error("failed to write {what}")]
    Write {
        /// What was written.
        what: String,
        /// Cause.
        source: std::io::Error,
    },
}

impl RegistryError {
    /// Whether another attempt may end otherwise.
    fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is_builder() && !source.is_redirect(),
            Self::Truncated { .. } => true,
            Self::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            _ => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The client that all registries share, made for the first of them: with it come all the
/// certificates that the host trusts, and an agent that pulls nothing does not pay for them.
#[derive(Debug, Default)]
pub(crate) struct SharedClient(OnceLock<Client>);

impl SharedClient {
    /// Cheap but for the first time.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub(crate) fn get(&self, limits: &Limits) -> Result<Client, reqwest::Error> {
        if let Some(client) = self.0.get() {
            return Ok(client.clone());
        }
        let made = client(limits)?;
        Ok(self.0.get_or_init(|| made).clone())
    }

    #[cfg(test)]
    pub(crate) fn is_made(&self) -> bool {
        self.0.get().is_some()
    }
}

fn client(limits: &Limits) -> Result<Client, reqwest::Error> {
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        let came_by_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if came_by_tls && attempt.url().scheme() != "https" {
            attempt.error("the redirect leads from TLS to plain HTTP")
        } else {
            attempt.follow()
        }
    });
    let headers = header::HeaderMap::from_iter([(
        header::HeaderName::from_static(FOR_TASK),
        header::HeaderValue::from_static("image"),
    )]);
    Client::builder()
        .default_headers(headers)
        .user_agent(concat!("tepui/", env!("CARGO_PKG_VERSION")))
        .redirect(redirects)
        .connect_timeout(limits.connect)
        .read_timeout(limits.stall)
        .build()
}

/// One repository of one registry, for one pull by one credential.
#[derive(Debug)]
pub(crate) struct Registry {
    client: Client,
    /// As errors name it.
    name: String,
    base: String,
    plain: bool,
    repository: String,
    /// A mirror is told which registry it stands for.
    namespace: Option<String>,
    credential: Option<Auth>,
    /// The value of the `Authorization` header, once one was needed.
    authorization: Mutex<Option<header::HeaderValue>>,
    limits: Limits,
}

impl Registry {
    pub(crate) fn new(
        client: Client,
        settings: &Settings,
        reference: &RegistryReference,
        mirror: Option<&str>,
        credential: Option<Auth>,
    ) -> Self {
        let host = mirror.map_or_else(|| reference.api_host(), api_host);
        let plain = is_plain(host, settings);
        Self {
            client,
            name: host.to_owned(),
            base: format!("{}://{host}/v2", if plain { "http" } else { "https" }),
            plain,
            repository: reference.repository().to_owned(),
            namespace: mirror.map(|_| reference.registry().to_owned()),
            credential,
            authorization: Mutex::new(None),
            limits: settings.limits,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A manifest or index, as it is: by tag, or by digest and then verified.
    pub(crate) async fn manifest(&self, target: &str) -> Result<Vec<u8>, RegistryError> {
        let what = format!("the manifest {}:{target}", self.repository);
        let path = format!("manifests/{target}");
        self.small(&path, ACCEPTED, self.limits.manifest_bytes, &what).await
    }

    /// A small blob, verified.
    pub(crate) async fn small_blob(&self, blob: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let what = format!("the blob {}", blob.digest);
        let path = format!("blobs/{}", blob.digest);
        let bytes = self.small(&path, "*/*", blob.size, &what).await?;
        if blob.digest.matches(&bytes) {
            return Ok(bytes);
        }
        let got = Digest::of(&bytes);
        Err(RegistryError::Corrupt { registry: self.name.clone(), what, got })
    }

    /// A small body, with as many attempts as it takes.
    async fn small(
        &self,
        path: &str,
        accept: &str,
        limit: u64,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut failures = 0;
        loop {
            let got = match self.get(path, accept, None, what).await {
                Ok(response) => self.bounded(response, limit, what).await,
                Err(error) => Err(error),
            };
            let error = match got {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            failures += 1;
            self.pause_or_give_up(failures, error).await?;
        }
    }

    /// Waits before the next attempt, longer each time.
    async fn pause_or_give_up(
        &self,
        failures: u32,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        if !error.is_transient() || failures >= self.limits.attempts {
            return Err(error);
        }
        let pause = self.limits.backoff * 2u32.saturating_pow(failures - 1);
        let pause = error.retry_after().unwrap_or(pause).min(MAX_RETRY_AFTER);
        tracing::debug!(
            registry = self.name,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            error = &error as &dyn std::error::Error,
            "a registry failed, retrying"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// One request, with a login when the registry asks for one. Statuses other than 200 and 206
    /// are errors.
    async fn get(
        &self,
        path: &str,
        accept: &str,
        from: Option<u64>,
        what: &str,
    ) -> Result<Response, RegistryError> {
        let authorization = self.authorization.lock().await.clone();
        let first = self.send(path, accept, from, authorization.as_ref(), what).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return self.accepted(first, what).await;
        }
        let fresh = self.log_in(&first, authorization.as_ref()).await?;
        let Some(fresh) = fresh else { return self.accepted(first, what).await };
        let second = self.send(path, accept, from, Some(&fresh), what).await?;
        self.accepted(second, what).await
    }

    async fn send(
        &self,
        path: &str,
        accept: &str,
        from: Option<u64>,
        authorization: Option<&header::HeaderValue>,
        what: &str,
    ) -> Result<Response, RegistryError> {
        let url = format!("{}/{}/{path}", self.base, self.repository);
        let mut request = self
            .client
            .get(url)
            .header(header::ACCEPT, accept)
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some(namespace) = &self.namespace {
            request = request.query(&[("ns", namespace)]);
        }
        if let Some(from) = from {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|source| self.transport(what, source))
    }

    fn transport(&self, what: &str, source: reqwest::Error) -> RegistryError {
        let (registry, what) = (self.name.clone(), what.to_owned());
        // The URL may hold a signature of the storage behind the registry.
        RegistryError::Transport { registry, what, source: source.without_url() }
    }

    async fn accepted(&self, response: Response, what: &str) -> Result<Response, RegistryError> {
        let status = response.status();
        if status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT {
            return Ok(response);
        }
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let (registry, what) = (self.name.clone(), what.to_owned());
        let reason = reason(response).await;
        let who = match self.credential {
            Some(_) => "the given credential",
            None => "an anonymous client",
        };
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryError::Denied { registry, what, who, reason }
            }
            StatusCode::NOT_FOUND => RegistryError::Unknown { registry, what, reason },
            status => {
                let status = status.as_u16();
                RegistryError::Status { registry, what, status, reason, retry_after }
            }
        })
    }

    /// A whole body, up to a limit.
    async fn bounded(
        &self,
        response: Response,
        limit: u64,
        what: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge {
            registry: self.name.clone(),
            what: what.to_owned(),
            limit,
        };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|source| self.transport(what, source))?;
            if bytes.len() as u64 + chunk.len() as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// What the registry says about its refusal: the messages of its error document.
async fn reason(response: Response) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 >= MAX_ERROR_BYTES {
            break;
        }
    }
    let text = match serde_json::from_slice::<Errors>(&bytes) {
        Ok(errors) => errors
            .errors
            .iter()
            .map(|e| if e.message.is_empty() { e.code.as_str() } else { e.message.as_str() })
            .collect::<Vec<_>>()
            .join("; "),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let text: String =
        text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.trim() {
        "" => "it gives no reason".to_owned(),
        text => text.to_owned(),
    }
}

/// Plain HTTP for loopback, and where the settings say so.
fn is_plain(host: &str, settings: &Settings) -> bool {
    if settings.insecure_registries.contains(host) {
        return true;
    }
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    settings.insecure_registries.contains(name)
        || name == "localhost"
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_named_registries_are_asked_without_tls() {
        let mut settings = Settings::default();
        settings.insecure_registries.insert("plain.local:5000".into());
        for (host, plain) in [
            ("registry-1.docker.io", false),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("localhost:80", true),
            ("localhost.evil.org", false),
            ("127.0.0.1.evil.org", false),
            ("plain.local:5000", true),
            ("plain.local:5001", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_plain(host, &settings), plain, "{host}");
        }
    }
}
