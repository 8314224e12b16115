//! What the allocator answers: proposals, and reasons for everything it did not propose.

use tepui_types::{AgentId, FrameworkId, Resources, Role, Scalar, Span};

use crate::Epoch;

/// The outcome of one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to offer, in the order decided. The resources are already booked; the control plane
    /// either turns a proposal into an offer or gives the resources back with `Released`.
    pub proposals: Vec<Proposal>,
    /// What to take back from whoever has it. Nothing is booked for that: what comes back is told
    /// with `Released`, and offered in a later round.
    pub reclaims: Vec<Reclaim>,
    /// How much work the round was: for benchmarks and metrics.
    pub work: Work,
}

impl Plan {
    /// True when nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.proposals.is_empty() && self.reclaims.is_empty()
    }
}

/// One offer to make: all of `resources` of one agent, to one framework in one role.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// To whom.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// Where.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
    /// The agent's epoch that the proposal was made under.
    pub epoch: Epoch,
}

/// Something to take back on one agent from a framework in a role, for somebody who comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Reclaim {
    /// From whom.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// Where. All its unanswered offers there are rescinded.
    pub agent: AgentId,
    /// Revocable resources wanted beyond that: tasks that hold such are killed, the newest first,
    /// until so much of it is on its way back. Nothing else that is in use can be taken.
    pub revocable: Resources,
    /// The role that it is for, to be told to those who lose it.
    pub beneficiary: Role,
}

/// Counts of work done in a round; they grow with what changed, not with the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Agents looked at.
    pub agents: u64,
    /// Pairs of an agent and a framework's role looked at.
    pub pairs: u64,
}

/// Why a framework is not offered an agent's resources in a role.
#[derive(Clone, Debug, PartialEq)]
pub enum NoOffer {
    /// The framework is disconnected.
    FrameworkInactive,
    /// The framework suppressed the role.
    Suppressed,
    /// The agent may not be offered now.
    AgentInactive,
    /// Everything usable there is offered or in use.
    NothingFree,
    /// What is free is less than the smallest offer; the amounts that are free.
    BelowMinimum {
        /// Free processors.
        cpus: Scalar,
        /// Free memory in megabytes.
        mem: Scalar,
    },
    /// The framework declined these resources and asked not to see them for a while.
    Filtered {
        /// How much longer.
        remaining: Span,
    },
    /// The agent has gpus and the framework does not ask for gpus.
    NeedsGpuCapability,
    /// Nothing is in the way: another framework is further from its fair share, or the next
    /// round will offer it.
    NotItsTurn,
}

/// One row of an explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// In which role.
    pub role: Role,
    /// Where; `None` when the reason holds everywhere.
    pub agent: Option<AgentId>,
    /// Why not.
    pub why: NoOffer,
}
