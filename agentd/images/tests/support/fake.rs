//! A registry that can misbehave, and writes down what it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use parking_lot::Mutex;
use ring::hmac;
use tokio::sync::Semaphore;

use super::Made;

/// Who may pull.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Door {
    #[default]
    Open,
    Basic(&'static str),
    /// Tokens, for the user and password given.
    Tokens(&'static str),
    /// Tokens for everybody.
    FreeTokens,
}

/// What is wrong with answers, by path.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// So many answers with this status.
    Status(u16, u32),
    /// So many answers end after so many bytes.
    Cut(u64, u32),
    /// So many answers stop after so many bytes, and the connection stays.
    Stall(u64, u32),
    /// So many answers with a changed byte.
    Corrupt(u32),
    /// Answers never end.
    Endless,
    /// Answers are redirected there.
    Redirect(String),
    /// Does not know ranges.
    NoRanges,
}

#[derive(Debug, Default)]
struct Inner {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<Vec<(String, Fault)>>,
    asked: Mutex<Vec<String>>,
    door: Mutex<Door>,
    tokens: Mutex<u32>,
    gate: Mutex<Option<Arc<Semaphore>>>,
    address: Mutex<String>,
}

#[derive(Clone, Debug)]
pub struct Fake {
    inner: Arc<Inner>,
    pub address: String,
}

const KEY: &[u8] = b"the token server's key";

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Arc::new(Inner::default());
        (*inner.address.lock()).clone_from(&address);
        let app = Router::new().fallback(answer).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { inner, address }
    }

    /// Offers an image under a name with a tag, and by digest.
    pub fn offer(&self, repository: &str, tag: &str, made: &Made) {
        let mut files = self.inner.files.lock();
        for (digest, bytes) in &made.blobs {
            files.insert(format!("/v2/{repository}/blobs/{digest}"), bytes.clone());
        }
        for name in [tag, &made.digest().to_string()] {
            files.insert(format!("/v2/{repository}/manifests/{name}"), made.manifest.clone());
        }
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.inner.files.lock().insert(path.to_owned(), bytes.to_vec());
    }

    pub fn fault(&self, part: &str, fault: Fault) {
        self.inner.faults.lock().push((part.to_owned(), fault));
    }

    pub fn mend(&self) {
        self.inner.faults.lock().clear();
    }

    pub fn door(&self, door: Door) {
        *self.inner.door.lock() = door;
    }

    /// From now on blobs wait until the gate has permits.
    pub fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.inner.gate.lock() = Some(gate.clone());
        gate
    }

    /// Requests whose path contains this, with range and kind of login.
    pub fn asked(&self, part: &str) -> Vec<String> {
        self.inner.asked.lock().iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// Waits until so many requests with this in their path came.
    pub async fn wait_for(&self, part: &str, count: usize) {
        while self.asked(part).len() < count {
            tokio::task::yield_now().await;
        }
    }

    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }
}

fn plain(status: u16, text: &str) -> Response {
    Response::builder().status(status).body(Body::from(text.to_owned())).unwrap()
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let text = |name: header::HeaderName| {
        headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned()
    };
    // Whoever is asked instead of a registry learns that no operator asks.
    assert_eq!(headers.get(tepui_types::FOR_TASK).unwrap(), "image", "{path}");
    let (range, login) = (text(header::RANGE), text(header::AUTHORIZATION));
    let scheme = login.split(' ').next().unwrap_or_default().to_owned();
    inner.asked.lock().push(format!("{path} {range} {scheme}"));
    if path == "/token" {
        return token(&inner, &login, request.uri().query().unwrap_or_default());
    }
    if let Some(refusal) = refuse(&inner, &login) {
        return refusal;
    }
    let gate = inner.gate.lock().clone();
    if let Some(gate) = gate.filter(|_| path.contains("/blobs/")) {
        gate.acquire().await.unwrap().forget();
    }
    serve(&inner, &path, &headers)
}

