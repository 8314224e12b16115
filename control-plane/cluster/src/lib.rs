//! The Mesos half as a state machine: events in, effects out.
//!
//! [`Cluster`] knows agents, frameworks, offers, executors and tasks. It keeps the books that
//! decide what may be offered and launched (invariant I-1), remembers only agents, frameworks and
//! weights for good ([`Record`]), and learns tasks back from the agents after a change of leader.
//! Everything that a reader may want to show is in [`state`] and behind the accessors of
//! [`Cluster`].

mod accept;
mod admission;
mod agents;
mod books;
mod calls;
mod config;
mod constraints;
mod convert;
mod counters;
mod departures;
mod drain;
mod effect;
mod event;
mod frameworks;
mod launch;
mod machine;
mod offers;
mod operations;
mod publish;
mod reclaims;
mod reconcile;
mod record;
mod recovery;
mod removal;
mod returns;
pub mod state;
mod subscribe;
mod tasks;
mod timers;
pub mod told;
mod updates;
mod validate;
mod view;

pub use config::{Config, RemovalRate};
pub use counters::{
    AgentCounters, Counters, FrameworkCounters, MessageCounters, TaskOutcome, ValidityCounters,
};
pub use drain::Drain;
pub use effect::{Effect, Refusal, RefusalKind, Response};
pub use event::{Event, Operation};
pub use machine::Cluster;
pub use record::{Record, Standing};
pub use view::{RoleView, Sums, agent_capabilities};
