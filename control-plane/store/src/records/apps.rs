//! The apps' records.

mod messages;

use std::fmt::Display;
use std::sync::Arc;

use tepui_apps::{
    AppRevision, Change, Condition, DeploymentRecord, Goal, GroupDefinition, GroupRevision,
    InstanceRecord, Record, RecordKey, TaskRecord,
};
use tepui_marathon::{
    Action, ActionKind, App, AppId, GroupId, InstanceId, IpAddress, IpProtocol, PathId, Settings,
    Step, TaskFailure, TaskId, Version, decode_stored_app,
};
use tepui_types::{FrameworkId, Role, TaskState, Uuid};

use super::{Invalid, message, with_version};
use crate::backend::Key;
use messages as m;

const FRAMEWORK: &str = "apps/framework";
const APPS: &str = "apps/apps";
const GROUPS: &str = "apps/groups";
const INSTANCES: &str = "apps/instances/";
const DEPLOYMENTS: &str = "apps/deployments/";
const FAILURES: &str = "apps/failures";

pub(super) fn key(key: &RecordKey) -> Key {
    match key {
        RecordKey::Framework => FRAMEWORK.to_owned(),
        RecordKey::App(id, version) => format!("{APPS}{id}@{version}"),
        RecordKey::Group(id, version) => format!("{GROUPS}{id}@{version}"),
        RecordKey::Instance(id) => format!("{INSTANCES}{id}"),
        RecordKey::Deployment(id) => format!("{DEPLOYMENTS}{id}"),
        RecordKey::Failure(id) => format!("{FAILURES}{id}"),
    }
}

pub(super) fn encode(record: &Record) -> Vec<u8> {
    match record {
        Record::Framework(id) => with_version(&m::Framework { id: id.to_string() }),
        Record::App(revision) => with_version(&m::App {
            id: revision.id.to_string(),
            version: revision.version.as_millis(),
            definition: revision.definition.as_deref().map(definition_text),
        }),
        Record::Group(revision) => with_version(&m::Group {
            id: revision.id.to_string(),
            version: revision.version.as_millis(),
            definition: revision.definition.as_ref().map(|definition| m::GroupDefinition {
                dependencies: definition.dependencies.iter().map(ToString::to_string).collect(),
                enforce_role: definition.enforce_role,
            }),
        }),
        Record::Instance(instance) => with_version(&encode_instance(instance)),
        Record::Deployment(deployment) => with_version(&encode_deployment(deployment)),
        Record::Failure(failure) => with_version(&encode_failure(failure)),
    }
}

pub(super) fn decode(key: &str, body: &[u8]) -> Result<Record, Invalid> {
    // The longer prefixes first: none of them is the beginning of another up to its slash.
    if key == FRAMEWORK {
        let m::Framework { id } = message(body)?;
        return parsed("id", &id, FrameworkId::parse).map(Record::Framework);
    }
    let is = |prefix: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    if is(APPS) {
        decode_app(&message(body)?).map(Record::App)
    } else if is(GROUPS) {
        decode_group(message(body)?).map(Record::Group)
    } else if key.starts_with(INSTANCES) {
        decode_instance(message(body)?).map(Box::new).map(Record::Instance)
    } else if key.starts_with(DEPLOYMENTS) {
        decode_deployment(&message(body)?).map(Box::new).map(Record::Deployment)
    } else if is(FAILURES) {
        decode_failure(message(body)?).map(Box::new).map(Record::Failure)
    } else {
        Err(Invalid("no record has such a key".to_owned()))
    }
}

fn definition_text(app: &App) -> String {
    serde_json::to_string(app).expect("a definition has only text keys and finite numbers")
}

fn decode_app(stored: &m::App) -> Result<AppRevision, Invalid> {
    let definition = match &stored.definition {
        None => None,
        Some(text) => {
            let app = decode_stored_app(text.as_bytes(), &Settings::default())
                .map_err(|error| Invalid(format!("its definition: {error}")))?;
            Some(Arc::new(app))
        }
    };
    Ok(AppRevision {
        id: parsed("id", &stored.id, AppId::parse)?,
        version: version(stored.version)?,
        definition,
    })
}

