//! Large answers that several readers ask for at once are made once (`spec/mesos-http.md` 3.2).

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use tepui_cluster::Cluster;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::draft::{Coding, Draft};
use crate::plane::{Plane, Unavailable};

/// What is asked for, and how it is to be coded when it is large.
type Key = (&'static str, Coding);
type Asked = Result<Answer, Unavailable>;
type Reader = oneshot::Sender<Asked>;

/// Who waits for which answer. Whoever comes once an answer is being made gets the next one, so
/// that nobody is shown a state from before the own question; and of each kind one is made at a
/// time, so that many readers take no more of the processor than one.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    waiting: Arc<Mutex<HashMap<Key, Vec<Reader>>>>,
    pens: Arc<Mutex<HashMap<Key, Arc<Semaphore>>>>,
    hits: Arc<AtomicU64>,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All of it.
    Whole(Bytes),
    /// Pieces as they are made, ready coded; `None` is the end, and a loss before it is an error.
    Pieces(Coding, mpsc::UnboundedReceiver<Option<Bytes>>),
}

impl Answer {
    /// The answer made of a draft for one reader.
    pub(crate) fn of(draft: Draft, coding: Coding) -> Self {
        let (sender, mut receiver) = oneshot::channel();
        hand_out(draft, coding, vec![sender], None);
        // It was just sent.
        receiver.try_recv().ok().and_then(Result::ok).unwrap_or(Self::Whole(Bytes::new()))
    }

    /// A body, with text before and after if it is not coded.
    pub(crate) fn body(self, before: Bytes, after: Bytes) -> Body {
        match self {
            Self::Whole(bytes) if before.is_empty() => bytes.into(),
            Self::Whole(bytes) => [before, bytes, after].concat().into(),
            Self::Pieces(_, pieces) => {
                let state = (Some(before).filter(|text| !text.is_empty()), pieces, Some(after));
                Body::from_stream(futures_util::stream::unfold(state, next_piece))
            }
        }
    }
}

type Rest = (Option<Bytes>, mpsc::UnboundedReceiver<Option<Bytes>>, Option<Bytes>);

async fn next_piece((before, mut pieces, after): Rest) -> Option<(io::Result<Bytes>, Rest)> {
    if let Some(before) = before {
        return Some((Ok(before), (None, pieces, after)));
    }
    // Without a text for the end it was sent already.
    after.as_ref()?;
    match pieces.recv().await {
        Some(Some(piece)) => Some((Ok(piece), (None, pieces, after))),
        Some(None) => Some((Ok(after.unwrap_or_default()), (None, pieces, None))),
        None => Some((Err(io::Error::other("the answer broke off")), (None, pieces, None))),
    }
}

impl Shared {
    /// How often an answer was shared.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<Key, Vec<Reader>>> {
        // No reader can be left half in the list.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pen(&self, key: Key) -> Arc<Semaphore> {
        let mut pens = self.pens.lock().unwrap_or_else(PoisonError::into_inner);
        pens.entry(key).or_insert_with(|| Arc::new(Semaphore::new(1))).clone()
    }

    /// Joins those who wait; `true` for the first one.
    fn join(&self, key: Key, reader: Reader) -> bool {
        let mut all = self.readers();
        let readers = all.entry(key).or_default();
        readers.push(reader);
        let first = readers.len() == 1;
        if !first {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        first
    }

    /// The answer named `what`, as `write` drafts it.
    ///
    /// # Errors
    /// When the plane cannot be asked.
    pub(crate) async fn answer<P: Plane>(
        &self,
        plane: &P,
        what: &'static str,
        coding: Coding,
        write: impl FnOnce(&Cluster) -> Draft + Send + 'static,
    ) -> Asked {
        let key = (what, coding);
        let (sender, receiver) = oneshot::channel();
        if self.join(key, sender) {
            // A task of its own: who asks first may leave before the others have their answer.
            tokio::spawn(self.clone().ask(plane.clone(), key, write));
        }
        receiver.await.unwrap_or_else(|_| Err(Unavailable("the answer was not made".into())))
    }

    async fn ask<P: Plane>(
        self,
        plane: P,
        key: Key,
        write: impl FnOnce(&Cluster) -> Draft + Send + 'static,
    ) {
        // Nobody closes it; without one, answers would only be made side by side.
        let pen = self.pen(key).acquire_owned().await.ok();
        let shared = self.clone();
        let asked = plane.read(move |cluster, _| {
            let readers = shared.readers().remove(&key).unwrap_or_default();
            (readers, write(cluster))
        });
        match asked.await {
            Ok((readers, draft)) => hand_out(draft, key.1, readers, pen),
            Err(error) => {
                for reader in self.readers().remove(&key).unwrap_or_default() {
                    // Whoever asked may be gone already.
                    let _ = reader.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Makes the answer; a large one on a thread of its own, which puts the pen down at the end.
fn hand_out(draft: Draft, coding: Coding, readers: Vec<Reader>, pen: Option<OwnedSemaphorePermit>) {
    // Whoever asked may be gone already, here and below.
    if draft.is_small() {
        let bytes = draft.whole();
        for reader in readers {
            let _ = reader.send(Ok(Answer::Whole(bytes.clone())));
        }
        return;
    }
    let mut ways = Vec::new();
    for reader in readers {
        let (sender, receiver) = mpsc::unbounded_channel();
        let _ = reader.send(Ok(Answer::Pieces(coding, receiver)));
        ways.push(sender);
    }
    tokio::task::spawn_blocking(move || {
        draft.render(coding, &mut |piece| {
            ways.retain(|way| way.send(Some(piece.clone())).is_ok());
            !ways.is_empty()
        });
        for way in ways {
            let _ = way.send(None);
        }
        drop(pen);
    });
}
