//! Marathon's endpoints of a control plane that does not lead (`spec/marathon-api.md` 1.1).

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION, VIA};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::json;
use tepui_election::{Candidate, said};
use tokio::sync::watch;
use tower::ServiceExt;
use tracing::warn;

use crate::{Heard, Standby};

/// How long the leader may take to accept a connection, and then to begin an answer
/// (`--leader_proxy_connection_timeout`, `--leader_proxy_read_timeout`).
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// Connections kept to the leader (`--leader_proxy_max_open_connections`).
const CONNECTIONS: usize = 64;
/// How often, and how far apart, a request looks whether there is a leader. Marathon looks ten
/// times; here the answer comes as soon as there is one.
const LEADER_WAIT: Duration = Duration::from_millis(2_500);
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Headers of one connection, which are not passed on.
const HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

type Connections = Client<HttpConnector, Body>;

/// What this process answers by once it leads; `None` until then.
pub type Own = watch::Receiver<Option<Router>>;

/// Who answers a call.
enum Whose {
    /// Who leads elsewhere.
    Leader(Candidate),
    /// This process, which leads by now.
    Own(Router),
}

/// Passes everything on to the leader, but events, whose clients are sent there. A call that came
/// while nobody led is answered by `own` if it is this process that leads next. When the leader changes
/// before it answered, the next one is asked what only reads, and any other call ends with
/// [`said::CHANGED`].
pub fn marathon(standby: Standby, own: Own) -> Router {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    let client: Connections = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(CONNECTIONS)
        .build(connector);
    Router::new().fallback(move |request: Request| {
        let (standby, own, client) = (standby.clone(), own.clone(), client.clone());
        async move { serve(standby, own, client, request).await }
    })
}

async fn serve(
    mut standby: Standby,
    mut own: Own,
    client: Connections,
    mut request: Request,
) -> Response {
    let via = format!("1.1 {}", standby.me.marathon);
    if came_through(request.headers(), &via) {
        return message(StatusCode::BAD_GATEWAY, "Detected proxying loop.");
    }
    loop {
        let leader = match await_leader(&mut standby, &mut own).await {
            Some(Whose::Leader(leader)) => leader,
            Some(Whose::Own(router)) => {
                let Ok(answer) = router.oneshot(request).await;
                return answer;
            }
            None => return message(StatusCode::BAD_GATEWAY, said::UNDETERMINED),
        };
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        if path.starts_with("/v2/events") {
            return to_events(&leader.marathon, path);
        }
        let again = again(&request);
        tokio::select! {
            biased;
            answer = pass_on(&client, &leader.marathon, &via, request) => return answer,
            () = replaced(&mut standby.heard, &leader) => {}
        }
        let Some(again) = again else {
            warn!(leader = leader.marathon, "leader changed while it was asked for a client");
            let text = format!("{}; what was asked may be done", said::CHANGED);
            return message(StatusCode::INTERNAL_SERVER_ERROR, &text);
        };
        request = again;
    }
}

fn to_events(leader: &str, path: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(&format!("http://{leader}{path}")) else {
        return message(StatusCode::BAD_REQUEST, "the path has no place in a header");
    };
    (StatusCode::FOUND, [(LOCATION, location)]).into_response()
}

/// The request once more for the next leader, if that does no harm: it only reads.
fn again(request: &Request) -> Option<Request> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Body::empty());
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    again.extensions_mut().clone_from(request.extensions());
    Some(again)
}

/// Waits until somebody else leads, or nobody: a leader that was stopped or cut off may take a
/// connection and never answer on it.
async fn replaced(heard: &mut Heard, leader: &Candidate) {
    let other = heard.wait_for(|heard| {
        let now = heard.as_ref().and_then(|heard| heard.leader.as_ref());
        now.is_none_or(|now| now.id != leader.id)
    });
    if other.await.is_err() {
        // Nothing more is heard, so nothing is known of any other.
        std::future::pending::<()>().await;
    }
}

/// Where the leader serves Marathon's API, as soon as there is one: elsewhere, or here.
async fn await_leader(standby: &mut Standby, own: &mut Own) -> Option<Whose> {
    let me = standby.me.clone();
    let elsewhere = async {
        let heard = standby.heard.wait_for(|heard| {
            let leader = heard.as_ref().and_then(|heard| heard.leader.as_ref());
            leader.is_some_and(|leader| leader.id != me.id)
        });
        heard.await.ok()?.as_ref()?.leader.clone().map(Whose::Leader)
    };
    let here = async { own.wait_for(Option::is_some).await.ok()?.clone().map(Whose::Own) };
    let either = async {
        tokio::select! {
            Some(whose) = elsewhere => Some(whose),
            Some(whose) = here => Some(whose),
            else => None,
        }
    };
    tokio::time::timeout(LEADER_WAIT, either).await.ok()?
}

fn came_through(headers: &HeaderMap, own: &str) -> bool {
    headers
        .get_all(VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| entry.trim() == own)
}

async fn pass_on(client: &Connections, leader: &str, own: &str, request: Request) -> Response {
    let Some(request) = outward(leader, own, request) else {
        return message(StatusCode::INTERNAL_SERVER_ERROR, "the leader's address is of no use");
    };
    match tokio::time::timeout(ANSWER, client.request(request)).await {
        Ok(Ok(answer)) => {
            let (mut head, body) = answer.into_parts();
            drop_hop(&mut head.headers);
            append(&mut head.headers, VIA, own);
            Response::from_parts(head, Body::new(body))
        }
        Ok(Err(error)) => {
            warn!(%leader, error = &error as &dyn std::error::Error, "leader not reached for a client");
            if error.is_connect() {
                return message(StatusCode::BAD_GATEWAY, said::UNREACHED);
            }
            let text = format!("{}; what was asked may be done", said::BROKE_OFF);
            message(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
        Err(_) => {
            let text = "the leader did not answer in time; what was asked may be done yet";
            message(StatusCode::BAD_GATEWAY, text)
        }
    }
}

/// The request as the leader gets it.
fn outward(leader: &str, own: &str, request: Request) -> Option<Request> {
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(a)| a.ip());
    let (mut head, body) = request.into_parts();
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(leader.parse::<Authority>().ok()?);
    head.uri = Uri::from_parts(uri).ok()?;
    head.version = axum::http::Version::HTTP_11;
    drop_hop(&mut head.headers);
    head.headers.remove(HOST);
    append(&mut head.headers, VIA, own);
    if let Some(client) = client {
        append(&mut head.headers, FORWARDED_FOR, &client.to_string());
    }
    head.extensions.clear();
    Some(Request::from_parts(head, body))
}

fn drop_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    for name in HOP.iter().copied().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

/// Adds to a list in a header.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let former: Vec<&str> =
        headers.get_all(&name).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut all = former.join(", ");
    if !all.is_empty() {
        all.push_str(", ");
    }
    all.push_str(value);
    if let Ok(all) = HeaderValue::from_str(&all) {
        headers.insert(name, all);
    }
}

fn message(status: StatusCode, text: &str) -> Response {
    let body = json!({ "message": text }).to_string();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