fn decode_group(stored: m::Group) -> Result<GroupRevision, Invalid> {
    let definition = match stored.definition {
        None => None,
        Some(definition) => Some(GroupDefinition {
            dependencies: all(&definition.dependencies, |id| {
                parsed("dependency", id, PathId::parse)
            })?,
            enforce_role: definition.enforce_role,
        }),
    };
    Ok(GroupRevision {
        id: parsed("id", &stored.id, GroupId::parse)?,
        version: version(stored.version)?,
        definition,
    })
}

fn encode_instance(instance: &InstanceRecord) -> m::Instance {
    m::Instance {
        id: instance.id.to_string(),
        version: instance.version.as_millis(),
        goal: code(&GOALS, instance.goal),
        condition: code(&CONDITIONS, instance.condition),
        since: instance.since.as_millis(),
        incarnation: instance.incarnation,
        role: instance.role.as_str().to_owned(),
        task: instance.task.as_ref().map(encode_task),
    }
}

fn encode_task(task: &TaskRecord) -> m::Task {
    m::Task {
        id: task.id.to_string(),
        agent_id: task.agent_id.clone(),
        hostname: task.hostname.clone(),
        region: task.region.clone(),
        zone: task.zone.clone(),
        attributes: task.attributes.clone(),
        host_ports: task.host_ports.iter().copied().map(u32::from).collect(),
        state: code(&STATES, task.state),
        staged_at: task.staged_at.as_millis(),
        started_at: task.started_at.map(Version::as_millis),
        ip_addresses: task
            .ip_addresses
            .iter()
            .map(|address| m::IpAddress {
                address: address.ip_address.clone(),
                protocol: code(&PROTOCOLS, address.protocol),
            })
            .collect(),
        unreachable_since: task.unreachable_since.map(Version::as_millis),
    }
}

fn decode_instance(stored: m::Instance) -> Result<InstanceRecord, Invalid> {
    Ok(InstanceRecord {
        id: parsed("id", &stored.id, InstanceId::parse)?,
        version: version(stored.version)?,
        goal: of_code("goal", &GOALS, stored.goal)?,
        condition: of_code("condition", &CONDITIONS, stored.condition)?,
        since: version(stored.since)?,
        incarnation: stored.incarnation,
        role: parsed("role", &stored.role, Role::parse)?,
        task: stored.task.map(decode_task).transpose()?,
    })
}

fn decode_task(stored: m::Task) -> Result<TaskRecord, Invalid> {
    Ok(TaskRecord {
        id: parsed("task id", &stored.id, TaskId::parse)?,
        agent_id: stored.agent_id,
        hostname: stored.hostname,
        region: stored.region,
        zone: stored.zone,
        attributes: stored.attributes,
        host_ports: all(&stored.host_ports, |port| {
            u16::try_from(*port).map_err(|_| Invalid::field("host port", port))
        })?,
        state: of_code("state", &STATES, stored.state)?,
        staged_at: version(stored.staged_at)?,
        started_at: stored.started_at.map(version).transpose()?,
        ip_addresses: all(&stored.ip_addresses, |address| {
            Ok(IpAddress {
                ip_address: address.address.clone(),
                protocol: of_code("protocol", &PROTOCOLS, address.protocol)?,
            })
        })?,
        unreachable_since: stored.unreachable_since.map(version).transpose()?,
    })
}

fn encode_deployment(deployment: &DeploymentRecord) -> m::Deployment {
    let steps = deployment.steps.iter().map(|step| m::Step {
        actions: step
            .actions
            .iter()
            .map(|action| m::Action {
                kind: code(&ACTIONS, action.action),
                app: action.app.to_string(),
            })
            .collect(),
    });
    let apps = deployment.apps.iter().map(|(app, change)| m::Change {
        app: app.to_string(),
        from: change.from.map(Version::as_millis),
        to: change.to.map(Version::as_millis),
    });
    let groups = deployment.changed_groups.iter().map(|(group, before)| m::ChangedGroup {
        group: group.to_string(),
        before: before.as_millis(),
    });
    m::Deployment {
        id: deployment.id.as_bytes().to_vec(),
        version: deployment.version.as_millis(),
        steps: steps.collect(),
        apps: apps.collect(),
        created_groups: deployment.created_groups.iter().map(ToString::to_string).collect(),
        changed_groups: groups.collect(),
        marked: deployment.marked.iter().map(ToString::to_string).collect(),
    }
}

