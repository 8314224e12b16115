//! The Mesos HTTP surface: scheduler and operator APIs, legacy endpoints, metrics.
//!
//! Handlers are thin: decode, ask the [`plane::Plane`], answer. What a problem means in HTTP is
//! decided in [`answer`] alone.

pub mod answer;
mod body;
mod endpoints;
mod explain;
mod legacy;
mod metrics;
mod operator;
pub mod plane;
mod router;
mod scheduler;
mod shape;
mod stream;
mod version;

pub use body::{MAX_BODY_BYTES, Room};
pub use plane::{Facts, Plane, Subscription, Unavailable};
pub use router::{App, MAX_REQUESTS, router};
