//! What only operators may do is refused to tasks: the question, once per connection, and the answer.

use axum::extract::{Request, State};
use axum::http::{Extensions, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tepui_agent::Caller;
use tepui_process::Connection;

use crate::answer::ApiError;
use crate::host::Host;
use crate::router::App;

/// 403 unless the request is an operator's. `deed` completes "may not".
pub(crate) async fn admit<H: Host>(
    app: &App<H>,
    extensions: &Extensions,
    deed: &str,
) -> Result<(), ApiError> {
    match caller(app, extensions).await?.objection(deed) {
        Some(refusal) => Err(ApiError::new(StatusCode::FORBIDDEN, refusal)),
        None => Ok(()),
    }
}

async fn caller<H: Host>(app: &App<H>, extensions: &Extensions) -> Result<Caller, ApiError> {
    let Some(connection) = extensions.get::<Connection>() else {
        return Ok(Caller::Unclear("its connection is not known".into()));
    };
    if let Some(known) = connection.known() {
        return Ok(known);
    }
    let found = app.host.caller(connection).await?;
    connection.keep(found.clone());
    Ok(found)
}

/// Lets only operators look into sandboxes: the agent reads as root what their owners may keep to
/// themselves. An agent that fetches an artifact, this one or another, does so for a task.
pub(crate) async fn files_for_operators<H: Host>(
    State(app): State<App<H>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if request.headers().contains_key(tepui_types::FOR_TASK) {
        // It comes from an agent and gets what a task has asked for.
        let refusal =
            "no agent fetches what is in sandboxes: only operators may read them through it";
        return Err(ApiError::new(StatusCode::FORBIDDEN, refusal));
    }
    admit(&app, request.extensions(), "read sandboxes through the agent").await?;
    Ok(next.run(request).await)
}
