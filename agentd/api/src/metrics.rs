//! What the agent counts: under Mesos's names (`GET /metrics/snapshot`, `GET_METRICS`) and under
//! our own for Prometheus (`GET /metrics`).

mod exporter;
mod exposition;
mod families;
mod images;
mod mesos;
mod system;
mod tasks;
mod usage;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use tepui_agent::Agent;

use crate::answer::ApiError;
use crate::host::Host;
use crate::legacy;
use crate::router::App;

/// Metrics by name.
pub(crate) type Metrics = BTreeMap<String, f64>;

/// Everything under Mesos's names (`spec/mesos-metrics.md`).
pub(crate) async fn gather<H: Host>(app: &App<H>) -> Result<Metrics, ApiError> {
    let mut all = app.host.read(mesos::snapshot).await?;
    system::add(&mut all);
    if let Some(figures) = app.host.image_figures() {
        images::add(&mut all, &figures);
    }
    Ok(all)
}

/// How long a client would wait; every number is ready at once.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    timeout: Option<String>,
}

/// True for a number and a unit, such as `5secs` (`spec/mesos-http.md` 2.5, end).
fn is_duration(text: &str) -> bool {
    ["ns", "us", "ms", "secs", "mins", "hrs", "days", "weeks"].iter().any(|unit| {
        text.strip_suffix(unit)
            .and_then(|number| number.trim().parse::<f64>().ok())
            .is_some_and(|number| number.is_finite() && number >= 0.0)
    })
}

/// `GET /metrics/snapshot`.
pub(crate) async fn snapshot<H: Host>(
    State(app): State<App<H>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Metrics>, ApiError> {
    if let Some(text) = asked.timeout.filter(|text| !is_duration(text)) {
        return Err(ApiError::bad_request(format!(
            "'timeout' is '{text}', expecting a duration such as 5secs"
        )));
    }
    gather(&app).await.map(Json)
}

/// `GET /metrics/mesos`.
pub(crate) async fn exporter<H: Host>(State(app): State<App<H>>) -> Result<Response, ApiError> {
    let figures = gather(&app).await?;
    let containers = app.host.read(legacy::look).await?;
    let containers = containers.into_iter().filter(|one| one.kind == legacy::Kind::Tasks).collect();
    let containers = legacy::measure(&app, containers).await?;
    Ok(as_text(exporter::text(&figures, &containers)))
}

fn as_text(text: String) -> Response {
    let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// `GET /system/stats.json`.
pub(crate) async fn system_stats() -> Json<Value> {
    Json(system::stats())
}

/// `GET /metrics`.
pub(crate) async fn prometheus<H: Host>(State(app): State<App<H>>) -> Result<Response, ApiError> {
    let failed = |error: prometheus::Error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    };
    let look = |agent: &Agent, now| {
        exposition::families(agent, now)
            .map(|families| (families, tasks::Known::of(agent), legacy::look(agent, now)))
    };
    let (mut families, known, containers) = app.host.read(look).await?.map_err(failed)?;
    // What calls have launched are no tasks.
    let containers = containers.into_iter().filter(|one| one.kind == legacy::Kind::Tasks).collect();
    let containers = legacy::measure(&app, containers).await?;
    families.extend(tasks::families(&known, &containers).map_err(failed)?);
    families.extend(usage::families(&known, &containers));
    let host = app.host.clone();
    let report = tokio::task::spawn_blocking(move || host.kernel());
    families.extend(usage::of_kernel(&report.await.map_err(|_| ApiError::stopping())?));
    families.extend(usage::of_host(&system::pressure()));
    families.extend(usage::of_networks(app.host.network_repairs()));
    if let Some(figures) = app.host.image_figures() {
        families.extend(images::families(&figures).map_err(failed)?);
    }
    if let Some(board) = app.host.plugins() {
        families.extend(board.families().map_err(failed)?);
    }
    exposition::text(families).map(as_text).map_err(failed)
}

#[allow(clippy::cast_precision_loss)]
fn number(count: u64) -> f64 {
    count as f64
}
