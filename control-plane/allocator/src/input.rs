//! What the allocator is told. It keeps its own books from these alone, so a recorded list of
//! inputs replays every decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_types::{AgentId, FrameworkId, ResourceName, Resources, Role, Scalar, Span};

/// Counts the changes of an agent that make an older plan for it worthless: the control plane
/// raises it whenever the agent (re)appears, changes or is (de)activated. A proposal carries the
/// epoch it was made under, and the control plane refuses it when the agent has moved on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// An agent as the allocator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentFacts {
    /// Everything the agent has.
    pub total: Resources,
    /// False while its resources may not be offered: disconnected, deactivated, draining.
    pub active: bool,
    /// True when it has gpus and only frameworks that ask for gpus may see its offers.
    pub gpus_guarded: bool,
    /// The epoch from which these facts hold.
    pub epoch: Epoch,
}

/// A framework as the allocator sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameworkFacts {
    /// The roles it subscribes to.
    pub roles: BTreeSet<Role>,
    /// The subscribed roles for which it wants no offers now.
    pub suppressed: BTreeSet<Role>,
    /// False while it is disconnected: it is offered nothing.
    pub active: bool,
    /// It takes revocable resources.
    pub revocable: bool,
    /// It takes agents with gpus.
    pub gpus: bool,
    /// Replaces the cluster-wide smallest offer for these roles.
    pub minimum: BTreeMap<Role, Minimum>,
}

/// The smallest bundle worth offering: any of the alternatives is enough; none at all means that
/// everything is (`spec/mesos-http.md` 8.5, "minimum").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minimum(pub Vec<Vec<(ResourceName, Scalar)>>);

/// A framework's wish not to see the declined resources again for a while
/// (`spec/mesos-http.md` 1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How long, counted from the input's time; the allocator holds it for at least one round.
    pub span: Span,
}

/// One thing the allocator is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An agent appeared, or came back, together with what already runs or is offered there.
    AgentAdded {
        /// Which.
        agent: AgentId,
        /// What it is.
        facts: AgentFacts,
        /// What is in use there already, by framework and role.
        used: Vec<(FrameworkId, Role, Resources)>,
    },
    /// An agent's facts changed; filters on it are kept unless `forget_filters`.
    AgentChanged {
        /// Which.
        agent: AgentId,
        /// What it is now.
        facts: AgentFacts,
        /// Its attributes changed, so earlier refusals say nothing any more.
        forget_filters: bool,
    },
    /// An agent is gone, with everything booked on it.
    AgentRemoved(AgentId),
    /// A framework appeared or changed. Filters of roles that it left, and of roles that came out
    /// of suppression, go.
    FrameworkUpdated {
        /// Which.
        framework: FrameworkId,
        /// What it wants now.
        facts: Box<FrameworkFacts>,
    },
    /// A framework is gone. What it still has booked stays booked until released.
    FrameworkRemoved(FrameworkId),
    /// Revive: the roles come out of suppression and their filters go. Empty means all roles.
    Revived {
        /// Which framework.
        framework: FrameworkId,
        /// Which roles.
        roles: BTreeSet<Role>,
    },
    /// Suppress: no offers for the roles until they are revived. Empty means all roles.
    Suppressed {
        /// Which framework.
        framework: FrameworkId,
        /// Which roles.
        roles: BTreeSet<Role>,
    },
    /// Resources that a plan gave out, or that were in use, came back.
    Released {
        /// Who had them.
        framework: FrameworkId,
        /// Under which role.
        role: Role,
        /// Where.
        agent: AgentId,
        /// What.
        resources: Resources,
        /// Not to be offered there to the same framework and role for a while.
        refusal: Option<Refusal>,
    },
    /// An offer that a plan proposed is over: answered, taken back, or never made. What of it is
    /// not in use comes back by `Released`, which is told next.
    OfferEnded {
        /// Who had it.
        framework: FrameworkId,
        /// In which role.
        role: Role,
        /// Where.
        agent: AgentId,
        /// All that was offered.
        offered: Resources,
        /// What of it is in use from now on.
        used: Resources,
    },
    /// Somebody else decided an offer: it is to be booked as if this allocator had proposed it. So
    /// an allocator can follow another one's decisions.
    Offered {
        /// To whom.
        framework: FrameworkId,
        /// In which role.
        role: Role,
        /// Where.
        agent: AgentId,
        /// What.
        resources: Resources,
    },
    /// Weights of roles; a role not named keeps its weight (1 from the start).
    Weights(Vec<(Role, Weight)>),
    /// Tells the cluster-wide smallest offer.
    Minimum(Minimum),
}

/// A role's weight in thousandths, above zero: its share is divided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(pub u64);

impl Default for Weight {
    fn default() -> Self {
        Self(1000)
    }
}

/// Text used as a name inside the allocator.
pub type Name = Arc<str>;
