//! Short words for building inputs, for tests of policies too. What they are given has to be valid.
//!
//! # Panics
//!
//! Each, when a name or a role is none.

use std::collections::BTreeSet;

use tepui_allocator::{AgentFacts, Epoch, FrameworkFacts, Input, Minimum, Proposal, Refusal};
use tepui_types::{
    AgentId, FrameworkId, Identity, Mono, Ranges, Reservation, ReservationKind, Resource,
    ResourceName, Resources, Role, Scalar, Span, Value,
};

/// An agent's id.
pub fn agent(name: &str) -> AgentId {
    AgentId::parse(name).expect("the suite's ids are valid")
}

/// A framework's id.
pub fn framework(name: &str) -> FrameworkId {
    FrameworkId::parse(name).expect("the suite's ids are valid")
}

/// A role.
pub fn role(name: &str) -> Role {
    Role::parse(name).expect("the suite's roles are valid")
}

/// So many seconds after the clock's start.
pub fn secs(secs: u64) -> Mono {
    Mono::from_nanos(secs * 1_000_000_000)
}

/// Processors, and a hundred megabytes and ten ports for each.
pub fn cpus(count: u64) -> Resources {
    let ports = Ranges::from_ranges(tepui_types::Range::new(1, count * 10));
    [
        Resource::scalar(ResourceName::Cpus, Scalar::from_units(count)),
        Resource::scalar(ResourceName::Mem, Scalar::from_units(count * 100)),
        Resource::ranges(ResourceName::Ports, ports),
    ]
    .into_iter()
    .collect()
}

/// Processors that are somebody's, or may be taken back.
pub fn special(count: u64, owner: Option<&str>, revocable: bool) -> Resources {
    let level = owner.map(|owner| Reservation {
        kind: ReservationKind::Static,
        role: role(owner),
        principal: None,
        labels: Vec::new(),
    });
    let identity =
        Identity { name: ResourceName::Cpus, reservations: level.into_iter().collect(), revocable };
    [Resource { identity, value: Value::Scalar(Scalar::from_units(count)) }].into_iter().collect()
}

/// An active agent with these resources, in its first epoch.
pub fn facts(total: Resources) -> AgentFacts {
    AgentFacts { total, active: true, gpus_guarded: false, epoch: Epoch(1) }
}

/// An agent appears.
pub fn added(name: &str, total: Resources) -> Input {
    Input::AgentAdded { agent: agent(name), facts: facts(total), used: Vec::new() }
}

/// A framework that wants offers in these roles, however small.
pub fn subscribed(roles: &[&str]) -> FrameworkFacts {
    let roles: BTreeSet<_> = roles.iter().map(|one| role(one)).collect();
    // Whatever is free is worth offering, so that nothing but a refusal keeps it back.
    let minimum = roles.iter().map(|one| (one.clone(), Minimum::default())).collect();
    FrameworkFacts { roles, active: true, minimum, ..FrameworkFacts::default() }
}

/// A framework is so from now on.
pub fn updated(name: &str, facts: FrameworkFacts) -> Input {
    Input::FrameworkUpdated { framework: framework(name), facts: Box::new(facts) }
}

/// A framework appears that wants offers in these roles.
pub fn comes(name: &str, roles: &[&str]) -> Input {
    updated(name, subscribed(roles))
}

/// Not to be offered again for so many seconds.
pub fn refusal(seconds: u64) -> Option<Refusal> {
    Some(Refusal { span: Span::from_secs(seconds) })
}

/// What a plan proposed comes back: none of it was used.
pub fn given_back(one: &Proposal, refusal: Option<Refusal>) -> [Input; 2] {
    let Proposal { framework, role, agent, resources, .. } = one.clone();
    let ended = Input::OfferEnded {
        framework: framework.clone(),
        role: role.clone(),
        agent: agent.clone(),
        offered: resources.clone(),
        used: Resources::new(),
    };
    [ended, Input::Released { framework, role, agent, resources, refusal }]
}

/// All that a plan proposed is used.
pub fn used_up(one: &Proposal) -> Input {
    let Proposal { framework, role, agent, resources, .. } = one.clone();
    Input::OfferEnded { framework, role, agent, offered: resources.clone(), used: resources }
}
