//! The host's state machine: registration, task and executor life cycle, status updates,
//! recovery.

mod effect;
mod event;
mod record;

pub use effect::{Command, Effect, Probe, Response, RunSpec, SANDBOX_MARK};
pub use event::{Event, Exit, FoundRun, FoundState, ProbeId, ProbeOutcome};
pub use record::Record;
