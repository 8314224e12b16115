//! The unversioned endpoints (`spec/mesos-http.md` 4.2, 4.3).

mod containers;
mod padding;
mod state;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use tepui_wire::version;

use crate::answer::ApiError;
use crate::host::{Facts, Host};
use crate::router::App;

pub(crate) use containers::{
    Container, Kind, Owner, Wanted, containers, gather, look, measure, statistics,
};
pub(crate) use padding::padded;

/// `GET /version`.
pub(crate) async fn version() -> Json<Value> {
    Json(version::legacy())
}

/// `GET /flags`.
pub(crate) async fn flags<H: Host>(State(app): State<App<H>>) -> Json<Value> {
    Json(json!({ "flags": flag_object(&app.facts) }))
}

fn flag_object(facts: &Facts) -> Map<String, Value> {
    facts.flags.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}

/// `GET /containerizer/debug`: nothing is ever pending for long enough to be shown.
pub(crate) async fn containerizer_debug() -> Json<Value> {
    Json(json!({ "pending": [] }))
}

/// `GET /state`; 503 while executors may still come back.
pub(crate) async fn state<H: Host>(State(app): State<App<H>>) -> Result<Json<Value>, ApiError> {
    let facts = app.facts.clone();
    let look = app
        .host
        .read(move |agent, _| (!agent.is_recovering()).then(|| state::state(agent, &facts)));
    look.await?.map(Json).ok_or_else(ApiError::recovering)
}
