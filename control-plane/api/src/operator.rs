//! `POST /api/v1`: the operator API (`spec/mesos-http.md` 3.1, 3.2).

mod reads;
mod writes;

pub(crate) use writes::weights as weights_of;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tepui_wire::v1::master::{self, call::Type, event};
use tepui_wire::{MediaType, media};

use crate::answer::{self, ApiError, accepted, content_type};
use crate::metrics;
use crate::plane::Plane;
use crate::router::App;
use crate::stream::{HEARTBEAT, records};

/// Every call of an operator.
pub(crate) async fn operator<P: Plane>(
    State(app): State<App<P>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    if method != Method::POST {
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "expecting POST"));
    }
    let form = content_type(&headers)?;
    let call: master::Call = media::decode(form, &body)?;
    let Some(kind) = call.r#type.and_then(|number| Type::try_from(number).ok()) else {
        return Err(ApiError::bad_request("expecting 'type' to be present and known"));
    };
    let media = accepted(&headers)?;
    match kind {
        Type::Unknown => Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "call type UNKNOWN")),
        Type::Subscribe => subscribe(&app, media).await,
        _ if reads::is_read(kind) => {
            let facts = app.facts.clone();
            let answer = match kind {
                // These ask nobody.
                Type::GetHealth => reads::health(),
                Type::GetVersion => reads::version(),
                Type::GetFlags => reads::flags(&facts),
                Type::GetLoggingLevel => reads::logging_level(),
                Type::GetMetrics => {
                    let all = app.plane.read(move |c, now| metrics::snapshot(c, &facts, now));
                    reads::metrics(all.await?)
                }
                _ => app.plane.read(move |c, _| reads::look(kind, c, &facts)).await?,
            };
            Ok(answer::message(media, &answer))
        }
        _ => writes::write(&app, kind, call).await,
    }
}

/// A stream that begins with the whole state, every change after it, and heartbeats.
async fn subscribe<P: Plane>(app: &App<P>, media: MediaType) -> Result<Response, ApiError> {
    let (state, events) = app.plane.watch(|cluster, _| reads::state(cluster)).await?;
    let subscribed = master::Event {
        r#type: Some(event::Type::Subscribed.into()),
        subscribed: Some(event::Subscribed {
            get_state: Some(state),
            heartbeat_interval_seconds: Some(HEARTBEAT.as_secs_f64()),
        }),
        ..master::Event::default()
    };
    let heartbeat =
        master::Event { r#type: Some(event::Type::Heartbeat.into()), ..master::Event::default() };
    let plane = app.plane.clone();
    let body = records(media, events, vec![subscribed], heartbeat, move || plane.watch_ended());
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str()))];
    Ok((head, body).into_response())
}
