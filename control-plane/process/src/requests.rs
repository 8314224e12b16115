//! How long requests take, by route and status: `tepui_http_request_duration_seconds`.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{HistogramOpts, HistogramVec};

/// Upper bounds of the buckets: most answers take below a millisecond, those that wait for a disk or
/// write a large state much longer.
const BOUNDS_SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Where nothing answers to a path.
const NO_ROUTE: &str = "none";

static DURATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let opts = HistogramOpts::new(
        "tepui_http_request_duration_seconds",
        "Time from a request's head to its answer's head, by route and status",
    );
    let family = HistogramVec::new(opts.buckets(BOUNDS_SECONDS.to_vec()), &["route", "code"]);
    let family = family.expect("name, labels and bounds above are legal");
    prometheus::register(Box::new(family.clone())).expect("no other family has this name");
    family
});

/// One answer was given. `route` is a pattern, never a path: there are only so many.
pub fn answered(route: &str, code: StatusCode, took: Duration) {
    DURATIONS.with_label_values(&[route, code.as_str()]).observe(took.as_secs_f64());
}

/// A layer for routers of axum that says so of every request.
pub async fn measured(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    answered(route, response.status(), began.elapsed());
    response
}
