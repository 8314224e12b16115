//! From a plan to loaded programs with pinned maps.

use std::collections::BTreeMap;

use libbpf_rs::{MapCore, MapFlags, Object};

use super::{Driver, MOST_LEVELS, Place};
use crate::catalogue::{ObjectName, Spec};
use crate::group::level_of;
use crate::mode::Policy;
use crate::object;
use crate::pins::{Pins, ensure_folder};
use crate::plan::Plan;
use crate::{AccountingError, driver::events::Ring};

impl Driver {
    /// Loads the plan's programs; accounting that the kernel refuses is left to files (see
    /// [`Self::failures`]), port enforcement that it refuses is an error. Maps of an earlier agent
    /// are taken over with what they hold; nothing is attached yet, and what an earlier agent
    /// attached goes on.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] saying which step the host refused.
    pub fn load(place: Place, plan: &Plan, policy: Policy) -> Result<Self, AccountingError> {
        if !(1..=MOST_LEVELS).contains(&place.depth) {
            return Err(AccountingError::Depth { depth: place.depth, most: MOST_LEVELS });
        }
        ensure_folder(&place.pins)?;
        let mut first = level_of(&place.root)? + 1;
        for other in &place.others {
            first = first.min(level_of(other)? + 1);
        }
        let pins = Pins::new(&place.pins);
        let mut objects = BTreeMap::new();
        let mut failures = Vec::new();
        let mut programs = Vec::new();
        for name in plan.objects() {
            let wanted: Vec<_> =
                plan.programs.iter().copied().filter(|spec| spec.object == name).collect();
            let load = |specs: &[&'static Spec]| load_object(name, specs, &pins);
            // A host without enforcement that believes it has it is the one thing worse than none.
            let (object, loaded) = if name == ObjectName::Ports {
                (Some(load(&wanted)?), wanted)
            } else {
                load_what_loads(&wanted, load, |error| failures.push((name, error)))
            };
            objects.extend(object.map(|object| (name, object)));
            programs.extend(loaded);
        }
        let mut driver = Self {
            objects,
            programs,
            links: BTreeMap::new(),
            denials: None,
            exits: None,
            failures,
            levels: (first, first + place.depth - 1),
            place,
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

    /// The host's rules about ports.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
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

/// Loads these programs, or if the kernel refuses them together, those that it takes alone.
fn load_what_loads<T, E>(
    wanted: &[&'static Spec],
    load: impl Fn(&[&'static Spec]) -> Result<T, E>,
    mut refused: impl FnMut(E),
) -> (Option<T>, Vec<&'static Spec>) {
    if let Ok(loaded) = load(wanted) {
        return (Some(loaded), wanted.to_vec());
    }
    let mut good = Vec::new();
    for spec in wanted {
        match load(&[*spec]) {
            Ok(_) => good.push(*spec),
            Err(error) => refused(error),
        }
    }
    if good.is_empty() {
        return (None, good);
    }
    match load(&good) {
        Ok(loaded) => (Some(loaded), good),
        Err(error) => {
            refused(error);
            (None, Vec::new())
        }
    }
}

fn load_object(
    name: ObjectName,
    wanted: &[&'static Spec],
    pins: &Pins,
) -> Result<Object, AccountingError> {
    let mut open = object::open(name)?;
    let refused = |source| AccountingError::Open { object: name.word(), source };
    for mut program in open.progs_mut() {
        let wanted = wanted.iter().any(|spec| program.name() == spec.name);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::PROGRAMS;

    /// What is left of the first four programs when the kernel refuses these names.
    fn left(bad: &[&str]) -> (Option<Vec<&'static str>>, usize) {
        let wanted: Vec<_> = PROGRAMS.iter().take(4).collect();
        let mut refusals = 0;
        let load = |specs: &[&'static Spec]| {
            let names: Vec<_> = specs.iter().map(|spec| spec.name).collect();
            if names.iter().any(|name| bad.contains(name)) { Err(()) } else { Ok(names) }
        };
        let (loaded, good) = load_what_loads(&wanted, load, |()| refusals += 1);
        assert_eq!(loaded.clone().unwrap_or_default().len(), good.len());
        (loaded, refusals)
    }

    #[test]
    fn a_program_that_is_refused_takes_no_other_with_it() {
        let all: Vec<_> = PROGRAMS.iter().take(4).map(|spec| spec.name).collect();
        assert_eq!(left(&[]), (Some(all.clone()), 0));
        assert_eq!(left(&[all[1]]), (Some(vec![all[0], all[2], all[3]]), 1));
        assert_eq!(left(&all), (None, 4));
    }
}
