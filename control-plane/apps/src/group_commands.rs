//! Commands about groups (`marathon-api.md` section 4, `marathon-behaviour.md` section 12).

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_marathon::{DryRun, Group, GroupId, GroupUpdate, PathId, Ratio, Rejection, Version};

use crate::Reply;
use crate::app_commands::parent_of;
use crate::catalog::{self, ChangeGroup};
use crate::drafts::Draft;
use crate::machine::Apps;
use crate::out::Out;

impl Apps {
    pub(crate) fn create_group(
        &mut self,
        path: &GroupId,
        update: &GroupUpdate,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<Reply, Rejection> {
        let id = update.id.clone().unwrap_or_else(|| path.clone());
        if self.catalog.root().group(&id).is_some() {
            let text = format!("Group {id} is already created. Use PUT to change this group.");
            return Err(Rejection::new(409, text));
        }
        if self.catalog.app(&id).is_some() {
            return Err(Rejection::new(409, format!("An app with the path {id} already exists.")));
        }
        self.change_group(&id, update, false, force, out)
    }

    pub(crate) fn update_group(
        &mut self,
        path: &GroupId,
        update: &GroupUpdate,
        dry_run: bool,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<Reply, Rejection> {
        let id = update.id.clone().unwrap_or_else(|| path.clone());
        self.change_group(&id, update, dry_run, force, out)
    }

    fn change_group(
        &mut self,
        id: &GroupId,
        update: &GroupUpdate,
        dry_run: bool,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<Reply, Rejection> {
        let mut draft = self.draft(id, out);
        if let Some(version) = update.version {
            self.roll_back(&mut draft, id, version)?;
        } else if let Some(factor) = update.scale_by {
            scale_by(&mut draft, id, factor)?;
        } else {
            self.apply(&mut draft, id, update)?;
            self.check_policy_change(&draft, id, update)?;
        }
        if dry_run {
            let steps = self.dry_run(draft)?;
            return Ok(Reply::Planned(DryRun { steps }));
        }
        self.deploy(draft, force, out).map(Reply::Deployed)
    }

    /// What an update says of a group, and of the groups in it.
    fn apply(
        &self,
        draft: &mut Draft,
        id: &GroupId,
        update: &GroupUpdate,
    ) -> Result<(), Rejection> {
        let version = draft.version;
        draft.root.change(id, version, |group| {
            if let Some(dependencies) = &update.dependencies {
                group.dependencies.clone_from(dependencies);
            }
            if update.enforce_role.is_some() {
                group.enforce_role = update.enforce_role;
            }
        });
        if let Some(updates) = &update.apps {
            let mut apps = BTreeMap::new();
            for (index, update) in updates.iter().enumerate() {
                let place = format!("/apps({index})");
                let app = update.id.clone().filter(|app| app.is_direct_child_of(id));
                let app = app.ok_or_else(|| not_child(id).under(&place))?;
                let role = Self::enforced_role(&draft.root, &app);
                let settings = &self.config.settings;
                let complete = update
                    .complete(&app, None, role.as_ref(), settings)
                    .map_err(|rejection| rejection.under(&place))?;
                if apps.insert(app, Arc::new(complete)).is_some() {
                    return Err(Rejection::not_valid_at("/apps", "must be unique"));
                }
            }
            draft.root.change(id, version, |group| group.apps = apps);
        }
        if let Some(updates) = &update.groups {
            let mut kept: Vec<GroupId> = Vec::new();
            for (index, update) in updates.iter().enumerate() {
                let place = format!("/groups({index})");
                let child = update.id.clone().filter(|child| child.is_direct_child_of(id));
                let child = child.ok_or_else(|| not_child(id).under(&place))?;
                self.apply(draft, &child, update).map_err(|rejection| rejection.under(&place))?;
                kept.push(child);
            }
            draft.root.change(id, version, |group| {
                group.groups.retain(|child, _| kept.contains(child));
            });
        }
        Ok(())
    }

    /// A role policy is not changed together with the services it is about.
    fn check_policy_change(
        &self,
        draft: &Draft,
        id: &GroupId,
        update: &GroupUpdate,
    ) -> Result<(), Rejection> {
        let before = self.catalog.root().group(id);
        let changed = before.is_some_and(|group| {
            update.enforce_role.is_some()
                && group.enforce_role.unwrap_or(false) != update.enforce_role.unwrap_or(false)
        });
        if changed && !catalog::diff(self.catalog.root(), &draft.root).apps.is_empty() {
            let text = "enforceRole cannot be modified in a request that adds, removes or modifies \
                        services; please make these changes in separate requests.";
            return Err(Rejection::not_valid_at("/enforceRole", text));
        }
        Ok(())
    }

    fn roll_back(
        &self,
        draft: &mut Draft,
        id: &GroupId,
        version: Version,
    ) -> Result<(), Rejection> {
        let then = self.catalog.root_at(version);
        let group = then.as_ref().and_then(|root| root.group(id)).cloned().ok_or_else(|| {
            Rejection::new(422, format!("Group {id} not available in version {version}"))
        })?;
        replace(&mut draft.root, group, draft.version);
        Ok(())
    }

    pub(crate) fn enforce_role(
        &mut self,
        id: &GroupId,
        enforce: bool,
        out: &mut Out<'_>,
    ) -> Result<Reply, Rejection> {
        if !parent_of(id).is_root() || id.is_root() {
            return Err(Rejection::new(422, "Path needs to be top-level"));
        }
        self.existing_group(id)?;
        let mut draft = self.draft(id, out);
        draft.root.change(id, draft.version, |group| group.enforce_role = Some(enforce));
        self.deploy(draft, false, out)?;
        Ok(Reply::Done)
    }

    pub(crate) fn delete_group(
        &mut self,
        id: &GroupId,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<Reply, Rejection> {
        self.existing_group(id)?;
        let mut draft = self.draft(&parent_of(id), out);
        if id.is_root() {
            draft.root.change(id, draft.version, |root| {
                root.apps.clear();
                root.groups.clear();
                root.dependencies.clear();
            });
        } else {
            draft.root.drop_group(id, draft.version);
        }
        self.deploy(draft, force, out).map(Reply::Deployed)
    }

    fn existing_group(&self, id: &GroupId) -> Result<&Group, Rejection> {
        let group = self.catalog.root().group(id);
        group.ok_or_else(|| Rejection::not_found(format!("Group '{id}' does not exist")))
    }
}

/// Puts a whole group in the place of what is there.
fn replace(root: &mut Group, group: Group, version: Version) {
    match group.id.parent() {
        None => *root = group,
        Some(parent) => root.change(&parent, version, |parent| {
            parent.groups.insert(group.id.clone(), Arc::new(group));
        }),
    }
}

fn scale_by(draft: &mut Draft, id: &GroupId, factor: Ratio) -> Result<(), Rejection> {
    let group = draft.root.group(id);
    let group =
        group.ok_or_else(|| Rejection::not_found(format!("Group '{id}' does not exist")))?;
    let apps: Vec<_> = group.all_apps().into_iter().cloned().collect();
    for app in apps {
        let mut scaled = (*app).clone();
        scaled.instances = factor.ceil_of(app.instances);
        draft.root.put_app(Arc::new(scaled), draft.version);
    }
    Ok(())
}

fn not_child(id: &PathId) -> Rejection {
    let text = format!("Identifier is not child of '{id}'. Hint: use relative paths.");
    Rejection::not_valid_at("/id", text)
}
