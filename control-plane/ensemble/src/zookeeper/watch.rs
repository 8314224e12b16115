//! Reading everything, and being told what changes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc::Sender;
use zookeeper_client::{
    AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionState, WatchedEvent,
};

use super::paths::{BUCKETS, SPACES, place};
use super::{OURS, READS, ZooKeeper};
use crate::error::EnsembleError;
use crate::place::{News, Place};

/// The node of the record of who leads.
const META: &str = "meta";

/// Everything there is: after a `sync`, at least what was written before it.
pub(super) async fn load(
    zookeeper: &ZooKeeper,
    client: &Client,
) -> Result<Vec<(Place, Vec<u8>)>, Error> {
    let ours = format!("{}{OURS}", zookeeper.shared.address.path);
    // First, so that no record is older than what it says: others may write meanwhile.
    let meta = read(client.clone(), format!("{ours}/{META}")).await?;
    let mut listings = Vec::new();
    for space in SPACES {
        for bucket in 0..BUCKETS {
            listings.push(list(client.clone(), ours.clone(), format!("{space}/{bucket:02x}")));
        }
    }
    let listed: Vec<Vec<String>> = stream::iter(listings).buffered(READS).try_collect().await?;
    let nodes: Vec<String> = listed.into_iter().flatten().collect();
    let values = read_all(client, &ours, &nodes).await?;
    let records = std::iter::zip(&nodes, values);
    let mut found: Vec<(Place, Vec<u8>)> =
        records.filter_map(|(node, value)| Some((place(node)?, value?))).collect();
    found.extend(meta.map(|meta| (Place::Meta, meta)));
    Ok(found)
}

/// The nodes of a folder, with the folder's name.
async fn list(client: Client, ours: String, folder: String) -> Result<Vec<String>, Error> {
    let names = client.list_children(&format!("{ours}/{folder}")).await?;
    Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect())
}

/// The values of nodes, in their order; `None` where there is none.
async fn read_all(
    client: &Client,
    ours: &str,
    nodes: &[String],
) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let reads: Vec<_> =
        nodes.iter().map(|node| read(client.clone(), format!("{ours}/{node}"))).collect();
    stream::iter(reads).buffered(READS).try_collect().await
}

