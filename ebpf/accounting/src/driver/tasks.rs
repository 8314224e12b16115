//! What the kernel knows about single tasks.

use libbpf_rs::{MapCore, MapFlags};

use super::Driver;
use crate::AccountingError;
use crate::catalogue::ObjectName;
use crate::decode::{Denials, decode_denials};
use crate::group::GroupId;
use crate::mode::Mode;
use crate::ports::PortSet;

/// Maps with one record per task.
const PER_TASK: &[(ObjectName, &str)] =
    &[(ObjectName::Ports, "task_ports"), (ObjectName::Ports, "task_denials")];

impl Driver {
    /// Gives a task its ports and its counters. A task that is registered keeps its counters and
    /// gets the new ports in one step; without a mode of its own it follows the host's.
    ///
    /// Register before the first process is in the group: until then nothing may be bound there.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Map`] when the kernel refuses, for example because the map is full.
    pub fn register_task(
        &mut self,
        group: GroupId,
        ports: &PortSet,
        mode: Option<Mode>,
    ) -> Result<(), AccountingError> {
        for (object, name) in PER_TASK.iter().filter(|(object, _)| self.has(*object)) {
            let map = self.map(*object, name)?;
            let (record, flags) = if *name == "task_ports" {
                (ports.encode(mode), MapFlags::ANY)
            } else {
                (vec![0; map.value_size() as usize], MapFlags::NO_EXIST)
            };
            match map.update(&group.key(), &record, flags) {
                Err(error) if error.kind() == libbpf_rs::ErrorKind::AlreadyExists => {}
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
        for (object, name) in PER_TASK.iter().filter(|(object, _)| self.has(*object)) {
            match self.map(*object, name)?.delete(&group.key()) {
                Err(error) if error.kind() == libbpf_rs::ErrorKind::NotFound => {}
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
        let (object, name) = PER_TASK
            .iter()
            .find(|(object, _)| self.has(*object))
            .ok_or(AccountingError::Missing("map of tasks"))?;
        let keys = self.map(*object, name)?.keys().collect::<Vec<_>>();
        let id = |key: Vec<u8>| key.try_into().ok().map(u64::from_ne_bytes);
        Ok(keys.into_iter().filter_map(id).map(GroupId::from_raw).collect())
    }

    /// What a task was refused so far; `None` for a task that is not registered.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] when the kernel refuses or its record has another size.
    pub fn denials(&self, group: GroupId) -> Result<Option<Denials>, AccountingError> {
        let name = "task_denials";
        let found = self
            .map(ObjectName::Ports, name)?
            .lookup(&group.key(), MapFlags::ANY)
            .map_err(|source| AccountingError::Map { verb: "read", map: name, group, source })?;
        let decode = |record: Vec<u8>| {
            decode_denials(&record).ok_or(AccountingError::Record { map: name, size: record.len() })
        };
        found.map(decode).transpose()
    }
}
