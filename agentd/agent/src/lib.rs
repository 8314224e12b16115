//! The host's state machine: registration, task and executor life cycle, status updates,
//! recovery.
//!
//! [`Agent::handle`] takes one [`Event`] and says what is to be done as [`Effect`]s; the driver
//! saves the batch's records first and acts second. Everything that must survive the daemon is a
//! [`Record`], and durable state changes in one place, for what happens and for what is replayed.
//!
//! * `machine`: the type, its door, its timers' arms; `link`: registration and directives;
//! * `launch`, `runs`, `kill`: tasks and runs; `executors`: the v1 executor API;
//!   `pods`: executors of type DEFAULT; `checks`;
//! * `limits`: what runs may use and do; `ports`: what the kernel holds runs to; `death`: why they
//!   ended badly; `network`: whose network a run is in;
//! * `asked`: containers that somebody asked the API for; `sessions`: commands beside tasks that
//!   somebody talks to;
//!   `updates`, `status`: status update streams;
//!   `recovery`, `compatibility`: the start;
//!   `garbage`: sandboxes;
//! * `book`: durable state and snapshots; `state`, `view`: what others read.
//!
//! # Invariants
//!
//! A task id starts at most one main process here, ever (I-5): `Record::Starting` is durable before
//! `Effect::Start`, and known or ended ids are never started again. Updates are saved before they
//! are sent, go out in order, one at a time, until acknowledged (I-7 to I-9); terminal is final
//! (I-10). Directives of a lower term are refused, repeated ones ignored, gaps heal by a new
//! registration (I-15, I-46). A restart changes no task (I-19), a reboot ends all (I-20). Tasks of
//! frameworks that do not checkpoint are kept over a restart all the same.

mod asked;
mod book;
mod caller;
mod checks;
mod compatibility;
mod config;
mod containers;
mod counters;
mod death;
mod effect;
mod environment;
mod event;
mod executors;
mod garbage;
mod kill;
mod launch;
pub mod limits;
mod link;
mod machine;
mod network;
mod pods;
mod ports;
mod record;
mod recovery;
mod runs;
mod sessions;
mod state;
mod status;
mod timers;
mod updates;
mod view;
mod volumes;

pub use asked::{ContainerLaunch, Verdict};
pub use caller::{Caller, is_open_to_all};
pub use compatibility::{FOUND_ATTRIBUTES, ISOLATION_ATTRIBUTE, Incompatible};
pub use config::{Config, Containers, Reconfiguration};
pub use counters::Counters;
pub use death::{Cause, Certificate, Sender, describe_end};
pub use effect::{
    Command, Effect, Link, LinkTarget, Probe, Response, RunSpec, SANDBOX_MARK, SecretFile,
    SessionSpec, Setting, Window,
};
pub use event::{Event, Exit, FoundRun, FoundState, ProbeId, ProbeOutcome};
pub use limits::{Isolation, LimitPolicy, Limits};
pub use machine::Agent;
pub use ports::PortDenial;
pub use record::Record;
pub use sessions::ContainerCall;
pub use state::{Executor, Framework, Phase, Run, Task};
pub use status::{InvalidContainer, container_id, run_of_container};
pub use tepui_container::Container;
pub use view::{Census, Place};