fn decode_deployment(stored: &m::Deployment) -> Result<DeploymentRecord, Invalid> {
    let action = |action: &m::Action| {
        Ok(Action {
            action: of_code("action", &ACTIONS, action.kind)?,
            app: parsed("app", &action.app, AppId::parse)?,
        })
    };
    let change = |change: &m::Change| {
        let from = change.from.map(version).transpose()?;
        let to = change.to.map(version).transpose()?;
        Ok((parsed("app", &change.app, AppId::parse)?, Change { from, to }))
    };
    Ok(DeploymentRecord {
        id: Uuid::from_slice(&stored.id).ok_or_else(|| Invalid::field("id", &stored.id))?,
        version: version(stored.version)?,
        steps: all(&stored.steps, |step| Ok(Step { actions: all(&step.actions, action)? }))?,
        apps: all(&stored.apps, change)?,
        created_groups: all(&stored.created_groups, |id| parsed("group", id, GroupId::parse))?,
        changed_groups: all(&stored.changed_groups, |changed| {
            Ok((parsed("group", &changed.group, GroupId::parse)?, version(changed.before)?))
        })?,
        marked: all(&stored.marked, |id| parsed("instance", id, InstanceId::parse))?,
    })
}

fn encode_failure(failure: &TaskFailure) -> m::Failure {
    m::Failure {
        app_id: failure.app_id.to_string(),
        host: failure.host.clone(),
        message: failure.message.clone(),
        state: code(&STATES, failure.state),
        task_id: failure.task_id.to_string(),
        timestamp: failure.timestamp.as_millis(),
        version: failure.version.as_millis(),
        agent_id: failure.slave_id.clone(),
    }
}

fn decode_failure(stored: m::Failure) -> Result<TaskFailure, Invalid> {
    Ok(TaskFailure {
        app_id: parsed("app", &stored.app_id, AppId::parse)?,
        host: stored.host,
        message: stored.message,
        state: of_code("state", &STATES, stored.state)?,
        task_id: parsed("task", &stored.task_id, TaskId::parse)?,
        timestamp: version(stored.timestamp)?,
        version: version(stored.version)?,
        slave_id: stored.agent_id,
    })
}

/// A value's code is its place in its table, counted from 1. Only append.
const GOALS: [Goal; 3] = [Goal::Running, Goal::Stopped, Goal::Decommissioned];
const CONDITIONS: [Condition; 15] = [
    Condition::Scheduled,
    Condition::Provisioned,
    Condition::Staging,
    Condition::Starting,
    Condition::Running,
    Condition::Killing,
    Condition::Unreachable,
    Condition::UnreachableInactive,
    Condition::Finished,
    Condition::Failed,
    Condition::Killed,
    Condition::Error,
    Condition::Gone,
    Condition::Dropped,
    Condition::Unknown,
];
const STATES: [TaskState; 14] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Error,
    TaskState::Lost,
    TaskState::Dropped,
    TaskState::Unreachable,
    TaskState::Gone,
    TaskState::GoneByOperator,
    TaskState::Unknown,
];
const ACTIONS: [ActionKind; 4] = [
    ActionKind::StartApplication,
    ActionKind::StopApplication,
    ActionKind::ScaleApplication,
    ActionKind::RestartApplication,
];
const PROTOCOLS: [IpProtocol; 2] = [IpProtocol::V4, IpProtocol::V6];

/// The code of `value`. A test proves that every value of every type is in its table; 0 is none.
fn code<T: PartialEq, const N: usize>(table: &[T; N], value: T) -> u32 {
    (1..).zip(table).find_map(|(code, entry)| (*entry == value).then_some(code)).unwrap_or(0)
}

fn of_code<T: Copy, const N: usize>(field: &str, table: &[T; N], code: u32) -> Result<T, Invalid> {
    usize::try_from(code)
        .ok()
        .and_then(|code| table.get(code.checked_sub(1)?))
        .copied()
        .ok_or_else(|| Invalid::field(field, code))
}

fn version(millis: i64) -> Result<Version, Invalid> {
    let version = Version::from_millis(millis);
    // Out of the range of years the value would be another one.
    if version.as_millis() == millis { Ok(version) } else { Err(Invalid::field("version", millis)) }
}

fn parsed<T, E: Display>(
    field: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Invalid> {
    parse(text).map_err(|error| Invalid(format!("{field}: {error}")))
}

fn all<S, T, C: FromIterator<T>>(
    stored: &[S],
    decode: impl Fn(&S) -> Result<T, Invalid>,
) -> Result<C, Invalid> {
    stored.iter().map(decode).collect()
}
