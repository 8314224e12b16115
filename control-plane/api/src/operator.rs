//! `POST /api/v1`: the operator API (`spec/mesos-http.md` 3.1, 3.2).

mod reads;
mod writes;

pub(crate) use writes::weights as weights_of;

use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tepui_process::note_ignored;
use tepui_wire::v1::master::{self, call::Type, event};
use tepui_wire::{MediaType, media};
use tokio::task::spawn_blocking;

use crate::answer::{self, ApiError, accepted, content_type};
use crate::plane::{Plane, Unavailable};
use crate::router::App;
use crate::stream::{Beats, HEARTBEAT, records};

/// Every call of an operator.
pub(crate) async fn operator<P: Plane>(
    State(app): State<App<P>>,
    request: Request,
) -> Result<Response, ApiError> {
    if request.method() != Method::POST {
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "expecting POST"));
    }
    let headers = request.headers().clone();
    let form = content_type(&headers)?;
    let body = app.room.whole(request).await?;
    let (call, ignored) = media::decode_noting::<master::Call>(form, &body.bytes)?;
    note_ignored(ignored);
    drop(body);
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
                Type::GetMetrics => reads::metrics(app.snapshot().await?),
                _ => app.plane.read(move |c, _| reads::look(kind, c, &facts)).await?,
            };
            // The whole state may be a hundred megabytes of JSON: nobody else waits for that.
            let written = spawn_blocking(move || answer::message(media, &answer)).await;
            written.map_err(|_| ApiError::from(Unavailable("the control plane is stopping".into())))
        }
        Type::ListFiles => {
            let path = call.list_files.map(|part| part.path);
            Err(no_file(path.ok_or_else(|| writes::missing("list_files"))?))
        }
        Type::ReadFile => {
            let path = call.read_file.map(|part| part.path);
            Err(no_file(path.ok_or_else(|| writes::missing("read_file"))?))
        }
        _ => writes::write(&app, kind, call).await,
    }
}

/// The log is the journal's, and nothing else is shared here: no path names a file.
fn no_file(path: String) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("no file '{path}': read the log in the journal"))
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
    let (plane, watchers) = (app.plane.clone(), app.watchers.clone());
    watchers.fetch_add(1, Ordering::Relaxed);
    let ended = move || {
        watchers.fetch_sub(1, Ordering::Relaxed);
        plane.watch_ended();
    };
    let beats = Beats { heartbeat, greets: |event| event.r#type() == event::Type::Subscribed };
    let body = records(media, events, vec![subscribed], beats, ended);
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str()))];
    Ok((head, body).into_response())
}
