//! ATTACH_CONTAINER_INPUT: a request whose body is a stream of calls. The first names the
//! container, those after it hold what goes there.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tepui_agent::Window;
use tepui_types::ContainerId;
use tepui_wire::v1::agent::call::{self, attach_container_input};
use tepui_wire::v1::agent::process_io::{self, control, data};
use tepui_wire::v1::agent::{Call, ProcessIo};
use tepui_wire::{MediaType, media, recordio};
use tokio::sync::mpsc;

use super::output::MESSAGE_CONTENT_TYPE;
use super::{named, unattachable};
use crate::answer::ApiError;
use crate::host::{Host, Input};
use crate::router::App;

/// Largest record of the stream: whoever has more to say says it in several.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// Passes a stream of calls on to a session, until one of the two ends.
pub(crate) async fn attach_input<H: Host>(
    app: &App<H>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let form = headers.get(MESSAGE_CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Ok(form @ (MediaType::Json | MediaType::Protobuf)) = MediaType::parse(form) else {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expecting 'Message-Content-Type' of application/json or application/x-protobuf",
        ));
    };
    let mut chunks = body.into_data_stream();
    let mut decoder = recordio::Decoder::with_limit(MAX_RECORD_BYTES);
    let mut session: Option<mpsc::Sender<Input>> = None;
    while let Some(chunk) = chunks.next().await {
        // A client that broke off: what it said before counts.
        let Ok(chunk) = chunk else { break };
        decoder.push(&chunk);
        let refused = |error: recordio::RecordIoError| ApiError::bad_request(error.to_string());
        while let Some(record) = decoder.next_record().map_err(refused)? {
            let call: Call = media::decode(form, &record)?;
            let Some(input) = &session else {
                session = Some(begin(app, container_of(&call)?).await?);
                continue;
            };
            if let Some(said) = said(call)?
                && input.send(said).await.is_err()
            {
                // The session is over: nobody reads any more.
                return Ok(StatusCode::OK.into_response());
            }
        }
    }
    match session {
        Some(_) => Ok(StatusCode::OK.into_response()),
        None => Err(ApiError::bad_request("expecting a first record that names the container")),
    }
}

async fn begin<H: Host>(
    app: &App<H>,
    container: ContainerId,
) -> Result<mpsc::Sender<Input>, ApiError> {
    match app.host.attach_input(&container) {
        Some(input) => Ok(input),
        None => Err(unattachable(app, container).await?),
    }
}

fn part(call: &Call) -> Result<&call::AttachContainerInput, ApiError> {
    if call.r#type() != call::Type::AttachContainerInput {
        return Err(ApiError::bad_request("expecting 'type' to be ATTACH_CONTAINER_INPUT"));
    }
    call.attach_container_input.as_ref().ok_or_else(|| super::missing("attach_container_input"))
}

fn container_of(call: &Call) -> Result<ContainerId, ApiError> {
    let part = part(call)?;
    if part.r#type() != attach_container_input::Type::ContainerId {
        return Err(ApiError::bad_request(
            "expecting 'attach_container_input.type' to be CONTAINER_ID in the first record",
        ));
    }
    let id = part.container_id.as_ref();
    named(id.ok_or_else(|| super::missing("attach_container_input.container_id"))?)
}

/// What a record after the first says; heartbeats say nothing.
fn said(call: Call) -> Result<Option<Input>, ApiError> {
    if part(&call)?.r#type() != attach_container_input::Type::ProcessIo {
        return Err(ApiError::bad_request(
            "expecting 'attach_container_input.type' to be PROCESS_IO after the first record",
        ));
    }
    let io = call.attach_container_input.and_then(|part| part.process_io);
    let io = io.ok_or_else(|| super::missing("attach_container_input.process_io"))?;
    let kind = io.r#type();
    match (kind, io) {
        (process_io::Type::Data, ProcessIo { data: Some(data), .. }) => {
            if data.r#type() != data::Type::Stdin {
                return Err(ApiError::bad_request("expecting 'data.type' to be STDIN"));
            }
            let data = data.data.unwrap_or_default();
            Ok(Some(if data.is_empty() { Input::End } else { Input::Data(data) }))
        }
        (process_io::Type::Control, ProcessIo { control: Some(control), .. }) => {
            match control.r#type() {
                control::Type::Heartbeat => Ok(None),
                control::Type::TtyInfo => {
                    let size = control.tty_info.and_then(|tty| tty.window_size);
                    let size = size.ok_or_else(|| super::missing("tty_info.window_size"))?;
                    let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
                    let (rows, columns) = (small(size.rows), small(size.columns));
                    Ok(Some(Input::Resize(Window { rows, columns })))
                }
                control::Type::Unknown => {
                    Err(ApiError::bad_request("expecting 'control.type' to be known"))
                }
            }
        }
        _ => Err(ApiError::bad_request(
            "expecting 'process_io' to be DATA with 'data' or CONTROL with 'control'",
        )),
    }
}
