//! Statuses as tasks keep them. A cluster remembers some hundred thousand, and a wire status takes
//! most of a kilobyte: what nearly every status is made of is kept small, any other is kept whole.

use std::net::IpAddr;

use tepui_types::{ExecutorId, UpdateId};
use tepui_wire::v1::{self, network_info};

use crate::state::Task;
use crate::view::{wire_agent, wire_executor, wire_task};

/// A status of a task, without data.
#[derive(Clone, Debug, PartialEq)]
pub struct Told(Form);

#[derive(Clone, Debug, PartialEq)]
enum Form {
    /// Such that [`Usual::to_wire`] gives back the original.
    Usual(Usual),
    Whole(Box<v1::TaskStatus>),
}

#[derive(Clone, Debug, PartialEq)]
struct Usual {
    state: i32,
    source: Option<i32>,
    reason: Option<i32>,
    message: Option<Box<str>>,
    timestamp: Option<f64>,
    update: Option<UpdateId>,
    healthy: Option<bool>,
    /// Whether it names the task's agent, and its executor: the implicit one of a command task has
    /// the task's id.
    names: (bool, bool),
    container: Option<Box<UsualContainer>>,
}

/// A container that has an id, the address of its host and maybe a process.
#[derive(Clone, Debug, PartialEq)]
struct UsualContainer {
    id: Box<str>,
    address: IpAddr,
    pid: Option<u32>,
}

/// A status's container, for readers.
#[derive(Clone, Copy, Debug)]
pub enum ContainerTold<'a> {
    /// It has only an id and one address.
    Usual {
        /// Its id.
        id: &'a str,
        /// Its address.
        address: IpAddr,
    },
    /// As it was told.
    Whole(&'a v1::ContainerStatus),
}

impl Told {
    /// Keeps a status of `task`.
    pub fn keep(task: &Task, mut status: v1::TaskStatus) -> Self {
        status.data = None;
        let Some(usual) = Usual::of(task, &status) else {
            return Self(Form::Whole(Box::new(status)));
        };
        // Looked at by every test in which a task speaks.
        debug_assert_eq!(usual.to_wire(task), status);
        Self(Form::Usual(usual))
    }

    /// The status as it was told; `task` is the one that it was kept for.
    pub fn to_wire(&self, task: &Task) -> v1::TaskStatus {
        match &self.0 {
            Form::Usual(usual) => usual.to_wire(task),
            Form::Whole(status) => (**status).clone(),
        }
    }

    /// The state's number on the wire.
    pub fn state(&self) -> i32 {
        match &self.0 {
            Form::Usual(usual) => usual.state,
            Form::Whole(status) => status.state,
        }
    }

    /// When it was made, in seconds.
    pub fn timestamp(&self) -> Option<f64> {
        match &self.0 {
            Form::Usual(usual) => usual.timestamp,
            Form::Whole(status) => status.timestamp,
        }
    }

    /// What a health check says.
    pub fn healthy(&self) -> Option<bool> {
        match &self.0 {
            Form::Usual(usual) => usual.healthy,
            Form::Whole(status) => status.healthy,
        }
    }

    /// Labels.
    pub fn labels(&self) -> Option<&v1::Labels> {
        match &self.0 {
            Form::Usual(_) => None,
            Form::Whole(status) => status.labels.as_ref(),
        }
    }

    /// The container.
    pub fn container(&self) -> Option<ContainerTold<'_>> {
        match &self.0 {
            Form::Usual(usual) => usual.container.as_deref().map(|container| {
                ContainerTold::Usual { id: &container.id, address: container.address }
            }),
            Form::Whole(status) => status.container_status.as_ref().map(ContainerTold::Whole),
        }
    }

    /// Whether this is the update of that id.
    pub(crate) fn is_update(&self, uuid: Option<&[u8]>) -> bool {
        let Some(uuid) = uuid else { return false };
        match &self.0 {
            Form::Usual(usual) => usual.update.is_some_and(|own| own.as_bytes() == uuid),
            Form::Whole(status) => status.uuid.as_deref() == Some(uuid),
        }
    }
}

impl Usual {
    /// `None` for a status that says anything which has no place here.
    fn of(task: &Task, status: &v1::TaskStatus) -> Option<Self> {
        let v1::TaskStatus {
            task_id,
            state,
            message,
            source,
            reason,
            data: None,
            agent_id,
            executor_id,
            timestamp,
            uuid,
            healthy,
            check_status: None,
            labels: None,
            container_status,
            unreachable_time: None,
            limitation: None,
        } = status
        else {
            return None;
        };
        let executor = task.executor.as_ref().map_or(task.id.as_str(), ExecutorId::as_str);
        let names_own = task_id.value == task.id.as_str()
            && agent_id.as_ref().is_none_or(|id| id.value == task.agent.as_str())
            && executor_id.as_ref().is_none_or(|id| id.value == executor);
        if !names_own {
            return None;
        }
        Some(Self {
            state: *state,
            source: *source,
            reason: *reason,
            message: message.as_deref().map(Into::into),
            timestamp: *timestamp,
            update: match uuid {
                Some(uuid) => Some(UpdateId::from_slice(uuid)?),
                None => None,
            },
            healthy: *healthy,
            names: (agent_id.is_some(), executor_id.is_some()),
            container: match container_status {
                Some(container) => Some(Box::new(UsualContainer::of(container)?)),
                None => None,
            },
        })
    }

