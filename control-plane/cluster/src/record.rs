//! What must survive the leader: the registry. Tasks are not in it; agents and frameworks bring
//! them back (design, decision 2).

use tepui_types::{AgentId, FrameworkId, Role, Span, Wall};
use tepui_wire::v1;

use crate::Drain;

/// One durable fact. Records of the same key replace each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// How many framework, agent and offer ids this cluster has handed out, rounded up, so that
    /// no id is ever given twice; and the prefix of ids.
    Counters {
        /// Agent ids below this number are taken.
        agents: u64,
        /// Framework ids below this number are taken.
        frameworks: u64,
    },
    /// An agent that was admitted.
    Agent {
        /// Which.
        agent: AgentId,
        /// What it said of itself.
        info: Box<v1::AgentInfo>,
        /// In which list of the registry it is.
        standing: Standing,
        /// Taken out of the offers by an operator.
        deactivated: bool,
    },
    /// A framework that may come back, and until when.
    Framework {
        /// Which.
        framework: FrameworkId,
        /// What it said of itself.
        info: Box<v1::FrameworkInfo>,
        /// When it was seen first.
        registered: Wall,
        /// Its failover timeout; zero removes it at once on disconnect.
        failover_timeout: Span,
        /// When it disconnected; a new leader counts the timeout from here (invariant I-35).
        disconnected: Option<Wall>,
    },
    /// A framework that was removed: what agents that were away still do for it has to stop, and
    /// its id is not taken again.
    RemovedFramework {
        /// Which.
        framework: FrameworkId,
        /// When.
        since: Wall,
    },
    /// An agent that an operator has emptied.
    Drain {
        /// Which.
        agent: AgentId,
        /// How, and whether it is empty.
        drain: Drain,
    },
    /// A role's weight in thousandths.
    Weight {
        /// Which.
        role: Role,
        /// How much.
        weight: u64,
    },
}

/// An agent's place in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Part of the cluster.
    Admitted,
    /// Did not answer since then; may come back.
    Unreachable {
        /// Since when.
        since: Wall,
    },
    /// Declared gone; never serves again under this id (invariant I-11).
    Gone {
        /// Since when.
        since: Wall,
    },
}
