//! App definitions and updates.

use serde_json::Value;

use super::container::{IpAddressSpec, LegacyContainer};
use super::reader::{MAX_INT, Object, Reader};
use super::{checks, container, json};
use crate::app::{
    App, ExecutorResources, KillSelection, Limit, ResourceLimits, UnreachableStrategy,
    UpgradeStrategy, VersionInfo,
};
use crate::container::Fetch;
use crate::normalise;
use crate::number::Ratio;
use crate::path::PathId;
use crate::reject::Rejection;
use crate::settings::Settings;
use crate::update::AppUpdate;
use tepui_types::{Role, Scalar};

/// The deprecated fields of an app, waiting for translation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Legacy {
    pub(crate) ports: Option<Vec<u16>>,
    pub(crate) uris: Option<Vec<Fetch>>,
    pub(crate) ip_address: Option<IpAddressSpec>,
    pub(crate) container: LegacyContainer,
}

/// Reads the body of `POST /v2/apps` or of `PUT`/`PATCH /v2/apps/{id}`.
///
/// Relative ids are resolved against `base`. For `POST`, `id_required` makes a missing id an error.
///
/// # Errors
/// 400 when the body is no JSON, 422 `Invalid JSON` when its structure is wrong, 422 with a plain
/// message when deprecated and current fields contradict each other.
pub fn decode_app(
    body: &[u8],
    base: &PathId,
    id_required: bool,
    settings: &Settings,
) -> Result<AppUpdate, Rejection> {
    let value = json(body)?;
    let mut reader = Reader::default();
    let read = reader.object(&value).map(|object| app(&mut reader, object, base, id_required));
    let broken = reader.finish()?;
    let (mut update, legacy) = read.unwrap_or_default();
    update.broken = broken;
    normalise::translate(&mut update, legacy, settings)?;
    Ok(update)
}

/// Reads the body of `PUT` or `PATCH /v2/apps`: a list of updates, each with an id.
///
/// # Errors
/// As [`decode_app`]; paths start with the index, as in `(1)/id`.
pub fn decode_app_updates(body: &[u8], settings: &Settings) -> Result<Vec<AppUpdate>, Rejection> {
    let value = json(body)?;
    let mut reader = Reader::default();
    let read = reader.array(&value, |reader, value| app_in_list(reader, value, &PathId::root()));
    reader.finish()?;
    translate_list(read.unwrap_or_default(), settings, "")
}

/// Reads a definition that this crate wrote: the canonical form with its versions.
///
/// # Errors
/// The text is not such a definition.
pub fn decode_stored_app(text: &[u8], settings: &Settings) -> Result<App, Rejection> {
    let value = json(text)?;
    let mut reader = Reader::default();
    let object = reader.object(&value);
    let version_info = object.and_then(|object| reader.opt(object, "versionInfo", version_info));
    reader.finish()?;
    let mut update = decode_app(text, &PathId::root(), true, settings)?;
    update.version_info = version_info;
    update.complete_stored(settings)
}

pub(super) fn app_in_list(
    reader: &mut Reader,
    value: &Value,
    base: &PathId,
) -> Option<(AppUpdate, Legacy)> {
    let object = reader.object(value)?;
    let ((mut update, legacy), broken) = reader.apart(|reader| app(reader, object, base, true));
    update.broken = broken;
    Some((update, legacy))
}

pub(super) fn translate_list(
    apps: Vec<(AppUpdate, Legacy)>,
    settings: &Settings,
    prefix: &str,
) -> Result<Vec<AppUpdate>, Rejection> {
    let mut updates = Vec::with_capacity(apps.len());
    for (index, (mut update, legacy)) in apps.into_iter().enumerate() {
        normalise::translate(&mut update, legacy, settings)
            .map_err(|rejection| rejection.under(&format!("{prefix}({index})")))?;
        updates.push(update);
    }
    Ok(updates)
}

