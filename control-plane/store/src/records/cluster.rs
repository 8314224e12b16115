//! The registry's records.

use prost::Message;
use tepui_cluster::{Drain, Record, Standing};
use tepui_types::{AgentId, FrameworkId, Role, Span, Wall};
use tepui_wire::v1;

use super::{Invalid, message, with_version};
use crate::backend::Key;

const COUNTERS: &str = "cluster/counters";
const AGENTS: &str = "cluster/agents/";
const FRAMEWORKS: &str = "cluster/frameworks/";
const REMOVED_FRAMEWORKS: &str = "cluster/removed-frameworks/";
const DRAINS: &str = "cluster/drains/";
const WEIGHTS: &str = "cluster/weights/";

const ADMITTED: u32 = 1;
const UNREACHABLE: u32 = 2;
const GONE: u32 = 3;

#[derive(Clone, PartialEq, Message)]
struct Counters {
    #[prost(uint64, tag = "1")]
    agents: u64,
    #[prost(uint64, tag = "2")]
    frameworks: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Agent {
    #[prost(message, optional, tag = "1")]
    info: Option<v1::AgentInfo>,
    #[prost(uint32, tag = "2")]
    standing: u32,
    /// Nanoseconds since 1970; of every standing but `ADMITTED`.
    #[prost(uint64, optional, tag = "3")]
    since: Option<u64>,
    #[prost(bool, tag = "4")]
    deactivated: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Framework {
    #[prost(message, optional, tag = "1")]
    info: Option<v1::FrameworkInfo>,
    /// Nanoseconds since 1970.
    #[prost(uint64, tag = "2")]
    registered: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "3")]
    failover_timeout: u64,
    /// Nanoseconds since 1970.
    #[prost(uint64, optional, tag = "4")]
    disconnected: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct RemovedFramework {
    /// Nanoseconds since 1970.
    #[prost(uint64, tag = "1")]
    since: u64,
}

#[derive(Clone, PartialEq, Message)]
struct AgentDrain {
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "1")]
    max_grace: Option<u64>,
    #[prost(bool, tag = "2")]
    mark_gone: bool,
    #[prost(bool, tag = "3")]
    drained: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Weight {
    /// Thousandths.
    #[prost(uint64, tag = "1")]
    weight: u64,
}

pub(super) fn key(record: &Record) -> Key {
    match record {
        Record::Counters { .. } => COUNTERS.to_owned(),
        Record::Agent { agent, .. } => format!("{AGENTS}{agent}"),
        Record::Framework { framework, .. } => format!("{FRAMEWORKS}{framework}"),
        Record::RemovedFramework { framework, .. } => format!("{REMOVED_FRAMEWORKS}{framework}"),
        Record::Drain { agent, .. } => format!("{DRAINS}{agent}"),
        Record::Weight { role, .. } => format!("{WEIGHTS}{}", role.as_str()),
    }
}

pub(super) fn encode(record: &Record) -> Vec<u8> {
    match record {
        Record::Counters { agents, frameworks } => {
            with_version(&Counters { agents: *agents, frameworks: *frameworks })
        }
        Record::Agent { agent: _, info, standing, deactivated } => {
            let (standing, since) = match standing {
                Standing::Admitted => (ADMITTED, None),
                Standing::Unreachable { since } => (UNREACHABLE, Some(since.as_nanos())),
                Standing::Gone { since } => (GONE, Some(since.as_nanos())),
            };
            let info = Some((**info).clone());
            with_version(&Agent { info, standing, since, deactivated: *deactivated })
        }
        Record::Framework { framework: _, info, registered, failover_timeout, disconnected } => {
            with_version(&Framework {
                info: Some((**info).clone()),
                registered: registered.as_nanos(),
                failover_timeout: failover_timeout.as_nanos(),
                disconnected: disconnected.map(Wall::as_nanos),
            })
        }
        Record::RemovedFramework { framework: _, since } => {
            with_version(&RemovedFramework { since: since.as_nanos() })
        }
        Record::Drain { agent: _, drain } => with_version(&AgentDrain {
            max_grace: drain.max_grace.map(Span::as_nanos),
            mark_gone: drain.mark_gone,
            drained: drain.drained,
        }),
        Record::Weight { role: _, weight } => with_version(&Weight { weight: *weight }),
    }
}

pub(super) fn decode(key: &str, body: &[u8]) -> Result<Record, Invalid> {
    if key == COUNTERS {
        let Counters { agents, frameworks } = message(body)?;
        return Ok(Record::Counters { agents, frameworks });
    }
    if let Some(id) = key.strip_prefix(AGENTS) {
        let Agent { info, standing, since, deactivated } = message(body)?;
        let standing = match (standing, since.map(Wall::from_nanos)) {
            (ADMITTED, None) => Standing::Admitted,
            (UNREACHABLE, Some(since)) => Standing::Unreachable { since },
            (GONE, Some(since)) => Standing::Gone { since },
            other => return Err(Invalid::field("standing", other)),
        };
        return Ok(Record::Agent {
            agent: AgentId::parse(id).map_err(|error| Invalid(error.to_string()))?,
            info: Box::new(info.ok_or_else(|| Invalid::missing("info"))?),
            standing,
            deactivated,
        });
    }
    if let Some(id) = key.strip_prefix(FRAMEWORKS) {
        let Framework { info, registered, failover_timeout, disconnected } = message(body)?;
        return Ok(Record::Framework {
            framework: FrameworkId::parse(id).map_err(|error| Invalid(error.to_string()))?,
            info: Box::new(info.ok_or_else(|| Invalid::missing("info"))?),
            registered: Wall::from_nanos(registered),
            failover_timeout: Span::from_nanos(failover_timeout),
            disconnected: disconnected.map(Wall::from_nanos),
        });
    }
    if let Some(id) = key.strip_prefix(REMOVED_FRAMEWORKS) {
        let RemovedFramework { since } = message(body)?;
        return Ok(Record::RemovedFramework {
            framework: FrameworkId::parse(id).map_err(|error| Invalid(error.to_string()))?,
            since: Wall::from_nanos(since),
        });
    }
    if let Some(id) = key.strip_prefix(DRAINS) {
        let AgentDrain { max_grace, mark_gone, drained } = message(body)?;
        let agent = AgentId::parse(id).map_err(|error| Invalid(error.to_string()))?;
        let max_grace = max_grace.map(Span::from_nanos);
        return Ok(Record::Drain { agent, drain: Drain { max_grace, mark_gone, drained } });
    }
    if let Some(role) = key.strip_prefix(WEIGHTS) {
        let Weight { weight } = message(body)?;
        let role = Role::parse(role).map_err(|error| Invalid(error.to_string()))?;
        return Ok(Record::Weight { role, weight });
    }
    Err(Invalid("no record has such a key".to_owned()))
}
