//! The Mesos HTTP surface: scheduler and operator APIs, legacy endpoints, metrics.
//!
//! Handlers are thin: decode, ask the [`plane::Plane`], answer. What a problem means in HTTP is
//! decided in [`answer`] alone.

pub mod answer;
mod endpoints;
pub mod plane;
mod router;
mod scheduler;
mod shape;
mod stream;

pub use plane::{Facts, Plane, Subscription, Unavailable};
pub use router::{App, MAX_BODY_BYTES, router};
