//! From messages to the allocator's types. What comes from the other side is checked here, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_allocator::{
    AgentFacts, Epoch, FrameworkFacts, Input, Minimum, NoOffer, Plan, Proposal, Reason, Reclaim,
    Refusal, Weight, Work,
};
use tepui_types::{
    AgentId, FrameworkId, Identity, Mono, Range, Ranges, Reservation, ReservationKind, Resource,
    ResourceName, Resources, Role, Scalar, Span, Value,
};

use super as wire;
use crate::Malformed;

fn agent_id(text: &str) -> Result<AgentId, Malformed> {
    AgentId::parse(text).map_err(|error| Malformed::new("an agent's id", error))
}

fn framework_id(text: &str) -> Result<FrameworkId, Malformed> {
    FrameworkId::parse(text).map_err(|error| Malformed::new("a framework's id", error))
}

fn role(text: &str) -> Result<Role, Malformed> {
    Role::parse(text).map_err(|error| Malformed::new("a role", error))
}

fn roles(texts: &[String]) -> Result<BTreeSet<Role>, Malformed> {
    texts.iter().map(|text| role(text)).collect()
}

fn scalar(milli: u64) -> Result<Scalar, Malformed> {
    let amount = Scalar::from_milli(milli);
    if amount > Scalar::MAX {
        return Err(Malformed::new("an amount", format!("{milli} thousandths are too many")));
    }
    Ok(amount)
}

fn value(amount: Option<&wire::Amount>) -> Result<Value, Malformed> {
    Ok(match amount {
        None => return Err(Malformed::new("a resource", "it has no amount")),
        Some(wire::Amount::Milli(milli)) => Value::Scalar(scalar(*milli)?),
        Some(wire::Amount::Ranges(numbers)) => {
            let (pairs, rest) = numbers.bounds.as_chunks::<2>();
            if !rest.is_empty() {
                return Err(Malformed::new("a range", "it has no end"));
            }
            let range = |[begin, end]: &[u64; 2]| {
                Range::new(*begin, *end).map_err(|error| Malformed::new("a range", error))
            };
            let all: Vec<_> = pairs.iter().map(range).collect::<Result<_, _>>()?;
            Value::Ranges(Ranges::from_ranges(all))
        }
        Some(wire::Amount::Set(names)) => {
            Value::Set(names.names.iter().map(|name| name.as_str().into()).collect())
        }
    })
}

fn reservation(level: &wire::Reservation) -> Result<Reservation, Malformed> {
    let text = |text: &String| -> Arc<str> { text.as_str().into() };
    Ok(Reservation {
        kind: match level.dynamic {
            true => ReservationKind::Dynamic,
            false => ReservationKind::Static,
        },
        role: role(&level.role)?,
        principal: level.principal.as_ref().map(text),
        labels: level
            .labels
            .iter()
            .map(|label| (text(&label.name), label.value.as_ref().map(text)))
            .collect(),
    })
}

fn resources(all: &[wire::Resource]) -> Result<Resources, Malformed> {
    let mut bundle = Resources::new();
    for one in all {
        let levels: Vec<_> = one.reservations.iter().map(reservation).collect::<Result<_, _>>()?;
        let identity = Identity {
            name: ResourceName::new(&one.name),
            reservations: levels.into(),
            revocable: one.revocable,
        };
        let entry = Resource { identity, value: value(one.amount.as_ref())? };
        if !bundle.add(&entry) {
            let why = format!("'{}' has two types of value", one.name);
            return Err(Malformed::new("a bundle", why));
        }
    }
    Ok(bundle)
}

fn agent(message: Option<&wire::Agent>) -> Result<(AgentId, AgentFacts), Malformed> {
    let one = message.ok_or_else(|| Malformed::new("an input", "it names no agent"))?;
    let facts = AgentFacts {
        total: resources(&one.total)?,
        active: one.active,
        gpus_guarded: one.gpus_guarded,
        epoch: Epoch(one.epoch),
    };
    Ok((agent_id(&one.id)?, facts))
}

