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

/// How a stream says that it lives.
pub(crate) struct Beats<M> {
    /// What it says.
    pub(crate) heartbeat: M,
    /// True for the event that begins a good stream; none follows an ERROR.
    pub(crate) greets: fn(&M) -> bool,
}

/// A body of RecordIO: every event of `events`, and a heartbeat right after the first one that
/// [`Beats::greets`] and then every [`HEARTBEAT`]. `ended` runs when the peer is gone or the
/// events end.
pub(crate) fn records<E, M, F>(
    media: MediaType,
    events: mpsc::Receiver<E>,
    first: Vec<M>,
    beats: Beats<M>,
    ended: F,
) -> Body
where
    E: Borrow<M> + Send + 'static,
    M: WireMessage + Send + Unpin + 'static,
    F: FnOnce() + Send + Unpin + 'static,
{
    let heartbeat = frame(media, &beats.heartbeat);
    let mut waiting: VecDeque<Bytes> = first.iter().map(|event| frame(media, event)).collect();
    let greeted = first.iter().any(beats.greets);
    if greeted {
        waiting.push_back(heartbeat.clone());
    }
    let mut timer = interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Body::from_stream(Records {
        media,
        events,
        waiting,
        greeted,
        greets: beats.greets,
        heartbeat,
        timer,
        _ended: OnDrop(Some(ended)),
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
    greets: fn(&M) -> bool,
    heartbeat: Bytes,
    timer: Interval,
    _ended: OnDrop<F>,
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
                    if !self.greeted && (self.greets)(event.borrow()) {
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
        // Asked every time: a busy stream has its heartbeats too.
        if !over && self.timer.poll_tick(context).is_ready() {
            chunk.extend_from_slice(&self.heartbeat);
        }
        match chunk.is_empty() {
            false => Poll::Ready(Some(Ok(chunk.into()))),
            true if over => Poll::Ready(None),
            true => Poll::Pending,
        }
    }
}