    fn to_wire(&self, task: &Task) -> v1::TaskStatus {
        let executor = || match &task.executor {
            Some(executor) => wire_executor(executor),
            None => v1::ExecutorId { value: task.id.to_string() },
        };
        v1::TaskStatus {
            task_id: wire_task(&task.id),
            state: self.state,
            message: self.message.as_deref().map(Into::into),
            source: self.source,
            reason: self.reason,
            agent_id: self.names.0.then(|| wire_agent(&task.agent)),
            executor_id: self.names.1.then(executor),
            timestamp: self.timestamp,
            uuid: self.update.map(|id| id.as_bytes().to_vec()),
            healthy: self.healthy,
            container_status: self.container.as_deref().map(UsualContainer::to_wire),
            ..v1::TaskStatus::default()
        }
    }
}

fn protocol_of(address: IpAddr) -> network_info::Protocol {
    match address {
        IpAddr::V4(_) => network_info::Protocol::IPv4,
        IpAddr::V6(_) => network_info::Protocol::IPv6,
    }
}

impl UsualContainer {
    /// `None` for a container of which more is told, or something else.
    fn of(status: &v1::ContainerStatus) -> Option<Self> {
        let v1::ContainerStatus {
            container_id: Some(v1::ContainerId { value, parent: None }),
            network_infos,
            cgroup_info: None,
            executor_pid,
        } = status
        else {
            return None;
        };
        let [v1::NetworkInfo { ip_addresses, groups, labels: None, name: None, port_mappings }] =
            &network_infos[..]
        else {
            return None;
        };
        let [v1::network_info::IpAddress { protocol: Some(protocol), ip_address: Some(text) }] =
            &ip_addresses[..]
        else {
            return None;
        };
        let address: IpAddr = text.parse().ok()?;
        let is_canonical = match address {
            // There is one way only to write these.
            IpAddr::V4(_) => true,
            IpAddr::V6(six) => six.to_string() == *text,
        };
        let usual = groups.is_empty()
            && port_mappings.is_empty()
            && *protocol == i32::from(protocol_of(address))
            && is_canonical;
        let id = || value.as_str().into();
        usual.then(|| Self { id: id(), address, pid: *executor_pid })
    }

    fn to_wire(&self) -> v1::ContainerStatus {
        let protocol = protocol_of(self.address);
        let address = network_info::IpAddress {
            protocol: Some(protocol.into()),
            ip_address: Some(self.address.to_string()),
        };
        v1::ContainerStatus {
            container_id: Some(v1::ContainerId { value: self.id.to_string(), parent: None }),
            network_infos: vec![v1::NetworkInfo {
                ip_addresses: vec![address],
                ..v1::NetworkInfo::default()
            }],
            cgroup_info: None,
            executor_pid: self.pid,
        }
    }
}

#[cfg(test)]
mod tests {
    use tepui_types::{AgentId, FrameworkId, Resources, Role, TaskId, TaskState};

    use super::*;

    fn task(executor: Option<&str>) -> Task {
        Task {
            id: TaskId::parse("t").unwrap(),
            framework: FrameworkId::parse("f").unwrap(),
            agent: AgentId::parse("a").unwrap(),
            executor: executor.map(|id| ExecutorId::parse(id).unwrap()),
            name: "t".into(),
            role: Role::default_role(),
            resources: Resources::new(),
            state: TaskState::Running,
            forwarded: None,
            statuses: Vec::new(),
            launched: None,
            details: None,
        }
    }

    fn usual(container: UsualContainer) -> v1::TaskStatus {
        v1::TaskStatus {
            task_id: v1::TaskId { value: "t".into() },
            state: 1,
            source: Some(1),
            agent_id: Some(v1::AgentId { value: "a".into() }),
            executor_id: Some(v1::ExecutorId { value: "t".into() }),
            timestamp: Some(0.1),
            uuid: Some(vec![7; 16]),
            container_status: Some(container.to_wire()),
            ..v1::TaskStatus::default()
        }
    }

    fn container(address: &str) -> UsualContainer {
        UsualContainer { id: "c".into(), address: address.parse().unwrap(), pid: Some(3) }
    }

    #[test]
    fn every_status_is_given_back_as_it_was_told() {
        let plain = usual(container("10.0.0.1"));
        let mut statuses = vec![plain.clone(), usual(container("fe80::1"))];
        let mut change = |by: fn(&mut v1::TaskStatus)| {
            let mut status = plain.clone();
            by(&mut status);
            statuses.push(status);
        };
        change(|status| status.agent_id = None);
        change(|status| status.agent_id = Some(v1::AgentId { value: "other".into() }));
        change(|status| status.executor_id = None);
        change(|status| status.executor_id = Some(v1::ExecutorId { value: "e".into() }));
        change(|status| status.uuid = Some(vec![1; 3]));
        change(|status| status.labels = Some(v1::Labels::default()));
        change(|status| status.limitation = Some(v1::TaskResourceLimitation::default()));
        change(|status| status.container_status = Some(v1::ContainerStatus::default()));
        change(|status| {
            let networks = status.container_status.iter_mut().map(|one| &mut one.network_infos);
            networks.flatten().for_each(|network| network.name = Some("bridge".into()));
        });
        for task in [task(None), task(Some("e"))] {
            for status in &statuses {
                assert_eq!(&Told::keep(&task, status.clone()).to_wire(&task), status);
            }
        }
        let whole = |status| matches!(Told::keep(&task(None), status).0, Form::Whole(_));
        assert!(!whole(statuses[0].clone()) && !whole(statuses[1].clone()));
        assert!(size_of::<Told>() <= 96, "{}", size_of::<Told>());
    }

    #[test]
    fn data_is_not_kept() {
        let status = v1::TaskStatus { data: Some(vec![1]), ..usual(container("10.0.0.1")) };
        assert_eq!(Told::keep(&task(None), status).to_wire(&task(None)).data, None);
    }
}
