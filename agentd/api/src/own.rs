//! Our additions: `GET /tepui/v1/kernel`, `/tepui/v1/images` and `/tepui/v1/plugins`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::answer::ApiError;
use crate::host::Host;
use crate::router::App;

/// What of the kernel serves the agent: port enforcement, where figures come from, what programs
/// cost.
pub(crate) async fn kernel<H: Host>(State(app): State<App<H>>) -> Result<Json<Value>, ApiError> {
    let host = app.host.clone();
    let report = tokio::task::spawn_blocking(move || host.kernel());
    let report = report.await.map_err(|_| ApiError::stopping())?;
    let figures = report.sources.iter();
    let programs = report.programs.iter();
    Ok(Json(json!({
        "port_enforcement": {
            "mode": report.mode,
            "by": report.enforcement,
            "reason": report.reason,
        },
        "callers": { "by": report.callers, "reason": report.callers_reason },
        "figures": figures
            .map(|(figure, source)| json!({ "figure": figure, "source": source }))
            .collect::<Value>(),
        "programs": programs
            .map(|(name, seconds, runs)| json!({
                "program": name, "run_seconds": seconds, "runs": runs,
            }))
            .collect::<Value>(),
        "groups": report.groups,
        "maps": report.maps
            .iter()
            .map(|(map, entries)| json!({ "map": map, "entries": entries }))
            .collect::<Value>(),
        "events_lost": report.events_lost,
    })))
}

/// The images that are here, and how far pulls are.
pub(crate) async fn images<H: Host>(State(app): State<App<H>>) -> Result<Json<Value>, ApiError> {
    let host = app.host.clone();
    let listed = tokio::task::spawn_blocking(move || host.image_list());
    let (images, pulls) = listed.await.map_err(|_| ApiError::stopping())?;
    Ok(Json(json!({
        "images": images
            .into_iter()
            .map(|image| json!({
                "digest": image.digest,
                "names": image.names,
                "bytes": image.bytes,
                "pulled_seconds": image.times.0,
                "used_seconds": image.times.1,
                "held_by": image.held_by,
            }))
            .collect::<Value>(),
        "pulls": pulls
            .into_iter()
            .map(|pull| json!({
                "image": pull.image,
                "progress": pull.progress,
                "bytes": pull.bytes.0,
                "total_bytes": pull.bytes.1,
                "seconds": pull.seconds,
                "waiting": pull.waiting.iter().map(ToString::to_string).collect::<Value>(),
            }))
            .collect::<Value>(),
    })))
}

/// Plugins, and what became of them.
pub(crate) async fn plugins<H: Host>(State(app): State<App<H>>) -> Json<Value> {
    let reports = app.host.plugins().map(|board| board.reports()).unwrap_or_default();
    Json(json!({ "plugins": reports }))
}
