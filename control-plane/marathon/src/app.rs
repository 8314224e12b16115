//! The normalised, canonical definition of an app (`marathon-app.tsv`).

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tepui_types::{Role, Scalar};

use crate::constraint::Constraint;
use crate::container::{
    Container, EnvValue, Fetch, Labels, Network, PortDefinition, SecretSource, Volume,
};
use crate::health::{Check, HealthCheck, ReadinessCheck};
use crate::number::{self, JsonScalar, Ratio};
use crate::path::AppId;
use crate::version::Version;

/// Label that says: never two copies at once.
pub const SINGLE_INSTANCE_LABEL: &str = "MARATHON_SINGLE_INSTANCE_APP";

/// A complete, valid app: every deprecated field translated, every default filled in.
///
/// Its JSON form is what the API emits, and reading that form gives the same value again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Absolute id.
    pub id: AppId,
    /// Shell command; never together with `args`.
    pub cmd: Option<String>,
    /// Command without shell; empty when there is none.
    pub args: Vec<String>,
    /// User to run as.
    pub user: Option<String>,
    /// User environment.
    pub env: BTreeMap<String, EnvValue>,
    /// Wanted copies.
    pub instances: u32,
    /// CPUs per instance.
    pub cpus: Scalar,
    /// Memory per instance, MiB.
    pub mem: Scalar,
    /// Sandbox disk per instance, MiB.
    pub disk: Scalar,
    /// GPUs per instance.
    pub gpus: u32,
    /// Custom executor: empty, `//cmd` or a path.
    pub executor: String,
    /// Extra resources of the executor.
    pub executor_resources: Option<ExecutorResources>,
    /// Burst ceilings.
    pub resource_limits: Option<ResourceLimits>,
    /// Placement rules, all of which must hold.
    pub constraints: Vec<Constraint>,
    /// Artifacts fetched before start.
    pub fetch: Vec<Fetch>,
    /// Ports on the host; empty unless networking is host.
    pub port_definitions: Vec<PortDefinition>,
    /// The numbers in `port_definitions` are the host ports wanted.
    pub require_ports: bool,
    /// Networks, at least one.
    pub networks: Vec<Network>,
    /// Container settings.
    pub container: Option<Container>,
    /// Liveness checks.
    pub health_checks: Vec<HealthCheck>,
    /// General check, only reported.
    pub check: Option<Check>,
    /// At most one readiness check.
    pub readiness_checks: Vec<ReadinessCheck>,
    /// First delay after a failure, seconds.
    pub backoff_seconds: u32,
    /// Multiplier of the delay after each failure.
    pub backoff_factor: Ratio,
    /// Longest delay, seconds.
    pub max_launch_delay_seconds: u32,
    /// Limits of rolling updates.
    pub upgrade_strategy: UpgradeStrategy,
    /// Reaction to lost agents.
    pub unreachable_strategy: UnreachableStrategy,
    /// Order of victims on scale down.
    pub kill_selection: KillSelection,
    /// Metadata.
    pub labels: Labels,
    /// Roles whose offered resources may be used; `None` allows `*` and the app's own.
    pub accepted_resource_roles: Option<Vec<String>>,
    /// Apps and groups that are deployed before this one.
    pub dependencies: Vec<AppId>,
    /// Time from SIGTERM to SIGKILL, seconds; the agent's default when unset.
    pub task_kill_grace_period_seconds: Option<u32>,
    /// Declared secrets.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Role for reservations and quota.
    pub role: Role,
    /// Attach a pseudo terminal.
    pub tty: bool,
    /// Version of this definition.
    pub version: Version,
    /// When it was last scaled and last changed.
    pub version_info: VersionInfo,
}

impl App {
    /// Whether two copies must never run at once (the single-instance label).
    #[must_use]
    pub fn is_single_instance(&self) -> bool {
        is_single_instance(&self.labels)
    }

