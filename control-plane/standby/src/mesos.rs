//! The Mesos endpoints of a control plane that does not lead.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tepui_election::said;

use crate::{Standby, vigil};

/// What each control plane answers itself is in `own`; the rest is the leader's.
pub fn mesos(standby: Standby, own: Router) -> Router {
    let redirects = Router::new()
        .route("/redirect", get(redirect))
        .route("/redirect/{*rest}", get(|| async { StatusCode::NOT_FOUND }));
    Router::new()
        .merge(redirects.clone())
        .nest("/master", redirects)
        .route(vigil::PATH, get(vigil::not_leading))
        .fallback(elsewhere)
        .with_state(standby)
        .merge(own)
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
    let message =
        format!("{}: this control plane has not heard of one, try again", said::NOBODY_LEADS);
    (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
}