async fn read(client: Client, path: String) -> Result<Option<Vec<u8>>, Error> {
    match client.get_data(&path).await {
        Ok((value, _)) => Ok(Some(value)),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

const WHAT: &str = "tell what changes";

/// Why nothing is told any more.
#[derive(Debug, thiserror::Error)]
#[error("the session has been without a server for {0:?}")]
struct CutOff(Duration);

/// Tells everything, then what changes, until nobody listens, the session is over, or it has been
/// without a server for longer than going to another one takes.
pub(super) async fn follow(
    zookeeper: &ZooKeeper,
    news: &Sender<Result<News, EnsembleError>>,
) -> Result<(), EnsembleError> {
    let client = zookeeper.client(WHAT).await?;
    let patience = zookeeper.shared.pace.silence;
    tokio::select! {
        ended = follow_with(zookeeper, &client, news) => ended,
        () = cut_off(&client, patience) => {
            Err(zookeeper.unavailable(WHAT, CutOff(patience).into()))
        }
    }
}

/// Waits until the session is without a server for so long. It lasts longer than that, and its
/// requests wait as long.
async fn cut_off(client: &Client, patience: Duration) {
    let mut states = client.state_watcher();
    loop {
        if states.peek_state() == SessionState::SyncConnected {
            states.changed().await;
        } else if tokio::time::timeout(patience, states.changed()).await.is_err() {
            return;
        }
    }
}

async fn follow_with(
    zookeeper: &ZooKeeper,
    client: &Client,
    news: &Sender<Result<News, EnsembleError>>,
) -> Result<(), EnsembleError> {
    let ours = format!("{}{OURS}", zookeeper.shared.address.path);
    // Whoever emptied the store took the folders with it, and nobody could lead without them.
    if zookeeper.shared.writes {
        zookeeper.prepare().await?;
    }
    loop {
        // Anew for every server that the session comes to: zookeeper-client 0.11.2 takes only
        // watches of one shot with it, so the next server would tell nothing.
        let watching = client.watch(&ours, AddWatchMode::PersistentRecursive);
        let mut watcher = watching.await.map_err(|error| zookeeper.wrong(WHAT, error))?;
        // Also after another session, what this process wrote is there.
        client.sync("/").await.map_err(|error| zookeeper.wrong(WHAT, error))?;
        let all = load(zookeeper, client).await.map_err(|error| zookeeper.wrong(WHAT, error))?;
        if news.send(Ok(News::Snapshot(all))).await.is_err() {
            return Ok(());
        }
        match changes(zookeeper, client, &mut watcher, news).await {
            Ok(Over::NobodyListens) => return Ok(()),
            // What changed while the session was without a server is not told: read it all.
            Ok(Over::Missed) => {}
            Err(error) => return Err(zookeeper.wrong(WHAT, error)),
        }
    }
}

enum Over {
    NobodyListens,
    Missed,
}

/// Which nodes changed since they were last read.
#[derive(Debug, Default)]
struct Dirty {
    records: BTreeSet<String>,
    meta: bool,
}

impl Dirty {
    /// Notes an event; `false` when some may have been missed.
    fn note(&mut self, event: &WatchedEvent, ours: &str) -> Result<bool, Error> {
        if event.event_type == EventType::Session {
            return match event.session_state {
                SessionState::Disconnected | SessionState::ConnectedReadOnly => Ok(true),
                SessionState::SyncConnected => Ok(false),
                SessionState::Expired => Err(Error::SessionExpired),
                SessionState::AuthFailed => Err(Error::AuthFailed),
                SessionState::Closed => Err(Error::ClientClosed),
            };
        }
        let node = event.path.strip_prefix(ours).and_then(|rest| rest.strip_prefix('/'));
        match node.map(|node| (node, place(node))) {
            Some((_, Some(Place::Meta))) => self.meta = true,
            Some((node, Some(_))) => drop(self.records.insert(node.to_owned())),
            Some((_, None)) | None => {}
        }
        Ok(true)
    }
}

async fn changes(
    zookeeper: &ZooKeeper,
    client: &Client,
    watcher: &mut PersistentWatcher,
    news: &Sender<Result<News, EnsembleError>>,
) -> Result<Over, Error> {
    let ours = format!("{}{OURS}", zookeeper.shared.address.path);
    let mut dirty = Dirty::default();
    loop {
        // The record of who leads is the last change of each swap.
        while !dirty.meta {
            let event = tokio::select! {
                event = watcher.changed() => event,
                () = news.closed() => return Ok(Over::NobodyListens),
            };
            if !dirty.note(&event, &ours)? {
                return Ok(Over::Missed);
            }
        }
        dirty.meta = false;
        let Some(meta) = read(client.clone(), format!("{ours}/{META}")).await? else {
            return Ok(Over::Missed);
        };
        // What was read may be newer than the event. ZooKeeper tells of a change before it answers
        // with it, so all that led to this record of who leads waits by now.
        while let Some(event) = watcher.changed().now_or_never() {
            if !dirty.note(&event, &ours)? {
                return Ok(Over::Missed);
            }
        }
        let nodes: Vec<String> = std::mem::take(&mut dirty.records).into_iter().collect();
        let values = read_all(client, &ours, &nodes).await?;
        let mut told: Vec<(Place, Option<Vec<u8>>)> = std::iter::zip(&nodes, values)
            .filter_map(|(node, value)| Some((place(node)?, value)))
            .collect();
        told.push((Place::Meta, Some(meta)));
        if news.send(Ok(News::Changes(told))).await.is_err() {
            return Ok(Over::NobodyListens);
        }
    }
}
