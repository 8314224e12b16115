//! ZooKeeper: records are nodes in buckets, swaps are multi requests that name the version of
//! the node `meta`, and a recursive watch tells what changes.

mod paths;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::RwLock;
use tokio::sync::mpsc::Sender;
use tracing::warn;
use zookeeper_client::{
    Acl, Acls, Client, Connector, CreateMode, Error, MultiWriteError, MultiWriteResult, Permission,
};

use crate::address::Address;
use crate::error::{EnsembleError, SwapError};
use crate::pace::Pace;
use crate::place::{Change, Limits, News, Place, Stamp};
use paths::{BUCKETS, SPACES};

/// Below ZooKeeper's default for a request, 1 MiB less one byte (`jute.maxbuffer`).
pub(crate) const LIMITS: Limits = Limits { changes: 2_000, bytes: 900_000 };
/// How long the servers keep a silent session, and with it the leader's announcement.
const SESSION: Duration = Duration::from_secs(10);
const OPEN: &str = "open a session";
/// Reads on their way at once while everything is loaded.
const READS: usize = 512;
/// Where ours is below the path of the address; beside it stand the nodes that Mesos's clients read.
const OURS: &str = "/tepui";
/// What the announcing nodes' names begin with.
const ANNOUNCEMENT: &str = "json.info_";
/// The pause before an announcement that came between changes is made again.
const PAUSE: Duration = Duration::from_millis(20);

/// Whoever made a node may do everything, everybody may read.
static SHOWN: [Acl; 2] = [
    Acl::new_const(Permission::ALL, "auth", ""),
    Acl::new_const(Permission::READ, "world", "anyone"),
];

/// A connection to a ZooKeeper ensemble.
#[derive(Clone)]
pub struct ZooKeeper {
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    pace: Pace,
    /// Whether it may make the folders.
    writes: bool,
    /// The session in use; another takes its place when it expires.
    client: RwLock<Client>,
}

impl fmt::Debug for ZooKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ZooKeeper").field(&self.shared.address).finish()
    }
}

impl ZooKeeper {
    pub(crate) async fn connect(address: &Address, pace: Pace) -> Result<Self, EnsembleError> {
        let zookeeper = Self::with(address, pace, true, session(address, pace).await?);
        zookeeper.prepare().await?;
        Ok(zookeeper)
    }

    /// As [`ZooKeeper::connect`], for somebody who asks again: each server is tried once.
    pub(crate) async fn connect_once(address: &Address, pace: Pace) -> Result<Self, EnsembleError> {
        let zookeeper = Self::with(address, pace, true, session_once(address, pace).await?);
        zookeeper.prepare().await?;
        Ok(zookeeper)
    }

    /// A session that makes nothing, for somebody who can ask later or elsewhere: each server is tried
    /// once.
    pub(crate) async fn open(address: &Address, pace: Pace) -> Result<Self, EnsembleError> {
        Ok(Self::with(address, pace, false, session_once(address, pace).await?))
    }

    fn with(address: &Address, pace: Pace, writes: bool, client: Client) -> Self {
        let client = RwLock::new(client);
        Self { shared: Arc::new(Shared { address: address.clone(), pace, writes, client }) }
    }

