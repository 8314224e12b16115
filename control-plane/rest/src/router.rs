//! The way of every request: leader, concurrency, CORS, caching headers, password, resource
//! (`marathon-api.md` section 1).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::Router;
use axum::body::HttpBody;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, AUTHORIZATION, CACHE_CONTROL,
    EXPIRES, HeaderValue, PRAGMA, WWW_AUTHENTICATE, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use tower_http::compression::CompressionLayer;

use crate::answer::{self, Answer};
use crate::apps::{Apps, Leadership};
use crate::options::Options;
use crate::request::Request;
use crate::route::Resource;
use crate::state::{Counted, Shared, Traffic};
use crate::{apps_api, cluster_api, events, groups_api, info, metrics, tasks_api};

/// Names the leader.
const LEADER_HEADER: HeaderName = HeaderName::from_static("x-marathon-leader");

/// Marathon's REST API over `apps`.
///
/// Serve it with connection info (`into_make_service_with_connect_info::<SocketAddr>()`), so that
/// events can name their clients.
pub fn router<A: Apps>(apps: A, options: Options) -> Router {
    let compression = options.compression;
    let shared = Arc::new(Shared { apps, options, traffic: Traffic::default() });
    let router = Router::new()
        .fallback(move |request: axum::extract::Request| serve(Arc::clone(&shared), request));
    // The default predicate leaves event streams alone.
    if compression { router.layer(CompressionLayer::new()) } else { router }
}

