//! Deployments, the queue, and what concerns the process as a whole (`marathon-api.md` sections 5
//! to 8).

use axum::response::Response;
use http::StatusCode;
use http::header::ACCEPT;
use serde_json::{Value, json};
use tepui_apps::Command;
use tepui_marathon::Rejection;
use tepui_types::Uuid;

use crate::answer::{self, Answer};
use crate::apps::{Apps, Leadership};
use crate::apps_api::deployed;
use crate::look;
use crate::request::{Request, known_id};

/// `GET /v2/deployments`.
pub(crate) async fn deployments<A: Apps>(request: &Request<A>) -> Answer {
    answer::ok(&request.shared.apps.read(|apps, _| look::deployments(apps)).await?)
}

/// `DELETE /v2/deployments/{id}`: roll back, or with `force` only stop.
pub(crate) async fn cancel_deployment<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let unknown = || {
        let id: String = id.chars().take(100).collect();
        Rejection::not_found(format!("DeploymentPlan {id} does not exist"))
    };
    let id = Uuid::parse(id).ok_or_else(unknown)?;
    let force = request.force(false);
    let command = Command::CancelDeployment { id, force };
    let reply = request.shared.apps.command(command, None).await?;
    if force { Ok(answer::empty(StatusCode::ACCEPTED)) } else { deployed(&reply) }
}

/// `GET /v2/queue`.
pub(crate) async fn queue<A: Apps>(request: &Request<A>) -> Answer {
    let offers = request.query.all("embed").any(|embed| embed == "lastUnusedOffers");
    answer::ok(&request.shared.apps.read(move |apps, now| look::queue(apps, now, offers)).await?)
}

/// `DELETE /v2/queue/{id}/delay`.
pub(crate) async fn reset_delay<A: Apps>(request: &Request<A>, id: &str) -> Answer {
    let unknown = |_| Rejection::not_found(format!("Application {id} not found in tasks queue."));
    let id = known_id("App", id).map_err(unknown)?;
    request.shared.apps.command(Command::ResetDelay { id }, None).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// `GET /ping`.
pub(crate) fn ping<A>(request: &Request<A>) -> Response {
    let text = || answer::with_type(StatusCode::OK, "text/plain", "pong");
    let any = !request.headers.contains_key(ACCEPT) || request.accepts("*/*");
    if any || ["text/plain", "text/html", "text/*"].iter().any(|mime| request.accepts(mime)) {
        text()
    } else if request.accepts("application/json") || request.accepts("application/*") {
        answer::json(StatusCode::OK, &"pong")
    } else {
        answer::empty(StatusCode::NO_CONTENT)
    }
}

/// `/` and `/ui`: redirected to the user interface, which this release does not have.
pub(crate) fn ui<A>(request: &Request<A>) -> Response {
    if request.uri.starts_with("/ui/") {
        let text = "This release has no user interface; the API is below /v2.";
        return answer::message(StatusCode::NOT_FOUND, text);
    }
    answer::found("/ui/")
}

/// `GET /v2/leader`.
pub(crate) fn leader<A: Apps>(request: &Request<A>) -> Answer {
    match request.shared.apps.leadership() {
        Leadership::Here => answer::ok(&json!({"leader": request.shared.options.address})),
        Leadership::Elsewhere(address) => answer::ok(&json!({ "leader": address })),
        Leadership::Nobody => Err(Rejection::not_found("There is no leader").into()),
    }
}

/// `DELETE /v2/leader`.
pub(crate) fn abdicate<A: Apps>(request: &Request<A>) -> Answer {
    for parameter in ["backup", "restore"] {
        if request.query.first(parameter).is_some() {
            let text =
                format!("this release has no {parameter} by request: leave '{parameter}' out");
            return Err(Rejection::new(422, text).into());
        }
    }
    request.shared.apps.abdicate()?;
    answer::ok(&json!({"message": "Leadership abdicated"}))
}

/// Any path below `/v2/plugins/{id}`.
pub(crate) fn no_plugin(id: &str) -> Response {
    let id: String = id.chars().take(100).collect();
    answer::message(StatusCode::NOT_FOUND, format!("No plugin with this pluginId: {id}"))
}

/// Any path below `/v2/pods`.
pub(crate) fn no_pods() -> Response {
    answer::message(StatusCode::NOT_IMPLEMENTED, "pods: this release does not run pods")
}

/// `GET /logging`.
pub(crate) fn loggers<A: Apps>(request: &Request<A>) -> Answer {
    answer::ok(&request.shared.apps.loggers())
}

/// `POST /logging`.
pub(crate) fn set_logger<A: Apps>(request: &Request<A>) -> Answer {
    let refuse = |path: &str, error: &str| Rejection::not_valid_at(path, error);
    let body = request.json()?;
    if body.trim_ascii().is_empty() {
        return Err(Rejection::no_body().into());
    }
    let body: Value = serde_json::from_slice(body).map_err(|e| Rejection::not_json(&e))?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let logger = text("logger").ok_or_else(|| refuse("/logger", "must not be empty"))?;
    let level = text("level").unwrap_or("").to_lowercase();
    if !["trace", "debug", "info", "warn", "error"].contains(&level.as_str()) {
        let given: String = level.chars().take(40).collect();
        let error = format!("got {given}, expected one of: [trace, debug, info, warn, error]");
        return Err(refuse("/level", &error).into());
    }
    let seconds = body.get("durationSeconds").and_then(Value::as_u64);
    let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
    request.shared.apps.set_logger(logger, &level, seconds)?;
    answer::ok(&body)
}
