//! A framework's description (`spec/mesos-http.md` 1.1, "FrameworkInfo fields").

use std::collections::{BTreeMap, BTreeSet};

use tepui_allocator::Minimum;
use tepui_types::{FrameworkId, ResourceName, Role, Scalar, Span};
use tepui_wire::v1::{self, framework_info::capability, scheduler};

use super::{Fault, refuse_if};
use crate::Config;
use crate::constraints::Constraints;
use crate::state::Abilities;

/// Timeouts above this are not a duration that Mesos takes: what 64 bits of nanoseconds hold.
const MAX_TIMEOUT_SECONDS: f64 = 9.2e9;

/// What a valid description means.
#[derive(Clone, Debug)]
pub(crate) struct FrameworkTerms {
    pub(crate) abilities: Abilities,
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) suppressed: BTreeSet<Role>,
    pub(crate) failover_timeout: Span,
    pub(crate) minimum: BTreeMap<Role, Minimum>,
    pub(crate) constraints: Constraints,
}

/// Reads a description as SUBSCRIBE and UPDATE_FRAMEWORK give it.
pub(crate) fn read_framework(
    info: &v1::FrameworkInfo,
    suppressed: &[String],
    constraints: Option<&scheduler::OfferConstraints>,
    config: &Config,
) -> Result<FrameworkTerms, Fault> {
    refuse_if(
        info.user == "root" && !config.root_submissions,
        "User 'root' is not allowed to run frameworks without root submissions enabled",
    )?;
    if let Some(id) = &info.id {
        FrameworkId::parse(&id.value).map_err(|error| format!("Invalid framework id: {error}"))?;
    }
    let abilities = read_abilities(&info.capabilities);
    let roles = read_roles(info, abilities, config)?;
    let suppressed = read_suppressed(suppressed, &roles)?;
    let constraints = Constraints::read(constraints, &roles)?;
    Ok(FrameworkTerms {
        abilities,
        failover_timeout: read_timeout(info.failover_timeout())?,
        minimum: read_minimum(info)?,
        roles,
        suppressed,
        constraints,
    })
}

/// What the capabilities mean; unknown ones are ignored.
pub(crate) fn read_abilities(capabilities: &[v1::framework_info::Capability]) -> Abilities {
    let mut abilities = Abilities::default();
    for one in capabilities {
        match one.r#type() {
            capability::Type::Unknown => {}
            capability::Type::RevocableResources => abilities.revocable_resources = true,
            capability::Type::TaskKillingState => abilities.task_killing_state = true,
            capability::Type::GpuResources => abilities.gpu_resources = true,
            capability::Type::SharedResources => abilities.shared_resources = true,
            capability::Type::PartitionAware => abilities.partition_aware = true,
            capability::Type::MultiRole => abilities.multi_role = true,
            capability::Type::ReservationRefinement => abilities.reservation_refinement = true,
            capability::Type::RegionAware => abilities.region_aware = true,
        }
    }
    abilities
}

#[allow(deprecated)]
fn read_roles(
    info: &v1::FrameworkInfo,
    abilities: Abilities,
    config: &Config,
) -> Result<BTreeSet<Role>, Fault> {
    let parse = |text: &str| Role::parse(text).map_err(|error| format!("Invalid role: {error}"));
    let roles = if abilities.multi_role {
        refuse_if(
            info.role.is_some(),
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable",
        )?;
        let roles =
            info.roles.iter().map(|role| parse(role)).collect::<Result<BTreeSet<_>, _>>()?;
        refuse_if(
            roles.len() < info.roles.len(),
            "'FrameworkInfo.roles' must not contain duplicate items",
        )?;
        roles
    } else {
        refuse_if(
            !info.roles.is_empty(),
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable",
        )?;
        BTreeSet::from([parse(info.role.as_deref().unwrap_or("*"))?])
    };
    if let Some(allowed) = &config.roles
        && let Some(stranger) = roles.iter().find(|role| !allowed.contains(*role))
    {
        return Err(format!("Role '{stranger}' is not present in the master's --roles"));
    }
    Ok(roles)
}

fn read_suppressed(names: &[String], roles: &BTreeSet<Role>) -> Result<BTreeSet<Role>, Fault> {
    names
        .iter()
        .map(|name| {
            roles.get(&**name).cloned().ok_or_else(|| {
                format!("Suppressed role '{name}' is not contained in the framework's roles")
            })
        })
        .collect()
}

fn read_timeout(seconds: f64) -> Result<Span, Fault> {
    Span::from_secs_f64(seconds).filter(|_| seconds <= MAX_TIMEOUT_SECONDS).ok_or_else(|| {
        format!(
            "The framework's failover_timeout ({seconds}) is not a valid duration: give a finite \
             number of seconds, zero or more"
        )
    })
}

/// What `offer_filters` ask for.
pub(crate) fn read_minimum(info: &v1::FrameworkInfo) -> Result<BTreeMap<Role, Minimum>, Fault> {
    let mut all = BTreeMap::new();
    for (name, filters) in &info.offer_filters {
        let role =
            Role::parse(name).map_err(|error| format!("Invalid role in offer_filters: {error}"))?;
        let Some(minimum) = &filters.min_allocatable_resources else { continue };
        let alternatives = minimum
            .quantities
            .iter()
            .map(|alternative| read_quantities(&alternative.quantities))
            .collect::<Result<Vec<_>, _>>()?;
        all.insert(role, Minimum(alternatives));
    }
    Ok(all)
}

fn read_quantities(
    quantities: &BTreeMap<String, v1::value::Scalar>,
) -> Result<Vec<(ResourceName, Scalar)>, Fault> {
    refuse_if(quantities.is_empty(), "Resource quantities must contain at least one quantity")?;
    quantities
        .iter()
        .map(|(name, scalar)| {
            refuse_if(name.is_empty(), "A resource quantity has an empty name")?;
            Scalar::parse(scalar.value)
                .map(|amount| (ResourceName::new(name), amount))
                .map_err(|error| format!("Invalid resource quantity for '{name}': {error}"))
        })
        .collect()
}
