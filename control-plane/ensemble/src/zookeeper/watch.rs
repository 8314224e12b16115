//! Reading everything, and being told what changes.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc::Sender;
use zookeeper_client::{AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionState};

use super::paths::{BUCKETS, SPACES, place};
use super::{OURS, READS, ZooKeeper};
use crate::error::EnsembleError;
use crate::place::{News, Place};

/// Everything there is: after a `sync`, at least what was written before it.
pub(super) async fn load(
    zookeeper: &ZooKeeper,
    client: &Client,
) -> Result<Vec<(Place, Vec<u8>)>, Error> {
    let ours = format!("{}{OURS}", zookeeper.shared.address.path);
    let mut listings = Vec::new();
    for space in SPACES {
        for bucket in 0..BUCKETS {
            listings.push(list(client.clone(), ours.clone(), format!("{space}/{bucket:02x}")));
        }
    }
    let listed: Vec<Vec<String>> = stream::iter(listings).buffered(READS).try_collect().await?;
    let mut nodes: Vec<String> = listed.into_iter().flatten().collect();
    nodes.push("meta".to_owned());
    let values = read_all(client, &ours, &nodes).await?;
    Ok(std::iter::zip(&nodes, values)
        .filter_map(|(node, value)| Some((place(node)?, value?)))
        .collect())
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

/// Tells everything, then what changes, until nobody listens or the session is over.
pub(super) async fn follow(
    zookeeper: &ZooKeeper,
    news: &Sender<Result<News, EnsembleError>>,
) -> Result<(), EnsembleError> {
    let what = "tell what changes";
    let client = zookeeper.client(what).await?;
    let mut watcher = client
        .watch(
            &format!("{}{OURS}", zookeeper.shared.address.path),
            AddWatchMode::PersistentRecursive,
        )
        .await
        .map_err(|error| zookeeper.wrong(what, error))?;
    loop {
        let all = load(zookeeper, &client).await.map_err(|error| zookeeper.wrong(what, error))?;
        if news.send(Ok(News::Snapshot(all))).await.is_err() {
            return Ok(());
        }
        match changes(zookeeper, &client, &mut watcher, news).await {
            Ok(Over::NobodyListens) => return Ok(()),
            // What changed while the session was without a server is not told: read it all.
            Ok(Over::Missed) => {}
            Err(error) => return Err(zookeeper.wrong(what, error)),
        }
    }
}

enum Over {
    NobodyListens,
    Missed,
}

async fn changes(
    zookeeper: &ZooKeeper,
    client: &Client,
    watcher: &mut PersistentWatcher,
    news: &Sender<Result<News, EnsembleError>>,
) -> Result<Over, Error> {
    let ours = format!("{}{OURS}", zookeeper.shared.address.path);
    let mut dirty = BTreeSet::new();
    loop {
        let event = tokio::select! {
            event = watcher.changed() => event,
            () = news.closed() => return Ok(Over::NobodyListens),
        };
        if event.event_type == EventType::Session {
            match event.session_state {
                SessionState::Disconnected | SessionState::ConnectedReadOnly => continue,
                SessionState::SyncConnected => return Ok(Over::Missed),
                SessionState::Expired => return Err(Error::SessionExpired),
                SessionState::AuthFailed => return Err(Error::AuthFailed),
                SessionState::Closed => return Err(Error::ClientClosed),
            }
        }
        let Some(node) = event.path.strip_prefix(&ours).and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let Some(at) = place(node) else { continue };
        let whole = at == Place::Meta;
        dirty.insert(node.to_owned());
        if !whole {
            continue;
        }
        // The record of who leads is the last change of each swap: now all of it has been told.
        let nodes: Vec<String> = std::mem::take(&mut dirty).into_iter().collect();
        let values = read_all(client, &ours, &nodes).await?;
        let mut told: Vec<(Place, Option<Vec<u8>>)> = std::iter::zip(&nodes, values)
            .filter_map(|(node, value)| Some((place(node)?, value)))
            .collect();
        told.sort_by_key(|(place, _)| *place == Place::Meta);
        if news.send(Ok(News::Changes(told))).await.is_err() {
            return Ok(Over::NobodyListens);
        }
    }
}
