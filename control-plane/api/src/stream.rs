//! Answers that are streams of records, with heartbeats (`spec/mesos-http.md` 0.3, 1.1, 3.2).

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use tepui_wire::{MediaType, WireMessage, media, recordio};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

/// How often a stream says that it lives, whatever else it says.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

/// A body of RecordIO: every event of `events`, and a heartbeat right after the first and then
/// every [`HEARTBEAT`]. `ended` runs when the peer is gone or the events end.
pub(crate) fn records<E, M, F>(
    media: MediaType,
    events: mpsc::Receiver<E>,
    first: Vec<M>,
    heartbeat: M,
    ended: F,
) -> Body
where
    E: Borrow<M> + Send + 'static,
    M: WireMessage + Send + Unpin + 'static,
    F: FnOnce() + Send + Unpin + 'static,
{
    let heartbeat = frame(media, &heartbeat);
    let mut waiting: VecDeque<Bytes> = first.iter().map(|event| frame(media, event)).collect();
    let greeted = !waiting.is_empty();
    if greeted {
        waiting.push_back(heartbeat.clone());
    }
    let mut beats = interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Body::from_stream(Records {
        media,
        events,
        waiting,
        greeted,
        heartbeat,
        beats,
        _ended: OnDrop(Some(ended)),
        message: std::marker::PhantomData,
    })
}

fn frame<M: WireMessage>(media: MediaType, message: &M) -> Bytes {
    recordio::encode(&media::encode(media, message)).into()
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.0.take() {
            ended();
        }
    }
}

struct Records<E, M, F: FnOnce()> {
    media: MediaType,
    events: mpsc::Receiver<E>,
    /// Frames to send before anything else.
    waiting: VecDeque<Bytes>,
    /// The first event, and the heartbeat that follows it, are on their way.
    greeted: bool,
    heartbeat: Bytes,
    beats: Interval,
    _ended: OnDrop<F>,
    message: std::marker::PhantomData<fn() -> M>,
}

/// Frames of waiting events that one chunk may hold: fewer system calls under load.
const CHUNK_BYTES: usize = 64 << 10;

impl<E, M, F> Stream for Records<E, M, F>
where
    E: Borrow<M> + Send + 'static,
    M: WireMessage,
    F: FnOnce() + Unpin,
{
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(frame) = self.waiting.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let mut chunk = Vec::new();
        let mut over = false;
        while chunk.len() < CHUNK_BYTES {
            match self.events.poll_recv(context) {
                Poll::Ready(Some(event)) => {
                    let record = media::encode(self.media, event.borrow());
                    recordio::encode_into(&record, &mut chunk);
                    if !self.greeted {
                        self.greeted = true;
                        chunk.extend_from_slice(&self.heartbeat);
                    }
                }
                Poll::Ready(None) => {
                    over = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if !chunk.is_empty() {
            return Poll::Ready(Some(Ok(chunk.into())));
        }
        if over {
            return Poll::Ready(None);
        }
        if self.beats.poll_tick(context).is_ready() {
            return Poll::Ready(Some(Ok(self.heartbeat.clone())));
        }
        Poll::Pending
    }
}
