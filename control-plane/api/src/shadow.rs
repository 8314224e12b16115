//! `GET /tepui/v1/allocator/shadow`: what a candidate would have decided beside the allocator in
//! charge.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::answer::ApiError;
use crate::plane::Plane;
use crate::router::App;

/// How long a candidate's rounds take, in seconds, over the newest thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ShadowTimes {
    /// Half of them no longer than this.
    pub p50: f64,
    /// 99 of 100 no longer than this.
    pub p99: f64,
    /// None longer than this.
    pub max: f64,
}

/// An agent on which the two decided differently.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShadowDifference {
    /// When, in seconds of the control plane's clock.
    pub at_seconds: f64,
    /// Where.
    pub agent_id: String,
    /// What the allocator in charge offered, that the candidate did not.
    pub live: Vec<String>,
    /// What the candidate would have offered, that the other did not.
    pub candidate: Vec<String>,
}

/// A candidate beside the allocator in charge.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShadowView {
    /// Its name.
    pub allocator: String,
    /// It follows.
    pub running: bool,
    /// It was too slow, or is gone, and follows no more.
    pub fell_behind: bool,
    /// How it failed, if it did; it follows no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Rounds that were compared.
    pub rounds: u64,
    /// Rounds in which both proposed the same.
    pub same_rounds: u64,
    /// Proposals of both.
    pub proposals_both: u64,
    /// Proposals of the allocator in charge alone.
    pub proposals_live_only: u64,
    /// Proposals of the candidate alone.
    pub proposals_candidate_only: u64,
    /// What it would have taken back from frameworks.
    pub reclaims: u64,
    /// How long its rounds take.
    pub round_seconds: ShadowTimes,
    /// The newest differences, the newest last.
    pub differences: Vec<ShadowDifference>,
}

/// How the candidate does.
pub(crate) async fn shadow<P: Plane>(
    State(app): State<App<P>>,
) -> Result<Json<ShadowView>, ApiError> {
    let none = "no shadow_allocator is set: nothing decides beside the allocator in charge";
    app.plane.shadow().map(Json).ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, none))
}
