//! Which path is whose.

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::DefaultBodyLimit;
use axum::routing::any;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;
use tower_http::decompression::RequestDecompressionLayer;

use crate::body::{MAX_BODY_BYTES, Room};
use crate::operator::operator;
use crate::plane::{Facts, Plane};
use crate::scheduler::scheduler;

/// Answers below this many bytes are not compressed (`spec/mesos-http.md` 0.2).
const COMPRESS_FROM_BYTES: u64 = 1024;

/// What every handler has.
#[derive(Clone, Debug)]
pub struct App<P> {
    /// The control plane.
    pub plane: P,
    /// What does not change.
    pub facts: Arc<Facts>,
    /// Room for request bodies.
    pub room: Room,
}

/// Every endpoint, with the `/master` prefix and bare.
pub fn router<P: Plane>(plane: P, facts: Facts) -> Router {
    let app = App { plane, facts: Arc::new(facts), room: Room::default() };
    let all = crate::endpoints::endpoints::<P>()
        .route("/api/v1/scheduler", any(scheduler::<P>))
        .route("/api/v1", any(operator::<P>));
    Router::new()
        .merge(all.clone())
        .nest("/master", all)
        .layer(CompressionLayer::new().compress_when(WholeAndLarge))
        .layer(RequestDecompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app)
}

/// Compresses answers whose size is known and worth it: never a stream, whose events must leave
/// at once.
#[derive(Clone, Copy, Debug)]
struct WholeAndLarge;

impl Predicate for WholeAndLarge {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        response.body().size_hint().exact().is_some_and(|bytes| bytes >= COMPRESS_FROM_BYTES)
    }
}
