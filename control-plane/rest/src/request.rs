//! One request with its parts taken apart, and the ways handlers look at them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Limited};
use tepui_apps::Origin;
use tepui_marathon::{InvalidPathId, MAX_ID_BYTES, PathId, Rejection, Version, Violations};

use crate::query::Query;
use crate::state::Shared;

/// What a handler sees of a request.
#[derive(Debug)]
pub(crate) struct Request<A> {
    pub(crate) shared: Arc<Shared<A>>,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) client_ip: String,
    /// Path and query as sent.
    pub(crate) uri: String,
    pub(crate) body: Bytes,
}

impl<A> Request<A> {
    /// Takes a request apart and reads its body.
    ///
    /// # Errors
    /// 413 for bodies above the limit, 400 for bodies that end early.
    pub(crate) async fn read(
        shared: Arc<Shared<A>>,
        request: axum::extract::Request,
    ) -> Result<Self, Rejection> {
        let (parts, body) = request.into_parts();
        let limit = shared.options.max_body_bytes;
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Rejection::new(413, format!("The request body has more than {limit} bytes."))
            } else {
                Rejection::new(400, "The request body could not be read to its end.")
            }
        })?;
        let client = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let uri = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        Ok(Self {
            shared,
            method: parts.method,
            query: Query::parse(parts.uri.query().unwrap_or("")),
            headers: parts.headers,
            client_ip: client.map_or_else(|| "unknown".to_owned(), |peer| peer.0.ip().to_string()),
            uri,
            body: body.to_bytes(),
        })
    }

    /// The body, if its type is JSON or not given.
    ///
    /// # Errors
    /// 415 for another type.
    pub(crate) fn json(&self) -> Result<&[u8], Rejection> {
        let content_type = self.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let mime = content_type.map(|value| value.split(|byte| *byte == b';').next());
        match mime.flatten().map(<[u8]>::trim_ascii) {
            Some(mime) if !mime.is_empty() && !is_json(mime) => {
                Err(Rejection::new(415, "Unsupported Media Type"))
            }
            _ => Ok(&self.body),
        }
    }

    /// Whether the client wants answers of this type rather than JSON.
    pub(crate) fn accepts(&self, mime: &str) -> bool {
        self.headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|range| range.split(';').next())
            .any(|range| range.trim().eq_ignore_ascii_case(mime))
    }

    /// The `force` parameter.
    pub(crate) fn force(&self, default: bool) -> bool {
        self.query.flag("force", default)
    }

    /// Who asks, for the events of single apps.
    pub(crate) fn origin(&self) -> Option<Origin> {
        Some(Origin { client_ip: self.client_ip.clone(), uri: self.uri.clone() })
    }
}

fn is_json(mime: &[u8]) -> bool {
    mime.eq_ignore_ascii_case(b"application/json")
        || mime.to_ascii_lowercase().ends_with(b"+json")
        || mime == b"*/*"
}

/// The id of a path for reading: what cannot be an id does not exist.
///
/// # Errors
/// 404 in the words of `kind` (`App`, `Group`).
pub(crate) fn known_id(kind: &str, text: &str) -> Result<PathId, Rejection> {
    PathId::parse(text).map_err(|_| missing(kind, text))
}

/// The id of a path for writing.
///
/// # Errors
/// 422 `Invalid JSON` at `/id`, as if the id stood in the body.
pub(crate) fn writable_id(text: &str) -> Result<PathId, Rejection> {
    PathId::parse(text).map_err(|error| {
        let mut violations = Violations::default();
        if matches!(error, InvalidPathId::TooLong { .. }) {
            violations.add("/id", "error.maxLength");
            violations.add("/id", format!("an id may have at most {MAX_ID_BYTES} bytes"));
        } else {
            violations.add("/id", "error.pattern");
        }
        Rejection::invalid_json(violations)
    })
}

/// 404 for an object.
pub(crate) fn missing(kind: &str, id: &str) -> Rejection {
    let id: String = id.chars().take(300).collect();
    Rejection::not_found(format!("{kind} '{id}' does not exist"))
}

/// A version in a path.
///
/// # Errors
/// 422 in the documented words.
pub(crate) fn version(text: &str) -> Result<Version, Rejection> {
    Version::parse(text).map_err(|error| Rejection::new(422, error.to_string()))
}
