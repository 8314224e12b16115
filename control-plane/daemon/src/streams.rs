//! The frameworks' streams and the operators' event streams.

use std::collections::HashMap;
use std::sync::Arc;

use tepui_types::StreamId;
use tepui_wire::v1::{master, scheduler};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Operator event streams at once; the oldest makes room (`spec/mesos-http.md` 3.2).
const MAX_WATCHERS: usize = 1000;
/// Events that may wait for a slow operator before its stream is cut.
const WATCH_BUFFER: usize = 4096;

/// Every framework's open stream.
#[derive(Debug, Default)]
pub struct Streams(HashMap<StreamId, mpsc::Sender<scheduler::Event>>);

impl Streams {
    /// A stream is open.
    pub fn open(&mut self, stream: StreamId, sink: mpsc::Sender<scheduler::Event>) {
        self.0.insert(stream, sink);
    }

    /// Ends a stream after what was sent on it.
    pub fn close(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    /// Sends an event. `false` when the framework does not keep up: the stream is cut.
    pub fn send(&mut self, stream: StreamId, event: scheduler::Event) -> bool {
        let Some(sink) = self.0.get(&stream) else { return true };
        match sink.try_send(event) {
            // The stream's reader notices a closed peer by itself and says so.
            Ok(()) | Err(TrySendError::Closed(_)) => true,
            Err(TrySendError::Full(_)) => {
                self.0.remove(&stream);
                false
            }
        }
    }
}

/// Every operator's open event stream, oldest first.
#[derive(Debug, Default)]
pub struct Watchers(Vec<mpsc::Sender<Arc<master::Event>>>);

impl Watchers {
    /// A new stream; the oldest goes when there are too many.
    pub fn open(&mut self) -> mpsc::Receiver<Arc<master::Event>> {
        let (sink, events) = mpsc::channel(WATCH_BUFFER);
        self.prune();
        if self.0.len() >= MAX_WATCHERS {
            self.0.remove(0);
        }
        self.0.push(sink);
        events
    }

    /// Sends to every stream; one that does not keep up is cut, never skipped (invariant I-41).
    pub fn send(&mut self, event: master::Event) {
        let event = Arc::new(event);
        self.0.retain(|sink| sink.try_send(event.clone()).is_ok());
    }

    /// Forgets streams whose peer is gone.
    pub fn prune(&mut self) {
        self.0.retain(|sink| !sink.is_closed());
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
