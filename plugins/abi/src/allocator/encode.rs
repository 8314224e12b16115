//! From the allocator's types to messages.

use std::collections::BTreeMap;

use tepui_allocator::{
    AgentFacts, FrameworkFacts, Input, Minimum, NoOffer, Plan, Proposal, Reason, Reclaim, Refusal,
};
use tepui_types::{
    AgentId, FrameworkId, Mono, ReservationKind, ResourceName, Resources, Role, Scalar, Value,
};

use super as wire;

fn texts<'a>(roles: impl IntoIterator<Item = &'a Role>) -> Vec<String> {
    roles.into_iter().map(|role| role.as_str().to_owned()).collect()
}

fn reservation(level: &tepui_types::Reservation) -> wire::Reservation {
    wire::Reservation {
        dynamic: level.kind == ReservationKind::Dynamic,
        role: level.role.as_str().to_owned(),
        principal: level.principal.as_deref().map(str::to_owned),
        labels: level
            .labels
            .iter()
            .map(|(name, value)| wire::Label {
                name: name.to_string(),
                value: value.as_deref().map(str::to_owned),
            })
            .collect(),
    }
}

fn resources(all: &Resources) -> Vec<wire::Resource> {
    let amount = |value: &Value| match value {
        Value::Scalar(amount) => wire::Amount::Milli(amount.as_milli()),
        Value::Ranges(ranges) => {
            let bounds = ranges.iter().flat_map(|range| [range.begin(), range.end()]);
            wire::Amount::Ranges(wire::Numbers { bounds: bounds.collect() })
        }
        Value::Set(items) => {
            let names = items.iter().map(|name| name.to_string());
            wire::Amount::Set(wire::Names { names: names.collect() })
        }
    };
    all.iter()
        .map(|entry| wire::Resource {
            name: entry.identity.name.as_str().to_owned(),
            reservations: entry.identity.reservations.iter().map(reservation).collect(),
            revocable: entry.identity.revocable,
            amount: Some(amount(&entry.value)),
        })
        .collect()
}

fn agent(id: &AgentId, facts: &AgentFacts) -> wire::Agent {
    wire::Agent {
        id: id.as_str().to_owned(),
        total: resources(&facts.total),
        active: facts.active,
        gpus_guarded: facts.gpus_guarded,
        epoch: facts.epoch.0,
    }
}

fn share(framework: &FrameworkId, role: &Role, agent: &AgentId, what: &Resources) -> wire::Share {
    wire::Share {
        framework: framework.as_str().to_owned(),
        role: role.as_str().to_owned(),
        agent: agent.as_str().to_owned(),
        resources: resources(what),
        epoch: 0,
        refused_nanos: None,
    }
}

fn minimum(role: Option<&Role>, minimum: &Minimum) -> wire::Minimum {
    let amount = |(name, least): &(ResourceName, Scalar)| wire::Resource {
        name: name.as_str().to_owned(),
        amount: Some(wire::Amount::Milli(least.as_milli())),
        ..wire::Resource::default()
    };
    let least = |all: &Vec<_>| wire::Least { amounts: all.iter().map(amount).collect() };
    wire::Minimum {
        role: role.map(|role| role.as_str().to_owned()).unwrap_or_default(),
        any_of: minimum.0.iter().map(least).collect(),
    }
}

fn framework(id: &FrameworkId, facts: &FrameworkFacts) -> wire::Framework {
    wire::Framework {
        id: id.as_str().to_owned(),
        roles: texts(&facts.roles),
        suppressed: texts(&facts.suppressed),
        active: facts.active,
        revocable: facts.revocable,
        gpus: facts.gpus,
        minimum: facts.minimum.iter().map(|(role, least)| minimum(Some(role), least)).collect(),
    }
}

