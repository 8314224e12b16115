//! What the kernel knows about single tasks.

use std::thread;
use std::time::Duration;

use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapImpl};

use super::Driver;
use crate::AccountingError;
use crate::catalogue::ObjectName;
use crate::decode::{Denials, decode_denials};
use crate::group::GroupId;
use crate::mode::Mode;
use crate::ports::PortSet;

/// The map whose records we write; all others begin with zeros and are the kernel's.
const PORTS: (ObjectName, &str) = (ObjectName::Ports, "task_ports");

/// Stands for all groups that nobody registered; no group has this id.
const STRANGERS: GroupId = GroupId::from_raw(0);

/// Maps with one record per task. Counters come before ports, so that a task with ports is whole.
const PER_TASK: &[(ObjectName, &str)] = &[
    (ObjectName::Sched, "cpu_use"),
    (ObjectName::Sched, "endings"),
    (ObjectName::Net, "net_use"),
    (ObjectName::Net, "tcp_use"),
    (ObjectName::Block, "block_use"),
    (ObjectName::Ports, "task_denials"),
    PORTS,
];

impl Driver {
    /// Gives a task its ports and its counters. A task that is registered keeps its counters and
    /// gets the new ports in one step; without a mode of its own it follows the host's.
    ///
    /// Register before the first process is in the group: until then nothing may be bound there.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Map`] when the kernel refuses, for example because the map is full. The
    /// task then has no ports; [`Self::unregister_task`] removes what it got until there.
    pub fn register_task(
        &mut self,
        group: GroupId,
        ports: &PortSet,
        mode: Option<Mode>,
    ) -> Result<(), AccountingError> {
        for (object, name) in self.per_task() {
            let map = self.map(object, name)?;
            let result = if (object, name) == PORTS {
                let record = ports.encode(mode);
                patiently(|| map.update(&group.key(), &record, MapFlags::ANY))
            } else {
                begin_counters(&map, group)
            };
            match result {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => other.map_err(|source| AccountingError::Map {
                    verb: "write",
                    map: name,
                    group,
                    source,
                })?,
            }
        }
        Ok(())
    }

    /// Forgets a task: what still runs in its group has no ports any more.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Map`] when the kernel refuses; a task that is not known is no error.
    pub fn unregister_task(&mut self, group: GroupId) -> Result<(), AccountingError> {
        for (object, name) in self.per_task() {
            match self.map(object, name)?.delete(&group.key()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other.map_err(|source| AccountingError::Map {
                    verb: "delete",
                    map: name,
                    group,
                    source,
                })?,
            }
        }
        Ok(())
    }

    /// Tasks that are registered, by this agent or an earlier one.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Missing`] when nothing is loaded that keeps tasks.
    pub fn registered(&self) -> Result<Vec<GroupId>, AccountingError> {
        let (object, name) =
            self.per_task().next_back().ok_or(AccountingError::Missing("map of tasks"))?;
        let keys = self.map(object, name)?.keys().collect::<Vec<_>>();
        let id = |key: Vec<u8>| key.try_into().ok().map(u64::from_ne_bytes);
        Ok(keys.into_iter().filter_map(id).map(GroupId::from_raw).collect())
    }

    /// The maps that have a record for each task, with the records in each; that of refused ports
    /// has one more, for groups that nobody registered.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Missing`] when an object lacks a map.
    pub fn entries(&self) -> Result<Vec<(String, u64)>, AccountingError> {
        let counted = |(object, name): (_, &'static str)| {
            Ok((name.to_owned(), self.map(object, name)?.keys().count() as u64))
        };
        self.per_task().map(counted).collect()
    }

    /// What a task was refused so far; `None` for a task that is not registered.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] when the kernel refuses or its record has another size.
    pub fn denials(&self, group: GroupId) -> Result<Option<Denials>, AccountingError> {
        self.one(ObjectName::Ports, "task_denials", group, decode_denials)
    }

    /// What groups that nobody registered were refused so far, together.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] when the kernel refuses or its record has another size.
    pub fn strangers_denials(&self) -> Result<Denials, AccountingError> {
        Ok(self.denials(STRANGERS)?.unwrap_or_default())
    }

    /// Makes the book in which groups that nobody registered are written.
    pub(super) fn open_strangers_book(&self) -> Result<(), AccountingError> {
        let name = "task_denials";
        match begin_counters(&self.map(ObjectName::Ports, name)?, STRANGERS) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|source| AccountingError::HostMap {
                verb: "write",
                map: name,
                source,
            }),
        }
    }

    fn per_task(&self) -> impl DoubleEndedIterator<Item = (ObjectName, &'static str)> + use<> {
        let there: Vec<_> =
            PER_TASK.iter().copied().filter(|(object, _)| self.has(*object)).collect();
        there.into_iter()
    }
}

/// Makes a record of zeros where there is none.
fn begin_counters(map: &MapImpl<'_>, group: GroupId) -> libbpf_rs::Result<()> {
    let record = vec![0; map.value_size() as usize];
    if map.map_type().is_percpu() {
        let records = vec![record; libbpf_rs::num_possible_cpus()?];
        patiently(|| map.update_percpu(&group.key(), &records, MapFlags::NO_EXIST))
    } else {
        patiently(|| map.update(&group.key(), &record, MapFlags::NO_EXIST))
    }
}

/// How often [`patiently`] tries, and how long it waits in between.
const TRIES: u32 = 200;
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// The kernel takes memory for records from a small store that it fills in the background; after
/// some thousand tasks at once it is empty for a moment.
fn patiently(mut write: impl FnMut() -> libbpf_rs::Result<()>) -> libbpf_rs::Result<()> {
    for _ in 1..TRIES {
        match write() {
            Err(error) if error.kind() == ErrorKind::OutOfMemory => thread::sleep(BETWEEN_TRIES),
            other => return other,
        }
    }
    write()
}
