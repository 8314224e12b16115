//! A change of an app: every field optional, deprecated fields already translated.

use std::collections::BTreeMap;

use tepui_types::{Role, Scalar};

use crate::app::{
    ExecutorResources, KillSelection, ResourceLimits, UnreachableStrategy, UpgradeStrategy,
    VersionInfo,
};
use crate::constraint::Constraint;
use crate::container::{Container, EnvValue, Fetch, Labels, Network, PortDefinition, SecretSource};
use crate::health::{Check, HealthCheck, ReadinessCheck};
use crate::number::Ratio;
use crate::path::AppId;
use crate::reject::Violations;
use crate::version::Version;

/// What a client said about an app: a whole definition, or the fields to change.
///
/// `None` means the key was absent or `null`. The fields have the meaning of those of
/// [`App`](crate::App). [`AppUpdate::complete`] turns it into one.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of `App`")]
pub struct AppUpdate {
    pub id: Option<AppId>,
    pub cmd: Option<String>,
    pub args: Option<Vec<String>>,
    pub user: Option<String>,
    pub env: Option<BTreeMap<String, EnvValue>>,
    pub instances: Option<u32>,
    pub cpus: Option<Scalar>,
    pub mem: Option<Scalar>,
    pub disk: Option<Scalar>,
    pub gpus: Option<u32>,
    pub executor: Option<String>,
    pub executor_resources: Option<ExecutorResources>,
    pub resource_limits: Option<ResourceLimits>,
    pub constraints: Option<Vec<Constraint>>,
    pub fetch: Option<Vec<Fetch>>,
    pub port_definitions: Option<Vec<PortDefinition>>,
    pub require_ports: Option<bool>,
    pub networks: Option<Vec<Network>>,
    pub container: Option<Container>,
    pub health_checks: Option<Vec<HealthCheck>>,
    pub check: Option<Check>,
    pub readiness_checks: Option<Vec<ReadinessCheck>>,
    pub backoff_seconds: Option<u32>,
    pub backoff_factor: Option<Ratio>,
    pub max_launch_delay_seconds: Option<u32>,
    pub upgrade_strategy: Option<UpgradeStrategy>,
    pub unreachable_strategy: Option<UnreachableStrategy>,
    pub kill_selection: Option<KillSelection>,
    pub labels: Option<Labels>,
    pub accepted_resource_roles: Option<Vec<String>>,
    pub dependencies: Option<Vec<AppId>>,
    pub task_kill_grace_period_seconds: Option<u32>,
    pub secrets: Option<BTreeMap<String, SecretSource>>,
    pub role: Option<Role>,
    pub tty: Option<bool>,
    /// With nothing but `id` beside it: roll back to this version.
    pub version: Option<Version>,
    /// Read-only for clients; used when stored definitions are read back.
    pub version_info: Option<VersionInfo>,
    /// The port definitions came from the deprecated `ports`, which are dropped silently where they
    /// do not apply.
    pub(crate) legacy_ports: bool,
    /// Rules already found broken while reading; [`AppUpdate::complete`] reports them.
    pub(crate) broken: Violations,
}

impl AppUpdate {
    /// The version to roll back to, if the body asks for that and nothing else.
    #[must_use]
    pub fn rollback(&self) -> Option<Version> {
        let version = self.version?;
        let alone = Self {
            id: self.id.clone(),
            version: Some(version),
            version_info: self.version_info,
            ..Self::default()
        };
        (*self == alone).then_some(version)
    }
}
