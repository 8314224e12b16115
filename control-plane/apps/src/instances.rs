//! Every instance, by app and id.

use std::collections::BTreeMap;

use tepui_marathon::{AppId, InstanceId, TaskId};

use crate::instance::Instance;

/// Every instance. Those of one app lie together: most decisions look at all of them.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    by_app: BTreeMap<AppId, BTreeMap<InstanceId, Instance>>,
    count: usize,
}

impl Instances {
    pub(crate) fn insert(&mut self, instance: Instance) {
        let id = instance.id().clone();
        let siblings = self.by_app.entry(id.run_spec().clone()).or_default();
        if siblings.insert(id, instance).is_none() {
            self.count += 1;
        }
    }

    pub(crate) fn remove(&mut self, id: &InstanceId) -> Option<Instance> {
        let siblings = self.by_app.get_mut(id.run_spec())?;
        let instance = siblings.remove(id)?;
        self.count -= 1;
        if siblings.is_empty() {
            self.by_app.remove(id.run_spec());
        }
        Some(instance)
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Option<&Instance> {
        self.by_app.get(id.run_spec())?.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        self.by_app.get_mut(id.run_spec())?.get_mut(id)
    }

    /// The instance whose current task this is.
    pub(crate) fn of_task(&self, task: &TaskId) -> Option<&Instance> {
        self.get(task.instance()).filter(|instance| instance.has_task(task))
    }

    /// As [`Instances::of_task`], to change it.
    pub(crate) fn of_task_mut(&mut self, task: &TaskId) -> Option<&mut Instance> {
        self.get_mut(task.instance()).filter(|instance| instance.has_task(task))
    }

    pub(crate) fn of_app(&self, app: &AppId) -> impl Iterator<Item = &Instance> {
        self.by_app.get(app).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn ids_of(&self, app: &AppId) -> Vec<InstanceId> {
        self.by_app.get(app).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    pub(crate) fn apps(&self) -> impl Iterator<Item = &AppId> {
        self.by_app.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.by_app.values().flat_map(BTreeMap::values)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}
