//! etcd's v3 API. One client per server, tried in turn: a server that hangs costs one timeout
//! and is then left alone.

mod watch;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, Identity, SortOrder,
    SortTarget, TlsOptions, Txn, TxnOp,
};
use tracing::debug;

use crate::address::{Address, Tls};
use crate::error::{EnsembleError, SwapError};
use crate::pace::Pace;
use crate::place::{Change, Limits, Place, Stamp};

/// Below etcd's defaults: 128 operations in a transaction, 1.5 MiB in a request.
pub(crate) const LIMITS: Limits = Limits { changes: 120, bytes: 1_200_000 };
/// Keys of one page of a listing; values are below the request limit, so a page is below
/// [`MAX_ANSWER`].
const PAGE: i64 = 256;
const MAX_ANSWER: usize = 512 << 20;
const CONNECT: Duration = Duration::from_secs(1);
/// Finds servers that went away without a word while a watch waits.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(2));

/// A connection to an etcd cluster.
#[derive(Clone)]
pub struct Etcd {
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    pace: Pace,
    servers: Vec<Server>,
    /// The server that answered last.
    turn: AtomicUsize,
}

struct Server {
    url: String,
    options: ConnectOptions,
    /// Logging in needs an answer, so a client is made when its server is first asked.
    client: tokio::sync::OnceCell<Client>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Etcd").field(&self.shared.address).finish()
    }
}

type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// A server that closes may do so before its reason was read, and then nothing names it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the server closed the connection; one that wants a certificate of its clients does that, and \
     none is given"
)]
struct Stranger(#[source] Wrong);

/// Whether a connection was ended by its other side.
fn is_cut(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut all = std::iter::successors(Some(error), |error| error.source());
    all.any(|error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        })
    })
}

/// Whether users or roles changed since the caller logged in: etcd refuses signed tokens from before. The
/// client logs in again by itself only where a token is over or not known.
fn is_of_old_token(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status)
        if status.message().contains("revision of auth store is old"))
}

