//! `POST /api/v1/executor` (`spec/mesos-http.md` 2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tepui_process::note_ignored;
use tepui_types::{ExecutorId, FrameworkId, StreamId};
use tepui_wire::v1::executor::{self, call};
use tepui_wire::v1::{TaskState, task_status::Source};
use tepui_wire::{MediaType, media, recordio};
use tokio::sync::mpsc;

use crate::answer::{ApiError, accepted, content_type};
use crate::host::{Host, Unavailable};
use crate::router::App;

/// Bytes of a status update's id.
const UUID_BYTES: usize = 16;
/// Bytes of waiting events that one chunk may hold.
const CHUNK_BYTES: usize = 64 << 10;

/// Every call of an executor; the order of checks is that of section 2.1.
pub(crate) async fn executor<H: Host>(
    State(app): State<App<H>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    if method != Method::POST {
        return Err(ApiError::method());
    }
    let form = content_type(&headers)?;
    let (call, ignored) = media::decode_noting::<executor::Call>(form, &body)?;
    note_ignored(ignored);
    let kind = check(&call)?;
    match kind {
        call::Type::Subscribe => subscribe(&app, accepted(&headers)?, call).await,
        // It only keeps a connection alive; the ids are not looked at.
        call::Type::Heartbeat => Ok(StatusCode::ACCEPTED.into_response()),
        _ => {
            if app.host.read(|agent, _| agent.is_recovering()).await? {
                return Err(ApiError::recovering());
            }
            answer(app.host.call(Box::new(call)).await?)
        }
    }
}

fn answer(response: tepui_agent::Response) -> Result<Response, ApiError> {
    match response {
        tepui_agent::Response::Accepted => Ok(StatusCode::ACCEPTED.into_response()),
        tepui_agent::Response::Streaming
        | tepui_agent::Response::Done
        | tepui_agent::Response::Waited { .. } => Ok(StatusCode::OK.into_response()),
        tepui_agent::Response::Refused { status, message } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            Err(ApiError::new(status, message))
        }
    }
}

async fn subscribe<H: Host>(
    app: &App<H>,
    media: MediaType,
    call: executor::Call,
) -> Result<Response, ApiError> {
    let framework = FrameworkId::parse(&call.framework_id.value)
        .map_err(|error| ApiError::bad_request(format!("'framework_id.value': {error}")))?;
    let executor = ExecutorId::parse(&call.executor_id.value)
        .map_err(|error| ApiError::bad_request(format!("'executor_id.value': {error}")))?;
    let subscribe = call.subscribe.map(Box::new).unwrap_or_default();
    let host = app.host.clone();
    // Not part of this request: an executor that hangs up before its answer drops the request, and
    // the stream must be closed all the same.
    let opened = tokio::spawn(async move {
        let (response, stream, events) = host.subscribe(framework, executor, subscribe).await?;
        Ok::<_, Unavailable>((response, events, Closing { host, stream }))
    });
    let (response, events, closing) = opened.await.map_err(|_| ApiError::stopping())??;
    if !matches!(response, tepui_agent::Response::Streaming) {
        return answer(response);
    }
    let body = Body::from_stream(Events { media, events, waiting: VecDeque::new(), closing });
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str()))];
    Ok((head, body).into_response())
}

/// Tells the agent that the stream is gone, when it is dropped.
struct Closing<H: Host> {
    host: H,
    stream: StreamId,
}

impl<H: Host> Drop for Closing<H> {
    fn drop(&mut self) {
        self.host.stream_closed(self.stream);
    }
}

/// The events as RecordIO; heartbeats are among them.
struct Events<H: Host> {
    media: MediaType,
    events: mpsc::Receiver<executor::Event>,
    waiting: VecDeque<Bytes>,
    #[allow(dead_code, reason = "acts when it is dropped")]
    closing: Closing<H>,
}

impl<H: Host> Stream for Events<H> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(chunk) = self.waiting.pop_front() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES {
            match self.events.poll_recv(context) {
                Poll::Ready(Some(event)) => {
                    recordio::encode_into(&media::encode(self.media, &event), &mut chunk);
                }
                Poll::Ready(None) if chunk.is_empty() => return Poll::Ready(None),
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

/// The call's type, once all parts that it needs are there; 400 naming the missing part, 501 for
/// the literal type UNKNOWN.
fn check(call: &executor::Call) -> Result<call::Type, ApiError> {
    let Some(kind) = call.r#type.and_then(|number| call::Type::try_from(number).ok()) else {
        return Err(ApiError::bad_request("expecting 'type' to be present and known"));
    };
    let part = match kind {
        call::Type::Unknown => {
            return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "call type UNKNOWN"));
        }
        call::Type::Subscribe => call.subscribe.is_none().then_some("subscribe"),
        call::Type::Update => call.update.is_none().then_some("update"),
        call::Type::Message => call.message.is_none().then_some("message"),
        call::Type::Heartbeat => None,
    };
    if let Some(part) = part {
        return Err(ApiError::bad_request(format!("expecting '{part}' to be present")));
    }
    if let Some(subscribe) = &call.subscribe {
        for update in &subscribe.unacknowledged_updates {
            check_status(&update.status, "subscribe.unacknowledged_updates.status", call)?;
        }
    }
    if kind == call::Type::Update
        && let Some(update) = &call.update
    {
        check_status(&update.status, "update.status", call)?;
    }
    Ok(kind)
}

fn check_status(
    status: &tepui_wire::v1::TaskStatus,
    path: &str,
    call: &executor::Call,
) -> Result<(), ApiError> {
    let refused = |what: String| Err(ApiError::bad_request(what));
    match status.uuid.as_deref().map(<[u8]>::len) {
        Some(UUID_BYTES) => {}
        Some(length) => {
            return refused(format!(
                "'{path}.uuid' has {length} bytes, expecting a UUID of {UUID_BYTES} bytes"
            ));
        }
        None => return refused(format!("expecting '{path}.uuid' to be present")),
    }
    if status.executor_id.as_ref().is_some_and(|id| *id != call.executor_id) {
        return refused(format!("'{path}.executor_id' differs from 'executor_id'"));
    }
    if status.source.is_some_and(|source| source != i32::from(Source::Executor)) {
        return refused(format!("expecting '{path}.source' to be SOURCE_EXECUTOR"));
    }
    if status.source.is_none() {
        return refused(format!("expecting '{path}.source' to be present"));
    }
    if status.state == i32::from(TaskState::TaskStaging) {
        return refused(format!("'{path}.state' must not be TASK_STAGING"));
    }
    check_check_status(status, path)
}

/// The part of `check_status` must be that of its type.
fn check_check_status(status: &tepui_wire::v1::TaskStatus, path: &str) -> Result<(), ApiError> {
    use tepui_wire::v1::check_info::Type;
    let Some(check) = &status.check_status else { return Ok(()) };
    let kind = check.r#type.and_then(|number| Type::try_from(number).ok());
    let fits = match kind {
        Some(Type::Command) => check.command.is_some(),
        Some(Type::Http) => check.http.is_some(),
        Some(Type::Tcp) => check.tcp.is_some(),
        Some(Type::Unknown) | None => false,
    };
    if fits {
        Ok(())
    } else {
        let message = format!("'{path}.check_status' has no part for its type");
        Err(ApiError::bad_request(message))
    }
}
