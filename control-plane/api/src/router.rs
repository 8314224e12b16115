//! Which path is whose.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tokio::sync::Semaphore;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;
use tower_http::decompression::RequestDecompressionLayer;

use crate::answer::ApiError;
use crate::body::{MAX_BODY_BYTES, Room};
use crate::endpoints::health;
use crate::operator::operator;
use crate::plane::{Facts, Plane};
use crate::scheduler::scheduler;
use crate::shared::Shared;

/// Answers below this many bytes are not compressed (`spec/mesos-http.md` 0.2).
const COMPRESS_FROM_BYTES: u64 = 1024;

/// Requests that may be under way at once; more are answered 503.
pub const MAX_REQUESTS: usize = 4096;

/// What every handler has.
#[derive(Clone, Debug)]
pub struct App<P> {
    /// The control plane.
    pub plane: P,
    /// What does not change.
    pub facts: Arc<Facts>,
    /// Room for request bodies.
    pub room: Room,
    /// Large answers that several readers wait for.
    pub shared: Shared,
    /// Open event streams of operators.
    pub watchers: Arc<AtomicUsize>,
}

/// Every endpoint, with the `/master` prefix and bare.
pub fn router<P: Plane>(plane: P, facts: Facts) -> Router {
    let app = App {
        plane,
        facts: Arc::new(facts),
        room: Room::default(),
        shared: Shared::default(),
        watchers: Arc::default(),
    };
    let slots = Arc::new(Semaphore::new(MAX_REQUESTS));
    let all = crate::endpoints::endpoints::<P>()
        .route("/api/v1/scheduler", any(scheduler::<P>))
        .route("/api/v1", any(operator::<P>))
        .layer(middleware::from_fn_with_state(slots, admit))
        // It asks nobody, so it is answered however much there is to do.
        .route("/health", get(health))
        .layer(middleware::from_fn(tepui_process::measured));
    Router::new()
        .merge(all.clone())
        .nest("/master", all)
        .layer(CompressionLayer::new().compress_when(WholeAndLarge))
        .layer(RequestDecompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app)
}

/// Lets a request in unless there are too many already; an open stream is none.
async fn admit(State(slots): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_slot) = slots.try_acquire() else {
        let message = format!("{MAX_REQUESTS} requests are under way, try again later");
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    };
    next.run(request).await
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
