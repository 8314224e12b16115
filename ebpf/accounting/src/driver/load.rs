//! From a plan to loaded programs with pinned maps.

use std::collections::BTreeMap;

use libbpf_rs::{MapCore, MapFlags, Object};

use super::{Driver, MOST_LEVELS, Place};
use crate::catalogue::ObjectName;
use crate::group::{GroupId, level_of};
use crate::mode::Policy;
use crate::object;
use crate::pins::{Pins, ensure_folder};
use crate::plan::Plan;
use crate::{AccountingError, driver::events::Ring};

impl Driver {
    /// Loads the plan's programs; accounting that the kernel refuses is left to files (see
    /// [`Self::failures`]), port enforcement that it refuses is an error. Maps of an earlier agent are taken over with what they hold;
    /// nothing is attached yet, and what an earlier agent attached goes on.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] saying which step the host refused.
    pub fn load(place: Place, plan: &Plan, policy: Policy) -> Result<Self, AccountingError> {
        if !(1..=MOST_LEVELS).contains(&place.depth) {
            return Err(AccountingError::Depth { depth: place.depth, most: MOST_LEVELS });
        }
        ensure_folder(&place.pins)?;
        let root = GroupId::of(&place.root)?;
        let first = level_of(&place.root)? + 1;
        let pins = Pins::new(&place.pins);
        let mut objects = BTreeMap::new();
        let mut failures = Vec::new();
        for name in plan.objects() {
            match load_object(name, plan, &pins) {
                Ok(object) => {
                    objects.insert(name, object);
                }
                // A host without enforcement that believes it has it is the one thing worse.
                Err(error) if name == ObjectName::Ports => return Err(error),
                Err(error) => failures.push((name, error)),
            }
        }
        let loaded = |name: &ObjectName| objects.contains_key(name);
        let programs = plan.programs.iter().copied().filter(|s| loaded(&s.object)).collect();
        let mut driver = Self {
            objects,
            programs,
            links: BTreeMap::new(),
            denials: None,
            exits: None,
            failures,
            levels: (first, first + place.depth - 1),
            place,
            root,
            pins,
            policy,
        };
        driver.set_policy(policy)?;
        if driver.has(ObjectName::Ports) {
            let ring = Ring::over(&driver.map(ObjectName::Ports, "denial_ring")?)?;
            driver.denials = Some(ring);
            driver.open_strangers_book()?;
        }
        if driver.has(ObjectName::Sched) {
            let ring = Ring::over(&driver.map(ObjectName::Sched, "exit_ring")?)?;
            driver.exits = Some(ring);
        }
        Ok(driver)
    }

    /// Changes the host's rules about ports, for programs of an earlier agent too.
    ///
    /// # Errors
    ///
    /// [`AccountingError::HostMap`] when the kernel refuses.
    pub fn set_policy(&mut self, policy: Policy) -> Result<(), AccountingError> {
        let record = policy.encode(self.levels.0, self.levels.1);
        let zero = 0_u32.to_ne_bytes();
        for name in self.objects.keys() {
            let map = self.map(*name, "settings")?;
            map.update(&zero, &record, MapFlags::ANY).map_err(|source| {
                AccountingError::HostMap { verb: "write", map: "settings", source }
            })?;
        }
        self.policy = policy;
        Ok(())
    }
}

fn load_object(name: ObjectName, plan: &Plan, pins: &Pins) -> Result<Object, AccountingError> {
    let mut open = object::open(name)?;
    let refused = |source| AccountingError::Open { object: name.word(), source };
    for mut program in open.progs_mut() {
        let wanted = plan.programs.iter().any(|spec| program.name() == spec.name);
        program.set_autoload(wanted);
    }
    for mut map in open.maps_mut() {
        // A name with a dot is libbpf's own: constants of the object.
        if let Some(map_name) = map.name().to_str().filter(|name| !name.contains('.')) {
            map.set_pin_path(pins.map(map_name)).map_err(refused)?;
        }
    }
    object::load(name, open)
}
