//! From an update to a whole app: merge, defaults, validation.

use tepui_types::{Role, Scalar};

use crate::app::{App, UnreachableStrategy, UpgradeStrategy, VersionInfo, is_single_instance};
use crate::container::{Container, Network, PortDefinition, PortMapping, Protocol, Volume};
use crate::health::HealthCheck;
use crate::number::Ratio;
use crate::path::AppId;
use crate::reject::Rejection;
use crate::settings::Settings;
use crate::update::AppUpdate;
use crate::validate;

impl AppUpdate {
    /// The app `id` after this update: fields that the update leaves out come from `base`, or are
    /// defaults when there is none.
    ///
    /// Merging is per top-level field. `enforced_role` is the role that the app's top-level group
    /// prescribes, if it does. `version` and `version_info` of the result are those of `base`: the
    /// caller decides on new ones. Service ports of 0 stay 0: the caller assigns them.
    ///
    /// # Errors
    /// 422 `Object is not valid` with everything that is wrong.
    pub fn complete(
        &self,
        id: &AppId,
        base: Option<&App>,
        enforced_role: Option<&Role>,
        settings: &Settings,
    ) -> Result<App, Rejection> {
        let app = self.merge(id, base, enforced_role, settings);
        let mut broken = self.broken.clone();
        let kept_role = base.map(|base| &base.role);
        validate::app(&app, kept_role, settings, &mut broken);
        if broken.is_empty() { Ok(app) } else { Err(Rejection::not_valid(broken)) }
    }

    /// A definition that was complete and valid when it was stored. Rules that are newer than it
    /// do not apply.
    pub(crate) fn complete_stored(&self, settings: &Settings) -> Result<App, Rejection> {
        let id = self.id.clone().ok_or_else(|| Rejection::new(422, "the definition has no id"))?;
        if !self.broken.is_empty() {
            return Err(Rejection::not_valid(self.broken.clone()));
        }
        let mut app = self.merge(&id, None, None, settings);
        app.accepted_resource_roles.clone_from(&self.accepted_resource_roles);
        app.version = self.version.unwrap_or_default();
        app.version_info = self.version_info.unwrap_or(VersionInfo {
            last_scaling_at: app.version,
            last_config_change_at: app.version,
        });
        Ok(app)
    }

    fn merge(
        &self,
        id: &AppId,
        base: Option<&App>,
        enforced_role: Option<&Role>,
        settings: &Settings,
    ) -> App {
        /// The update's value, else the base's, else the default.
        macro_rules! pick {
            ($field:ident, $default:expr) => {
                self.$field
                    .clone()
                    .or_else(|| base.map(|base| base.$field.clone()))
                    .unwrap_or_else(|| $default)
            };
        }
        /// As `pick!` for fields that may stay unset.
        macro_rules! optional {
            ($field:ident) => {
                self.$field.clone().or_else(|| base.and_then(|base| base.$field.clone()))
            };
        }
        let mut app = App {
            id: id.clone(),
            cmd: optional!(cmd),
            args: pick!(args, Vec::new()),
            user: optional!(user),
            env: pick!(env, std::collections::BTreeMap::new()),
            instances: pick!(instances, 1),
            cpus: pick!(cpus, Scalar::from_units(1)),
            mem: pick!(mem, Scalar::from_units(128)),
            disk: pick!(disk, Scalar::ZERO),
            gpus: pick!(gpus, 0),
            executor: pick!(executor, String::new()),
            executor_resources: optional!(executor_resources),
            resource_limits: optional!(resource_limits),
            constraints: pick!(constraints, Vec::new()),
            fetch: pick!(fetch, Vec::new()),
            port_definitions: Vec::new(),
            require_ports: pick!(require_ports, false),
            networks: pick!(networks, vec![Network::Host]),
            container: optional!(container),
            health_checks: pick!(health_checks, Vec::new()),
            check: optional!(check),
            readiness_checks: pick!(readiness_checks, Vec::new()),
            backoff_seconds: pick!(backoff_seconds, 1),
            backoff_factor: pick!(backoff_factor, Ratio::from_milli(1150)),
            max_launch_delay_seconds: pick!(max_launch_delay_seconds, 300),
            upgrade_strategy: UpgradeStrategy::DEFAULT,
            unreachable_strategy: UnreachableStrategy::default(),
            kill_selection: pick!(kill_selection, crate::app::KillSelection::default()),
            labels: pick!(labels, crate::container::Labels::new()),
            accepted_resource_roles: optional!(accepted_resource_roles)
                .or_else(|| settings.default_accepted_resource_roles.clone()),
            dependencies: pick!(dependencies, Vec::new()),
            task_kill_grace_period_seconds: optional!(task_kill_grace_period_seconds),
            secrets: pick!(secrets, std::collections::BTreeMap::new()),
            role: pick!(
                role,
                enforced_role.cloned().unwrap_or_else(|| settings.default_role.clone())
            ),
            tty: pick!(tty, false),
            version: base.map(|base| base.version).unwrap_or_default(),
            version_info: base.map(|base| base.version_info).unwrap_or_default(),
        };
        self.settle_networks(&mut app, base, settings);
        self.settle_strategies(&mut app, base);
        settle_checks(&mut app);
        app
    }