    /// Makes the folders, where they are not there.
    async fn prepare(&self) -> Result<(), EnsembleError> {
        let what = "make the store's folders";
        let client = self.client(what).await?;
        let shown = self.shown();
        let hidden = self.hidden();
        let root = &self.shared.address.path;
        let ours = format!("{root}{OURS}");
        let made = async {
            let folder = CreateMode::Persistent.with_acls(shown);
            client.mkdir(&ours, &folder).await?;
            for space in SPACES {
                let space = format!("{ours}/{space}");
                if client.check_stat(&space).await?.is_some() {
                    continue;
                }
                // The space appears with all its buckets, or not.
                let folder = CreateMode::Persistent.with_acls(hidden);
                let mut multi = client.new_multi_writer();
                multi.add_create(&space, b"", &folder)?;
                for bucket in 0..BUCKETS {
                    multi.add_create(&format!("{space}/{bucket:02x}"), b"", &folder)?;
                }
                match multi.commit().await.map_err(Error::from) {
                    Ok(_) | Err(Error::NodeExists) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok::<_, Error>(())
        };
        self.timely(what, made).await
    }

    /// The session in use, or another when it is over.
    async fn client(&self, what: &'static str) -> Result<Client, EnsembleError> {
        {
            let client = self.shared.client.read().await;
            if !client.state().is_terminated() {
                return Ok(client.clone());
            }
        }
        let mut client = self.shared.client.write().await;
        if client.state().is_terminated() {
            let Shared { address, pace, .. } = &*self.shared;
            *client = tokio::time::timeout(pace.with_another(), session(address, *pace))
                .await
                .map_err(|late| self.unavailable(what, late.into()))??;
        }
        Ok(client.clone())
    }

    async fn timely<T>(
        &self,
        what: &'static str,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EnsembleError> {
        match tokio::time::timeout(self.shared.pace.with_another(), asked).await {
            Ok(answer) => answer.map_err(|error| self.wrong(what, error)),
            Err(late) => Err(self.unavailable(what, late.into())),
        }
    }

    fn wrong(&self, what: &'static str, error: Error) -> EnsembleError {
        wrong(&self.shared.address, what, error)
    }

    fn unavailable(
        &self,
        what: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> EnsembleError {
        EnsembleError::Unavailable { servers: self.shared.address.servers(), what, source }
    }

    /// Who reads and writes what everybody may read: as with Mesos, whoever made a node may do
    /// everything, and without a login everybody may.
    fn shown(&self) -> Acls<'static> {
        match self.shared.address.login {
            Some(_) => Acls::new(&SHOWN),
            None => Acls::anyone_all(),
        }
    }

    fn hidden(&self) -> Acls<'static> {
        match self.shared.address.login {
            Some(_) => Acls::creator_all(),
            None => Acls::anyone_all(),
        }
    }

    pub(crate) async fn meta(&self) -> Result<Option<(Vec<u8>, Stamp)>, EnsembleError> {
        let what = "tell who leads";
        let client = self.client(what).await?;
        let path = self.path(&Place::Meta);
        let read = async {
            // A server may lag behind the others, but not behind what it was told to catch up to.
            client.sync(&path).await?;
            match client.get_data(&path).await {
                Ok((meta, stat)) => Ok(Some((meta, Stamp(i64::from(stat.version))))),
                Err(Error::NoNode) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.timely(what, read).await
    }

    pub(crate) async fn swap(
        &self,
        stamp: Option<Stamp>,
        meta: &[u8],
        changes: &[Change],
    ) -> Result<Stamp, SwapError> {
        let what = "take a write";
        let client = self.client(what).await.map_err(SwapError::Unknown)?;
        let unknown = |error| SwapError::Unknown(self.wrong(what, error));
        let folder = CreateMode::Persistent.with_acls(self.hidden());
        let mut multi = client.new_multi_writer();
        for change in changes {
            let path = self.path(change.place());
            match change {
                Change::Create(_, value) => multi.add_create(&path, value, &folder),
                Change::Set(_, value) => multi.add_set_data(&path, value, None),
                Change::Remove(_) => multi.add_delete(&path, None),
            }
            .map_err(unknown)?;
        }
        // Last, so that whoever follows reads it when the rest has changed. A multi request is
        // made whole or not at all, wherever in it the check stands.
        let path = self.path(&Place::Meta);
        match stamp {
            Some(Stamp(version)) => {
                let version = i32::try_from(version).unwrap_or_default();
                multi.add_set_data(&path, meta, Some(version))
            }
            None => multi.add_create(&path, meta, &CreateMode::Persistent.with_acls(self.shown())),
        }
        .map_err(unknown)?;
        let made = tokio::time::timeout(self.shared.pace.with_another(), multi.commit()).await;
        let made = made.map_err(|late| SwapError::Unknown(self.unavailable(what, late.into())))?;
        match made {
            Ok(results) => match results.last() {
                Some(MultiWriteResult::SetData { stat }) => Ok(Stamp(i64::from(stat.version))),
                _ => Ok(Stamp(0)),
            },
            Err(error) => Err(self.refused(error, changes.len())),
        }
    }

    /// Why a multi request of `changes` changes and the record of who leads was not made.
    fn refused(&self, error: MultiWriteError, changes: usize) -> SwapError {
        match error {
            MultiWriteError::OperationFailed {
                index,
                source: Error::BadVersion | Error::NodeExists | Error::NoNode,
            } if index == changes => SwapError::Conflict,
            // A change that does not fit what is there: somebody changed it since.
            MultiWriteError::OperationFailed {
                source: Error::NodeExists | Error::NoNode, ..
            } => SwapError::Conflict,
            error => SwapError::Unknown(self.wrong("take a write", error.into())),
        }
    }

    pub(crate) async fn load(&self) -> Result<Vec<(Place, Vec<u8>)>, EnsembleError> {
        let what = "list what is kept";
        let client = self.client(what).await?;
        client.sync("/").await.map_err(|error| self.wrong(what, error))?;
        watch::load(self, &client).await.map_err(|error| self.wrong(what, error))
    }

    pub(crate) async fn follow(&self, news: Sender<Result<News, EnsembleError>>) {
        if let Err(error) = watch::follow(self, &news).await {
            // Nobody may listen any more.
            let _ = news.send(Err(error)).await;
        }
    }

    pub(crate) async fn keep_announced(&self, text: &str, ours: impl Fn(&[u8]) -> bool + Send) {
        loop {
            match self.announce(text, &ours).await {
                Ok(Announced::Yes(client)) => {
                    let mut states = client.state_watcher();
                    // The node ends with the session; then another one is made.
                    while !client.state().is_terminated() {
                        states.changed().await;
                    }
                }
                Ok(Announced::Meanwhile) => tokio::time::sleep(PAUSE).await,
                Ok(Announced::NotOurs) => return,
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "leader not announced to clients of Mesos, retrying"
                    );
                    tokio::time::sleep(self.shared.pace.with_another()).await;
                }
            }
        }
    }

    async fn announce(
        &self,
        text: &str,
        ours: &(impl Fn(&[u8]) -> bool + Send),
    ) -> Result<Announced, EnsembleError> {
        let what = "announce the leader";
        let client = self.client(what).await?;
        let Some((meta, Stamp(version))) = self.meta().await? else {
            return Ok(Announced::NotOurs);
        };
        if !ours(&meta) {
            return Ok(Announced::NotOurs);
        }
        self.timely(what, self.try_announce(&client, text, version)).await
    }

    /// Announces if the record of who leads has this version yet.
    async fn try_announce(
        &self,
        client: &Client,
        text: &str,
        version: i64,
    ) -> Result<Announced, Error> {
        let root = &self.shared.address.path;
        let former = client.list_children(if root.is_empty() { "/" } else { root }).await?;
        let mut multi = client.new_multi_writer();
        let version = i32::try_from(version).unwrap_or_default();
        multi.add_check_version(&self.path(&Place::Meta), version)?;
        for name in former.iter().filter(|name| is_announcement(name)) {
            multi.add_delete(&format!("{root}/{name}"), None)?;
        }
        let node = CreateMode::EphemeralSequential.with_acls(self.shown());
        multi.add_create(&format!("{root}/{ANNOUNCEMENT}"), text.as_bytes(), &node)?;
        match multi.commit().await {
            Ok(_) => Ok(Announced::Yes(client.clone())),
            // The leader wrote, or a node of a former one expired, between the two requests.
            Err(MultiWriteError::OperationFailed {
                source: Error::NoNode | Error::BadVersion,
                ..
            }) => Ok(Announced::Meanwhile),
            Err(error) => Err(error.into()),
        }
    }

    fn path(&self, place: &Place) -> String {
        paths::path(&self.shared.address.path, OURS, place)
    }
}

/// How an announcement went.
enum Announced {
    /// It stands as long as this session.
    Yes(Client),
    /// Something changed while it was made.
    Meanwhile,
    /// Somebody else leads.
    NotOurs,
}

fn is_announcement(name: &str) -> bool {
    name.strip_prefix(ANNOUNCEMENT).is_some_and(|sequence| {
        !sequence.is_empty() && sequence.bytes().all(|b| b.is_ascii_digit())
    })
}

fn wrong(address: &Address, what: &'static str, error: Error) -> EnsembleError {
    let servers = address.servers();
    match error {
        Error::NoAuth | Error::AuthFailed => {
            EnsembleError::Denied { servers, what, source: error.into() }
        }
        error => EnsembleError::Unavailable { servers, what, source: error.into() },
    }
}

pub(crate) async fn session(address: &Address, pace: Pace) -> Result<Client, EnsembleError> {
    begin(address, connector(address, pace)).await
}

/// A session of whichever server is the first to give one; each is tried once.
async fn session_once(address: &Address, pace: Pace) -> Result<Client, EnsembleError> {
    let connector = connector(address, pace).with_fail_eagerly();
    let limit = pace.with_each(address.servers.len()).min(SESSION);
    match tokio::time::timeout(limit, begin(address, connector)).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error @ EnsembleError::Denied { .. })) => Err(error),
        Ok(Err(_)) | Err(_) => Err(EnsembleError::Unavailable {
            servers: address.servers(),
            what: OPEN,
            source: unreached(address, pace.silence / 2).await.into(),
        }),
    }
}

/// What became of a connection to each server.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreached(String);

/// Connects to each server and says what came of it: the client library names no reason.
async fn unreached(address: &Address, patience: Duration) -> Unreached {
    let tried = address.servers.iter().map(|server| async move {
        let connected = tokio::time::timeout(patience, TcpStream::connect(server)).await;
        match connected {
            Ok(Ok(_)) => format!("{server}: takes connections, and opens no session"),
            Ok(Err(error)) => format!("{server}: {error}"),
            Err(_) => format!("{server}: takes no connection in time"),
        }
    });
    Unreached(futures_util::future::join_all(tried).await.join(", "))
}

fn connector(address: &Address, pace: Pace) -> Connector {
    let connector = Client::connector().with_session_timeout(SESSION);
    let connector = connector.with_connection_timeout(pace.silence);
    match &address.login {
        Some((user, password)) => {
            connector.with_auth("digest", format!("{user}:{password}").as_bytes())
        }
        None => connector,
    }
}

async fn begin(address: &Address, connector: Connector) -> Result<Client, EnsembleError> {
    connector.connect(&address.servers.join(",")).await.map_err(|error| wrong(address, OPEN, error))
}