    /// Whether the app has persistent volumes.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        self.container.as_ref().is_some_and(|container| {
            container.volumes.iter().any(|volume| matches!(volume, Volume::Persistent { .. }))
        })
    }

    /// Whether the app uses the host's network.
    #[must_use]
    pub fn has_host_networking(&self) -> bool {
        self.networks.iter().any(|network| matches!(network, Network::Host))
    }

    /// Number of ports that checks may address by index: definitions with host networking, else
    /// mappings.
    #[must_use]
    pub fn port_count(&self) -> usize {
        if self.has_host_networking() {
            self.port_definitions.len()
        } else {
            self.container.as_ref().map_or(0, |container| container.port_mappings.len())
        }
    }

    /// Service ports in the order of definitions or mappings; 0 stands for "assign one".
    pub fn service_ports(&self) -> impl Iterator<Item = u16> + '_ {
        let mappings = self.container.iter().flat_map(|container| &container.port_mappings);
        self.port_definitions
            .iter()
            .map(|definition| definition.port)
            .chain(mappings.map(|mapping| mapping.service_port))
    }

    /// Puts service ports in place, in the order of [`App::service_ports`]. Excess ones are ignored.
    pub fn assign_service_ports(&mut self, ports: impl IntoIterator<Item = u16>) {
        let mut ports = ports.into_iter();
        let definitions = self.port_definitions.iter_mut().map(|definition| &mut definition.port);
        let mappings = self
            .container
            .iter_mut()
            .flat_map(|container| &mut container.port_mappings)
            .map(|mapping| &mut mapping.service_port);
        for (place, port) in definitions.chain(mappings).zip(&mut ports) {
            *place = port;
        }
    }

    /// Whether going from `self` to `other` is more than a change of `instances`: such a change
    /// gets a new `lastConfigChangeAt` and restarts the instances.
    #[must_use]
    pub fn differs_in_config(&self, other: &Self) -> bool {
        let mut same = other.clone();
        same.instances = self.instances;
        same.version = self.version;
        same.version_info = self.version_info;
        *self != same
    }
}

pub(crate) fn is_single_instance(labels: &Labels) -> bool {
    labels.get(SINGLE_INSTANCE_LABEL).is_some_and(|value| value == "true")
}

/// When an app was last scaled and last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Last change of `instances`.
    pub last_scaling_at: Version,
    /// Last change of anything else, or restart. Tasks of older versions are out of date.
    pub last_config_change_at: Version,
}

/// Limits of rolling updates, as shares of `instances`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    /// Share kept healthy at all times.
    pub minimum_health_capacity: Ratio,
    /// Extra share allowed while updating.
    pub maximum_over_capacity: Ratio,
}

impl UpgradeStrategy {
    /// The default of ordinary apps: everything stays healthy, twice as many may run.
    pub const DEFAULT: Self =
        Self { minimum_health_capacity: Ratio::ONE, maximum_over_capacity: Ratio::ONE };
    /// Default of apps with persistent or external volumes.
    pub const RESIDENT: Self = Self {
        minimum_health_capacity: Ratio::from_milli(500),
        maximum_over_capacity: Ratio::ZERO,
    };
    /// Only legal value of single-instance apps.
    pub const SINGLE_INSTANCE: Self =
        Self { minimum_health_capacity: Ratio::ZERO, maximum_over_capacity: Ratio::ZERO };
}

/// Reaction to instances on agents that do not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnreachableStrategy {
    /// Never replace, never forget.
    Disabled,
    /// Replace, later forget.
    Enabled {
        /// After this many seconds the instance no longer counts and is replaced.
        inactive_after_seconds: u32,
        /// After this many seconds the instance is forgotten.
        expunge_after_seconds: u32,
    },
}

impl Default for UnreachableStrategy {
    fn default() -> Self {
        Self::Enabled { inactive_after_seconds: 0, expunge_after_seconds: 0 }
    }
}

impl Serialize for UnreachableStrategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Disabled => serializer.serialize_str("disabled"),
            Self::Enabled { inactive_after_seconds, expunge_after_seconds } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("inactiveAfterSeconds", inactive_after_seconds)?;
                map.serialize_entry("expungeAfterSeconds", expunge_after_seconds)?;
                map.end()
            }
        }
    }
}

/// Order of victims on scale down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KillSelection {
    /// Youngest first.
    #[default]
    YoungestFirst,
    /// Oldest first.
    OldestFirst,
}

/// Extra resources of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ExecutorResources {
    /// CPUs.
    #[serde(serialize_with = "number::scalar")]
    pub cpus: Scalar,
    /// MiB of memory.
    #[serde(serialize_with = "number::scalar")]
    pub mem: Scalar,
    /// MiB of disk.
    #[serde(serialize_with = "number::scalar")]
    pub disk: Scalar,
}

