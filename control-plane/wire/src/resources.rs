//! Resources between the wire and the books (`mesos-http.md` sections 8.2 and 8.6).
//!
//! On the wire each resource carries its reservations in one of three formats and the role it is
//! allocated to; in the books ([`Resources`]) reservations are a stack and the role is kept beside
//! the bundle. [`decode`] accepts every format and checks everything 8.6 asks for; [`encode`]
//! writes the format its reader understands.

mod reservations;
mod text;
mod value;

use tepui_types::{Identity, InvalidRole, Resource, ResourceName, Resources, Role, Value};

use crate::v1::{self, resource::disk_info::source};

pub use reservations::ReservationFault;
pub use text::{ResourceTextError, parse_text};
pub use value::{ValueFault, ranges_from_wire, ranges_to_wire, scalar_to_wire};

/// How reservations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `role` and `reservation`; for frameworks without the capability RESERVATION_REFINEMENT.
    PreRefinement,
    /// `reservations` only; for frameworks with that capability.
    PostRefinement,
    /// Both while there is at most one reservation, else `reservations` only; for answers of HTTP
    /// endpoints.
    Endpoint,
}

/// Resources as a message carried them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// The bundle.
    pub resources: Resources,
    /// The role in `allocation_info`, if any resource names one. Those without count as
    /// allocated to it too.
    pub allocated_to: Option<Role>,
}

/// A resource in a message is invalid. The text is fit for clients.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("resource '{name}' (number {index} of the list) is invalid: {fault}")]
pub struct ResourceError {
    /// Its name.
    pub name: String,
    /// Its place in the list, from 0.
    pub index: usize,
    /// What is wrong.
    pub fault: ResourceFault,
}