fn minimum(message: &wire::Minimum) -> Result<Minimum, Malformed> {
    let amount = |one: &wire::Resource| match one.amount {
        Some(wire::Amount::Milli(milli)) => Ok((ResourceName::new(&one.name), scalar(milli)?)),
        _ => Err(Malformed::new("a smallest offer", "an amount is no number")),
    };
    let least = |least: &wire::Least| least.amounts.iter().map(amount).collect();
    Ok(Minimum(message.any_of.iter().map(least).collect::<Result<_, _>>()?))
}

fn framework(one: &wire::Framework) -> Result<Input, Malformed> {
    let least = |one: &wire::Minimum| Ok((role(&one.role)?, minimum(one)?));
    let facts = FrameworkFacts {
        roles: roles(&one.roles)?,
        suppressed: roles(&one.suppressed)?,
        active: one.active,
        revocable: one.revocable,
        gpus: one.gpus,
        minimum: one.minimum.iter().map(least).collect::<Result<_, Malformed>>()?,
    };
    Ok(Input::FrameworkUpdated { framework: framework_id(&one.id)?, facts: Box::new(facts) })
}

fn share(one: &wire::Share) -> Result<(FrameworkId, Role, AgentId, Resources), Malformed> {
    let (framework, role) = (framework_id(&one.framework)?, role(&one.role)?);
    Ok((framework, role, agent_id(&one.agent)?, resources(&one.resources)?))
}

fn what(what: &wire::What) -> Result<Input, Malformed> {
    Ok(match what {
        wire::What::AgentAdded(one) => {
            let (agent, facts) = agent(one.agent.as_ref())?;
            let share = |one: &wire::Share| {
                Ok((framework_id(&one.framework)?, role(&one.role)?, resources(&one.resources)?))
            };
            let used = one.used.iter().map(share).collect::<Result<_, Malformed>>()?;
            Input::AgentAdded { agent, facts, used }
        }
        wire::What::AgentChanged(one) => {
            let (agent, facts) = agent(one.agent.as_ref())?;
            Input::AgentChanged { agent, facts, forget_filters: one.forget_filters }
        }
        wire::What::AgentRemoved(id) => Input::AgentRemoved(agent_id(id)?),
        wire::What::FrameworkUpdated(one) => framework(one)?,
        wire::What::FrameworkRemoved(id) => Input::FrameworkRemoved(framework_id(id)?),
        wire::What::Revived(one) => {
            Input::Revived { framework: framework_id(&one.framework)?, roles: roles(&one.roles)? }
        }
        wire::What::Suppressed(one) => Input::Suppressed {
            framework: framework_id(&one.framework)?,
            roles: roles(&one.roles)?,
        },
        wire::What::Released(one) => Input::Released {
            framework: framework_id(&one.framework)?,
            role: role(&one.role)?,
            agent: agent_id(&one.agent)?,
            resources: resources(&one.resources)?,
            refusal: one.refused_nanos.map(|nanos| Refusal { span: Span::from_nanos(nanos) }),
        },
        wire::What::OfferEnded(one) => {
            let offer = one.offer.as_ref();
            let offer = offer.ok_or_else(|| Malformed::new("an offer's end", "it has no offer"))?;
            let (framework, role, agent, offered) = share(offer)?;
            Input::OfferEnded { framework, role, agent, offered, used: resources(&one.used)? }
        }
        wire::What::Offered(one) => {
            let (framework, role, agent, resources) = share(one)?;
            Input::Offered { framework, role, agent, resources }
        }
        wire::What::Weights(all) => {
            let weight = |one: &wire::Weight| Ok((role(&one.role)?, Weight(one.milli)));
            Input::Weights(all.weights.iter().map(weight).collect::<Result<_, Malformed>>()?)
        }
        wire::What::Minimum(least) => Input::Minimum(minimum(least)?),
    })
}

