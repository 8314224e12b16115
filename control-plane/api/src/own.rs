//! What every control plane answers itself, also while another one leads
//! (`spec/mesos-http.md` 4.1).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use crate::answer::ApiError;
use crate::endpoints::{exposed, flags_of, health, help, stats, version_of};
use crate::legacy;
use crate::metrics::{self, Timings};
use crate::plane::Facts;

#[derive(Clone)]
struct Own {
    facts: Arc<Facts>,
    timings: Arc<Timings>,
    term: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// These endpoints for one that stands by, with the `/master` prefix and bare. `term` is the newest
/// that it has heard of, 0 before the first.
pub fn own(
    facts: Facts,
    timings: Arc<Timings>,
    term: impl Fn() -> u64 + Send + Sync + 'static,
) -> Router {
    let own = Own { facts: Arc::new(facts), timings, term: Arc::new(term) };
    let all = Router::new()
        .route("/health", get(health))
        .route("/version", get(version_of))
        .route("/flags", get(flags))
        .route("/metrics", get(exposition))
        .route("/metrics/snapshot", get(snapshot))
        .route("/system/stats.json", get(stats))
        .route("/help", get(help));
    Router::new().merge(all.clone()).nest("/master", all).with_state(own)
}

async fn flags(State(own): State<Own>, query: Query<legacy::Padding>) -> Response {
    flags_of(&own.facts, &query)
}

async fn exposition(State(own): State<Own>) -> Result<Response, ApiError> {
    let families = metrics::standing_by((own.term)());
    exposed(families, Some(&own.timings))
}

async fn snapshot(query: Query<legacy::Padding>) -> Response {
    let mut all = metrics::Metrics::new();
    all.insert("master/elected".into(), 0.0);
    metrics::host::host(&mut all);
    legacy::json(&query, &json!(all))
}
