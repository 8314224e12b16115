//! Calls about containers, and sessions in them (`spec/mesos-http.md` 3.3).

#![expect(deprecated, reason = "clients that exist use the old names of the calls")]

mod input;
mod output;

pub(crate) use input::attach_input;
pub(crate) use output::Flowing;

use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tepui_agent::{ContainerCall, ContainerLaunch, Exit, Verdict, run_of_container};
use tepui_link::codec::wire_state;
use tepui_types::ContainerId;
use tepui_wire::MediaType;
use tepui_wire::v1::agent::call::Type;
use tepui_wire::v1::agent::response::{self, Type as Answer};
use tepui_wire::v1::{self, agent};

use crate::answer::{self, ApiError};
use crate::host::Host;
use crate::router::App;

/// The signal of a kill that names none.
const SIGKILL: i32 = 9;

fn missing(part: &str) -> ApiError {
    ApiError::bad_request(format!("expecting '{part}' to be present"))
}

/// The container that a call names; 400 when that is no id.
fn named(id: &v1::ContainerId) -> Result<ContainerId, ApiError> {
    run_of_container(id).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The old calls are about containers below others only.
fn named_below(id: &v1::ContainerId) -> Result<ContainerId, ApiError> {
    if id.parent.is_none() {
        return Err(ApiError::bad_request("expecting 'container_id.parent' to be present"));
    }
    named(id)
}

/// LAUNCH, WAIT, KILL and REMOVE of a container, under both of their names; `None` for any other
/// call.
pub(crate) async fn about<H: Host>(
    app: &App<H>,
    kind: Type,
    call: &agent::Call,
    media: MediaType,
) -> Result<Option<Response>, ApiError> {
    let wanted = match kind {
        Type::WaitNestedContainer => {
            let part = call.wait_nested_container.as_ref();
            let part = part.ok_or_else(|| missing("wait_nested_container"))?;
            ContainerCall::Wait(named_below(&part.container_id)?)
        }
        Type::WaitContainer => {
            let part = call.wait_container.as_ref().ok_or_else(|| missing("wait_container"))?;
            ContainerCall::Wait(named(&part.container_id)?)
        }
        Type::KillNestedContainer => {
            let part = call.kill_nested_container.as_ref();
            let part = part.ok_or_else(|| missing("kill_nested_container"))?;
            let signal = part.signal.unwrap_or(SIGKILL);
            ContainerCall::Kill { container: named_below(&part.container_id)?, signal }
        }
        Type::KillContainer => {
            let part = call.kill_container.as_ref().ok_or_else(|| missing("kill_container"))?;
            let signal = part.signal.unwrap_or(SIGKILL);
            ContainerCall::Kill { container: named(&part.container_id)?, signal }
        }
        Type::RemoveNestedContainer => {
            let part = call.remove_nested_container.as_ref();
            let part = part.ok_or_else(|| missing("remove_nested_container"))?;
            ContainerCall::Remove(named_below(&part.container_id)?)
        }
        Type::RemoveContainer => {
            let part = call.remove_container.as_ref();
            let part = part.ok_or_else(|| missing("remove_container"))?;
            ContainerCall::Remove(named(&part.container_id)?)
        }
        Type::LaunchNestedContainer => {
            let part = call.launch_nested_container.as_ref();
            let part = part.ok_or_else(|| missing("launch_nested_container"))?;
            ContainerCall::Launch(Box::new(ContainerLaunch {
                container: named_below(&part.container_id)?,
                command: part.command.clone().unwrap_or_default(),
                info: part.container.clone(),
                resources: Vec::new(),
                limits: BTreeMap::new(),
            }))
        }
        Type::LaunchContainer => {
            let part = call.launch_container.as_ref();
            let part = part.ok_or_else(|| missing("launch_container"))?;
            ContainerCall::Launch(Box::new(ContainerLaunch {
                container: named(&part.container_id)?,
                command: part.command.clone().unwrap_or_default(),
                info: part.container.clone(),
                resources: part.resources.clone(),
                limits: part.limits.clone(),
            }))
        }
        _ => return Ok(None),
    };
    let response = app.host.container_call(Box::new(wanted)).await?;
    Ok(Some(told(kind, response, media)?))
}

/// The agent's answer as HTTP.
fn told(
    kind: Type,
    response: tepui_agent::Response,
    media: MediaType,
) -> Result<Response, ApiError> {
    match response {
        tepui_agent::Response::Done | tepui_agent::Response::Streaming => {
            Ok(StatusCode::OK.into_response())
        }
        tepui_agent::Response::Accepted => Ok(StatusCode::ACCEPTED.into_response()),
        tepui_agent::Response::Waited { exit, verdict } => {
            Ok(answer::message(media, &waited(kind, &exit, verdict.as_deref())))
        }
        tepui_agent::Response::Refused { status, message } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            Err(ApiError::new(status, message))
        }
    }
}