async fn serve<A: Apps>(shared: Arc<Shared<A>>, request: axum::extract::Request) -> Response {
    let began = Instant::now();
    let route = Resource::parse(request.uri().path()).route();
    let (_active, count) = Counted::new(&shared.traffic.active);
    let cross_origin = cross_origin_headers(&shared.options, request.headers());
    let mut response = match shared.options.max_concurrent_requests {
        Some(limit) if count > limit => answer::message(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("Too many concurrent requests! Allowed: {limit}."),
        ),
        _ => match await_leader(&shared, request.uri().clone()).await {
            Some(response) => response,
            None => resource(Arc::clone(&shared), request).await,
        },
    };
    let headers = response.headers_mut();
    headers.extend(cross_origin);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(EXPIRES, HeaderValue::from_static("0"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block"));
    let scheme = if shared.options.https { "https" } else { "http" };
    if let Ok(leader) = HeaderValue::from_str(&format!("{scheme}://{}", shared.options.address)) {
        headers.insert(LEADER_HEADER, leader);
    }
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    shared.traffic.answered(response.status(), bytes);
    tepui_process::answered(route, response.status(), began.elapsed());
    response
}

/// The answer of a process that does not lead, or `None` when this one does.
async fn await_leader<A: Apps>(shared: &Shared<A>, uri: http::Uri) -> Option<Response> {
    let (attempts, pause) = shared.options.leader_wait;
    for attempt in 0..=attempts {
        match shared.apps.leadership() {
            Leadership::Here => return None,
            Leadership::Elsewhere(address) => return Some(elsewhere(shared, &uri, &address)),
            Leadership::Nobody if attempt < attempts => tokio::time::sleep(pause).await,
            Leadership::Nobody => {}
        }
    }
    Some(answer::message(StatusCode::BAD_GATEWAY, "Could not determine the current leader"))
}

fn elsewhere<A>(shared: &Shared<A>, uri: &http::Uri, address: &str) -> Response {
    if uri.path().starts_with("/v2/events") {
        let scheme = if shared.options.https { "https" } else { "http" };
        let path = uri.path_and_query().map_or("/v2/events", |path| path.as_str());
        return answer::found(&format!("{scheme}://{address}{path}"));
    }
    answer::message(
        StatusCode::BAD_GATEWAY,
        format!("This process does not lead. The leader is at {address}; ask there."),
    )
}

fn cross_origin_headers(options: &Options, request: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(origin) = options.allow_origins.last().and_then(|o| HeaderValue::from_str(o).ok())
    else {
        return headers;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers
}

async fn resource<A: Apps>(shared: Arc<Shared<A>>, request: axum::extract::Request) -> Response {
    let resource = Resource::parse(request.uri().path());
    if request.method() == Method::OPTIONS {
        let mut response = answer::empty(StatusCode::OK);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(resource.verbs()));
        return response;
    }
    if let Some(refusal) = unauthorised(&shared.options, request.headers()) {
        return refusal;
    }
    let traffic = Arc::clone(&shared);
    let request = match Request::read(shared, request).await {
        Ok(request) => request,
        Err(rejection) => return answer::refuse(&rejection),
    };
    let bytes = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
    traffic.traffic.request_bytes.fetch_add(bytes, Ordering::Relaxed);
    let (method, uri) = (request.method.clone(), request.uri.clone());
    match dispatch(resource, request).await {
        Ok(response) => response,
        Err(error) => {
            let response = answer::error(&error);
            if response.status().is_server_error() {
                tracing::warn!(%method, uri, %error, "request failed");
            }
            response
        }
    }
}

/// 401 unless the request carries the configured password.
fn unauthorised(options: &Options, headers: &HeaderMap) -> Option<Response> {
    let (user, password) = options.credentials.as_ref()?;
    let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let given = headers.get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    if equal_in_constant_time(given, expected.as_bytes()) {
        return None;
    }
    let mut response = answer::message(StatusCode::UNAUTHORIZED, "Invalid username or password.");
    if let Ok(realm) = HeaderValue::from_str(&format!("Basic realm=\"{}\"", options.realm)) {
        response.headers_mut().insert(WWW_AUTHENTICATE, realm);
    }
    Some(response)
}

/// Compares without telling by its duration where the first difference is.
fn equal_in_constant_time(given: &[u8], expected: &[u8]) -> bool {
    let differences = given.iter().zip(expected).fold(0, |found, (a, b)| found | (a ^ b));
    given.len() == expected.len() && differences == 0
}

/// Finds the handler. One line per resource and verb.
async fn dispatch<A: Apps>(resource: Resource, request: Request<A>) -> Answer {
    let method = match request.method.as_str() {
        "HEAD" => "GET",
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => return not_allowed(&resource),
    };
    match (method, resource) {
        ("GET", Resource::Root | Resource::Ui) => Ok(cluster_api::ui(&request)),
        ("GET", Resource::Help) => Ok(answer::found("/v2/info")),
        ("GET", Resource::Ping) => Ok(cluster_api::ping(&request)),
        ("GET", Resource::Metrics) => metrics::json(&request).await,
        ("GET", Resource::Prometheus) => metrics::prometheus(&request).await,
        ("GET", Resource::Logging) => cluster_api::loggers(&request),
        ("POST", Resource::Logging) => cluster_api::set_logger(&request),
        ("GET", Resource::Config) => info::config(&request).await,
        ("GET", Resource::Apps) => apps_api::list(&request).await,
        ("POST", Resource::Apps) => apps_api::create(&request).await,
        ("PUT" | "PATCH", Resource::Apps) => apps_api::update_many(&request).await,
        ("GET", Resource::App(id)) => apps_api::show(&request, &id).await,
        ("PUT" | "PATCH", Resource::App(id)) => apps_api::update(&request, &id).await,
        ("DELETE", Resource::App(id)) => apps_api::delete(&request, &id).await,
        ("GET", Resource::AppsBelow(group)) => apps_api::below(&request, &group).await,
        ("POST", Resource::Restart(id)) => apps_api::restart(&request, &id).await,
        ("GET", Resource::AppVersions(id)) => apps_api::versions(&request, &id).await,
        ("GET", Resource::AppVersion(id, at)) => apps_api::version(&request, &id, &at).await,
        ("GET", Resource::AppTasks(id)) => tasks_api::of_app(&request, &id).await,
        ("DELETE", Resource::AppTasks(id)) => tasks_api::kill_of_app(&request, &id).await,
        ("DELETE", Resource::AppTask(id, task)) => tasks_api::kill_one(&request, &id, &task).await,
        ("GET", Resource::AppsBelowTasks(group)) => tasks_api::below(&request, &group).await,
        ("GET", Resource::Tasks) => tasks_api::list(&request).await,
        ("POST", Resource::TasksDelete) => tasks_api::kill(&request).await,
        ("GET", Resource::Group(id)) => groups_api::show(&request, &id).await,
        ("POST", Resource::Group(id)) => groups_api::create(&request, &id).await,
        ("PUT", Resource::Group(id)) => groups_api::update(&request, &id).await,
        ("PATCH", Resource::Group(id)) => groups_api::enforce_role(&request, &id).await,
        ("DELETE", Resource::Group(id)) => groups_api::delete(&request, &id).await,
        ("GET", Resource::GroupApps(id)) => groups_api::apps(&request, &id).await,
        ("GET", Resource::GroupVersions(id)) => groups_api::versions(&request, &id).await,
        ("GET", Resource::GroupVersion(id, at)) => groups_api::version(&request, &id, &at).await,
        ("PUT", Resource::GroupVersion(id, at)) => groups_api::roll_back(&request, &id, &at).await,
        ("GET", Resource::Deployments) => cluster_api::deployments(&request).await,
        ("DELETE", Resource::Deployment(id)) => cluster_api::cancel_deployment(&request, &id).await,
        ("GET", Resource::Queue) => cluster_api::queue(&request).await,
        ("DELETE", Resource::QueueDelay(id)) => cluster_api::reset_delay(&request, &id).await,
        ("GET", Resource::Info) => info::info(&request).await,
        ("GET", Resource::Leader) => cluster_api::leader(&request),
        ("DELETE", Resource::Leader) => cluster_api::abdicate(&request),
        ("GET", Resource::Plugins) => answer::ok(&serde_json::json!({"plugins": []})),
        (_, Resource::Plugin(id)) => Ok(cluster_api::no_plugin(&id)),
        ("GET", Resource::Events) => events::stream(&request),
        (_, Resource::Pods) => Ok(cluster_api::no_pods()),
        (_, Resource::Unknown) => {
            Ok(answer::message(StatusCode::NOT_FOUND, format!("URI {} not found", request.uri)))
        }
        (_, resource) => not_allowed(&resource),
    }
}

fn not_allowed(resource: &Resource) -> Answer {
    let mut response = answer::message(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(resource.verbs()));
    Ok(response)
}
