use tepui_types::Role;

/// What the operator configured that decides how definitions are read
/// (`marathon-behaviour.md` section 17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Role of apps that name none (`--mesos_role`).
    pub default_role: Role,
    /// `acceptedResourceRoles` of apps that name none.
    pub default_accepted_resource_roles: Option<Vec<String>>,
    /// Name of the container network of apps that name none.
    pub default_network_name: Option<String>,
    /// Network name that deprecated `ipAddress` objects use for the bridge.
    pub mesos_bridge_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_role: Role::default_role(),
            default_accepted_resource_roles: None,
            default_network_name: None,
            mesos_bridge_name: "mesos-bridge".to_owned(),
        }
    }
}