fn what(input: &Input) -> wire::What {
    match input {
        Input::AgentAdded { agent: id, facts, used } => {
            let used = used.iter().map(|(who, role, what)| share(who, role, id, what));
            wire::What::AgentAdded(wire::Added {
                agent: Some(agent(id, facts)),
                used: used.collect(),
            })
        }
        Input::AgentChanged { agent: id, facts, forget_filters } => {
            wire::What::AgentChanged(wire::Changed {
                agent: Some(agent(id, facts)),
                forget_filters: *forget_filters,
            })
        }
        Input::AgentRemoved(id) => wire::What::AgentRemoved(id.as_str().to_owned()),
        Input::FrameworkUpdated { framework: id, facts } => {
            wire::What::FrameworkUpdated(framework(id, facts))
        }
        Input::FrameworkRemoved(id) => wire::What::FrameworkRemoved(id.as_str().to_owned()),
        Input::Revived { framework, roles } => wire::What::Revived(wire::Roles {
            framework: framework.as_str().to_owned(),
            roles: texts(roles),
        }),
        Input::Suppressed { framework, roles } => wire::What::Suppressed(wire::Roles {
            framework: framework.as_str().to_owned(),
            roles: texts(roles),
        }),
        Input::Released { framework, role, agent, resources, refusal } => {
            wire::What::Released(wire::Share {
                refused_nanos: refusal.map(|Refusal { span }| span.as_nanos()),
                ..share(framework, role, agent, resources)
            })
        }
        Input::OfferEnded { framework, role, agent, offered, used } => {
            wire::What::OfferEnded(wire::Ended {
                offer: Some(share(framework, role, agent, offered)),
                used: resources(used),
            })
        }
        Input::Offered { framework, role, agent, resources } => {
            wire::What::Offered(share(framework, role, agent, resources))
        }
        Input::Weights(all) => {
            let weight = |(role, weight): &(Role, tepui_allocator::Weight)| wire::Weight {
                role: role.as_str().to_owned(),
                milli: weight.0,
            };
            wire::What::Weights(wire::Weights { weights: all.iter().map(weight).collect() })
        }
        Input::Minimum(least) => wire::What::Minimum(minimum(None, least)),
    }
}

/// Inputs with their times, as bytes of [`wire::Told`].
pub fn tell<'a>(inputs: impl IntoIterator<Item = (Mono, &'a Input)>) -> Vec<u8> {
    let inputs = inputs
        .into_iter()
        .map(|(at, input)| wire::Input { at_nanos: at.as_nanos(), what: Some(what(input)) });
    wire::Message::encode_to_vec(&wire::Told { inputs: inputs.collect() })
}

/// How an allocator stands.
#[must_use]
pub fn state(allocator: &impl tepui_allocator::Allocate) -> wire::State {
    wire::State {
        dirty: allocator.is_dirty(),
        wakeup_nanos: allocator.next_wakeup().map(Mono::as_nanos),
    }
}

/// A plan.
#[must_use]
pub fn planned(plan: &Plan, state: wire::State) -> wire::Planned {
    let proposal = |one: &Proposal| wire::Share {
        epoch: one.epoch.0,
        ..share(&one.framework, &one.role, &one.agent, &one.resources)
    };
    let reclaim = |one: &Reclaim| wire::Reclaim {
        share: Some(share(&one.framework, &one.role, &one.agent, &one.revocable)),
        beneficiary: one.beneficiary.as_str().to_owned(),
    };
    wire::Planned {
        proposals: plan.proposals.iter().map(proposal).collect(),
        reclaims: plan.reclaims.iter().map(reclaim).collect(),
        agents: plan.work.agents,
        pairs: plan.work.pairs,
        state: Some(state),
    }
}

/// Reasons.
#[must_use]
pub fn explained(reasons: &[Reason]) -> wire::Explained {
    let one = |reason: &Reason| {
        let mut row = wire::Reason {
            role: reason.role.as_str().to_owned(),
            agent: reason.agent.as_ref().map(|agent| agent.as_str().to_owned()),
            ..wire::Reason::default()
        };
        row.why = match &reason.why {
            NoOffer::FrameworkInactive => 1,
            NoOffer::Suppressed => 2,
            NoOffer::AgentInactive => 3,
            NoOffer::NothingFree => 4,
            NoOffer::BelowMinimum { cpus, mem } => {
                (row.cpus_milli, row.mem_milli) = (cpus.as_milli(), mem.as_milli());
                5
            }
            NoOffer::Filtered { remaining } => {
                row.remaining_nanos = remaining.as_nanos();
                6
            }
            NoOffer::NeedsGpuCapability => 7,
            NoOffer::NotItsTurn => 8,
        };
        row
    };
    wire::Explained { reasons: reasons.iter().map(one).collect() }
}

/// Refusals by role.
#[must_use]
pub fn counted(by_role: &BTreeMap<Role, u64>) -> wire::Refusals {
    let count =
        |(role, count): (&Role, &u64)| wire::Count { role: role.to_string(), count: *count };
    wire::Refusals { by_role: by_role.iter().map(count).collect() }
}
