//! Who leads: the record of it that control planes share, and when one of them stands up.
//!
//! Leadership is a term that only grows (design, decision 4). Whoever raises it leads; every
//! write names it, so a former leader can do nothing any more, whatever it believes. That makes
//! it safe to be quick: [`Election`] stands up as soon as the leader's process is seen gone, and
//! waits out the lease only where it cannot know.

mod leadership;
mod machine;
pub mod said;

pub use leadership::{Candidate, Leadership, LeadershipError};
pub use machine::{Effect, Election, Event, RENEWALS};