/// What a fault does to this answer, if it still does.
fn take_fault(inner: &Inner, path: &str) -> Option<Fault> {
    let mut faults = inner.faults.lock();
    let (_, fault) = faults.iter_mut().find(|(part, fault)| {
        let spent = matches!(
            fault,
            Fault::Status(_, 0) | Fault::Cut(_, 0) | Fault::Stall(_, 0) | Fault::Corrupt(0)
        );
        path.contains(part.as_str()) && !spent
    })?;
    let found = fault.clone();
    if let Fault::Status(_, left)
    | Fault::Cut(_, left)
    | Fault::Stall(_, left)
    | Fault::Corrupt(left) = fault
    {
        *left -= 1;
    }
    Some(found)
}

fn serve(inner: &Inner, path: &str, headers: &HeaderMap) -> Response {
    let fault = take_fault(inner, path);
    let Some(mut bytes) = inner.files.lock().get(path).cloned() else {
        return plain(
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
        );
    };
    let mut start = 0;
    match &fault {
        Some(Fault::Status(status, _)) => return plain(*status, "come back later"),
        Some(Fault::Redirect(to)) => {
            return Response::builder()
                .status(307)
                .header("location", to)
                .body(Body::empty())
                .unwrap();
        }
        Some(Fault::Corrupt(_)) => bytes[0] ^= 1,
        Some(Fault::Endless) => {
            let junk = futures_util::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 65536]))
            });
            return Response::new(Body::from_stream(junk));
        }
        _ => {}
    }
    let length = bytes.len();
    let range =
        headers.get(header::RANGE).and_then(|value| value.to_str().unwrap().strip_prefix("bytes="));
    let mut response = Response::builder().header("content-length", length);
    if let Some(range) = range.filter(|_| fault != Some(Fault::NoRanges)) {
        start = range.trim_end_matches('-').parse().unwrap();
        response = Response::builder()
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-length", length - start)
            .header("content-range", format!("bytes {start}-{}/{length}", length - 1));
    }
    let bytes = Bytes::from(bytes).slice(start..);
    match fault {
        Some(Fault::Cut(at, _)) => {
            let part = bytes.slice(..usize::try_from(at).unwrap().min(bytes.len()));
            let broken = Err(std::io::Error::other("cut"));
            // The part arrives before the connection ends.
            let end = futures_util::stream::once(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                broken
            });
            let stream = futures_util::stream::iter([Ok(part)]).chain(end);
            response.body(Body::from_stream(stream)).unwrap()
        }
        Some(Fault::Stall(at, _)) => {
            let part = bytes.slice(..usize::try_from(at).unwrap().min(bytes.len()));
            let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(part)])
                .chain(futures_util::stream::pending());
            response.body(Body::from_stream(stream)).unwrap()
        }
        _ => response.body(Body::from(bytes)).unwrap(),
    }
}

fn refuse(inner: &Inner, login: &str) -> Option<Response> {
    let door = inner.door.lock().clone();
    let challenge = match door {
        Door::Open => return None,
        Door::Basic(pair) => {
            if login == format!("Basic {}", STANDARD.encode(pair)) {
                return None;
            }
            "Basic realm=\"fake\"".to_owned()
        }
        Door::Tokens(_) | Door::FreeTokens => {
            if login.strip_prefix("Bearer ").is_some_and(is_signed) {
                return None;
            }
            let address = inner.address.lock().clone();
            format!(
                "Bearer realm=\"http://{address}/token\",service=\"fake\",scope=\"repository:a:pull\""
            )
        }
    };
    let refused = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    let response = Response::builder().status(401).header("www-authenticate", challenge);
    Some(response.body(Body::from(refused)).unwrap())
}

fn token(inner: &Inner, login: &str, query: &str) -> Response {
    let allowed = match *inner.door.lock() {
        Door::Tokens(pair) => login == format!("Basic {}", STANDARD.encode(pair)),
        _ => true,
    };
    if !allowed || !query.contains("service=fake") || !query.contains("scope=repository") {
        return plain(
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong user or password"}]}"#,
        );
    }
    let mut count = inner.tokens.lock();
    *count += 1;
    let payload = STANDARD.encode(format!("token {count}"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    let sum = STANDARD.encode(hmac::sign(&key, payload.as_bytes()));
    plain(200, &format!(r#"{{"token":"{payload}.{sum}","expires_in":60}}"#))
}

fn is_signed(token: &str) -> bool {
    let Some((payload, sum)) = token.split_once('.') else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    STANDARD.decode(sum).is_ok_and(|sum| hmac::verify(&key, payload.as_bytes(), &sum).is_ok())
}