fn waited(kind: Type, exit: &Exit, verdict: Option<&Verdict>) -> agent::Response {
    let exit_status = exit.wait_status();
    let message = match (exit, verdict) {
        (_, Some(verdict)) => Some(verdict.message.clone()),
        (Exit::Unknown(why), None) => Some(why.to_string()),
        (Exit::Code(_) | Exit::Signal(_), None) => None,
    };
    let state = verdict.map(|verdict| wire_state(verdict.state).into());
    let reason = verdict.map(|verdict| verdict.reason.into());
    let limitation = verdict.and_then(|verdict| verdict.limitation.clone());
    if kind == Type::WaitNestedContainer {
        return agent::Response {
            r#type: Some(Answer::WaitNestedContainer.into()),
            wait_nested_container: Some(response::WaitNestedContainer {
                exit_status,
                state,
                reason,
                limitation,
                message,
            }),
            ..agent::Response::default()
        };
    }
    agent::Response {
        r#type: Some(Answer::WaitContainer.into()),
        wait_container: Some(response::WaitContainer {
            exit_status,
            state,
            reason,
            limitation,
            message,
        }),
        ..agent::Response::default()
    }
}

/// LAUNCH_NESTED_CONTAINER_SESSION: the answer is what the command prints, and the session ends
/// with it.
pub(crate) async fn session<H: Host>(
    app: &App<H>,
    headers: &HeaderMap,
    call: agent::Call,
) -> Result<Response, ApiError> {
    let media = output::streaming(headers)?;
    let part = call
        .launch_nested_container_session
        .ok_or_else(|| missing("launch_nested_container_session"))?;
    let session = named_below(&part.container_id)?;
    let launch = ContainerLaunch {
        container: session.clone(),
        command: part.command.unwrap_or_default(),
        info: part.container,
        resources: Vec::new(),
        limits: BTreeMap::new(),
    };
    let (host, name) = (app.host.clone(), session.clone());
    // Not part of this request: a client that hangs up before its answer drops the request, and
    // the session must end all the same.
    let opened = tokio::spawn(async move {
        let call = Box::new(ContainerCall::Session(Box::new(launch)));
        let response = host.container_call(call).await?;
        let printed = match response {
            tepui_agent::Response::Streaming => host.take_session(&name),
            _ => None,
        };
        Ok::<_, crate::host::Unavailable>((response, printed))
    });
    let (response, printed) = opened.await.map_err(|_| ApiError::stopping())??;
    match printed {
        Some(printed) => Ok(output::answer(media, printed)),
        None => told(Type::LaunchNestedContainerSession, response, MediaType::Json),
    }
}

/// ATTACH_CONTAINER_OUTPUT: what a session, or a container's terminal, prints from now on.
pub(crate) async fn attach_output<H: Host>(
    app: &App<H>,
    headers: &HeaderMap,
    call: &agent::Call,
) -> Result<Response, ApiError> {
    let media = output::streaming(headers)?;
    let part = call.attach_container_output.as_ref();
    let part = part.ok_or_else(|| missing("attach_container_output"))?;
    let container = named(&part.container_id)?;
    match app.host.attach_output(&container) {
        Some(printed) => Ok(output::answer(media, printed)),
        None => Err(unattachable(app, container).await?),
    }
}

/// Why nobody can be attached to a container: it is unknown, or was not made for it.
async fn unattachable<H: Host>(app: &App<H>, container: ContainerId) -> Result<ApiError, ApiError> {
    let text = container.to_string();
    let look = move |agent: &tepui_agent::Agent, _| {
        agent.run(&container).is_some_and(|run| run.exit.is_none())
    };
    Ok(if app.host.read(look).await? {
        let message = format!(
            "Container {text} has no input and output to attach to: only sessions have \
             (LAUNCH_NESTED_CONTAINER_SESSION), and containers with a terminal (tty_info); what it \
             prints is in its sandbox"
        );
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    } else {
        ApiError::not_found(format!("Container {text} cannot be found"))
    })
}