impl Etcd {
    pub(crate) async fn connect(address: &Address, pace: Pace) -> Result<Self, EnsembleError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT.min(pace.silence))
            .with_keep_alive(KEEPALIVE.0, KEEPALIVE.1)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = &address.login {
            options = options.with_user(user, password);
        }
        let scheme = if let Some(tls) = &address.tls {
            options = options.with_tls(tls_options(tls).await?);
            "https"
        } else {
            "http"
        };
        let servers = address
            .servers
            .iter()
            .map(|server| Server {
                url: format!("{scheme}://{server}"),
                options: options.clone(),
                client: tokio::sync::OnceCell::new(),
            })
            .collect();
        // Each process begins at another server, so that the end of one does not stop them all.
        let first = RandomState::new().hash_one(std::process::id());
        let first = AtomicUsize::new(usize::try_from(first % 1024).unwrap_or_default());
        let shared = Shared { address: address.clone(), pace, servers, turn: first };
        let etcd = Self { shared: Arc::new(shared) };
        etcd.meta().await?;
        Ok(etcd)
    }

    /// The server whose turn it is, ready.
    async fn client(&self) -> Result<Client, Wrong> {
        let turn = self.shared.turn.load(Ordering::Relaxed);
        let server = &self.shared.servers[turn % self.shared.servers.len()];
        let made = server.client.get_or_try_init(|| {
            Client::connect([server.url.as_str()], Some(server.options.clone()))
        });
        Ok(made.await?.clone())
    }

    /// Gives up a server that takes too long, so that another one is asked.
    async fn timely<T>(&self, asked: impl Future<Output = Result<T, Wrong>>) -> Result<T, Wrong> {
        match tokio::time::timeout(self.shared.pace.silence, asked).await {
            Ok(answer) => answer,
            Err(late) => Err(late.into()),
        }
    }

    /// The next server's turn, if nobody passed it on meanwhile.
    fn pass_on(&self, from: usize) {
        let next = from.wrapping_add(1);
        let _ = self.shared.turn.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks the servers in turn until one answers.
    async fn ask<T, F>(
        &self,
        what: &'static str,
        ask: impl Fn(Client) -> F,
    ) -> Result<T, EnsembleError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut last: Option<Wrong> = None;
        for _ in 0..self.shared.servers.len() {
            let turn = self.shared.turn.load(Ordering::Relaxed);
            match self.ask_one(&ask).await {
                Ok(answer) => return Ok(answer),
                Err(wrong) => {
                    debug!(turn, error = &*wrong, "etcd does not answer");
                    last = Some(wrong);
                    self.pass_on(turn);
                }
            }
        }
        let wrong = last.unwrap_or_else(|| "no servers".into());
        Err(self.wrong(what, wrong))
    }

    async fn ask_one<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, Wrong>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let asked = async {
            let client = self.client().await?;
            match ask(client.clone()).await {
                // Nothing was done: once more, as who it is by now.
                Err(error) if is_of_old_token(&error) => {
                    client.refresh_token().await?;
                    Ok(ask(client).await?)
                }
                answer => Ok(answer?),
            }
        };
        self.timely(asked).await
    }

    fn wrong(&self, what: &'static str, source: Wrong) -> EnsembleError {
        let servers = self.shared.address.servers();
        let status = source.downcast_ref::<etcd_client::Error>().and_then(|error| match error {
            etcd_client::Error::GRpcStatus(status) => Some(status),
            _ => None,
        });
        // etcd says a wrong password and an unknown user as invalid arguments.
        let denied = status.is_some_and(|status| {
            let text = status.message();
            text.contains("permission denied")
                || text.contains("authentication failed")
                || text.contains("user name is empty")
        });
        let full =
            status.is_some_and(|status| status.message().contains("database space exceeded"));
        if full {
            return EnsembleError::NoSpace { servers };
        }
        if denied {
            return EnsembleError::Denied { servers, what, source };
        }
        let is_stranger =
            self.shared.address.tls.as_ref().is_some_and(|tls| tls.identity.is_none());
        let is_cut = status.is_some_and(|status| is_cut(status)) || is_cut(&*source);
        let source = if is_stranger && is_cut { Box::new(Stranger(source)) } else { source };
        EnsembleError::Unavailable { servers, what, source }
    }

    pub(crate) async fn meta(&self) -> Result<Option<(Vec<u8>, Stamp)>, EnsembleError> {
        let key = self.key(&Place::Meta);
        let mut answer = self
            .ask("tell who leads", |mut client| {
                let key = key.clone();
                async move { client.get(key, None).await }
            })
            .await?;
        Ok(answer.take_kvs().into_iter().next().map(|kv| {
            let stamp = Stamp(kv.mod_revision());
            (kv.into_key_value().1, stamp)
        }))
    }

    pub(crate) async fn swap(
        &self,
        stamp: Option<Stamp>,
        meta: &[u8],
        changes: &[Change],
    ) -> Result<Stamp, SwapError> {
        let key = self.key(&Place::Meta);
        let mut ops: Vec<TxnOp> = changes
            .iter()
            .map(|change| match change {
                Change::Create(place, value) | Change::Set(place, value) => {
                    TxnOp::put(self.key(place), value.clone(), None)
                }
                Change::Remove(place) => TxnOp::delete(self.key(place), None),
            })
            .collect();
        ops.push(TxnOp::put(key.clone(), meta, None));
        let revision = stamp.map_or(0, |Stamp(revision)| revision);
        let txn =
            Txn::new().when([Compare::mod_revision(key, CompareOp::Equal, revision)]).and_then(ops);
        let turn = self.shared.turn.load(Ordering::Relaxed);
        let asked = self.ask_one(|mut client| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        });
        let answer = asked.await.map_err(|wrong| {
            self.pass_on(turn);
            SwapError::Unknown(self.wrong("take a write", wrong))
        })?;
        if !answer.succeeded() {
            return Err(SwapError::Conflict);
        }
        // Everything of a transaction has the revision that its answer names.
        answer.header().map(|header| Stamp(header.revision())).ok_or_else(|| {
            SwapError::Unknown(self.wrong("take a write", "its answer has no header".into()))
        })
    }

    pub(crate) async fn load(&self) -> Result<Vec<(Place, Vec<u8>)>, EnsembleError> {
        Ok(self.load_at().await?.0)
    }

    /// Everything, page by page as of one revision, and that revision.
    async fn load_at(&self) -> Result<(Vec<(Place, Vec<u8>)>, i64), EnsembleError> {
        let (mut from, end) = self.range();
        let mut revision = 0;
        let mut found = Vec::new();
        loop {
            let mut answer = self
                .ask("list what is kept", |client| {
                    let options = GetOptions::new()
                        .with_range(end.clone())
                        .with_limit(PAGE)
                        .with_revision(revision)
                        .with_sort(SortTarget::Key, SortOrder::Ascend);
                    let from = from.clone();
                    let mut kv = client.kv_client().max_decoding_message_size(MAX_ANSWER);
                    async move { kv.get(from, Some(options)).await }
                })
                .await?;
            let Some(header) = answer.header() else {
                return Err(self.wrong("list what is kept", "its answer has no header".into()));
            };
            if revision == 0 {
                revision = header.revision();
            }
            let more = answer.more();
            let page = answer.take_kvs();
            if let Some(last) = page.last() {
                from = last.key().to_vec();
                from.push(0);
            }
            let whole = !more || page.is_empty();
            for kv in page {
                let (key, value) = kv.into_key_value();
                found.extend(self.place(&key).map(|place| (place, value)));
            }
            if whole {
                return Ok((found, revision));
            }
        }
    }

    fn key(&self, place: &Place) -> Vec<u8> {
        let root = &self.shared.address.path;
        match place {
            Place::Meta => format!("{root}/meta"),
            Place::Part(name) => format!("{root}/part/{name}"),
            Place::Record(name) => format!("{root}/record/{name}"),
            Place::Staged(name) => format!("{root}/staged/{name}"),
        }
        .into_bytes()
    }

    /// Every key of ours, and the first that is not.
    fn range(&self) -> (Vec<u8>, Vec<u8>) {
        let root = &self.shared.address.path;
        (format!("{root}/").into_bytes(), format!("{root}0").into_bytes())
    }

    fn place(&self, key: &[u8]) -> Option<Place> {
        let text = std::str::from_utf8(key).ok()?;
        let rest = text.strip_prefix(&self.shared.address.path)?.strip_prefix('/')?;
        if rest == "meta" {
            return Some(Place::Meta);
        }
        let (space, name) = rest.split_once('/')?;
        match space {
            "part" => Some(Place::Part(name.to_owned())),
            "record" => Some(Place::Record(name.to_owned())),
            "staged" => Some(Place::Staged(name.to_owned())),
            _ => None,
        }
    }
}

pub(crate) async fn tls_options(tls: &Tls) -> Result<TlsOptions, EnsembleError> {
    let read = async |path: &std::path::Path| {
        tokio::fs::read(path).await.map_err(|error| {
            EnsembleError::Address(format!("cannot read {} for TLS: {error}", path.display()))
        })
    };
    let mut options = TlsOptions::new();
    if let Some(ca) = &tls.ca {
        options = options.ca_certificate(Certificate::from_pem(read(ca).await?));
    }
    if let Some((certificate, key)) = &tls.identity {
        options = options.identity(Identity::from_pem(read(certificate).await?, read(key).await?));
    }
    Ok(options)
}

#[cfg(test)]
mod tests;
