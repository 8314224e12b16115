//! The built-in allocator: hierarchical DRF, coarse-grained and incremental
//! (`spec/mesos-http.md` 8.5, without quota).
//!
//! Between rounds it only notes what changed: *dirty* agents, whose free resources somebody may
//! now take, and *hot* clients, which may now take what they could not before. A round looks at
//! those alone. What was refused everywhere and did not change is not looked at again.

mod agents;
mod amounts;
mod books;
mod clients;
mod explain;
mod filters;
mod inputs;
mod round;
mod standby;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smallvec::SmallVec;
use tepui_types::{AgentId, Entropy, Mono, ResourceName, Role, Scalar, Span};

use crate::{Allocate, Input, Minimum, Plan, Reason};
use agents::{Agent, AgentIx};
use amounts::Kinds;
use clients::{ClientIx, Clients};
pub use standby::Misfit;
use tree::{Among, Tree};

/// How soon resources that nobody else wanted come back to a framework that refused them for
/// less: bounds the traffic with a framework that declines everything at once.
const SOONEST_RETURN: Span = Span::from_millis(100);

/// What of an agent a round has to look at.
#[derive(Clone, Debug)]
enum Scope {
    /// Every client.
    All,
    /// These clients: their refusals ended, and nothing else changed.
    Only(SmallVec<[ClientIx; 2]>),
}

/// The built-in allocator.
///
/// Deterministic: the same entropy, inputs and times give the same plans (invariant I-50). The
/// hash maps inside are only looked up, never iterated where their order could show.
#[derive(Debug)]
pub struct Drf {
    entropy: Entropy,
    kinds: Kinds,
    tree: Tree,
    clients: Clients,
    agents: Vec<Option<Agent>>,
    vacant: Vec<AgentIx>,
    by_id: HashMap<AgentId, AgentIx>,
    minimum: Minimum,
    dirty: BTreeMap<AgentIx, Scope>,
    /// Active agents with something free.
    spare: BTreeSet<AgentIx>,
    /// When refusals end.
    ends: BTreeSet<(Mono, AgentIx, ClientIx)>,
}

impl Drf {
    /// An allocator of an empty cluster. `entropy` decides the agents' turns in each round.
    pub fn new(entropy: Entropy) -> Self {
        Self {
            entropy,
            kinds: Kinds::default(),
            tree: Tree::new(),
            clients: Clients::default(),
            agents: Vec::new(),
            vacant: Vec::new(),
            by_id: HashMap::new(),
            minimum: Minimum::default_of_mesos(),
            dirty: BTreeMap::new(),
            spare: BTreeSet::new(),
            ends: BTreeSet::new(),
        }
    }

    fn agent(&self, at: AgentIx) -> Option<&Agent> {
        self.agents.get(at.0 as usize)?.as_ref()
    }
}

impl Minimum {
    /// `cpus:0.01|mem:32`: what Mesos finds worth offering unless told otherwise.
    pub fn default_of_mesos() -> Self {
        Self(vec![
            vec![(ResourceName::Cpus, Scalar::from_milli(10))],
            vec![(ResourceName::Mem, Scalar::from_units(32))],
        ])
    }
}

impl Allocate for Drf {
    fn apply(&mut self, now: Mono, input: Input) {
        self.take_note(now, input);
    }

    fn is_dirty(&self) -> bool {
        let agents = !self.dirty.is_empty() && !self.tree.is_idle(Among::Active);
        agents || (!self.tree.is_idle(Among::Hot) && !self.spare.is_empty())
    }

    fn next_wakeup(&self) -> Option<Mono> {
        self.ends.first().map(|(until, _, _)| *until)
    }

    fn round(&mut self, now: Mono) -> Plan {
        self.plan_round(now)
    }

    fn explain(&self, now: Mono, framework: &tepui_types::FrameworkId) -> Vec<Reason> {
        self.reasons(now, framework)
    }

    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64> {
        self.refusals_by_role(now)
    }
}
