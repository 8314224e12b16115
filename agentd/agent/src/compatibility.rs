//! Whether an agent may keep its id when its description changed (`spec/mesos-http.md` 7).

use tepui_wire::{
    resources,
    v1::{self, AgentInfo, value},
};

use crate::config::Reconfiguration;

/// Name of the attribute that says which isolators are in force.
pub const ISOLATION_ATTRIBUTE: &str = "isolation";

/// Attributes that the agent finds out about its host by itself. They are no part of what the
/// operator decided: a host that gains or loses a feature is the same agent.
pub const FOUND_ATTRIBUTES: &[&str] = &["port_enforcement", ISOLATION_ATTRIBUTE];

fn is_decided(attribute: &v1::Attribute) -> bool {
    !FOUND_ATTRIBUTES.contains(&attribute.name.as_str())
}

/// Why the agent's id cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the agent's {what} changed incompatibly since it registered: {change}; restore the former \
     configuration, choose the reconfiguration policy 'additive' if that allows the change, or \
     remove the work directory to start as a new agent"
)]
pub struct Incompatible {
    /// Which part.
    pub what: &'static str,
    /// From what to what.
    pub change: String,
}

fn differs(what: &'static str, from: &str, to: &str) -> Incompatible {
    Incompatible { what, change: format!("it was {from} and is {to}") }
}

/// Whether `now` may take over the id of `then`.
pub(crate) fn check(
    policy: Reconfiguration,
    then: &AgentInfo,
    now: &AgentInfo,
) -> Result<(), Incompatible> {
    if then.hostname != now.hostname {
        return Err(differs("hostname", &then.hostname, &now.hostname));
    }
    if then.port() != now.port() {
        return Err(differs("port", &then.port().to_string(), &now.port().to_string()));
    }
    match policy {
        Reconfiguration::Equal => equal(then, now),
        Reconfiguration::Additive => additive(then, now),
    }
}

fn equal(then: &AgentInfo, now: &AgentInfo) -> Result<(), Incompatible> {
    let (former, present) = (amounts(then), amounts(now));
    if former != present {
        return Err(differs("resources", &former.to_string(), &present.to_string()));
    }
    let sorted = |info: &AgentInfo| {
        let decided = info.attributes.iter().filter(|one| is_decided(one));
        let mut list: Vec<_> = decided.map(attribute_text).collect();
        list.sort();
        list
    };
    if sorted(then) != sorted(now) {
        let text = |info| format!("'{}'", sorted(info).join(";"));
        return Err(differs("attributes", &text(then), &text(now)));
    }
    if then.domain != now.domain {
        return Err(differs("domain", &domain_text(then), &domain_text(now)));
    }
    Ok(())
}

fn additive(then: &AgentInfo, now: &AgentInfo) -> Result<(), Incompatible> {
    let (former, present) = (amounts(then), amounts(now));
    if !present.contains(&former) {
        return Err(differs("resources", &former.to_string(), &present.to_string()));
    }
    for attribute in then.attributes.iter().filter(|one| is_decided(one)) {
        let kept =
            now.attributes.iter().any(|one| one.name == attribute.name && grows(attribute, one));
        if !kept {
            let change = format!("'{}' was removed or changed", attribute_text(attribute));
            return Err(Incompatible { what: "attributes", change });
        }
    }
    if then.domain.is_some() && then.domain != now.domain {
        return Err(differs("domain", &domain_text(then), &domain_text(now)));
    }
    Ok(())
}

fn amounts(info: &AgentInfo) -> tepui_types::Resources {
    resources::decode(&info.resources).map(|decoded| decoded.resources).unwrap_or_default()
}

fn grows(then: &v1::Attribute, now: &v1::Attribute) -> bool {
    let ranges = |one: &v1::Attribute| {
        one.ranges.as_ref().and_then(|ranges| resources::ranges_from_wire(ranges).ok())
    };
    match (ranges(then), ranges(now)) {
        (Some(former), Some(present)) => present.contains_all(&former),
        _ => then == now,
    }
}

fn attribute_text(attribute: &v1::Attribute) -> String {
    let value = match attribute.r#type() {
        value::Type::Scalar => attribute.scalar.map(|one| one.value.to_string()),
        value::Type::Text => attribute.text.as_ref().map(|one| one.value.clone()),
        value::Type::Ranges => attribute
            .ranges
            .as_ref()
            .and_then(|one| resources::ranges_from_wire(one).ok())
            .map(|ranges| ranges.to_string()),
        value::Type::Set => attribute.set.as_ref().map(|one| format!("{{{}}}", one.item.join(","))),
    };
    format!("{}:{}", attribute.name, value.unwrap_or_default())
}

fn domain_text(info: &AgentInfo) -> String {
    let fault = info.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
    fault.map_or_else(
        || "none".to_owned(),
        |fault| format!("{}/{}", fault.region.name, fault.zone.name),
    )
}
