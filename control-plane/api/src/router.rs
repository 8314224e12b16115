//! Which path is whose.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::any;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::decompression::RequestDecompressionLayer;

use crate::plane::{Facts, Plane};
use crate::scheduler::scheduler;

/// Largest request body; a larger one is answered 413.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// Answers below this many bytes are not compressed (`spec/mesos-http.md` 0.2).
const COMPRESS_FROM_BYTES: u16 = 1024;

/// What every handler has.
#[derive(Clone, Debug)]
pub struct App<P> {
    /// The control plane.
    pub plane: P,
    /// What does not change.
    pub facts: Arc<Facts>,
}

/// Every endpoint, with the `/master` prefix and bare.
pub fn router<P: Plane>(plane: P, facts: Facts) -> Router {
    let app = App { plane, facts: Arc::new(facts) };
    let endpoints = crate::endpoints::endpoints::<P>();
    let streaming = Router::new().route("/api/v1/scheduler", any(scheduler::<P>));
    let ordinary = endpoints.layer(compression());
    let both = streaming.merge(ordinary);
    Router::new()
        .merge(both.clone())
        .nest("/master", both)
        .layer(RequestDecompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app)
}

fn compression() -> CompressionLayer<impl Predicate> {
    let worth = SizeAbove::new(COMPRESS_FROM_BYTES)
        .and(NotForContentType::new("application/recordio"))
        .and(NotForContentType::SSE);
    CompressionLayer::new().compress_when(worth)
}
