//! Who is offered what: hierarchical DRF with weights and filters, incremental.
//!
//! Pure: inputs and the time go in, a plan with reasons comes out.

mod drf;
mod input;
mod plan;

pub use drf::{Drf, Misfit};
pub use input::{AgentFacts, Epoch, FrameworkFacts, Input, Minimum, Name, Refusal, Weight};
pub use plan::{NoOffer, Plan, Proposal, Reason, Reclaim, Work};

use std::collections::BTreeMap;

use tepui_types::{FrameworkId, Mono, Role};

/// An allocator: told everything by [`Input`]s, asked for a [`Plan`] each round.
pub trait Allocate {
    /// Takes note of one input at a time.
    fn apply(&mut self, now: Mono, input: Input);

    /// True when something changed that a round could turn into proposals.
    fn is_dirty(&self) -> bool;

    /// When a round is due although nothing happens: the next filter's end.
    fn next_wakeup(&self) -> Option<Mono>;

    /// Plans offers for what changed since the last round.
    fn round(&mut self, now: Mono) -> Plan;

    /// Why `framework` is not offered more, agent by agent.
    fn explain(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason>;

    /// How many refusals hold, by role; roles with subscribers and without refusals have 0.
    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64>;
}

impl<A: Allocate + ?Sized> Allocate for Box<A> {
    fn apply(&mut self, now: Mono, input: Input) {
        (**self).apply(now, input);
    }

    fn is_dirty(&self) -> bool {
        (**self).is_dirty()
    }

    fn next_wakeup(&self) -> Option<Mono> {
        (**self).next_wakeup()
    }

    fn round(&mut self, now: Mono) -> Plan {
        (**self).round(now)
    }

    fn explain(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        (**self).explain(now, framework)
    }

    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64> {
        (**self).refusals(now)
    }
}
