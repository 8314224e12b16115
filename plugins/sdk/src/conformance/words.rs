//! Short words for building inputs.

use std::collections::BTreeSet;

use tepui_allocator::{AgentFacts, Epoch, FrameworkFacts, Input, Minimum, Refusal};
use tepui_types::{
    AgentId, FrameworkId, Identity, Mono, Ranges, Reservation, ReservationKind, Resource,
    ResourceName, Resources, Role, Scalar, Span, Value,
};

pub(super) fn agent(name: &str) -> AgentId {
    AgentId::parse(name).expect("the suite's ids are valid")
}

pub(super) fn framework(name: &str) -> FrameworkId {
    FrameworkId::parse(name).expect("the suite's ids are valid")
}

pub(super) fn role(name: &str) -> Role {
    Role::parse(name).expect("the suite's roles are valid")
}

pub(super) fn secs(secs: u64) -> Mono {
    Mono::from_nanos(secs * 1_000_000_000)
}

/// Processors, and a hundred megabytes and ten ports for each.
pub(super) fn cpus(count: u64) -> Resources {
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
pub(super) fn special(count: u64, owner: Option<&str>, revocable: bool) -> Resources {
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

pub(super) fn facts(total: Resources) -> AgentFacts {
    AgentFacts { total, active: true, gpus_guarded: false, epoch: Epoch(1) }
}

pub(super) fn added(name: &str, total: Resources) -> Input {
    Input::AgentAdded { agent: agent(name), facts: facts(total), used: Vec::new() }
}

pub(super) fn subscribed(roles: &[&str]) -> FrameworkFacts {
    let roles: BTreeSet<_> = roles.iter().map(|one| role(one)).collect();
    // Whatever is free is worth offering, so that nothing but a refusal keeps it back.
    let minimum = roles.iter().map(|one| (one.clone(), Minimum::default())).collect();
    FrameworkFacts { roles, active: true, minimum, ..FrameworkFacts::default() }
}

pub(super) fn updated(name: &str, facts: FrameworkFacts) -> Input {
    Input::FrameworkUpdated { framework: framework(name), facts: Box::new(facts) }
}

pub(super) fn comes(name: &str, roles: &[&str]) -> Input {
    updated(name, subscribed(roles))
}

pub(super) fn refusal(seconds: u64) -> Option<Refusal> {
    Some(Refusal { span: Span::from_secs(seconds) })
}
