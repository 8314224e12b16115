//! What a session prints, as a stream of `ProcessIO` records.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tepui_wire::v1::agent::ProcessIo;
use tepui_wire::v1::agent::process_io::{self, Control, Data, control, data};
use tepui_wire::{MediaType, media, recordio};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::answer::ApiError;
use crate::host::Output;

/// How often a stream shows that it lives (`http_heartbeat_interval`).
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Bytes of records that one chunk may hold.
const CHUNK_BYTES: usize = 64 << 10;
/// The header with the form of each record.
pub(super) const MESSAGE_CONTENT_TYPE: &str = "message-content-type";
const MESSAGE_ACCEPT: &str = "message-accept";

/// Marks an answer as a stream that must not be held back, for compression say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flowing;

/// The form of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streaming {
    content: MediaType,
    message: MediaType,
}

/// The form that the client takes; 406 when it takes none.
pub(super) fn streaming(headers: &HeaderMap) -> Result<Streaming, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let offered = [MediaType::Json, MediaType::Protobuf, MediaType::RecordIo];
    let refused = |what: &str| {
        let message = format!(
            "expecting '{what}' to allow application/recordio, application/json or \
             application/x-protobuf"
        );
        ApiError::new(StatusCode::NOT_ACCEPTABLE, message)
    };
    let accept = text(header::ACCEPT.as_str());
    let content = media::negotiate_among(accept, &offered).ok_or_else(|| refused("Accept"))?;
    let message = match content {
        MediaType::RecordIo => {
            media::negotiate(text(MESSAGE_ACCEPT)).ok_or_else(|| refused("Message-Accept"))?
        }
        other => other,
    };
    Ok(Streaming { content, message })
}

/// The answer that goes on for as long as the session prints.
pub(super) fn answer(form: Streaming, printed: mpsc::Receiver<Output>) -> Response {
    let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let records = Records { media: form.message, printed, beat };
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(form.content.as_str()))];
    let mut response = (head, Body::from_stream(records)).into_response();
    if form.content == MediaType::RecordIo {
        let value = HeaderValue::from_static(form.message.as_str());
        response.headers_mut().insert(MESSAGE_CONTENT_TYPE, value);
    }
    response.extensions_mut().insert(Flowing);
    response
}

struct Records {
    media: MediaType,
    printed: mpsc::Receiver<Output>,
    beat: Interval,
}

impl Stream for Records {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES {
            match self.printed.poll_recv(context) {
                Poll::Ready(Some(output)) => {
                    recordio::encode_into(&media::encode(self.media, &record(output)), &mut chunk);
                }
                Poll::Ready(None) if chunk.is_empty() => return Poll::Ready(None),
                Poll::Pending if chunk.is_empty() => {
                    if self.beat.poll_tick(context).is_pending() {
                        return Poll::Pending;
                    }
                    recordio::encode_into(&media::encode(self.media, &heartbeat()), &mut chunk);
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

fn record(output: Output) -> ProcessIo {
    let (kind, data) = match output {
        Output::Stdout(data) => (data::Type::Stdout, data),
        Output::Stderr(data) => (data::Type::Stderr, data),
    };
    ProcessIo {
        r#type: Some(process_io::Type::Data.into()),
        data: Some(Data { r#type: Some(kind.into()), data: Some(data) }),
        control: None,
    }
}

fn heartbeat() -> ProcessIo {
    let nanoseconds = i64::try_from(HEARTBEAT.as_nanos()).unwrap_or(i64::MAX);
    let interval = Some(tepui_wire::v1::DurationInfo { nanoseconds });
    ProcessIo {
        r#type: Some(process_io::Type::Control.into()),
        control: Some(Control {
            r#type: Some(control::Type::Heartbeat.into()),
            heartbeat: Some(control::Heartbeat { interval }),
            ..Control::default()
        }),
        data: None,
    }
}
