//! Structural reading of request bodies: types and ranges are checked while walking the JSON, and
//! every error carries its path (`marathon-api.md` 1.3).

mod app;
mod checks;
mod container;
mod group;
mod reader;

pub(crate) use app::Legacy;
pub use app::{decode_app, decode_app_updates, decode_stored_app};
pub(crate) use container::{DockerNetwork, IpAddressSpec};
pub use group::{decode_enforce_role, decode_group_update, decode_task_ids};

use serde_json::Value;

use crate::reject::Rejection;

/// Parses a body as JSON. The parser refuses nesting deeper than 128.
pub(crate) fn json(body: &[u8]) -> Result<Value, Rejection> {
    if body.trim_ascii().is_empty() {
        return Err(Rejection::no_body());
    }
    serde_json::from_slice(body).map_err(|error| Rejection::not_json(&error))
}