    /// Ports and container follow from the networks.
    fn settle_networks(&self, app: &mut App, base: Option<&App>, settings: &Settings) {
        if app.networks.is_empty() {
            app.networks.push(Network::Host);
        }
        let declared = self.port_definitions.clone().or_else(|| {
            base.filter(|base| base.has_host_networking()).map(|base| base.port_definitions.clone())
        });
        if app.has_host_networking() {
            app.port_definitions = declared.unwrap_or_else(|| vec![default_definition()]);
            return;
        }
        // The deprecated `ports` are dropped where they do not apply; `portDefinitions` are kept
        // here for the validation to refuse.
        if let Some(declared) = &self.port_definitions
            && !self.legacy_ports
        {
            app.port_definitions.clone_from(declared);
        }
        app.require_ports = false;
        for network in &mut app.networks {
            if let Network::Container { name, .. } = network
                && name.is_none()
            {
                name.clone_from(&settings.default_network_name);
            }
        }
        let bridge = app.networks.iter().any(|network| matches!(network, Network::Bridge { .. }));
        let mappings = &mut app.container.get_or_insert_with(Container::plain).port_mappings;
        if mappings.is_empty() {
            mappings.push(default_mapping());
        }
        if bridge {
            for mapping in mappings {
                mapping.host_port.get_or_insert(0);
            }
        }
    }

    /// Strategies have defaults that depend on volumes and labels.
    fn settle_strategies(&self, app: &mut App, base: Option<&App>) {
        let volumes = app.container.iter().flat_map(|container| &container.volumes);
        let stateful = volumes
            .into_iter()
            .any(|volume| matches!(volume, Volume::Persistent { .. } | Volume::External { .. }));
        // A base without the label carries the ordinary default, which the label forbids.
        let base = base.filter(|base| base.is_single_instance() == app.is_single_instance());
        let default_upgrade = if is_single_instance(&app.labels) {
            UpgradeStrategy::SINGLE_INSTANCE
        } else if stateful {
            UpgradeStrategy::RESIDENT
        } else {
            UpgradeStrategy::DEFAULT
        };
        app.upgrade_strategy = self
            .upgrade_strategy
            .or_else(|| base.map(|base| base.upgrade_strategy))
            .unwrap_or(default_upgrade);
        let default_unreachable = if app.is_resident() {
            UnreachableStrategy::Disabled
        } else {
            UnreachableStrategy::default()
        };
        app.unreachable_strategy = self
            .unreachable_strategy
            .or_else(|| base.map(|base| base.unreachable_strategy))
            .unwrap_or(default_unreachable);
    }
}

/// Checks that name neither port nor index look at the first port, if there is one.
fn settle_checks(app: &mut App) {
    if app.port_count() == 0 {
        return;
    }
    let unaddressed = |check: &&mut HealthCheck| {
        check.command.is_none() && check.port.is_none() && check.port_index.is_none()
    };
    for check in app.health_checks.iter_mut().filter(unaddressed) {
        check.port_index = Some(0);
    }
}

fn default_definition() -> PortDefinition {
    PortDefinition { name: Some("default".to_owned()), ..PortDefinition::default() }
}

fn default_mapping() -> PortMapping {
    PortMapping {
        container_port: 0,
        host_port: None,
        service_port: 0,
        protocol: Protocol::Tcp,
        name: Some("default".to_owned()),
        labels: crate::container::Labels::new(),
        network_names: Vec::new(),
    }
}
