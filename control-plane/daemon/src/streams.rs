//! The frameworks' streams and the operators' event streams.

use std::collections::HashMap;
use std::sync::Arc;

use tepui_types::{Mono, Span, StreamId};
use tepui_wire::v1::{master, scheduler};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Operator event streams at once; the oldest makes room (`spec/mesos-http.md` 3.2).
const MAX_WATCHERS: usize = 1000;
/// Events that may wait for a slow operator before its stream is cut.
const WATCH_BUFFER: usize = 4096;

/// Events that may wait for a framework at all: what a reconciliation of some hundred thousand tasks
/// is answered with, some hundred megabytes. A stream that is read at once takes nothing of that.
pub const MOST_WAITING: usize = 1 << 18;
/// From so many waiting events on a framework is behind.
const MANY_WAITING: usize = 16_384;
/// A framework that has been behind for longer is cut off.
const PATIENCE: Span = Span::from_secs(60);

/// Every framework's open stream.
#[derive(Debug, Default)]
pub struct Streams(HashMap<StreamId, Open>);

#[derive(Debug)]
struct Open {
    sink: mpsc::Sender<scheduler::Event>,
    behind_since: Option<Mono>,
}

impl Streams {
    /// A stream is open.
    pub fn open(&mut self, stream: StreamId, sink: mpsc::Sender<scheduler::Event>) {
        self.0.insert(stream, Open { sink, behind_since: None });
    }

    /// Ends a stream after what was sent on it.
    pub fn close(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    /// Sends an event. `false` when the framework does not keep up: the stream is cut.
    pub fn send(&mut self, stream: StreamId, event: scheduler::Event, now: Mono) -> bool {
        let Some(open) = self.0.get_mut(&stream) else { return true };
        let keeps_up = open.keeps_up(now);
        match open.sink.try_send(event) {
            Ok(()) if keeps_up => true,
            // The stream's reader notices a closed peer by itself and says so.
            Err(TrySendError::Closed(_)) => true,
            Ok(()) | Err(TrySendError::Full(_)) => {
                self.0.remove(&stream);
                false
            }
        }
    }
}

impl Open {
    fn keeps_up(&mut self, now: Mono) -> bool {
        if self.sink.max_capacity() - self.sink.capacity() < MANY_WAITING {
            self.behind_since = None;
            return true;
        }
        now.since(*self.behind_since.get_or_insert(now)) <= PATIENCE
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

#[cfg(test)]
mod tests {
    use tepui_types::Uuid;

    use super::*;

    fn event() -> scheduler::Event {
        scheduler::Event::default()
    }

    fn after(seconds: u64) -> Mono {
        Mono::from_nanos(0) + Span::from_secs(seconds)
    }

    #[test]
    fn a_burst_of_a_hundred_thousand_events_is_kept_for_who_reads_it() {
        let (sink, mut events) = mpsc::channel(MOST_WAITING);
        let (mut streams, stream) = (Streams::default(), StreamId(Uuid::from_bytes([0; 16])));
        streams.open(stream, sink);
        assert!((0..100_000).all(|_| streams.send(stream, event(), after(0))));
        let mut read = 0;
        while events.try_recv().is_ok() {
            read += 1;
        }
        assert_eq!(read, 100_000);
        // Who has caught up has all the time again.
        assert!((0..50_000).all(|_| streams.send(stream, event(), after(100))));
    }

    #[test]
    fn a_framework_that_stays_behind_is_cut_off_after_a_minute() {
        let (sink, _events) = mpsc::channel(MOST_WAITING);
        let (mut streams, stream) = (Streams::default(), StreamId(Uuid::from_bytes([0; 16])));
        streams.open(stream, sink);
        assert!((0..=MANY_WAITING).all(|_| streams.send(stream, event(), after(5))));
        assert!(streams.send(stream, event(), after(65)));
        assert!(!streams.send(stream, event(), after(66)));
    }

    #[test]
    fn no_framework_makes_more_wait_than_there_is_room_for() {
        let (sink, _events) = mpsc::channel(3);
        let (mut streams, stream) = (Streams::default(), StreamId(Uuid::from_bytes([0; 16])));
        streams.open(stream, sink);
        assert!((0..3).all(|_| streams.send(stream, event(), after(0))));
        assert!(!streams.send(stream, event(), after(0)));
    }
}