/// Burst ceilings of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct ResourceLimits {
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Limit>,
    /// MiB of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem: Option<Limit>,
}

/// One burst ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// No ceiling.
    Unlimited,
    /// Up to this amount.
    Amount(Scalar),
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => serializer.serialize_str("unlimited"),
            Self::Amount(amount) => number::scalar(amount, serializer),
        }
    }
}

impl Serialize for App {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write_entries(&mut map)?;
        map.end()
    }
}

fn list<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &str,
    items: &[T],
) -> Result<(), M::Error> {
    if items.is_empty() { Ok(()) } else { map.serialize_entry(key, items) }
}

fn option<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

impl App {
    /// Writes every key of the app into an open object, following `marathon-api.md` 1.6.
    pub(crate) fn write_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("id", &self.id)?;
        option(map, "acceptedResourceRoles", self.accepted_resource_roles.as_ref())?;
        list(map, "args", &self.args)?;
        map.serialize_entry("backoffFactor", &self.backoff_factor)?;
        map.serialize_entry("backoffSeconds", &self.backoff_seconds)?;
        option(map, "check", self.check.as_ref())?;
        option(map, "cmd", self.cmd.as_ref())?;
        list(map, "constraints", &self.constraints)?;
        self.write_container(map)?;
        map.serialize_entry("cpus", &JsonScalar(self.cpus))?;
        list(map, "dependencies", &self.dependencies)?;
        map.serialize_entry("disk", &JsonScalar(self.disk))?;
        if !self.env.is_empty() {
            map.serialize_entry("env", &self.env)?;
        }
        map.serialize_entry("executor", &self.executor)?;
        option(map, "executorResources", self.executor_resources.as_ref())?;
        list(map, "fetch", &self.fetch)?;
        list(map, "healthChecks", &self.health_checks)?;
        map.serialize_entry("instances", &self.instances)?;
        map.serialize_entry("labels", &self.labels)?;
        map.serialize_entry("maxLaunchDelaySeconds", &self.max_launch_delay_seconds)?;
        map.serialize_entry("mem", &JsonScalar(self.mem))?;
        map.serialize_entry("gpus", &self.gpus)?;
        map.serialize_entry("networks", &self.networks)?;
        if self.has_host_networking() {
            map.serialize_entry("portDefinitions", &self.port_definitions)?;
        }
        list(map, "readinessChecks", &self.readiness_checks)?;
        map.serialize_entry("requirePorts", &self.require_ports)?;
        if self.is_resident() {
            map.serialize_entry("residency", &RESIDENCY)?;
        }
        option(map, "resourceLimits", self.resource_limits.as_ref())?;
        if !self.secrets.is_empty() {
            map.serialize_entry("secrets", &self.secrets)?;
        }
        option(map, "taskKillGracePeriodSeconds", self.task_kill_grace_period_seconds.as_ref())?;
        if self.tty {
            map.serialize_entry("tty", &true)?;
        }
        map.serialize_entry("upgradeStrategy", &self.upgrade_strategy)?;
        option(map, "user", self.user.as_ref())?;
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("versionInfo", &self.version_info)?;
        map.serialize_entry("killSelection", &self.kill_selection)?;
        map.serialize_entry("unreachableStrategy", &self.unreachable_strategy)?;
        map.serialize_entry("role", self.role.as_str())
    }

    fn write_container<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let Some(container) = &self.container else { return Ok(()) };
        let port_mappings =
            (!self.has_host_networking()).then_some(container.port_mappings.as_slice());
        map.serialize_entry(
            "container",
            &ContainerView {
                engine: container.engine,
                docker: container.docker.as_ref(),
                volumes: &container.volumes,
                port_mappings,
                linux_info: container.linux_info.as_ref(),
            },
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerView<'a> {
    #[serde(rename = "type")]
    engine: crate::container::ContainerEngine,
    #[serde(skip_serializing_if = "Option::is_none")]
    docker: Option<&'a crate::container::Docker>,
    volumes: &'a [Volume],
    #[serde(skip_serializing_if = "Option::is_none")]
    port_mappings: Option<&'a [crate::container::PortMapping]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linux_info: Option<&'a serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Residency {
    relaunch_escalation_timeout_seconds: u32,
    task_lost_behavior: &'static str,
}

const RESIDENCY: Residency =
    Residency { relaunch_escalation_timeout_seconds: 3600, task_lost_behavior: "WAIT_FOREVER" };
