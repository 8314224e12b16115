//! The control plane's state machines wired together: one event in, all effects out.
//!
//! [`Leader`] joins the cluster (the Mesos half) and the apps (the Marathon half). The apps are a
//! framework like any other, only that their stream ends inside this crate: their calls become
//! the cluster's events and their stream's events become theirs, until nothing is left to pass
//! on. The daemon and the simulator both drive this one type, so what is simulated is what runs.

mod effect;
mod event;
mod machine;

pub use effect::Effect;
pub use event::Event;
pub use machine::Leader;
