//! Wire resources to books and back.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_types::{
    Identity, Range, Ranges, Reservation, ReservationKind, Resource, ResourceName, Resources, Role,
    Scalar, Value,
};
use tepui_wire::v1::{self, resource::reservation_info, value};

/// Which reservation fields a reader understands (`spec/mesos-http.md` 8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `reservations` only.
    PostRefinement,
    /// `role` and `reservation`.
    PreRefinement,
}

/// Why a resource on the wire is not one of the books.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidResource {
    /// It has no name.
    #[error("a resource has an empty name")]
    Unnamed,
    /// Its type and its body do not agree, or the type is not one for resources.
    #[error("resource '{0}' has a type without exactly that value")]
    Type(String),
    /// Its amount is not an amount.
    #[error("resource '{0}': {1}")]
    Amount(String, String),
    /// Its role or reservation is wrong.
    #[error("resource '{0}': {1}")]
    Reservation(String, String),
    /// It is of a kind that is not known.
    #[error("resource '{0}': {1} are not supported")]
    Unsupported(String, &'static str),
    /// It cannot be added to another one.
    #[error("resource '{0}' is given twice with different types or common items")]
    Clash(String),
}

/// Reads a list of wire resources into a bundle.
pub(crate) fn parse_resources(list: &[v1::Resource]) -> Result<Resources, InvalidResource> {
    let mut all = Resources::new();
    for wire in list {
        let resource = parse_resource(wire)?;
        let one = Resources::from_iter([resource]);
        if all.overlaps(&one) || one.iter().any(|entry| !all.add(entry)) {
            return Err(InvalidResource::Clash(wire.name.clone()));
        }
    }
    Ok(all)
}

/// The only role that the resources are allocated to; `None` when none says.
///
/// # Errors
/// The text of a role that is none, or a note that there are several.
pub(crate) fn allocation_role(list: &[v1::Resource]) -> Result<Option<Role>, String> {
    let mut found: Option<&str> = None;
    for resource in list {
        let Some(role) = resource.allocation_info.as_ref().and_then(|a| a.role.as_deref()) else {
            continue;
        };
        if found.is_some_and(|other| other != role) {
            return Err("The resources have multiple allocation roles".into());
        }
        found = Some(role);
    }
    found.map(|role| Role::parse(role).map_err(|error| error.to_string())).transpose()
}

fn parse_resource(wire: &v1::Resource) -> Result<Resource, InvalidResource> {
    if wire.name.is_empty() {
        return Err(InvalidResource::Unnamed);
    }
    let unsupported = |what| Err(InvalidResource::Unsupported(wire.name.clone(), what));
    if wire.disk.is_some() {
        return unsupported("volumes and disk sources");
    }
    if wire.shared.is_some() {
        return unsupported("shared resources");
    }
    if wire.provider_id.is_some() {
        return unsupported("resource providers");
    }
    let identity = Identity {
        name: ResourceName::new(&wire.name),
        reservations: parse_reservations(wire)?,
        revocable: wire.revocable.is_some(),
    };
    Ok(Resource { identity, value: parse_value(wire)? })
}

fn parse_value(wire: &v1::Resource) -> Result<Value, InvalidResource> {
    let mismatch = || InvalidResource::Type(wire.name.clone());
    match (value::Type::try_from(wire.r#type), &wire.scalar, &wire.ranges, &wire.set) {
        (Ok(value::Type::Scalar), Some(scalar), None, None) => parse_scalar(wire, scalar.value),
        (Ok(value::Type::Ranges), None, Some(ranges), None) => parse_ranges(wire, ranges),
        (Ok(value::Type::Set), None, None, Some(set)) => {
            let items: BTreeSet<Arc<str>> = set.item.iter().map(|item| Arc::from(&**item)).collect();
            if items.len() < set.item.len() {
                return Err(InvalidResource::Clash(wire.name.clone()));
            }
            Ok(Value::Set(items))
        }
        _ => Err(mismatch()),
    }
}

fn parse_scalar(wire: &v1::Resource, number: f64) -> Result<Value, InvalidResource> {
    let amount = Scalar::parse(number)
        .map_err(|error| InvalidResource::Amount(wire.name.clone(), error.to_string()))?;
    if wire.name == "gpus" && amount.as_milli() % 1000 != 0 {
        let why = "the 'gpus' resource must be an unsigned integer";
        return Err(InvalidResource::Amount(wire.name.clone(), why.into()));
    }
    Ok(Value::Scalar(amount))
}

fn parse_ranges(wire: &v1::Resource, ranges: &value::Ranges) -> Result<Value, InvalidResource> {
    let list = ranges
        .range
        .iter()
        .map(|range| Range::new(range.begin, range.end))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| InvalidResource::Amount(wire.name.clone(), error.to_string()))?;
    let count = list.iter().fold(0_u64, |sum, range| sum.saturating_add(range.len()));
    let union = Ranges::from_ranges(list);
    if union.count() < count {
        return Err(InvalidResource::Clash(wire.name.clone()));
    }
    Ok(Value::Ranges(union))
}

