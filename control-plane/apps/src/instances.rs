//! Every instance, by id and by app.

use std::collections::{BTreeMap, BTreeSet};

use tepui_marathon::{AppId, InstanceId, TaskId};

use crate::instance::Instance;

/// Every instance.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    by_id: BTreeMap<InstanceId, Instance>,
    by_app: BTreeMap<AppId, BTreeSet<InstanceId>>,
}

impl Instances {
    pub(crate) fn insert(&mut self, instance: Instance) {
        let id = instance.id().clone();
        self.by_app.entry(id.run_spec().clone()).or_default().insert(id.clone());
        self.by_id.insert(id, instance);
    }

    pub(crate) fn remove(&mut self, id: &InstanceId) -> Option<Instance> {
        let instance = self.by_id.remove(id)?;
        if let Some(siblings) = self.by_app.get_mut(id.run_spec()) {
            siblings.remove(id);
            if siblings.is_empty() {
                self.by_app.remove(id.run_spec());
            }
        }
        Some(instance)
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Option<&Instance> {
        self.by_id.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        self.by_id.get_mut(id)
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
        let ids = self.by_app.get(app).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id))
    }

    pub(crate) fn ids_of(&self, app: &AppId) -> Vec<InstanceId> {
        self.by_app.get(app).into_iter().flatten().cloned().collect()
    }

    pub(crate) fn apps(&self) -> impl Iterator<Item = &AppId> {
        self.by_app.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.by_id.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}
