//! `GET /tepui/v1/explain/frameworks/{id}`: why a framework is offered nothing more.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tepui_allocator::{NoOffer, Reason};

use crate::answer::ApiError;
use crate::endpoints::framework_id;
use crate::plane::Plane;
use crate::router::App;

/// One reason.
#[derive(Debug, Serialize)]
struct Row {
    role: String,
    /// Absent when the reason holds for every agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<String>,
    /// For programs.
    reason: &'static str,
    /// For people.
    text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_mem_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<f64>,
}

impl From<Reason> for Row {
    fn from(reason: Reason) -> Self {
        let mut row = Self {
            role: reason.role.to_string(),
            agent_id: reason.agent.map(|agent| agent.to_string()),
            reason: "",
            text: "",
            free_cpus: None,
            free_mem_mb: None,
            remaining_seconds: None,
        };
        (row.reason, row.text) = match reason.why {
            NoOffer::FrameworkInactive => ("FRAMEWORK_INACTIVE", "framework is disconnected"),
            NoOffer::Suppressed => ("SUPPRESSED", "framework suppressed the role"),
            NoOffer::AgentInactive => ("AGENT_INACTIVE", "agent may not be offered now"),
            NoOffer::NothingFree => ("NOTHING_FREE", "everything there is offered or in use"),
            NoOffer::BelowMinimum { cpus, mem } => {
                row.free_cpus = Some(cpus.as_f64());
                row.free_mem_mb = Some(mem.as_f64());
                ("BELOW_MINIMUM", "what is free is less than the smallest offer")
            }
            NoOffer::Filtered { remaining } => {
                row.remaining_seconds = Some(remaining.as_secs_f64());
                ("FILTERED", "framework declined these resources and asked to wait")
            }
            NoOffer::NeedsGpuCapability => {
                ("NEEDS_GPU_CAPABILITY", "agent has gpus and the framework asks for none")
            }
            NoOffer::NotItsTurn => {
                ("NOT_ITS_TURN", "nothing is in the way; another framework is first")
            }
        };
        row
    }
}

/// `GET /tepui/v1/plugins`: plugins, and what became of them.
pub(crate) async fn plugins<P: Plane>(State(app): State<App<P>>) -> axum::Json<serde_json::Value> {
    let reports = app.plane.plugins().map(|board| board.reports()).unwrap_or_default();
    axum::Json(serde_json::json!({ "plugins": reports }))
}

/// `GET /tepui/v1/openapi.json`: what is under `/tepui/v1`.
pub(crate) async fn description() -> impl IntoResponse {
    const TEXT: &str = include_str!("explain/openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], TEXT)
}

/// The reasons, agent by agent.
pub(crate) async fn explain<P: Plane>(
    State(app): State<App<P>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = framework_id(&id)?;
    let asked = id.clone();
    let known = app.plane.read(move |cluster, _| cluster.framework(&asked).is_some()).await?;
    if !known {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("no framework '{id}'")));
    }
    let rows: Vec<Row> = app.plane.explain(id).await?.into_iter().map(Row::from).collect();
    Ok(axum::Json(serde_json::json!({ "reasons": rows })).into_response())
}