#[allow(deprecated)]
fn parse_reservations(wire: &v1::Resource) -> Result<Arc<[Reservation]>, InvalidResource> {
    let bad = |why: String| InvalidResource::Reservation(wire.name.clone(), why);
    let old_role = wire.role.as_deref().filter(|role| *role != "*");
    if !wire.reservations.is_empty() {
        let mut stack: Vec<Reservation> = Vec::with_capacity(wire.reservations.len());
        for one in &wire.reservations {
            let role = Role::parse(one.role()).map_err(|error| bad(error.to_string()))?;
            let kind = match one.r#type() {
                reservation_info::Type::Static => ReservationKind::Static,
                reservation_info::Type::Dynamic => ReservationKind::Dynamic,
                reservation_info::Type::Unknown => {
                    return Err(bad("'Resource.ReservationInfo.type' must be set".into()));
                }
            };
            if role.is_default() {
                return Err(bad("a resource cannot be reserved to role '*'".into()));
            }
            if let Some(outer) = stack.last() {
                if kind == ReservationKind::Static {
                    return Err(bad("a refined reservation cannot be STATIC".into()));
                }
                if role == outer.role || !role.is_within(&outer.role) {
                    return Err(bad(format!(
                        "role '{role}' is not a refinement of '{}'",
                        outer.role
                    )));
                }
            }
            stack.push(reservation(kind, role, one));
        }
        return Ok(stack.into());
    }
    match (old_role, &wire.reservation) {
        (None, None) => Ok(Arc::default()),
        (None, Some(_)) => Err(bad("a resource of role '*' cannot be dynamically reserved".into())),
        (Some(role), reserved) => {
            let role = Role::parse(role).map_err(|error| bad(error.to_string()))?;
            let one = match reserved {
                None => Reservation {
                    kind: ReservationKind::Static,
                    role,
                    principal: None,
                    labels: Vec::new(),
                },
                Some(info) if info.role.is_none() && info.r#type.is_none() => {
                    reservation(ReservationKind::Dynamic, role, info)
                }
                Some(_) => {
                    return Err(bad(
                        "'Resource.reservation' must not have a role or a type".into()
                    ));
                }
            };
            Ok(Arc::from([one]))
        }
    }
}

fn reservation(
    kind: ReservationKind,
    role: Role,
    wire: &v1::resource::ReservationInfo,
) -> Reservation {
    let labels = wire.labels.iter().flat_map(|labels| &labels.labels);
    Reservation {
        kind,
        role,
        principal: wire.principal.as_deref().map(Arc::from),
        labels: labels
            .map(|label| (Arc::from(&*label.key), label.value.as_deref().map(Arc::from)))
            .collect(),
    }
}

/// Writes a bundle as wire resources, allocated to `role` when given.
pub(crate) fn write_resources(
    bundle: &Resources,
    role: Option<&Role>,
    format: Format,
) -> Vec<v1::Resource> {
    bundle.iter().map(|resource| write_resource(resource, role, format)).collect()
}

fn write_resource(resource: &Resource, role: Option<&Role>, format: Format) -> v1::Resource {
    let mut wire = v1::Resource {
        name: resource.identity.name.as_str().to_owned(),
        allocation_info: role.map(allocated_to),
        revocable: resource.identity.revocable.then(v1::resource::RevocableInfo::default),
        ..v1::Resource::default()
    };
    match &resource.value {
        Value::Scalar(amount) => {
            wire.r#type = value::Type::Scalar.into();
            wire.scalar = Some(value::Scalar { value: amount.as_f64() });
        }
        Value::Ranges(ranges) => {
            wire.r#type = value::Type::Ranges.into();
            let range = ranges.iter().map(|r| value::Range { begin: r.begin(), end: r.end() });
            wire.ranges = Some(value::Ranges { range: range.collect() });
        }
        Value::Set(items) => {
            wire.r#type = value::Type::Set.into();
            let item = items.iter().map(|item| (**item).to_owned()).collect();
            wire.set = Some(value::Set { item });
        }
    }
    write_reservations(&resource.identity.reservations, format, &mut wire);
    wire
}

#[allow(deprecated)]
fn write_reservations(stack: &[Reservation], format: Format, wire: &mut v1::Resource) {
    match (format, stack) {
        (Format::PreRefinement, []) => wire.role = Some("*".into()),
        (Format::PreRefinement, [only]) => {
            wire.role = Some(only.role.to_string());
            if only.kind == ReservationKind::Dynamic {
                wire.reservation = Some(v1::resource::ReservationInfo {
                    role: None,
                    r#type: None,
                    ..write_reservation(only)
                });
            }
        }
        _ => wire.reservations = stack.iter().map(write_reservation).collect(),
    }
}

fn write_reservation(one: &Reservation) -> v1::resource::ReservationInfo {
    let kind = match one.kind {
        ReservationKind::Static => reservation_info::Type::Static,
        ReservationKind::Dynamic => reservation_info::Type::Dynamic,
    };
    let labels = one.labels.iter().map(|(key, value)| v1::Label {
        key: (**key).to_owned(),
        value: value.as_deref().map(str::to_owned),
    });
    v1::resource::ReservationInfo {
        r#type: Some(kind.into()),
        role: Some(one.role.to_string()),
        principal: one.principal.as_deref().map(str::to_owned),
        labels: (!one.labels.is_empty()).then(|| v1::Labels { labels: labels.collect() }),
    }
}

/// The allocation to a role.
pub(crate) fn allocated_to(role: &Role) -> v1::resource::AllocationInfo {
    v1::resource::AllocationInfo { role: Some(role.to_string()) }
}
