//! `GET /v2/events`: the event stream (`marathon-api.md` section 9).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::{ALLOW, HeaderValue};
use tepui_marathon::{Event, EventPayload};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, interval_at};

use crate::answer::{self, Answer};
use crate::apps::Apps;
use crate::request::Request;
use crate::state::Shared;

/// What a stream sends now and then, so that idle connections are noticed.
const HEARTBEAT: &[u8] = b"\r\n";

/// Opens an event stream; only clients that say they accept one get one.
pub(crate) fn stream<A: Apps>(request: &Request<A>) -> Answer {
    if !request.accepts("text/event-stream") {
        let mut response = answer::message(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let client = Client::attach(request);
    let frames = stream::unfold(client, |mut client| async move {
        let frame = client.next_frame().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), client))
    });
    Ok(answer::with_type(StatusCode::OK, "text/event-stream", Body::from_stream(frames)))
}

/// One open stream. It says that it is gone when it is dropped.
struct Client<A: Apps> {
    shared: Arc<Shared<A>>,
    address: String,
    /// Wanted types; empty for all.
    types: BTreeSet<String>,
    events: broadcast::Receiver<Arc<Event>>,
    heartbeat: Interval,
}

impl<A: Apps> Client<A> {
    fn attach(request: &Request<A>) -> Self {
        let shared = Arc::clone(&request.shared);
        let pause = shared.options.heartbeat;
        let client = Self {
            address: request.client_ip.clone(),
            types: request.query.all("event_type").map(str::to_owned).collect(),
            events: shared.apps.subscribe_events(),
            heartbeat: interval_at(Instant::now() + pause, pause),
            shared,
        };
        client.shared.traffic.streams.fetch_add(1, Ordering::Relaxed);
        // After subscribing, so that the client sees its own arrival.
        let remote_address = client.address.clone();
        client.shared.apps.publish(EventPayload::StreamAttached { remote_address });
        client
    }

    /// The next bytes to send, or `None` when the stream ends: the events ended, or this client
    /// fell behind the buffer.
    async fn next_frame(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) if self.wants(&event) => return self.count(frame(&event)?),
                    Ok(_) => {}
                    Err(RecvError::Closed) => return None,
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(client = self.address, missed, "event stream too slow, closed");
                        return None;
                    }
                },
                _ = self.heartbeat.tick() => {
                    return self.count(Bytes::from_static(HEARTBEAT));
                }
            }
        }
    }

    fn wants(&self, event: &Event) -> bool {
        if self.types.is_empty() {
            return !event.payload.is_opt_in();
        }
        self.types.contains(event.event_type())
    }

    fn count(&self, frame: Bytes) -> Option<Bytes> {
        let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.shared.traffic.stream_bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(frame)
    }
}

impl<A: Apps> Drop for Client<A> {
    fn drop(&mut self) {
        self.shared.traffic.streams.fetch_sub(1, Ordering::Relaxed);
        let remote_address = std::mem::take(&mut self.address);
        self.shared.apps.publish(EventPayload::StreamDetached { remote_address });
    }
}

/// One event as the stream carries it: each line ends with CR LF, exactly one space after a colon.
fn frame(event: &Event) -> Option<Bytes> {
    match serde_json::to_string(event) {
        Ok(data) => {
            let event_type = event.event_type();
            Some(Bytes::from(format!("event: {event_type}\r\ndata: {data}\r\n\r\n")))
        }
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "event is not JSON");
            None
        }
    }
}
