//! From a changed root group to a deployment (`marathon-api.md` section 10, `marathon-behaviour.md`
//! sections 9.1 and 9.4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_marathon::{
    App, AppId, DeploymentResult, EventPayload, Group, GroupId, InstanceId, Rejection, Step,
    Version, VersionInfo,
};
use tepui_types::{Role, Uuid};

use crate::catalog::{self, ChangeGroup, Diff};
use crate::machine::Apps;
use crate::out::Out;
use crate::{Change, DeploymentRecord, plan, service_ports};

/// A root group that is being changed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) root: Group,
    pub(crate) version: Version,
    /// The object that the client named, for `group_change_success`.
    pub(crate) subject: GroupId,
    /// Apps whose instances are replaced even if nothing else changes.
    pub(crate) restarts: BTreeSet<AppId>,
    /// Instances that go first when their app is scaled down.
    pub(crate) marked: BTreeSet<InstanceId>,
}

impl Apps {
    /// A draft that changes nothing yet.
    pub(crate) fn draft(&self, subject: &GroupId, out: &Out<'_>) -> Draft {
        Draft {
            root: (**self.catalog.root()).clone(),
            version: self.catalog.next_version(out.stamp()),
            subject: subject.clone(),
            restarts: BTreeSet::new(),
            marked: BTreeSet::new(),
        }
    }

    /// The role that an app's top-level group prescribes.
    pub(crate) fn enforced_role(root: &Group, app: &AppId) -> Option<Role> {
        let top = app.top_level().filter(|top| top != app)?;
        let group = root.group(&top).filter(|group| group.enforce_role == Some(true))?;
        Role::parse(group.id.last_segment()?).ok()
    }

    /// Gives changed apps their service ports and versions, drops changes that change nothing, and checks
    /// what concerns the tree as a whole.
    fn finish_draft(&self, draft: &mut Draft) -> Result<(Diff, Vec<Step>), Rejection> {
        let first = catalog::diff(self.catalog.root(), &draft.root);
        let mut taken: Option<BTreeSet<u16>> = None;
        for (id, (old, new)) in &first.apps {
            let Some(new) = new else { continue };
            let mut app = (**new).clone();
            let assigned =
                service_ports::assign(&mut app, old.as_deref(), self.config.local_ports, || {
                    taken.take().unwrap_or_else(|| self.taken_ports(&draft.root))
                });
            assigned.map_err(|_| self.ports_exhausted())?;
            let restart = draft.restarts.contains(id);
            if let Some(old) = old {
                app.version = old.version;
                app.version_info = old.version_info;
                if app == **old && !restart {
                    draft.root.put_app(Arc::clone(old), draft.version);
                    continue;
                }
            }
            app.version_info = version_info(old.as_deref(), &app, draft.version, restart);
            app.version = draft.version;
            draft.root.put_app(Arc::new(app), draft.version);
        }
        check_tree(&draft.root)?;
        let diff = catalog::diff(self.catalog.root(), &draft.root);
        let cycle = |_| Rejection::not_valid_at("/", "Dependency graph has cyclic dependencies.");
        if !diff.groups.is_empty() {
            let all = draft.root.all_apps();
            plan::depths(&draft.root, all.iter().map(|app| &app.id)).map_err(cycle)?;
        }
        let steps = plan::steps(&diff, &draft.restarts, &draft.root).map_err(cycle)?;
        Ok((diff, steps))
    }

    fn taken_ports(&self, root: &Group) -> BTreeSet<u16> {
        let old = self.catalog.root().all_apps();
        let all = old.into_iter().chain(root.all_apps());
        all.flat_map(|app| app.service_ports().collect::<Vec<_>>()).collect()
    }

    fn ports_exhausted(&self) -> Rejection {
        let (min, max) = self.config.local_ports;
        Rejection::new(500, format!("All ports in the range [{min}-{max}] are already in use"))
    }

    /// What putting the draft in force would do.
    pub(crate) fn dry_run(&self, mut draft: Draft) -> Result<Vec<Step>, Rejection> {
        self.finish_draft(&mut draft).map(|(_, steps)| steps)
    }

