//! Short words for building inputs.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeSet;

use tepui_allocator::{AgentFacts, Epoch, FrameworkFacts, Input, Refusal};
use tepui_types::{
    AgentId, FrameworkId, Identity, Mono, Ranges, Reservation, ReservationKind, Resource,
    ResourceName, Resources, Role, Scalar, Span, Value,
};

pub(crate) fn agent(name: &str) -> AgentId {
    AgentId::parse(name).unwrap()
}

pub(crate) fn framework(name: &str) -> FrameworkId {
    FrameworkId::parse(name).unwrap()
}

pub(crate) fn role(name: &str) -> Role {
    Role::parse(name).unwrap()
}

pub(crate) fn secs(secs: u64) -> Mono {
    Mono::from_nanos(secs * 1_000_000_000)
}

pub(crate) fn millis(millis: u64) -> Mono {
    Mono::from_nanos(millis * 1_000_000)
}

/// Reads `cpus:4;mem:1024;ports:[1-3];cpus(role):2;cpus{REV}:1`.
pub(crate) fn bundle(text: &str) -> Resources {
    let mut all = Resources::new();
    for entry in text.split(';').filter(|e| !e.is_empty()) {
        let (left, amount) = entry.split_once(':').unwrap();
        let revocable = left.ends_with("{REV}");
        let left = left.trim_end_matches("{REV}");
        let (name, owner) = match left.split_once('(') {
            Some((name, owner)) => (name, Some(role(owner.trim_end_matches(')')))),
            None => (left, None),
        };
        let reservations: Vec<Reservation> = owner
            .into_iter()
            .map(|role| Reservation {
                kind: ReservationKind::Static,
                role,
                principal: None,
                labels: vec![],
            })
            .collect();
        let identity = Identity {
            name: ResourceName::new(name),
            reservations: reservations.into(),
            revocable,
        };
        let value = if let Some(list) = amount.strip_prefix('[') {
            let ranges = list.trim_end_matches(']').split(',').map(|range| {
                let (begin, end) = range.split_once('-').unwrap();
                tepui_types::Range::new(begin.parse().unwrap(), end.parse().unwrap()).unwrap()
            });
            Value::Ranges(Ranges::from_ranges(ranges))
        } else {
            Value::Scalar(Scalar::parse(amount.parse().unwrap()).unwrap())
        };
        assert!(all.add(&Resource { identity, value }));
    }
    all
}

pub(crate) fn facts(total: &str) -> AgentFacts {
    AgentFacts { total: bundle(total), active: true, gpus_guarded: false, epoch: Epoch(1) }
}

pub(crate) fn agent_added(name: &str, total: &str) -> Input {
    Input::AgentAdded { agent: agent(name), facts: facts(total), used: vec![] }
}

pub(crate) fn subscribed(roles: &[&str]) -> FrameworkFacts {
    FrameworkFacts {
        roles: roles.iter().map(|r| role(r)).collect(),
        active: true,
        ..FrameworkFacts::default()
    }
}

pub(crate) fn framework_added(name: &str, roles: &[&str]) -> Input {
    Input::FrameworkUpdated { framework: framework(name), facts: Box::new(subscribed(roles)) }
}

pub(crate) fn revived(name: &str) -> Input {
    Input::Revived { framework: framework(name), roles: BTreeSet::new() }
}

pub(crate) fn suppressed(name: &str) -> Input {
    Input::Suppressed { framework: framework(name), roles: BTreeSet::new() }
}

pub(crate) fn refuse_secs(secs: u64) -> Option<Refusal> {
    Some(Refusal { span: Span::from_secs(secs) })
}
