//! Answers and refusals as HTTP: one place turns a problem into a status and a text.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tepui_cluster::{Refusal, RefusalKind};
use tepui_wire::media::{self, ContentTypeError};
use tepui_wire::{DecodeError, MediaType, WireMessage};

use crate::plane::Unavailable;

/// A request that is not answered with success; the body is plain text with the reason
/// (`spec/mesos-http.md` 0.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ApiError {
    /// An error with this status and text.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
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

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            RefusalKind::Invalid => StatusCode::BAD_REQUEST,
            RefusalKind::Forbidden => StatusCode::FORBIDDEN,
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::NotSupported => StatusCode::NOT_IMPLEMENTED,
            RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.message)
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

/// The form of a request's body: JSON or protobuf.
///
/// # Errors
/// 400 without a `Content-Type`, 415 for another one.
pub fn content_type(headers: &HeaderMap) -> Result<MediaType, ApiError> {
    let text = text(headers, header::CONTENT_TYPE);
    match MediaType::parse(text)? {
        MediaType::RecordIo => {
            Err(ContentTypeError::Unsupported(MediaType::RecordIo.as_str().into()).into())
        }
        media => Ok(media),
    }
}

/// The form that the answer may have.
///
/// # Errors
/// 406 when the client takes neither JSON nor protobuf.
pub fn accepted(headers: &HeaderMap) -> Result<MediaType, ApiError> {
    media::negotiate(text(headers, header::ACCEPT)).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_ACCEPTABLE,
            "expecting 'Accept' to allow application/json or application/x-protobuf",
        )
    })
}

/// A header as text; `None` when it is missing or not text.
pub fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A whole message as the answer.
pub fn message<M: WireMessage>(media: MediaType, message: &M) -> Response {
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str()))];
    (head, Body::from(media::encode(media, message))).into_response()
}