    /// Puts the draft in force, durably, and starts the deployment that leads to it.
    pub(crate) fn deploy(
        &mut self,
        mut draft: Draft,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<DeploymentResult, Rejection> {
        let deployed = self.try_deploy(&mut draft, force, out);
        let (group_id, version) = (draft.subject, draft.version);
        match &deployed {
            Ok(result) => {
                let version = result.version;
                out.publish(EventPayload::GroupChangeSuccess { group_id, version });
            }
            Err(rejection) => {
                let reason = rejection.to_string();
                out.publish(EventPayload::GroupChangeFailed { group_id, version, reason });
            }
        }
        deployed
    }

    fn try_deploy(
        &mut self,
        draft: &mut Draft,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<DeploymentResult, Rejection> {
        let (diff, steps) = self.finish_draft(draft)?;
        let id = self.entropy.uuid();
        let unchanged = diff.apps.is_empty() && diff.groups.is_empty();
        let conflicts: BTreeSet<Uuid> =
            diff.apps.keys().filter_map(|app| self.locks.get(app).copied()).collect();
        if !conflicts.is_empty() && !force {
            return Err(Rejection::locked(conflicts));
        }
        let most = self.config.max_running_deployments;
        if !steps.is_empty() && self.deployments.len() - conflicts.len() >= most {
            return Err(too_many(most));
        }
        let mut record = DeploymentRecord {
            id,
            version: draft.version,
            steps,
            apps: BTreeMap::new(),
            created_groups: BTreeSet::new(),
            changed_groups: BTreeMap::new(),
            marked: std::mem::take(&mut draft.marked),
        };
        if unchanged {
            record.version = self.catalog.root().version;
            let version = record.version;
            self.start_deployment(record, out);
            return Ok(DeploymentResult { version, deployment_id: id });
        }
        for (app, (old, new)) in &diff.apps {
            let version = |app: &Option<Arc<App>>| app.as_ref().map(|app| app.version);
            record.apps.insert(app.clone(), Change { from: version(old), to: version(new) });
        }
        for (group, (old, _)) in &diff.groups {
            if old.is_some() {
                let before = self.catalog.root().version;
                record.changed_groups.insert(group.clone(), before);
            } else {
                record.created_groups.insert(group.clone());
            }
        }
        for conflict in conflicts {
            self.cancel_deployment(conflict, "replaced by a newer forced deployment", out);
        }
        self.put_in_force(draft, &diff, &record, out);
        let version = record.version;
        self.start_deployment(record, out);
        Ok(DeploymentResult { version, deployment_id: id })
    }

    fn put_in_force(
        &mut self,
        draft: &mut Draft,
        diff: &Diff,
        record: &DeploymentRecord,
        out: &mut Out<'_>,
    ) {
        let (instances, deployments) = (&self.instances, &self.deployments);
        let in_use = |app: &AppId, version: Version| {
            let named =
                |change: &Change| change.from == Some(version) || change.to == Some(version);
            instances.of_app(app).any(|instance| instance.version() == version)
                || record.apps.get(app).is_some_and(named)
                || deployments.values().any(|d| d.record.apps.get(app).is_some_and(named))
        };
        draft.root.version = draft.version;
        let root = draft.root.clone();
        self.catalog.commit(root, diff, self.config.max_versions, &in_use, out);
        for (app, (_, new)) in &diff.apps {
            if let Some(new) = new {
                self.delays.reset_older(new);
            }
            self.dirty.insert(app.clone());
        }
    }
}

fn too_many(most: usize) -> Rejection {
    let message = format!(
        "Max number ({most}) of running deployments is achieved. Wait for existing deployments to \
         complete or cancel one using force=true parameter. You can increase max deployment number \
         by using --max_running_deployments parameter but be advised that this can have negative \
         effects on the performance."
    );
    Rejection::new(403, message)
}

/// When an app was last scaled and changed, after this change.
fn version_info(old: Option<&App>, new: &App, now: Version, restart: bool) -> VersionInfo {
    let fresh = VersionInfo { last_scaling_at: now, last_config_change_at: now };
    let Some(old) = old else { return fresh };
    if restart && !old.differs_in_config(new) && old.instances == new.instances {
        return VersionInfo { last_config_change_at: now, ..old.version_info };
    }
    if restart || old.differs_in_config(new) {
        return fresh;
    }
    VersionInfo { last_scaling_at: now, ..old.version_info }
}

/// Rules for the tree as a whole: no app and group of one name, role policies only at the top.
fn check_tree(root: &Group) -> Result<(), Rejection> {
    let mut fault = None;
    root.visit(&mut |group| {
        if group.apps.keys().any(|id| group.groups.contains_key(id)) {
            let text = "Groups and Applications may not have the same identifier.";
            fault.get_or_insert_with(|| Rejection::not_valid_at("/", text));
        }
        let is_top = group.id.parent().is_some_and(|parent| parent.is_root());
        if group.enforce_role.is_some() && !is_top {
            let id = &group.id;
            let text = format!(
                "enforceRole can only be set for top-level groups, and {id} is not top-level"
            );
            fault.get_or_insert_with(|| Rejection::not_valid_at("/enforceRole", text));
        }
    });
    fault.map_or(Ok(()), Err)
}
