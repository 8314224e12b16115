//! Which path is whose.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::decompression::RequestDecompressionLayer;

use crate::containers::Flowing;
use crate::host::{Facts, Host};
use crate::{caller, executor, files, legacy, metrics, operator, own};

/// Largest request body; a larger one is answered 413.
const MAX_BODY_BYTES: usize = 8 << 20;
/// Answers below this many bytes are not compressed (`spec/mesos-http.md` 0.2).
const COMPRESS_FROM_BYTES: u16 = 1024;

/// What every handler has.
#[derive(Clone, Debug)]
pub(crate) struct App<H> {
    pub(crate) host: H,
    pub(crate) facts: Arc<Facts>,
}

/// Every endpoint, bare and below the agent's component name `/slave(1)`, which clients build
/// links from, as it is and percent-encoded.
pub fn router<H: Host>(host: H, facts: Facts) -> Router {
    let app = App { host, facts: Arc::new(facts) };
    let ordinary = ordinary(&app).layer(from_fn(legacy::padded)).layer(compression());
    // Bytes of files are sent as they are, and streams are never compressed.
    let download = Router::new().route("/files/download", get(files::download::<H>));
    let plain = Router::new()
        .route("/api/v1/executor", any(executor::executor::<H>))
        .merge(for_operators(download, &app));
    let both = plain.merge(ordinary).layer(from_fn(tepui_process::measured));
    Router::new()
        .merge(both.clone())
        .nest("/slave(1)", both.clone())
        .nest("/slave%281%29", both)
        .layer(RequestDecompressionLayer::new())
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app)
}

/// Files of sandboxes, which tasks do not read through the agent.
fn for_operators<H: Host>(files: Router<App<H>>, app: &App<H>) -> Router<App<H>> {
    files.route_layer(from_fn_with_state(app.clone(), caller::files_for_operators::<H>))
}

fn ordinary<H: Host>(app: &App<H>) -> Router<App<H>> {
    let files = Router::new()
        .route("/files/browse", get(files::browse::<H>))
        .route("/files/read", get(files::read::<H>))
        .route("/files/debug", get(files::debug::<H>));
    Router::new()
        .merge(for_operators(files, app))
        .route("/health", get(async || StatusCode::OK))
        .route("/version", get(legacy::version))
        .route("/flags", get(legacy::flags::<H>))
        .route("/state", get(legacy::state::<H>))
        .route("/containers", get(legacy::containers::<H>))
        .route("/monitor/statistics.json", get(legacy::statistics::<H>))
        .route("/monitor/statistics", get(legacy::statistics::<H>))
        .route("/containerizer/debug", get(legacy::containerizer_debug))
        .route("/system/stats.json", get(metrics::system_stats))
        .route("/metrics/snapshot", get(metrics::snapshot::<H>))
        .route("/metrics/mesos", get(metrics::exporter::<H>))
        .route("/tepui/v1/kernel", get(own::kernel::<H>))
        .route("/tepui/v1/images", get(own::images::<H>))
        .route("/tepui/v1/plugins", get(own::plugins::<H>))
        .route("/metrics", get(metrics::prometheus::<H>))
        .route("/api/v1", any(operator::operator::<H>))
}

fn compression() -> CompressionLayer<impl Predicate> {
    let worth = SizeAbove::new(COMPRESS_FROM_BYTES)
        .and(NotForContentType::new("application/recordio"))
        .and(NotForContentType::SSE)
        .and(|_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| {
            extensions.get::<Flowing>().is_none()
        });
    CompressionLayer::new().compress_when(worth)
}
