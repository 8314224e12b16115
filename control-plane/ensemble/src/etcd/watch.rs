//! Being told what changes.

use std::sync::atomic::Ordering;

use etcd_client::{EventType, WatchOptions};
use tokio::sync::mpsc::Sender;
use tracing::debug;

use super::{Etcd, MAX_ANSWER, Wrong};
use crate::error::EnsembleError;
use crate::place::News;

const WHAT: &str = "tell what changes";

/// etcd has forgotten what followed: everything has to be listed again.
#[derive(Debug, thiserror::Error)]
#[error("the changes since are compacted")]
struct Compacted;

/// etcd ended the watch, for this reason. Where it does not know the token, older ones say that permission
/// is denied.
#[derive(Debug, thiserror::Error)]
#[error("the watch was ended: {0}")]
struct Ended(String);

impl Etcd {
    pub(crate) async fn follow(&self, news: Sender<Result<News, EnsembleError>>) {
        if let Err(error) = self.try_follow(&news).await {
            // Nobody may listen any more.
            let _ = news.send(Err(error)).await;
        }
    }

    async fn try_follow(
        &self,
        news: &Sender<Result<News, EnsembleError>>,
    ) -> Result<(), EnsembleError> {
        let (all, revision) = self.load_at().await?;
        if news.send(Ok(News::Snapshot(all))).await.is_err() {
            return Ok(());
        }
        self.follow_from(revision, news).await
    }

    /// Passes on what follows this revision, until nobody listens.
    pub(super) async fn follow_from(
        &self,
        mut seen: i64,
        news: &Sender<Result<News, EnsembleError>>,
    ) -> Result<(), EnsembleError> {
        // A watch that breaks goes on from where it was, at the next server; it ends when none of
        // them tells anything.
        let (mut failures, mut told, mut anew) = (0, seen, false);
        loop {
            let turn = self.shared.turn.load(Ordering::Relaxed);
            let watched = self.watch_from(&mut seen, news).await;
            if std::mem::replace(&mut told, seen) != seen {
                (failures, anew) = (0, false);
            }
            let Err(mut wrong) = watched else { return Ok(()) };
            if wrong.is::<Compacted>() {
                return Err(self.wrong(WHAT, wrong));
            }
            debug!(error = &*wrong, "etcd's watch broke");
            if wrong.is::<Ended>() && !std::mem::replace(&mut anew, true) {
                match self.log_in_again().await {
                    Ok(()) => continue,
                    Err(refused) => wrong = refused,
                }
            }
            self.pass_on(turn);
            (failures, anew) = (failures + 1, false);
            if failures >= self.shared.servers.len() {
                return Err(self.wrong(WHAT, wrong));
            }
        }
    }

    /// Has the server whose turn it is give another token: what a watch is refused no request shows.
    async fn log_in_again(&self) -> Result<(), Wrong> {
        self.timely(async { Ok(self.client().await?.refresh_token().await?) }).await
    }

    /// Passes on what follows the revision `seen`, until nobody listens.
    async fn watch_from(
        &self,
        seen: &mut i64,
        news: &Sender<Result<News, EnsembleError>>,
    ) -> Result<(), Wrong> {
        let (from, end) = self.range();
        let options = WatchOptions::new().with_range(end).with_start_revision(*seen + 1);
        let watching = async {
            let client = self.client().await?;
            let mut watch = client.watch_client().max_decoding_message_size(MAX_ANSWER);
            Ok(watch.watch(from, Some(options)).await?)
        };
        let mut stream = self.timely(watching).await?;
        loop {
            let answer = tokio::select! {
                answer = stream.message() => answer?,
                () = news.closed() => return Ok(()),
            };
            let Some(answer) = answer else { return Err("the watch ended".into()) };
            if answer.compact_revision() > 0 {
                return Err(Box::new(Compacted));
            }
            if answer.canceled() {
                return Err(Box::new(Ended(answer.cancel_reason().to_owned())));
            }
            let mut changes = Vec::new();
            for event in answer.events() {
                let Some(kv) = event.kv() else { continue };
                *seen = kv.mod_revision().max(*seen);
                let Some(place) = self.place(kv.key()) else { continue };
                let value = match event.event_type() {
                    EventType::Put => Some(kv.value().to_vec()),
                    EventType::Delete => None,
                };
                changes.push((place, value));
            }
            if !changes.is_empty() && news.send(Ok(News::Changes(changes))).await.is_err() {
                return Ok(());
            }
        }
    }
}
