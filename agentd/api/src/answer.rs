//! Answers and refusals as HTTP: one place turns a problem into a status and a text.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tepui_wire::media::{self, ContentTypeError};
use tepui_wire::{DecodeError, MediaType, WireMessage};

use crate::host::Unavailable;

/// A request that is not answered with success; the body is plain text with the reason
/// (`spec/mesos-http.md` 0.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503 while executors may still come back (`spec/mesos-http.md` 3.3, last lines).
    pub(crate) fn recovering() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Agent has not finished recovery")
    }

    /// 503 when the work beside the request was ended.
    pub(crate) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping")
    }

    pub(crate) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "expecting POST")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.message).into_response();
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.0)
    }
}

impl From<ContentTypeError> for ApiError {
    fn from(error: ContentTypeError) -> Self {
        let status = match error {
            ContentTypeError::Missing => StatusCode::BAD_REQUEST,
            ContentTypeError::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// The form of a request's body: JSON or protobuf; 400 without a `Content-Type`, 415 for another.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<MediaType, ApiError> {
    match MediaType::parse(text(headers, header::CONTENT_TYPE))? {
        MediaType::RecordIo => {
            Err(ContentTypeError::Unsupported(MediaType::RecordIo.as_str().into()).into())
        }
        media => Ok(media),
    }
}

/// The form that the answer may have; 406 when the client takes neither.
pub(crate) fn accepted(headers: &HeaderMap) -> Result<MediaType, ApiError> {
    media::negotiate(text(headers, header::ACCEPT)).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_ACCEPTABLE,
            "expecting 'Accept' to allow application/json or application/x-protobuf",
        )
    })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A whole message as the answer.
pub(crate) fn message<M: WireMessage>(media: MediaType, message: &M) -> Response {
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str()))];
    (head, Body::from(media::encode(media, message))).into_response()
}