/// What is wrong with a resource.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ResourceFault {
    /// The name is empty.
    #[error("its name is empty")]
    NoName,
    /// The amount is missing or illegal.
    #[error(transparent)]
    Value(#[from] ValueFault),
    /// The reservations are illegal.
    #[error(transparent)]
    Reservation(#[from] ReservationFault),
    /// The role in `allocation_info` is illegal.
    #[error("its allocation_info names a bad role: {0}")]
    Allocation(InvalidRole),
    /// Not all resources of the list are allocated to the same role.
    #[error("it is allocated to role '{found}', others of the list to '{others}'")]
    SeveralRoles {
        /// The role of this resource.
        found: Role,
        /// The role of those before it.
        others: Role,
    },
    /// Two entries of one identity have different types.
    #[error("an earlier entry of the same name has another type")]
    MixedTypes,
    /// `disk` on something else than disk.
    #[error("only resources named 'disk' may carry disk information")]
    NotDisk,
    /// A disk source that cannot be.
    #[error("its disk source is invalid: {0}")]
    DiskSource(&'static str),
    /// `shared` without a persistent volume.
    #[error("only persistent volumes can be shared")]
    Shared,
    /// Legal in Mesos, not offered by this cluster.
    #[error("{0} are not offered by this cluster")]
    NotOffered(&'static str),
}

/// Checks and converts resources of a message, in any format.
///
/// # Errors
///
/// Names the first invalid resource and what is wrong with it.
pub fn decode(list: &[v1::Resource]) -> Result<Decoded, ResourceError> {
    let mut decoded = Decoded::default();
    for (index, wire) in list.iter().enumerate() {
        add(wire, &mut decoded).map_err(|fault| ResourceError {
            name: crate::path::shortened(&wire.name, 64),
            index,
            fault,
        })?;
    }
    Ok(decoded)
}

fn add(wire: &v1::Resource, decoded: &mut Decoded) -> Result<(), ResourceFault> {
    if wire.name.is_empty() {
        return Err(ResourceFault::NoName);
    }
    let name = ResourceName::new(&wire.name);
    let value = value::from_wire(wire)?;
    value::check_kind(&name, &value)?;
    let reservations = reservations::from_wire(wire)?;
    check_disk(wire)?;
    if let Some(role) = wire.allocation_info.as_ref().and_then(|info| info.role.as_deref()) {
        let found = Role::parse(role).map_err(ResourceFault::Allocation)?;
        match &decoded.allocated_to {
            Some(others) if *others != found => {
                return Err(ResourceFault::SeveralRoles { found, others: others.clone() });
            }
            _ => decoded.allocated_to = Some(found),
        }
    }
    let revocable = wire.revocable.is_some();
    let identity = Identity { name, reservations: reservations.into(), revocable };
    if !decoded.resources.add(&Resource { identity, value }) {
        return Err(ResourceFault::MixedTypes);
    }
    Ok(())
}

fn check_disk(wire: &v1::Resource) -> Result<(), ResourceFault> {
    let persistent = wire.disk.as_ref().is_some_and(|disk| disk.persistence.is_some());
    if let Some(disk) = &wire.disk {
        if wire.name != "disk" {
            return Err(ResourceFault::NotDisk);
        }
        if let Some(source) = &disk.source {
            check_disk_source(source)?;
            return Err(ResourceFault::NotOffered("disk sources"));
        }
    }
    if wire.shared.is_some() && !persistent {
        return Err(ResourceFault::Shared);
    }
    if persistent || wire.disk.as_ref().is_some_and(|disk| disk.volume.is_some()) {
        return Err(ResourceFault::NotOffered("persistent volumes"));
    }
    if wire.provider_id.is_some() {
        return Err(ResourceFault::NotOffered("resources of resource providers"));
    }
    Ok(())
}

fn check_disk_source(source: &v1::resource::disk_info::Source) -> Result<(), ResourceFault> {
    let (path, mount) = (source.path.is_some(), source.mount.is_some());
    let fault = match source::Type::try_from(source.r#type) {
        Err(_) | Ok(source::Type::Unknown) => "its type is unknown",
        Ok(source::Type::Path) if mount => "a PATH source has 'path' and not 'mount'",
        Ok(source::Type::Mount) if path => "a MOUNT source has 'mount' and not 'path'",
        Ok(source::Type::Block | source::Type::Raw) if path || mount => {
            "BLOCK and RAW sources have neither 'path' nor 'mount'"
        }
        Ok(_) => return Ok(()),
    };
    Err(ResourceFault::DiskSource(fault))
}

/// Resources as a message carries them.
///
/// A stack of several reservations has no pre-refinement form and is written in the other one;
/// it is never offered to frameworks without the capability. `allocated_to` is left out for those
/// that do not have MULTI_ROLE, and in messages about an agent's total.
pub fn encode(
    resources: &Resources,
    format: Format,
    allocated_to: Option<&Role>,
) -> Vec<v1::Resource> {
    let allocation = allocated_to
        .map(|role| v1::resource::AllocationInfo { role: Some(role.as_str().to_owned()) });
    resources.iter().map(|resource| encode_one(resource, format, allocation.clone())).collect()
}

fn encode_one(
    resource: &Resource,
    format: Format,
    allocation_info: Option<v1::resource::AllocationInfo>,
) -> v1::Resource {
    let identity = &resource.identity;
    let mut wire = v1::Resource {
        name: identity.name.as_str().to_owned(),
        allocation_info,
        revocable: identity.revocable.then_some(v1::resource::RevocableInfo {}),
        ..v1::Resource::default()
    };
    value::to_wire(&resource.value, &mut wire);
    reservations::to_wire(&identity.reservations, format, &mut wire);
    wire
}

/// The kind of value that the well-known names have.
fn expected_kind(name: &ResourceName) -> Option<&'static str> {
    match name {
        ResourceName::Cpus | ResourceName::Gpus | ResourceName::Mem | ResourceName::Disk => {
            Some("SCALAR")
        }
        ResourceName::Ports => Some("RANGES"),
        ResourceName::Other(_) => None,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Scalar(_) => "SCALAR",
        Value::Ranges(_) => "RANGES",
        Value::Set(_) => "SET",
    }
}
