//! Shared vocabulary: ids, resources and units, roles, attributes, time, task states.
//!
//! Everything here is plain data with honest arithmetic. Parsing of public formats lives in
//! `wire` and `marathon`; this crate only says which values are legal.

mod attributes;
mod entropy;
mod hash;
mod header;
mod ids;
mod labels;
mod latencies;
mod ranges;
mod resources;
mod role;
mod scalar;
mod task_state;
mod time;

pub use attributes::{Attribute, AttributeValue, Attributes};
pub use entropy::Entropy;
pub use hash::TraceHash;
pub use header::FOR_TASK;
pub use ids::{
    AgentId, BootId, ContainerId, ExecutorId, FrameworkId, InvalidId, LinkId, OfferId, RequestId,
    StreamId, TaskId, Term, UpdateId, Uuid,
};
pub use labels::{LABEL_PREFIX, LABELS, UnknownLabel, check_label};
pub use latencies::Latencies;
pub use ranges::{InvalidRange, Range, Ranges};
pub use resources::{
    Identity, Reservation, ReservationKind, Resource, ResourceName, Resources, Value,
};
pub use role::{InvalidRole, Role};
pub use scalar::{InvalidScalar, Scalar};
pub use task_state::{IllegalTransition, TaskState};
pub use time::{Mono, Now, Span, Wall};
