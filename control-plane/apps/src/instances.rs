//! Every instance, by app and id, with running totals per app.

use std::collections::{BTreeMap, BTreeSet};

use tepui_marathon::{AppId, InstanceId, TaskId};

use crate::census::{Census, Traits};
use crate::instance::Instance;

/// Every instance. Those of one app lie together: they share totals, so that a decision about an app
/// costs as much as what changed of it, not as much as the app has instances.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    by_app: BTreeMap<AppId, Siblings>,
    count: usize,
    /// Given to each instance that begins to wait.
    tickets: u64,
    #[cfg(test)]
    looked_at: std::cell::Cell<usize>,
}

/// The instances of one app.
#[derive(Debug, Default)]
struct Siblings {
    slots: BTreeMap<InstanceId, Slot>,
    census: Census,
    /// Handed out to be changed since the totals were last true.
    touched: Vec<InstanceId>,
}

#[derive(Debug)]
struct Slot {
    instance: Instance,
    /// As what the totals count it.
    counted: Option<Traits>,
}

impl Siblings {
    fn touch(&mut self, id: &InstanceId) {
        if self.touched.last() != Some(id) {
            self.touched.push(id.clone());
        }
    }

    fn recount(&mut self, tickets: &mut u64) {
        for id in std::mem::take(&mut self.touched) {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let traits = Traits::of(&slot.instance);
            if slot.counted != Some(traits) {
                let before = slot.counted.replace(traits);
                self.census.change(&id, before, Some(traits), tickets);
            }
        }
    }
}

impl Instances {
    pub(crate) fn insert(&mut self, instance: Instance) {
        let id = instance.id().clone();
        let siblings = self.by_app.entry(id.run_spec().clone()).or_default();
        siblings.touch(&id);
        let slot = Slot { instance, counted: None };
        match siblings.slots.insert(id.clone(), slot) {
            None => self.count += 1,
            Some(replaced) => {
                siblings.census.change(&id, replaced.counted, None, &mut self.tickets)
            }
        }
    }

    pub(crate) fn remove(&mut self, id: &InstanceId) -> Option<Instance> {
        let siblings = self.by_app.get_mut(id.run_spec())?;
        let slot = siblings.slots.remove(id)?;
        siblings.census.change(id, slot.counted, None, &mut self.tickets);
        self.count -= 1;
        if siblings.slots.is_empty() {
            self.by_app.remove(id.run_spec());
        }
        Some(slot.instance)
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Option<&Instance> {
        Some(&self.by_app.get(id.run_spec())?.slots.get(id)?.instance)
    }

    /// To change it; the totals of its app follow when they are next asked for.
    pub(crate) fn get_mut(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        let siblings = self.by_app.get_mut(id.run_spec())?;
        siblings.touch(id);
        Some(&mut siblings.slots.get_mut(id)?.instance)
    }

    /// The instance whose current task this is.
    pub(crate) fn of_task(&self, task: &TaskId) -> Option<&Instance> {
        self.get(task.instance()).filter(|instance| instance.has_task(task))
    }

    /// As [`Instances::of_task`], to change it.
    pub(crate) fn of_task_mut(&mut self, task: &TaskId) -> Option<&mut Instance> {
        self.get_mut(task.instance()).filter(|instance| instance.has_task(task))
    }

    /// Every instance of an app, one by one; prefer [`Instances::census`] where totals will do.
    pub(crate) fn of_app(&self, app: &AppId) -> impl Iterator<Item = &Instance> {
        let slots = self.by_app.get(app).into_iter().flat_map(|siblings| siblings.slots.values());
        slots.map(|slot| {
            #[cfg(test)]
            self.looked_at.set(self.looked_at.get() + 1);
            &slot.instance
        })
    }

    pub(crate) fn ids_of(&self, app: &AppId) -> Vec<InstanceId> {
        self.of_app(app).map(|instance| instance.id().clone()).collect()
    }

    /// Whether the app has an instance, whatever its state.
    pub(crate) fn any_of(&self, app: &AppId) -> bool {
        self.by_app.contains_key(app)
    }

    /// How many instances of an app are in which state; `None` when there is none.
    pub(crate) fn census(&mut self, app: &AppId) -> Option<&Census> {
        let siblings = self.by_app.get_mut(app)?;
        siblings.recount(&mut self.tickets);
        Some(&siblings.census)
    }

    /// Instances of an app that wait for an offer.
    pub(crate) fn waiting_of(&mut self, app: &AppId) -> Option<&BTreeSet<InstanceId>> {
        self.census(app).map(Census::waiting)
    }

    pub(crate) fn apps(&self) -> impl Iterator<Item = &AppId> {
        self.by_app.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instance> {
        let slots = self.by_app.values().flat_map(|siblings| siblings.slots.values());
        slots.map(|slot| &slot.instance)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// How many times an instance was looked at only to look at all of its app.
    #[cfg(test)]
    pub(crate) fn looked_at(&self) -> usize {
        self.looked_at.get()
    }
}

#[cfg(test)]
mod tests;
