//! `POST /api/v1` of an agent (`spec/mesos-http.md` 3.3).

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tepui_agent::{Agent, Framework, Place, is_open_to_all};
use tepui_process::note_ignored;
use tepui_wire::v1::agent::call::Type;
use tepui_wire::v1::agent::response::{self, Type as Answer};
use tepui_wire::v1::{self, agent};
use tepui_wire::{MediaType, media, version};

use crate::answer::{self, ApiError, accepted, content_type};
use crate::host::{Facts, Host};
use crate::router::App;
use crate::{caller, containers, files, legacy, metrics, show};

/// Level 0 of Mesos's log: there is nothing below `info` that an operator can switch here.
const LOGGING_LEVEL: u32 = 0;

/// Every call of an operator.
pub(crate) async fn operator<H: Host>(
    State(app): State<App<H>>,
    request: Request,
) -> Result<Response, ApiError> {
    if app.host.read(|agent, _| agent.is_recovering()).await? {
        return Err(ApiError::recovering());
    }
    if *request.method() != Method::POST {
        return Err(ApiError::method());
    }
    let headers = request.headers().clone();
    let extensions = request.extensions().clone();
    if is_stream(&headers) {
        caller::admit(&app, &extensions, "call ATTACH_CONTAINER_INPUT").await?;
        return containers::attach_input(&app, &headers, request.into_body()).await;
    }
    let form = content_type(&headers)?;
    let body = Bytes::from_request(request, &()).await.map_err(unread)?;
    let (call, ignored) = media::decode_noting::<agent::Call>(form, &body)?;
    note_ignored(ignored);
    let Some(kind) = call.r#type.and_then(|number| Type::try_from(number).ok()) else {
        return Err(ApiError::bad_request("expecting 'type' to be present and known"));
    };
    if !is_open_to_all(kind) {
        caller::admit(&app, &extensions, &format!("call {}", kind.as_str_name())).await?;
    }
    match kind {
        Type::LaunchNestedContainerSession => {
            return containers::session(&app, &headers, call).await;
        }
        Type::AttachContainerOutput => {
            return containers::attach_output(&app, &headers, &call).await;
        }
        // What goes in follows the call, so that it has to be a stream.
        Type::AttachContainerInput => return Err(not_a_stream()),
        _ => {}
    }
    let media = accepted(&headers)?;
    if let Some(answer) = containers::about(&app, kind, &call, media).await? {
        return Ok(answer);
    }
    let answer = match kind {
        Type::Unknown => {
            return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "call type UNKNOWN"));
        }
        Type::GetHealth => {
            let get_health = Some(response::GetHealth { healthy: true });
            agent::Response { get_health, ..of(Answer::GetHealth) }
        }
        Type::GetVersion => {
            let get_version = Some(response::GetVersion { version_info: version::info() });
            agent::Response { get_version, ..of(Answer::GetVersion) }
        }
        Type::GetFlags => flags(&app.facts),
        Type::GetLoggingLevel => {
            let get_logging_level = Some(response::GetLoggingLevel { level: LOGGING_LEVEL });
            agent::Response { get_logging_level, ..of(Answer::GetLoggingLevel) }
        }
        Type::GetMetrics => get_metrics(&app).await?,
        Type::ListFiles => list_files(&app, &call).await?,
        Type::ReadFile => read_file(&app, &call).await?,
        Type::GetContainers => get_containers(&app, &call).await?,
        Type::GetState
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetTasks
        | Type::GetAgent
        | Type::GetOperations
        | Type::GetResourceProviders => app.host.read(move |agent, _| look(kind, agent)).await?,
        other => return change(&app, other, &call).await,
    };
    Ok(answer::message(media, &answer))
}

fn is_stream(headers: &HeaderMap) -> bool {
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    MediaType::parse(form) == Ok(MediaType::RecordIo)
}

