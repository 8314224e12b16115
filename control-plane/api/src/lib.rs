//! The Mesos HTTP surface: scheduler and operator APIs, legacy endpoints, metrics.
//!
//! Handlers are thin: decode, ask the [`plane::Plane`], answer. What a problem means in HTTP is
//! decided in [`answer`] alone.
//!
//! Bounds: [`MAX_REQUESTS`] under way, [`MAX_BODY_BYTES`] per body and a bound on all of them
//! together, 30 s for a body to arrive; JSON's depth is bounded in `tepui-wire`. Streams are cut by
//! whoever fills them, the [`Plane`], when their reader does not keep up.
//!
//! Tests: `tests/http` drives [`router`] over a real cluster and allocator, without a socket or a
//! clock; `examples/state_speed.rs` measures the large answers.

pub mod answer;
mod body;
mod draft;
mod endpoints;
mod explain;
mod legacy;
mod metrics;
mod operator;
mod own;
pub mod plane;
mod router;
mod scheduler;
mod shadow;
mod shape;
mod shared;
mod stream;

pub use body::{MAX_BODY_BYTES, Room};
pub use metrics::{Leaderships, Timings};
pub use own::own;
pub use plane::{Backlog, Facts, Plane, Subscription, Unavailable};
pub use router::{App, MAX_REQUESTS, router};
pub use shadow::{ShadowDifference, ShadowTimes, ShadowView};
pub use shared::Shared;
