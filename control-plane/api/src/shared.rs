//! Large answers that several readers ask for at once are made once (`spec/mesos-http.md` 3.2).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use tepui_cluster::Cluster;
use tokio::sync::oneshot;

use crate::plane::{Plane, Unavailable};

type Readers = HashMap<&'static str, Vec<oneshot::Sender<Bytes>>>;

/// Who waits for which answer. Whoever comes once an answer is being made gets the next one, so
/// that nobody is shown a state from before the own question.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    waiting: Arc<Mutex<Readers>>,
    hits: Arc<AtomicU64>,
}

impl Shared {
    /// How often an answer was shared.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        // No reader can be left half in the list.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins those who wait for `what`; `None` for the first one.
    fn join(&self, what: &'static str) -> Option<oneshot::Receiver<Bytes>> {
        let mut readers = self.readers();
        let Some(others) = readers.get_mut(what) else {
            readers.insert(what, Vec::new());
            return None;
        };
        let (sender, receiver) = oneshot::channel();
        others.push(sender);
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(receiver)
    }

    /// The answer named `what`, as `write` makes it.
    ///
    /// # Errors
    /// When the plane cannot be asked.
    pub(crate) async fn answer<P: Plane>(
        &self,
        plane: &P,
        what: &'static str,
        write: impl FnOnce(&Cluster) -> Bytes + Send + 'static,
    ) -> Result<Bytes, Unavailable> {
        while let Some(answer) = self.join(what) {
            // An error: the first reader left before its turn, so another one is the first.
            if let Ok(bytes) = answer.await {
                return Ok(bytes);
            }
        }
        let turn = Turn { shared: self.clone(), what, begun: false };
        plane.read(move |cluster, _| turn.take(|| write(cluster))).await
    }
}

/// The first reader's question on its way; dropped before its turn, it lets the others ask.
struct Turn {
    shared: Shared,
    what: &'static str,
    begun: bool,
}

impl Turn {
    fn take(mut self, write: impl FnOnce() -> Bytes) -> Bytes {
        self.begun = true;
        let others = self.shared.readers().remove(self.what).unwrap_or_default();
        let bytes = write();
        for other in others {
            // Whoever asked may be gone already.
            let _ = other.send(bytes.clone());
        }
        bytes
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.begun {
            self.shared.readers().remove(self.what);
        }
    }
}