fn each(bytes: &[u8]) -> Result<Vec<(Mono, Option<Input>)>, Malformed> {
    let message: wire::Told = wire::read("a list of inputs", bytes)?;
    let input = |one: &wire::Input| {
        Ok((Mono::from_nanos(one.at_nanos), one.what.as_ref().map(what).transpose()?))
    };
    message.inputs.iter().map(input).collect()
}

/// Inputs with their times, from bytes of [`wire::Told`].
///
/// # Errors
///
/// [`Malformed`] when the bytes are none, or one of them says nothing that this version knows.
pub fn told(bytes: &[u8]) -> Result<Vec<(Mono, Input)>, Malformed> {
    let unknown = || Malformed::new("an input", "this version does not know what it says");
    let known = |(at, input): (Mono, Option<Input>)| Ok((at, input.ok_or_else(unknown)?));
    each(bytes)?.into_iter().map(known).collect()
}

/// The same without those that this version does not know. Who may leave them out is an allocator
/// of the same version of its kind, which rises with the first input that none may leave out.
///
/// # Errors
///
/// [`Malformed`] when the bytes are none.
pub fn heard(bytes: &[u8]) -> Result<Vec<(Mono, Input)>, Malformed> {
    let known = |(at, input): (Mono, Option<Input>)| Some((at, input?));
    Ok(each(bytes)?.into_iter().filter_map(known).collect())
}

/// A plan.
///
/// # Errors
///
/// [`Malformed`] when a proposal makes no sense.
pub fn plan(message: &wire::Planned) -> Result<Plan, Malformed> {
    let proposal = |one: &wire::Share| {
        Ok(Proposal {
            framework: framework_id(&one.framework)?,
            role: role(&one.role)?,
            agent: agent_id(&one.agent)?,
            resources: resources(&one.resources)?,
            epoch: Epoch(one.epoch),
        })
    };
    let reclaim = |one: &wire::Reclaim| {
        let from = one.share.as_ref();
        let from = from.ok_or_else(|| Malformed::new("a reclaim", "it names nobody"))?;
        let (framework, owner, agent, revocable) = share(from)?;
        let beneficiary = role(&one.beneficiary)?;
        Ok(Reclaim { framework, role: owner, agent, revocable, beneficiary })
    };
    Ok(Plan {
        reclaims: message.reclaims.iter().map(reclaim).collect::<Result<_, Malformed>>()?,
        proposals: message.proposals.iter().map(proposal).collect::<Result<_, Malformed>>()?,
        work: Work { agents: message.agents, pairs: message.pairs },
    })
}

/// Reasons. One that this version does not know is read as "not its turn".
///
/// # Errors
///
/// [`Malformed`] when a role, an id or an amount makes no sense.
pub fn reasons(message: &wire::Explained) -> Result<Vec<Reason>, Malformed> {
    let reason = |one: &wire::Reason| {
        let why = match one.why {
            1 => NoOffer::FrameworkInactive,
            2 => NoOffer::Suppressed,
            3 => NoOffer::AgentInactive,
            4 => NoOffer::NothingFree,
            5 => {
                NoOffer::BelowMinimum { cpus: scalar(one.cpus_milli)?, mem: scalar(one.mem_milli)? }
            }
            6 => NoOffer::Filtered { remaining: Span::from_nanos(one.remaining_nanos) },
            7 => NoOffer::NeedsGpuCapability,
            _ => NoOffer::NotItsTurn,
        };
        let agent = one.agent.as_deref().map(agent_id).transpose()?;
        Ok(Reason { role: role(&one.role)?, agent, why })
    };
    message.reasons.iter().map(reason).collect()
}

/// Refusals by role.
///
/// # Errors
///
/// [`Malformed`] when a role is none.
pub fn refusals(message: &wire::Refusals) -> Result<BTreeMap<Role, u64>, Malformed> {
    message.by_role.iter().map(|one| Ok((role(&one.role)?, one.count))).collect()
}