fn app(
    reader: &mut Reader,
    object: &Object,
    base: &PathId,
    id_required: bool,
) -> (AppUpdate, Legacy) {
    let id = if id_required {
        reader.need(object, "id", |r, v| r.path_id(v, base))
    } else {
        reader.opt(object, "id", |r, v| r.path_id(v, base))
    };
    let enclosing = id.as_ref().and_then(PathId::parent).unwrap_or_else(|| base.clone());
    let mut legacy = Legacy {
        ports: reader.opt(object, "ports", |r, v| r.array(v, Reader::port)),
        uris: reader.opt(object, "uris", |r, v| r.array(v, container::fetch_of_uri)),
        ip_address: reader.opt(object, "ipAddress", container::ip_address),
        container: LegacyContainer::default(),
    };
    let container =
        reader.opt(object, "container", container::container).map(|(container, old)| {
            legacy.container = old;
            container
        });
    residency(reader, object);
    let mut update = AppUpdate {
        id,
        container,
        dependencies: reader
            .opt(object, "dependencies", |r, v| r.array(v, |r, v| r.path_id(v, &enclosing))),
        version: reader.opt(object, "version", Reader::version),
        ..AppUpdate::default()
    };
    command(reader, object, &mut update);
    resources(reader, object, &mut update);
    placement(reader, object, &mut update);
    strategies(reader, object, &mut update);
    (update, legacy)
}

fn command(r: &mut Reader, object: &Object, update: &mut AppUpdate) {
    update.cmd = r.opt(object, "cmd", Reader::filled_string);
    update.args = r.opt(object, "args", Reader::strings);
    update.user = r.opt(object, "user", Reader::string);
    update.env = r.opt(object, "env", |r, v| r.map(v, container::env_value));
    update.executor = r.opt(object, "executor", executor);
    update.fetch = r.opt(object, "fetch", |r, v| r.array(v, container::fetch));
    update.health_checks = r.opt(object, "healthChecks", |r, v| r.array(v, checks::health_check));
    update.check = r.opt(object, "check", checks::check);
    update.readiness_checks =
        r.opt(object, "readinessChecks", |r, v| r.array(v, checks::readiness_check));
    update.task_kill_grace_period_seconds =
        r.opt(object, "taskKillGracePeriodSeconds", Reader::unsigned);
    update.secrets = r.opt(object, "secrets", |r, v| r.map(v, container::secret));
    update.tty = r.opt(object, "tty", Reader::boolean);
    update.labels = r.opt(object, "labels", Reader::labels);
}

/// Empty, `//cmd`, or a path without empty segments.
fn executor(reader: &mut Reader, value: &Value) -> Option<String> {
    let text = reader.string(value)?;
    let path = text.strip_prefix('/').unwrap_or(&text);
    let legal =
        text.is_empty() || text == "//cmd" || path.split('/').all(|segment| !segment.is_empty());
    if !legal {
        reader.wrong("error.pattern");
    }
    Some(text)
}

fn resources(r: &mut Reader, object: &Object, update: &mut AppUpdate) {
    let milli = Scalar::from_milli(1);
    update.instances = r.opt(object, "instances", Reader::unsigned);
    update.cpus = r.opt(object, "cpus", |r, v| r.amount(v, milli));
    update.mem = r.opt(object, "mem", |r, v| r.amount(v, Scalar::ZERO));
    update.disk = r.opt(object, "disk", |r, v| r.amount(v, Scalar::ZERO));
    update.gpus = r.opt(object, "gpus", Reader::unsigned);
    update.executor_resources = r.opt(object, "executorResources", executor_resources);
    update.resource_limits = r.opt(object, "resourceLimits", resource_limits);
}

fn executor_resources(reader: &mut Reader, value: &Value) -> Option<ExecutorResources> {
    let object = reader.object(value)?;
    let mut amount =
        |key: &str, min: Scalar| reader.opt(object, key, |r, v| r.amount(v, min)).unwrap_or(min);
    Some(ExecutorResources {
        cpus: amount("cpus", Scalar::from_milli(100)),
        mem: amount("mem", Scalar::from_units(32)),
        disk: amount("disk", Scalar::from_units(10)),
    })
}

fn resource_limits(reader: &mut Reader, value: &Value) -> Option<ResourceLimits> {
    let object = reader.object(value)?;
    let mut limit = |key: &str| reader.opt(object, key, limit);
    Some(ResourceLimits { cpus: limit("cpus"), mem: limit("mem") })
}

fn limit(reader: &mut Reader, value: &Value) -> Option<Limit> {
    match value {
        Value::String(text) if text == "unlimited" => Some(Limit::Unlimited),
        Value::Number(_) => reader.amount(value, Scalar::ZERO).map(Limit::Amount),
        Value::String(text) => {
            let text: String = text.chars().take(80).collect();
            reader.broken(format!(
                "'{text}' is an invalid resource limit. It must be 'unlimited' or a number"
            ));
            None
        }
        _ => {
            reader.wrong("error.expected.jsnumber");
            None
        }
    }
}

