//! Offer constraints: which agents a framework wants to be offered in a role
//! (`spec/mesos-http.md` 8.7). A role without an entry is not constrained; an agent passes when
//! all constraints of any one group hold.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};
use tepui_types::Role;
use tepui_wire::v1::scheduler::attribute_constraint::{
    predicate::Predicate, selector, selector::PseudoattributeType,
};
use tepui_wire::v1::{self, scheduler, value};

use crate::validate::{Fault, refuse_if};

/// What a compiled pattern may take; Mesos bounds its own engine alike. Bytes.
const MAX_PATTERN_BYTES: usize = 256 * 1024;
/// How deep a pattern may nest.
const MAX_PATTERN_DEPTH: u32 = 50;

/// Constraints by role, ready to be asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Constraints(BTreeMap<Role, Vec<Vec<Constraint>>>);

#[derive(Clone, Debug)]
struct Constraint {
    selector: Selector,
    predicate: Test,
}

#[derive(Clone, Debug)]
enum Selector {
    Hostname,
    Region,
    Zone,
    Attribute(String),
}

#[derive(Clone, Debug)]
enum Test {
    Exists,
    NotExists,
    Equals(String),
    NotEquals(String),
    Matches(Regex),
    NotMatches(Regex),
}

/// What a selector finds on an agent.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    /// An attribute that is not text.
    Other,
}

impl Constraints {
    /// Reads constraints on roles that the framework subscribes to.
    pub(crate) fn read(
        wire: Option<&scheduler::OfferConstraints>,
        roles: &BTreeSet<Role>,
    ) -> Result<Self, Fault> {
        let mut all = BTreeMap::new();
        for (name, constraints) in wire.iter().flat_map(|wire| &wire.role_constraints) {
            let role = roles.get(&**name).ok_or_else(|| {
                format!(
                    "Offer constraints are given for role '{name}', to which the framework is \
                     not subscribed"
                )
            })?;
            refuse_if(
                constraints.groups.is_empty(),
                "Offer constraints of a role need at least one group",
            )?;
            let groups = constraints.groups.iter().map(read_group).collect::<Result<_, _>>()?;
            all.insert(role.clone(), groups);
        }
        Ok(Self(all))
    }

    /// True when an agent may be offered in a role.
    pub(crate) fn admit(&self, role: &Role, agent: &v1::AgentInfo) -> bool {
        self.0.get(role).is_none_or(|groups| {
            groups.iter().any(|group| group.iter().all(|constraint| constraint.holds(agent)))
        })
    }
}

fn read_group(
    group: &scheduler::offer_constraints::role_constraints::Group,
) -> Result<Vec<Constraint>, Fault> {
    refuse_if(
        group.attribute_constraints.is_empty(),
        "A group of offer constraints needs at least one constraint",
    )?;
    group.attribute_constraints.iter().map(Constraint::read).collect()
}

impl Constraint {
    fn read(wire: &scheduler::AttributeConstraint) -> Result<Self, Fault> {
        let selector = match &wire.selector.selector {
            Some(selector::Selector::AttributeName(name)) => Selector::Attribute(name.clone()),
            Some(selector::Selector::PseudoattributeType(kind)) => {
                match PseudoattributeType::try_from(*kind) {
                    Ok(PseudoattributeType::Hostname) => Selector::Hostname,
                    Ok(PseudoattributeType::Region) => Selector::Region,
                    Ok(PseudoattributeType::Zone) => Selector::Zone,
                    _ => return Err("Unknown pseudoattribute in an offer constraint".into()),
                }
            }
            None => return Err("An offer constraint has no selector".into()),
        };
        let predicate = match &wire.predicate.predicate {
            Some(Predicate::Exists(_)) => Test::Exists,
            Some(Predicate::NotExists(_)) => Test::NotExists,
            Some(Predicate::TextEquals(text)) => Test::Equals(text.value.clone()),
            Some(Predicate::TextNotEquals(text)) => Test::NotEquals(text.value.clone()),
            Some(Predicate::TextMatches(text)) => Test::Matches(compile(&text.regex)?),
            Some(Predicate::TextNotMatches(text)) => Test::NotMatches(compile(&text.regex)?),
            None => return Err("An offer constraint has no predicate".into()),
        };
        Ok(Self { selector, predicate })
    }

    fn holds(&self, agent: &v1::AgentInfo) -> bool {
        let found = self.selector.find(agent);
        match (&self.predicate, found) {
            (Test::Exists, found) => !matches!(found, Found::Nothing),
            (Test::NotExists, found) => matches!(found, Found::Nothing),
            // Mesos lets agents pass whose attribute is of another type.
            (_, Found::Other) => true,
            (Test::Equals(_) | Test::Matches(_), Found::Nothing) => false,
            (Test::NotEquals(_) | Test::NotMatches(_), Found::Nothing) => true,
            (Test::Equals(text), Found::Text(found)) => text == found,
            (Test::NotEquals(text), Found::Text(found)) => text != found,
            (Test::Matches(pattern), Found::Text(found)) => pattern.is_match(found),
            (Test::NotMatches(pattern), Found::Text(found)) => !pattern.is_match(found),
        }
    }
}

impl Selector {
    fn find<'a>(&self, agent: &'a v1::AgentInfo) -> Found<'a> {
        let fault = || agent.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        let text = match self {
            Self::Hostname => Some(agent.hostname.as_str()),
            Self::Region => fault().map(|domain| domain.region.name.as_str()),
            Self::Zone => fault().map(|domain| domain.zone.name.as_str()),
            Self::Attribute(name) => {
                let Some(first) = agent.attributes.iter().find(|one| one.name == *name) else {
                    return Found::Nothing;
                };
                if first.r#type() != value::Type::Text {
                    return Found::Other;
                }
                first.text.as_ref().map(|text| text.value.as_str())
            }
        };
        text.map_or(Found::Nothing, Found::Text)
    }
}

/// A pattern that must match the whole text. The engine takes time linear in the text.
fn compile(pattern: &str) -> Result<Regex, Fault> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
        .size_limit(MAX_PATTERN_BYTES)
        .dfa_size_limit(MAX_PATTERN_BYTES)
        .nest_limit(MAX_PATTERN_DEPTH)
        .build()
        .map_err(|error| format!("Invalid regex in an offer constraint: {error}"))
}
