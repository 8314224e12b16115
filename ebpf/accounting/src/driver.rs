//! Loads, attaches and pins; the only place that acts on the kernel's BPF side.
//!
//! The order of a start: [`Driver::load`], then [`Driver::register_task`] for every task that
//! already runs, then [`Driver::attach`]. Programs of an earlier agent go on enforcing until the
//! moment in which ours take their places, one exchange of a pointer each.

mod attach;
mod events;
mod load;
mod read;
mod tasks;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use libbpf_rs::{Link, MapCore, MapImpl, Object};

use crate::AccountingError;
use crate::catalogue::{Feature, ObjectName, PROGRAMS, Spec};
use crate::group::GroupId;
use crate::mode::Policy;
use crate::pins::Pins;
use events::Ring;

/// Where programs are attached and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Folder of the group that holds all tasks, or of the one that is ours among several.
    pub root: PathBuf,
    /// Folders of further groups that hold tasks; they may come and go. See [`Driver::reach`].
    pub others: Vec<PathBuf>,
    /// How many levels below the highest of them tasks' groups are at most: 1 when they are the
    /// children of a single one, 6 at most. Every level beyond the first costs a little at each
    /// lookup.
    pub depth: u32,
    /// Folder of pins, in a BPF file system.
    pub pins: PathBuf,
}

/// The deepest that tasks may be below the root group: as `MAX_LEVELS` in `bpf/record.h`.
const MOST_LEVELS: u32 = 6;

/// How a start found the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Programs put in the place of an earlier agent's.
    pub replaced: Vec<&'static str>,
    /// Programs of an earlier agent that are the same as ours and stay.
    pub kept: Vec<&'static str>,
    /// Programs attached where there was none.
    pub fresh: Vec<&'static str>,
}

/// The loaded programs of one agent.
pub struct Driver {
    objects: BTreeMap<ObjectName, Object>,
    programs: Vec<&'static Spec>,
    links: BTreeMap<(&'static str, Option<GroupId>), Link>,
    denials: Option<Ring>,
    exits: Option<Ring>,
    failures: Vec<(ObjectName, AccountingError)>,
    place: Place,
    levels: (u32, u32),
    pins: Pins,
    policy: Policy,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("place", &self.place)
            .field("objects", &self.objects.keys())
            .field("links", &self.links.keys())
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Where the programs are.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether all programs of a feature are attached, by this agent: then its figures are BPF's.
    #[must_use]
    pub fn has_feature(&self, feature: Feature) -> bool {
        let mut programs = PROGRAMS.iter().filter(|spec| spec.feature == feature);
        programs.all(|spec| self.runs(spec.name))
    }

    /// Why the kernel refused programs of the plan after all, with the object that they are in;
    /// their figures come from files.
    #[must_use]
    pub fn failures(&self) -> &[(ObjectName, AccountingError)] {
        &self.failures
    }

    /// Detaches everything and removes the pins: from here on nothing is enforced or counted.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Folder`] when pins cannot be removed.
    pub fn remove(self) -> Result<(), AccountingError> {
        self.pins.remove_all()
    }

    fn has(&self, object: ObjectName) -> bool {
        self.objects.contains_key(&object)
    }

    fn map(&self, object: ObjectName, name: &'static str) -> Result<MapImpl<'_>, AccountingError> {
        self.objects
            .get(&object)
            .and_then(|object| object.maps().find(|map| map.name() == name))
            .ok_or(AccountingError::Missing(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_look_as_deep_as_we_allow() {
        let line = format!("#define MAX_LEVELS {MOST_LEVELS}\n");
        assert!(include_str!("bpf/record.h").contains(&line));
    }

    #[test]
    fn a_driver_may_move_to_a_thread_of_its_own() {
        fn needs_send<T: Send>() {}
        needs_send::<Driver>();
    }
}