fn not_a_stream() -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "expecting 'Content-Type' of application/recordio for ATTACH_CONTAINER_INPUT",
    )
}

fn unread(rejection: BytesRejection) -> ApiError {
    ApiError::new(rejection.status(), rejection.body_text())
}

fn of(kind: Answer) -> agent::Response {
    agent::Response { r#type: Some(kind.into()), ..agent::Response::default() }
}

fn missing(part: &str) -> ApiError {
    ApiError::bad_request(format!("expecting '{part}' to be present"))
}

fn flags(facts: &Facts) -> agent::Response {
    let flags = facts
        .flags
        .iter()
        .map(|(name, value)| v1::Flag { name: name.clone(), value: Some(value.clone()) })
        .collect();
    agent::Response { get_flags: Some(response::GetFlags { flags }), ..of(Answer::GetFlags) }
}

async fn get_metrics<H: Host>(app: &App<H>) -> Result<agent::Response, ApiError> {
    let metrics = metrics::gather(app)
        .await?
        .into_iter()
        .map(|(name, value)| v1::Metric { name, value: Some(value) })
        .collect();
    let get_metrics = Some(response::GetMetrics { metrics });
    Ok(agent::Response { get_metrics, ..of(Answer::GetMetrics) })
}

async fn list_files<H: Host>(
    app: &App<H>,
    call: &agent::Call,
) -> Result<agent::Response, ApiError> {
    let asked = call.list_files.as_ref().ok_or_else(|| missing("list_files"))?;
    let file_infos = files::list(app, &asked.path)
        .await?
        .into_iter()
        .map(|info| v1::FileInfo {
            path: info.path,
            nlink: i32::try_from(info.nlink).ok(),
            size: u64::try_from(info.size).ok(),
            mtime: Some(v1::TimeInfo { nanoseconds: info.mtime_nanos }),
            mode: Some(info.raw_mode),
            uid: Some(info.uid),
            gid: Some(info.gid),
        })
        .collect();
    let list_files = Some(response::ListFiles { file_infos });
    Ok(agent::Response { list_files, ..of(Answer::ListFiles) })
}

async fn read_file<H: Host>(app: &App<H>, call: &agent::Call) -> Result<agent::Response, ApiError> {
    let asked = call.read_file.as_ref().ok_or_else(|| missing("read_file"))?;
    let length = asked.length.unwrap_or(files::MAX_READ_BYTES);
    let (size, data) = files::read_bytes(app, &asked.path, Some(asked.offset), length).await?;
    let read_file = Some(response::ReadFile { size, data });
    Ok(agent::Response { read_file, ..of(Answer::ReadFile) })
}

async fn get_containers<H: Host>(
    app: &App<H>,
    call: &agent::Call,
) -> Result<agent::Response, ApiError> {
    let asked = call.get_containers.as_ref();
    let wanted = legacy::Wanted::showing(
        asked.is_some_and(|asked| asked.show_nested()),
        asked.is_some_and(|asked| asked.show_standalone()),
    );
    let containers = legacy::gather(app, wanted)
        .await?
        .into_iter()
        .map(|container| response::get_containers::Container {
            container_status: Some(container.status()),
            resource_statistics: Some(container.statistics()),
            container_id: tepui_agent::container_id(&container.run),
            framework_id: container
                .owner
                .as_ref()
                .map(|owner| v1::FrameworkId { value: owner.framework.to_string() }),
            executor_id: container
                .owner
                .as_ref()
                .map(|owner| v1::ExecutorId { value: owner.executor.to_string() }),
            executor_name: container.owner.map(|owner| owner.name),
        })
        .collect();
    let get_containers = Some(response::GetContainers { containers });
    Ok(agent::Response { get_containers, ..of(Answer::GetContainers) })
}

/// What a call that looks at the agent is answered.
fn look(kind: Type, agent: &Agent) -> agent::Response {
    match kind {
        Type::GetState => {
            let get_state = Some(response::GetState {
                get_tasks: Some(tasks(agent)),
                get_executors: Some(executors(agent)),
                get_frameworks: Some(frameworks(agent)),
            });
            agent::Response { get_state, ..of(Answer::GetState) }
        }
        Type::GetFrameworks => {
            agent::Response { get_frameworks: Some(frameworks(agent)), ..of(Answer::GetFrameworks) }
        }
        Type::GetExecutors => {
            agent::Response { get_executors: Some(executors(agent)), ..of(Answer::GetExecutors) }
        }
        Type::GetTasks => agent::Response { get_tasks: Some(tasks(agent)), ..of(Answer::GetTasks) },
        Type::GetAgent => {
            let get_agent = Some(response::GetAgent {
                agent_info: Some(agent.info()),
                ..response::GetAgent::default()
            });
            agent::Response { get_agent, ..of(Answer::GetAgent) }
        }
        // Nothing here has operations or resource providers.
        Type::GetOperations => agent::Response {
            get_operations: Some(response::GetOperations::default()),
            ..of(Answer::GetOperations)
        },
        _ => agent::Response {
            get_resource_providers: Some(response::GetResourceProviders::default()),
            ..of(Answer::GetResourceProviders)
        },
    }
}

fn described(agent: &Agent) -> impl Iterator<Item = &Framework> {
    agent.frameworks().filter(|framework| framework.is_described())
}

fn frameworks(agent: &Agent) -> response::GetFrameworks {
    let of_kind = |active: bool| {
        described(agent)
            .filter(|framework| framework.is_active() == active)
            .map(|framework| response::get_frameworks::Framework {
                framework_info: (*framework.info).clone(),
            })
            .collect()
    };
    response::GetFrameworks { frameworks: of_kind(true), completed_frameworks: of_kind(false) }
}

fn executors(agent: &Agent) -> response::GetExecutors {
    let show = |framework, executor| response::get_executors::Executor {
        executor_info: show::executor_info(framework, executor),
    };
    response::GetExecutors {
        executors: described(agent)
            .flat_map(|framework| framework.executors.values().map(move |one| show(framework, one)))
            .collect(),
        completed_executors: described(agent)
            .flat_map(|framework| framework.completed.iter().map(move |one| show(framework, one)))
            .collect(),
    }
}

fn tasks(agent: &Agent) -> response::GetTasks {
    let id = agent.id().map(ToString::to_string).unwrap_or_default();
    let mut out = response::GetTasks::default();
    for framework in described(agent) {
        for task in framework.tasks.values() {
            let wire = task.to_wire(&framework.id, &id);
            match framework.place(task) {
                Place::Queued => out.queued_tasks.push(wire),
                Place::Launched => out.launched_tasks.push(wire),
                Place::Terminated => out.terminated_tasks.push(wire),
                Place::Completed => out.completed_tasks.push(wire),
            }
        }
        let completed = framework.completed_tasks().map(|task| task.to_wire(&framework.id, &id));
        out.completed_tasks.extend(completed);
    }
    out
}

/// Calls that change something; what is not in this release says so.
async fn change<H: Host>(
    app: &App<H>,
    kind: Type,
    call: &agent::Call,
) -> Result<Response, ApiError> {
    match kind {
        Type::PruneImages => prune_images(app, call).await,
        _ => Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("call type {} is not supported by this release", kind.as_str_name()),
        )),
    }
}

/// Removes the images that nobody uses and the call does not name.
async fn prune_images<H: Host>(app: &App<H>, call: &agent::Call) -> Result<Response, ApiError> {
    let excluded = call.prune_images.iter().flat_map(|part| &part.excluded_images);
    let names = excluded.filter_map(|image| Some(image.docker.as_ref()?.name.clone())).collect();
    let pruned = app.host.prune_images(names).await;
    pruned.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    Ok(StatusCode::OK.into_response())
}
