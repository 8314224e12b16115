//! The Marathon half as a state machine that sees offers like any framework.
//!
//! [`Apps`] takes events and leaves effects; time and entropy are arguments. What it decides follows
//! `marathon-behaviour.md`; its data types are those of `tepui_marathon`.

mod actions;
mod app_commands;
mod catalog;
mod census;
mod checks;
mod command;
mod config;
mod constraints;
mod counters;
mod delays;
mod deployments;
mod drafts;
mod effect;
mod environment;
mod event;
mod figures;
mod group_commands;
mod health;
mod instance;
mod instances;
mod kills;
mod life;
mod machine;
mod matching;
mod offers;
mod out;
mod plan;
mod probes;
mod queue;
mod readiness;
mod record;
mod recovery;
mod rolling;
mod service_ports;
mod session;
mod task_info;
mod timers;
mod updates;
mod victims;
mod view;

pub use command::{Command, KillTarget, Reply};
pub use config::Config;
pub use counters::{AppCounters, Counters};
pub use effect::{Alarm, Effect, Halt, Probe, ProbeId, ProbeKind, ProbeOutcome};
pub use event::{Event, Origin};
pub use figures::{AppFigures, InstanceCounts, WaitReason};
pub use machine::Apps;
pub use record::{
    AppRevision, Change, Condition, DeploymentRecord, Goal, GroupDefinition, GroupRevision,
    InstanceRecord, Record, RecordKey, TaskRecord,
};
pub use view::Gauges;
