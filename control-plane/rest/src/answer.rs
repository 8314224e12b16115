//! Answers: JSON bodies, error bodies, headers.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderName, StatusCode};
use serde::Serialize;
use tepui_marathon::Rejection;
use tepui_types::Uuid;

use crate::apps::ServiceError;

/// What a handler gives back.
pub(crate) type Answer = Result<Response, ServiceError>;

/// Names the deployment that a write started.
pub(crate) const DEPLOYMENT_HEADER: HeaderName = HeaderName::from_static("marathon-deployment-id");

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "answer is not JSON");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// 200 with a JSON body.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, body))
}

/// An answer with a body of this type.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer without body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 302 to another place.
pub(crate) fn found(location: &str) -> Response {
    let mut response = empty(StatusCode::FOUND);
    set_location(&mut response, location);
    response
}

/// Puts `Location` in.
pub(crate) fn set_location(response: &mut Response, location: &str) {
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, value);
    }
}

/// Names the deployment that the request started.
pub(crate) fn set_deployment(response: &mut Response, id: Option<Uuid>) {
    if let Some(value) = id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        response.headers_mut().insert(DEPLOYMENT_HEADER, value);
    }
}

/// The one place where errors get their status.
pub(crate) fn error(error: &ServiceError) -> Response {
    match error {
        ServiceError::Rejected(rejection) => refuse(rejection),
        ServiceError::Unavailable(why) => refuse(&Rejection::new(503, why.clone())),
    }
}

/// The answer to a refused request.
pub(crate) fn refuse(rejection: &Rejection) -> Response {
    let status =
        StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, &rejection.body)
}

/// A refusal with a message.
pub(crate) fn message(status: StatusCode, text: impl Into<String>) -> Response {
    refuse(&Rejection::new(status.as_u16(), text))
}
