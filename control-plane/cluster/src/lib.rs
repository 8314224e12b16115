//! The Mesos half as a state machine: events in, effects out.

mod effect;
mod event;
mod record;

pub use effect::{Effect, Refusal, RefusalKind, Response};
pub use event::{Event, Operation};
pub use record::{Record, Standing};
