//! The Marathon half as a state machine that sees offers like any framework.
//!
//! [`Apps`] takes events and leaves effects; time and entropy are arguments. What it decides follows
//! `marathon-behaviour.md`; its data types are those of `tepui_marathon`.

mod command;
mod config;
mod effect;
mod event;
mod record;

pub use command::{Command, KillTarget, Reply};
pub use config::Config;
pub use effect::{Alarm, Effect, Halt, Probe, ProbeId, ProbeKind, ProbeOutcome};
pub use event::{Event, Origin};
pub use record::{
    AppRevision, Change, Condition, DeploymentRecord, Goal, GroupDefinition, GroupRevision,
    InstanceRecord, Record, RecordKey, TaskRecord,
};
