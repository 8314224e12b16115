//! Marathon's REST API and event stream over HTTP (`marathon-api.md`).
//!
//! [`router`] serves everything over a handle that implements [`Apps`]. Handlers are thin: decode
//! the request, ask the apps, write the answer. Formats and rules live in `tepui_marathon`, decisions
//! in `tepui_apps`.

mod answer;
mod apps;
mod apps_api;
mod cluster_api;
mod events;
mod groups_api;
mod info;
mod look;
mod metrics;
mod options;
mod query;
mod request;
mod route;
mod router;
mod state;
mod tasks_api;

pub use apps::{Apps, Leadership, Metrics, ServiceError};
pub use metrics::AppsLook;
pub use options::{InfoConfig, Options};
pub use router::router;
