//! `?jsonp=name` wraps the JSON answer of a GET in a call (`spec/mesos-http.md` 4).

use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::answer::ApiError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript");

#[derive(Debug, Deserialize)]
struct Padding {
    jsonp: Option<String>,
}

/// Pads the answer if the client asks for it.
pub(crate) async fn padded(request: Request, next: Next) -> Response {
    let asked = Query::<Padding>::try_from_uri(request.uri()).ok();
    let name = asked.and_then(|query| query.0.jsonp).filter(|name| is_identifier(name));
    let reads = *request.method() == Method::GET;
    let answer = next.run(request).await;
    let is_json = answer.headers().get(header::CONTENT_TYPE) == Some(&JSON);
    match name {
        Some(name) if reads && is_json && answer.status() == StatusCode::OK => {
            wrap(&name, answer).await
        }
        _ => answer,
    }
}

async fn wrap(name: &str, answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    // Answers that are JSON are made as a whole; none is a stream.
    let Ok(json) = to_bytes(body, usize::MAX).await else {
        return ApiError::stopping().into_response();
    };
    let mut text = Vec::with_capacity(name.len() + json.len() + 3);
    for part in [name.as_bytes(), b"(", &json, b");"] {
        text.extend_from_slice(part);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, SCRIPT);
    parts.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Response::from_parts(parts, Body::from(text))
}

/// Only a plain function name may be echoed.
fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'))
}
