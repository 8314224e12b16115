//! Status updates as this agent and its command tasks write them.

use std::net::IpAddr;

use tepui_link::codec::wire_state;
use tepui_types::{ContainerId, TaskState, Wall};
use tepui_wire::signals;
use tepui_wire::v1::{
    self, TaskStatus,
    task_status::{Reason, Source},
};

use crate::Exit;

/// Longest id of a container with all those above it: it is the name of a folder.
const MAX_CONTAINER_BYTES: usize = 242;
/// How deep containers may be nested.
const MAX_DEPTH: usize = 32;

/// What a status says besides whose it is and when it was made.
#[derive(Clone, Debug)]
pub(crate) struct Saying {
    pub(crate) state: TaskState,
    pub(crate) source: Source,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: Option<String>,
    pub(crate) healthy: Option<bool>,
    pub(crate) check_status: Option<v1::CheckStatusInfo>,
    pub(crate) limitation: Option<v1::TaskResourceLimitation>,
}

impl Saying {
    /// The agent's own word.
    pub(crate) fn agent(state: TaskState, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state,
            source: Source::Agent,
            reason: Some(reason),
            message: Some(message.into()),
            healthy: None,
            check_status: None,
            limitation: None,
        }
    }

    /// What a command task's executor would say.
    pub(crate) fn executor(state: TaskState) -> Self {
        Self {
            state,
            source: Source::Executor,
            reason: None,
            message: None,
            healthy: None,
            check_status: None,
            limitation: None,
        }
    }

    pub(crate) fn because(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    pub(crate) fn saying(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    pub(crate) fn into_status(self, task: &v1::TaskId, at: Wall) -> TaskStatus {
        TaskStatus {
            task_id: task.clone(),
            state: wire_state(self.state).into(),
            message: self.message,
            source: Some(self.source.into()),
            reason: self.reason.map(Into::into),
            timestamp: Some(at.as_secs_f64()),
            healthy: self.healthy,
            check_status: self.check_status,
            limitation: self.limitation,
            ..TaskStatus::default()
        }
    }
}

/// A run's container as statuses describe it; without a network of its own (`addresses`) a task
/// has the agent's address.
pub(crate) fn container_status(
    run: &ContainerId,
    ip: &str,
    addresses: Option<&[IpAddr]>,
    pid: Option<u32>,
) -> v1::ContainerStatus {
    use v1::network_info::{IpAddress, Protocol};
    let address = |protocol: Protocol, text: String| IpAddress {
        protocol: Some(protocol.into()),
        ip_address: Some(text),
    };
    let ip_addresses = match addresses {
        None => vec![address(Protocol::IPv4, ip.to_owned())],
        Some(own) => own
            .iter()
            .map(|one| match one {
                IpAddr::V4(four) => address(Protocol::IPv4, four.to_string()),
                IpAddr::V6(six) => address(Protocol::IPv6, six.to_string()),
            })
            .collect(),
    };
    v1::ContainerStatus {
        container_id: Some(container_id(run)),
        network_infos: vec![v1::NetworkInfo { ip_addresses, ..v1::NetworkInfo::default() }],
        cgroup_info: None,
        executor_pid: pid,
    }
}

/// A run's container as the wire names it: with those that it is below.
pub fn container_id(run: &ContainerId) -> v1::ContainerId {
    let mut names = run.as_str().split('.');
    let first = v1::ContainerId { value: names.next().unwrap_or_default().into(), parent: None };
    names.fold(first, |above, name| v1::ContainerId {
        value: name.to_owned(),
        parent: Some(Box::new(above)),
    })
}

/// Why the wire's id of a container is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'ContainerID.value' {0}")]
pub struct InvalidContainer(String);

/// The run that the wire names: values from the outermost container inwards, with dots between
/// them (`spec/mesos-http.md` 3.3, "ContainerID rules").
///
/// # Errors
///
/// When a value is empty, has a dot, a blank or what an id may not have, or all are too long.
pub fn run_of_container(id: &v1::ContainerId) -> Result<ContainerId, InvalidContainer> {
    let mut names = Vec::new();
    let mut next = Some(id);
    while let Some(one) = next {
        if names.len() == MAX_DEPTH {
            return Err(InvalidContainer(format!("is nested deeper than {MAX_DEPTH} levels")));
        }
        let value = one.value.as_str();
        if value.contains(|c: char| c == '.' || c.is_whitespace()) {
            let text = value.escape_debug();
            return Err(InvalidContainer(format!("'{text}' contains invalid characters")));
        }
        ContainerId::parse(value).map_err(|error| InvalidContainer(error.to_string()))?;
        names.push(value);
        next = one.parent.as_deref();
    }
    names.reverse();
    let text = names.join(".");
    if text.len() > MAX_CONTAINER_BYTES {
        let length = text.len();
        return Err(InvalidContainer(format!(
            "has {length} characters with those above it, and {MAX_CONTAINER_BYTES} are the most"
        )));
    }
    ContainerId::parse(&text).map_err(|error| InvalidContainer(error.to_string()))
}

/// How a command ended, in the words of Mesos's command executor.
pub(crate) fn exit_message(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("Command exited with status {code}"),
        Exit::Signal(signal) => match signals::text(*signal) {
            Some(name) => format!("Command terminated with signal {name}"),
            None => format!("Command terminated with signal Unknown signal {signal}"),
        },
        Exit::Unknown(why) => format!("Failed to get exit status for Command: {why}"),
    }
}

/// The raw wait status of an end; -1 when it is not known.
pub(crate) fn wait_status(exit: &Exit) -> i32 {
    match exit {
        Exit::Code(code) => (code & 0xff) << 8,
        Exit::Signal(signal) => signal & 0x7f,
        Exit::Unknown(_) => -1,
    }
}
