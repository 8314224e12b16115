//! Our additions: `GET /tepui/v1/kernel`.

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
        "figures": figures
            .map(|(figure, source)| json!({ "figure": figure, "source": source }))
            .collect::<Value>(),
        "programs": programs
            .map(|(name, seconds, runs)| json!({
                "program": name, "run_seconds": seconds, "runs": runs,
            }))
            .collect::<Value>(),
        "groups": report.groups,
        "events_lost": report.events_lost,
    })))
}
