//! The Mesos endpoints of a control plane that does not lead.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::{Standby, vigil};

/// What it answers itself is what says how it is; the rest is the leader's.
pub fn mesos(standby: Standby) -> Router {
    let own = Router::new()
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/metrics/snapshot", get(snapshot))
        .route("/redirect", get(redirect));
    Router::new()
        .merge(own.clone())
        .nest("/master", own)
        .route("/metrics", get(exposition))
        .route(vigil::PATH, get(vigil::not_leading))
        .fallback(elsewhere)
        .with_state(standby)
}

async fn snapshot() -> Response {
    let figures = json!({"master/elected": 0.0});
    ([(CONTENT_TYPE, "application/json")], figures.to_string()).into_response()
}

async fn exposition(State(standby): State<Standby>) -> Response {
    let term = standby.heard.borrow().as_ref().map_or(0, |heard| heard.term.0);
    let text = format!(
        "# HELP tepui_build_info The program.\n# TYPE tepui_build_info gauge\n\
         tepui_build_info{{version=\"{}\"}} 1\n\
         # HELP tepui_leader 1 while this process leads\n# TYPE tepui_leader gauge\n\
         tepui_leader 0\n\
         # HELP tepui_term The term of the leader\n# TYPE tepui_term gauge\ntepui_term {term}\n",
        standby.version
    );
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// To the leader's address, with nothing of the path.
async fn redirect(State(standby): State<Standby>) -> Response {
    match standby.leader() {
        Some(leader) => to(&format!("//{}", leader.mesos)),
        None => nobody(),
    }
}

async fn elsewhere(State(standby): State<Standby>, request: Request) -> Response {
    match standby.leader() {
        Some(leader) => to(&location(&leader.mesos, request.uri())),
        None => nobody(),
    }
}

/// Without a scheme: whoever came by TLS stays there.
fn location(leader: &str, uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("//{leader}{path}")
}

fn to(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return (StatusCode::BAD_REQUEST, "the path has no place in a header").into_response();
    };
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response()
}

fn nobody() -> Response {
    let message = "No leader elected: this control plane has not heard of one, try again";
    (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
}
