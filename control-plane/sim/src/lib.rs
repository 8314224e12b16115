//! The simulator: production state machines in a virtual world with every fault it can think of.
//!
//! [`run`] plays one seed: agents, frameworks and an app client on a network that loses, delays,
//! repeats and cuts; processes that die after any single effect; then calm, in which everything
//! has to come right. The invariants of the project are checked after every event. The same seed
//! gives the same trace hash.

mod checks;
mod client;
mod control;
mod executor;
mod faults;
mod host;
mod queue;
mod run;
mod scheduler;
mod script;
mod sharing;
mod storm;
mod world;

pub use checks::Violation;
pub use faults::{Fault, FaultCounts};
pub use run::{Outcome, run};
pub use script::{ScriptError, play};
pub use sharing::{Experiment, Held, Mixed, Row, Sharing, UnfinishedWork};
