use std::collections::BTreeSet;

use tepui_allocator::Minimum;
use tepui_types::{ResourceName, Role, Scalar, Span};
use tepui_wire::v1;

/// What the operator decides about the cluster. The defaults are Mesos's
/// (`spec/mesos-http.md` 9).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What frameworks are told of the leader; its `id` is replaced by the leader's own.
    pub leader: v1::MasterInfo,
    /// How often the control plane speaks on every stream and wants to hear from agents.
    pub heartbeat: Span,
    /// An agent that says nothing for so long is declared unreachable.
    pub patience: Span,
    /// An agent that has not handled a directive for so long loses its link and registers again.
    pub directive_patience: Span,
    /// After a change of leader, agents of the registry have so long to come back.
    pub agent_reregister_timeout: Span,
    /// After a change of leader, when more than this share of the agents would be declared
    /// unreachable, none is (invariant I-37).
    pub recovery_agent_removal_limit_percent: u8,
    /// While leading, when more than this share of the agents is silent, none is declared
    /// unreachable (invariant I-37).
    pub silent_agents_limit_percent: u8,
    /// So few missing or silent agents are no mass, whatever their share.
    pub agent_removal_limit_floor: usize,
    /// How fast agents may be declared unreachable; `None` sets no bound.
    pub agent_removal_rate: Option<RemovalRate>,
    /// An unanswered offer is rescinded after so long; `None` waits for ever.
    pub offer_timeout: Option<Span>,
    /// Frameworks may run tasks as root.
    pub root_submissions: bool,
    /// The only roles that frameworks may use; `None` allows all.
    pub roles: Option<BTreeSet<Role>>,
    /// Weights in thousandths that hold while the registry has none.
    pub weights: Vec<(Role, u64)>,
    /// The smallest offer, unless a framework says otherwise.
    pub minimum: Minimum,
    /// Agents with gpus are offered only to frameworks that ask for gpus.
    pub filter_gpu_resources: bool,
    /// How many removed frameworks are remembered.
    pub max_completed_frameworks: usize,
    /// How many ended tasks are remembered per framework.
    pub max_completed_tasks: usize,
    /// How many tasks on unreachable agents are remembered per framework.
    pub max_unreachable_tasks: usize,
    /// How often unreachable and gone agents are cleared out of the registry.
    pub registry_gc_interval: Span,
    /// Unreachable and gone agents are forgotten after so long.
    pub registry_max_agent_age: Span,
    /// How many unreachable, and how many gone, agents are remembered at most.
    pub registry_max_agent_count: usize,
}

/// A bound on declaring agents unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovalRate {
    /// So many agents …
    pub agents: u32,
    /// … in so long.
    pub per: Span,
}

impl RemovalRate {
    /// The time between two removals.
    pub fn spacing(self) -> Span {
        Span::from_nanos(self.per.as_nanos() / u64::from(self.agents.max(1)))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            leader: v1::MasterInfo { port: 5050, ..v1::MasterInfo::default() },
            heartbeat: Span::from_secs(15),
            patience: Span::from_secs(75),
            directive_patience: Span::from_secs(30),
            agent_reregister_timeout: Span::from_secs(600),
            recovery_agent_removal_limit_percent: 100,
            silent_agents_limit_percent: 100,
            agent_removal_limit_floor: 0,
            agent_removal_rate: None,
            offer_timeout: None,
            root_submissions: true,
            roles: None,
            weights: Vec::new(),
            minimum: Minimum(vec![
                vec![(ResourceName::Cpus, Scalar::from_milli(10))],
                vec![(ResourceName::Mem, Scalar::from_units(32))],
            ]),
            filter_gpu_resources: true,
            max_completed_frameworks: 50,
            max_completed_tasks: 1000,
            max_unreachable_tasks: 1000,
            registry_gc_interval: Span::from_secs(15 * 60),
            registry_max_agent_age: Span::from_secs(14 * 24 * 3600),
            registry_max_agent_count: 102_400,
        }
    }
}
