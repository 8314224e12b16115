//! Where the cluster's books meet the wire's resources.

use tepui_types::{Resources, Role};
use tepui_wire::resources::{self, Decoded, ResourceError};
use tepui_wire::v1;

pub(crate) use tepui_wire::resources::Format;

/// Reads a list of wire resources, and the role that they are allocated to if any says so.
pub(crate) fn read(list: &[v1::Resource]) -> Result<Decoded, ResourceError> {
    resources::decode(list)
}

/// Writes a bundle as wire resources, allocated to `role` when given.
pub(crate) fn write(bundle: &Resources, role: Option<&Role>, format: Format) -> Vec<v1::Resource> {
    resources::encode(bundle, format, role)
}

/// The allocation to a role.
pub(crate) fn allocated_to(role: &Role) -> v1::resource::AllocationInfo {
    v1::resource::AllocationInfo { role: Some(role.to_string()) }
}