fn placement(r: &mut Reader, object: &Object, update: &mut AppUpdate) {
    update.constraints = r.opt(object, "constraints", |r, v| r.array(v, checks::constraint));
    update.port_definitions =
        r.opt(object, "portDefinitions", |r, v| r.array(v, container::port_definition));
    update.require_ports = r.opt(object, "requirePorts", Reader::boolean);
    update.networks = r.opt(object, "networks", |r, v| r.array(v, container::network));
    update.accepted_resource_roles = r.opt(object, "acceptedResourceRoles", Reader::strings);
    update.role = r.opt(object, "role", role);
}

fn role(reader: &mut Reader, value: &Value) -> Option<Role> {
    let text = reader.string(value)?;
    match Role::parse(&text) {
        Ok(role) => Some(role),
        Err(error) => {
            reader.broken(error.to_string());
            None
        }
    }
}

fn strategies(r: &mut Reader, object: &Object, update: &mut AppUpdate) {
    let max_factor = Ratio::from_milli(1_000_000_000);
    update.backoff_seconds = r.opt(object, "backoffSeconds", Reader::unsigned);
    update.backoff_factor =
        r.opt(object, "backoffFactor", |r, v| r.ratio(v, Ratio::ONE, max_factor));
    update.max_launch_delay_seconds = r.opt(object, "maxLaunchDelaySeconds", Reader::unsigned);
    update.upgrade_strategy = r.opt(object, "upgradeStrategy", upgrade_strategy);
    update.unreachable_strategy = r.opt(object, "unreachableStrategy", unreachable_strategy);
    update.kill_selection = r.opt(object, "killSelection", |r, v| {
        r.literal(
            v,
            &[
                ("YOUNGEST_FIRST", KillSelection::YoungestFirst),
                ("OLDEST_FIRST", KillSelection::OldestFirst),
                ("YoungestFirst", KillSelection::YoungestFirst),
                ("OldestFirst", KillSelection::OldestFirst),
            ],
        )
    });
}

/// `minimumHealthCapacity` must be there once the object is; `maximumOverCapacity` falls back to its
/// default, because definitions written for older releases leave it out.
fn upgrade_strategy(reader: &mut Reader, value: &Value) -> Option<UpgradeStrategy> {
    let object = reader.object(value)?;
    let share = |r: &mut Reader, v: &Value| r.ratio(v, Ratio::ZERO, Ratio::ONE);
    let minimum_health_capacity = reader.need(object, "minimumHealthCapacity", share);
    let maximum_over_capacity = reader.opt(object, "maximumOverCapacity", share);
    Some(UpgradeStrategy {
        minimum_health_capacity: minimum_health_capacity?,
        maximum_over_capacity: maximum_over_capacity
            .unwrap_or(UpgradeStrategy::DEFAULT.maximum_over_capacity),
    })
}

fn unreachable_strategy(reader: &mut Reader, value: &Value) -> Option<UnreachableStrategy> {
    match value {
        Value::String(text) if text.eq_ignore_ascii_case("disabled") => {
            Some(UnreachableStrategy::Disabled)
        }
        Value::String(_) => {
            reader.wrong("error.unknown.enum.literal");
            None
        }
        _ => {
            let object = reader.object(value)?;
            let inactive =
                reader.opt(object, "inactiveAfterSeconds", Reader::unsigned).unwrap_or(0);
            let expunge = reader.opt(object, "expungeAfterSeconds", Reader::unsigned).unwrap_or(0);
            if inactive > expunge {
                reader.broken(format!(
                    "inactiveAfterSeconds ({inactive}) must be less or equal to \
                     expungeAfterSeconds, which is {expunge}"
                ));
            }
            Some(UnreachableStrategy::Enabled {
                inactive_after_seconds: inactive,
                expunge_after_seconds: expunge,
            })
        }
    }
}

/// `residency` is checked and then ignored: it follows from the volumes.
fn residency(reader: &mut Reader, object: &Object) {
    const BEHAVIORS: [(&str, ()); 2] = [("WAIT_FOREVER", ()), ("RELAUNCH_AFTER_TIMEOUT", ())];
    reader.opt(object, "residency", |r, v| {
        let object = r.object(v)?;
        r.opt(object, "relaunchEscalationTimeoutSeconds", |r, v| r.integer(v, 0, MAX_INT));
        r.opt(object, "taskLostBehavior", |r, v| r.literal(v, &BEHAVIORS))
    });
}

fn version_info(reader: &mut Reader, value: &Value) -> Option<VersionInfo> {
    let object = reader.object(value)?;
    Some(VersionInfo {
        last_scaling_at: reader.need(object, "lastScalingAt", Reader::version)?,
        last_config_change_at: reader.need(object, "lastConfigChangeAt", Reader::version)?,
    })
}
