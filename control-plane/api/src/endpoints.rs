//! The endpoints that answer with one body.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use prometheus::proto::MetricFamily;
use serde::Deserialize;
use tepui_types::FrameworkId;
use tepui_wire::version;

use crate::answer::ApiError;
use crate::legacy::{self, json};
use crate::metrics::{self, Timings};
use crate::plane::{Facts, Plane};
use crate::router::App;
use crate::{explain, shadow};

/// Content type of Prometheus's text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of them, bare.
pub(crate) fn endpoints<P: Plane>() -> Router<App<P>> {
    Router::new()
        .route("/version", get(version_of))
        .route("/flags", get(flags::<P>))
        .route("/metrics", get(prometheus::<P>))
        .route("/metrics/snapshot", get(snapshot::<P>))
        .route("/metrics/mesos", get(exporter::<P>))
        .route("/system/stats.json", get(stats))
        .route("/redirect", get(redirect::<P>))
        .route("/state", get(legacy::state::<P>))
        .route("/state-summary", get(legacy::state_summary::<P>))
        .route("/slaves", get(legacy::slaves::<P>))
        .route("/frameworks", get(legacy::frameworks::<P>))
        .route("/tasks", get(legacy::tasks::<P>))
        .route("/roles", get(legacy::roles::<P>))
        .route("/weights", get(legacy::weights::<P>).put(legacy::put_weights::<P>))
        .route("/quota", get(legacy::quota).post(not_here))
        .route("/maintenance/schedule", get(legacy::maintenance_schedule).post(not_here))
        .route("/maintenance/status", get(legacy::maintenance_status))
        .route("/teardown", post(legacy::teardown::<P>))
        .route("/help", get(help))
        .route("/tepui/v1/explain/frameworks/{id}", get(explain::explain::<P>))
        .route("/tepui/v1/allocator/shadow", get(shadow::shadow::<P>))
        .route("/tepui/v1/plugins", get(explain::plugins::<P>))
        .route("/tepui/v1/openapi.json", get(explain::description))
        .merge(absent())
}

/// Mutations of a later release: an answer that says so.
fn absent<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ["reserve", "unreserve", "create-volumes", "destroy-volumes", "machine/down", "machine/up"]
        .into_iter()
        .fold(Router::new(), |router, path| router.route(&format!("/{path}"), any(not_here)))
        .route("/quota/{*role}", any(not_here))
        .route("/logging/toggle", any(not_here))
}

async fn not_here(uri: axum::http::Uri) -> ApiError {
    let path = uri.path();
    ApiError::new(StatusCode::NOT_IMPLEMENTED, format!("{path} is not supported by this release"))
}

/// `GET /health`: the process lives; it asks nobody.
pub(crate) async fn health() -> StatusCode {
    StatusCode::OK
}

pub(crate) async fn version_of(query: Query<legacy::Padding>) -> Response {
    json(&query, &version::legacy())
}

pub(crate) async fn stats(query: Query<legacy::Padding>) -> Response {
    json(&query, &metrics::stats())
}

async fn flags<P: Plane>(State(app): State<App<P>>, query: Query<legacy::Padding>) -> Response {
    flags_of(&app.facts, &query)
}

pub(crate) fn flags_of(facts: &Facts, query: &Query<legacy::Padding>) -> Response {
    let flags: serde_json::Map<String, serde_json::Value> =
        facts.flags.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json(query, &serde_json::json!({ "flags": flags }))
}

async fn redirect<P: Plane>(State(app): State<App<P>>) -> Response {
    let leader = format!("//{}:{}", app.facts.hostname, app.facts.port);
    match HeaderValue::from_str(&leader) {
        Ok(leader) => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, leader)]).into_response()
        }
        Err(_) => ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "this host's name cannot stand in a header; set another hostname",
        )
        .into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct Snapshot {
    timeout: Option<String>,
    jsonp: Option<String>,
}

async fn snapshot<P: Plane>(
    State(app): State<App<P>>,
    Query(query): Query<Snapshot>,
) -> Result<Response, ApiError> {
    if let Some(text) = &query.timeout
        && !legacy::is_duration(text)
    {
        return Err(ApiError::bad_request(format!(
            "'timeout' is '{text}', expecting a duration such as 5secs"
        )));
    }
    let all = app.snapshot().await?;
    Ok(json(&Query(legacy::Padding { jsonp: query.jsonp }), &all))
}

async fn prometheus<P: Plane>(State(app): State<App<P>>) -> Result<Response, ApiError> {
    let facts = app.facts.clone();
    let families =
        app.plane.read(move |cluster, now| metrics::families(cluster, &facts, now)).await?;
    let more = app.plane.more_families().await;
    let plugins = app.plane.plugins().map_or_else(|| Ok(Vec::new()), |board| board.families());
    let families = families.and_then(|families| Ok([families, more, plugins?].concat()));
    exposed(families, app.plane.timings().as_deref())
}

/// The text for Prometheus: these families, and what the process measured of itself.
pub(crate) fn exposed(
    families: prometheus::Result<Vec<MetricFamily>>,
    timings: Option<&Timings>,
) -> Result<Response, ApiError> {
    let text = families
        .and_then(|mut families| {
            families.extend(timings.into_iter().flat_map(Timings::families));
            metrics::exposition(families)
        })
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, EXPOSITION)], text).into_response())
}

async fn exporter<P: Plane>(State(app): State<App<P>>) -> Result<Response, ApiError> {
    let figures = app.snapshot().await?;
    let agents = app.plane.read(|cluster, _| metrics::exporter::agents(cluster)).await?;
    let text = metrics::exporter::text(&figures, &agents);
    Ok(([(header::CONTENT_TYPE, EXPOSITION)], text).into_response())
}

/// What is here, for somebody with a terminal.
pub(crate) async fn help() -> &'static str {
    "POST /api/v1/scheduler   frameworks (Mesos v1)\n\
     POST /api/v1             operators (Mesos v1)\n\
     GET  /state /state-summary /slaves /frameworks /tasks /roles /weights /quota\n\
     GET  /health /version /flags /redirect /metrics /metrics/snapshot /metrics/mesos /system/stats.json\n\
     POST /teardown           frameworkId=<id>\n\
     GET  /tepui/v1/explain/frameworks/<id>   why a framework is offered nothing more\n\
     GET  /tepui/v1/leadership                who leads, and who stands by\n\
     POST /tepui/v1/drill/failover?term=<n>   end the leader on purpose\n\
     GET  /tepui/v1/allocator/shadow          what a candidate would have decided\n\
     GET  /tepui/v1/plugins                   plugins, and what became of them\n\
     GET  /tepui/v1/openapi.json              what is under /tepui/v1\n"
}

impl From<axum::extract::rejection::QueryRejection> for ApiError {
    fn from(rejection: axum::extract::rejection::QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// A framework's id from a path or a query.
pub(crate) fn framework_id(text: &str) -> Result<FrameworkId, ApiError> {
    FrameworkId::parse(text)
        .map_err(|error| ApiError::bad_request(format!("framework id '{text}': {error}")))
}
