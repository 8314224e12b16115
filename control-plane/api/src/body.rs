//! Request bodies: read whole, within bounds of size, time and memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::answer::ApiError;

/// Largest request body after decompression; a larger one is answered 413.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// Bodies up to this many bytes do not wait for room: there are no more of them than connections.
const SMALL_BODY_BYTES: usize = 64 << 10;
/// Bytes of larger bodies that are in memory at once; whoever sends more waits.
const ALL_BODIES_BYTES: usize = 32 * MAX_BODY_BYTES;
/// What the room is counted in: a semaphore's count is smaller than a byte count may be.
const UNIT_BYTES: usize = 1 << 10;
/// From the end of a request's head to the end of its body, waiting for room included.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Room for the bodies of all requests.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL_BODIES_BYTES / UNIT_BYTES)))
    }
}

/// A whole body; its room is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Reads the whole body.
    ///
    /// # Errors
    /// 413 for one that is too large: at once when it says so, else without taking more than the
    /// bound; 408 for one that does not arrive in time, 400 for one that breaks off.
    pub(crate) async fn whole(&self, request: Request) -> Result<Whole, ApiError> {
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let announced = announced.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced.is_some_and(|bytes| bytes > MAX_BODY_BYTES) {
            return Err(too_large());
        }
        timeout(BODY_PATIENCE, self.take(request, announced.unwrap_or(MAX_BODY_BYTES)))
            .await
            .unwrap_or_else(|_| {
                let message = format!("the body did not arrive within {BODY_PATIENCE:?}");
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message))
            })
    }

    async fn take(&self, request: Request, at_most: usize) -> Result<Whole, ApiError> {
        let units = u32::try_from(at_most.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let room = match at_most > SMALL_BODY_BYTES {
            // Nobody closes the semaphore; if it were closed there would be no bound to keep.
            true => self.0.clone().acquire_many_owned(units).await.ok(),
            false => None,
        };
        match Bytes::from_request(request, &()).await {
            Ok(bytes) => Ok(Whole { bytes, _room: room }),
            Err(rejection) => {
                let response = rejection.into_response();
                match response.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
                    status => Err(ApiError::new(status, "the body breaks off or is not gzip")),
                }
            }
        }
    }
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body has more than {MAX_BODY_BYTES} bytes"),
    )
}
