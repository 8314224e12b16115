//! The endpoints that answer with one body.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::plane::Plane;
use crate::router::App;

/// All of them, bare.
pub fn endpoints<P: Plane>() -> Router<App<P>> {
    Router::new().route("/health", get(health))
}

/// `GET /health`: the process lives; it asks nobody.
async fn health() -> StatusCode {
    StatusCode::OK
}
