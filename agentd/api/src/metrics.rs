//! What the agent counts: under Mesos's names (`GET /metrics/snapshot`, `GET_METRICS`) and under
//! our own for Prometheus (`GET /metrics`).

mod exposition;
mod mesos;
mod system;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::answer::ApiError;
use crate::host::Host;
use crate::router::App;

/// Metrics by name.
pub(crate) type Metrics = BTreeMap<String, f64>;

/// Everything under Mesos's names (`spec/mesos-metrics.md`).
pub(crate) async fn gather<H: Host>(app: &App<H>) -> Result<Metrics, ApiError> {
    let mut all = app.host.read(mesos::snapshot).await?;
    system::add(&mut all);
    Ok(all)
}

/// `GET /metrics/snapshot`.
pub(crate) async fn snapshot<H: Host>(
    State(app): State<App<H>>,
) -> Result<Json<Metrics>, ApiError> {
    gather(&app).await.map(Json)
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
    let families = app.host.read(exposition::families).await?.map_err(failed)?;
    let text = exposition::text(families).map_err(failed)?;
    let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

#[allow(clippy::cast_precision_loss)]
fn number(count: u64) -> f64 {
    count as f64
}
