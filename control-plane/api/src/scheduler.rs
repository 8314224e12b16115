//! `POST /api/v1/scheduler` (`spec/mesos-http.md` 1).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tepui_process::note_ignored;
use tepui_types::{FrameworkId, StreamId, Uuid};
use tepui_wire::media;
use tepui_wire::v1::scheduler::{self, call, event};

use crate::App;
use crate::answer::{ApiError, accepted, content_type, text};
use crate::plane::Plane;
use crate::shape::check_call;
use crate::stream::{Beats, records};

const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");

/// Every call of a scheduler; the order of checks is that of section 0.2.
pub(crate) async fn scheduler<P: Plane>(
    State(app): State<App<P>>,
    request: Request,
) -> Result<Response, ApiError> {
    if request.method() != Method::POST {
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "expecting POST"));
    }
    let headers = request.headers().clone();
    let form = content_type(&headers)?;
    let body = app.room.whole(request).await?;
    let (call, ignored) = media::decode_noting::<scheduler::Call>(form, &body.bytes)?;
    note_ignored(ignored);
    drop(body);
    let kind = check_call(&call)?;
    if kind == call::Type::Subscribe {
        return subscribe(&app, &headers, call).await;
    }
    if kind == call::Type::ReconcileOperations {
        accepted(&headers)?;
    }
    let stream = text(&headers, STREAM_ID).and_then(Uuid::parse).map(StreamId);
    if stream.is_none() && headers.contains_key(STREAM_ID) {
        // Whatever it is, it is not the id of the current stream; the cluster says so.
        return answer(app.plane.call(Box::new(call), Some(NO_STREAM), None).await?);
    }
    answer(app.plane.call(Box::new(call), stream, None).await?)
}

/// An id that no stream has: all ids handed out are version 4.
const NO_STREAM: StreamId = StreamId(Uuid::from_bytes([0; 16]));

fn answer(response: tepui_cluster::Response) -> Result<Response, ApiError> {
    match response {
        tepui_cluster::Response::Accepted => Ok(StatusCode::ACCEPTED.into_response()),
        tepui_cluster::Response::Done | tepui_cluster::Response::Streaming { .. } => {
            Ok(StatusCode::OK.into_response())
        }
        tepui_cluster::Response::Refused(refusal) => Err(refusal.into()),
    }
}

async fn subscribe<P: Plane>(
    app: &App<P>,
    headers: &HeaderMap,
    call: scheduler::Call,
) -> Result<Response, ApiError> {
    let media = accepted(headers)?;
    if headers.contains_key(STREAM_ID) {
        return Err(ApiError::bad_request(
            "subscribe calls must not have the 'Mesos-Stream-Id' header",
        ));
    }
    let framework = call.framework_id.as_ref().map(|id| FrameworkId::parse(&id.value));
    let framework = framework
        .transpose()
        .map_err(|error| ApiError::bad_request(format!("'framework_id.value': {error}")))?;
    let subscribe = call.subscribe.map(Box::new).unwrap_or_default();
    let subscription = app.plane.subscribe(framework, subscribe, None).await?;
    let stream = subscription.stream;
    let plane = app.plane.clone();
    let heartbeat = scheduler::Event {
        r#type: Some(event::Type::Heartbeat.into()),
        ..scheduler::Event::default()
    };
    let beats = Beats { heartbeat, greets: |event| event.r#type() == event::Type::Subscribed };
    let body =
        records(media, subscription.events, vec![], beats, move || plane.stream_closed(stream));
    let id = HeaderValue::from_str(&stream.to_string())
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str())), (STREAM_ID, id)];
    Ok((head, body).into_response())
}
