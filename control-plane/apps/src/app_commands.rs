//! Commands about apps, tasks, deployments and the queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_marathon::{
    App, AppId, AppUpdate, DeploymentResult, EventPayload, InstanceId, PathId, Rejection, Task,
};
use tepui_types::{RequestId, Uuid};

use crate::catalog::ChangeGroup;
use crate::drafts::Draft;
use crate::machine::Apps;
use crate::out::Out;
use crate::{Command, Effect, Goal, KillTarget, Origin, Reply};

impl Apps {
    pub(crate) fn command(
        &mut self,
        request: RequestId,
        command: Command,
        origin: Option<Origin>,
        out: &mut Out<'_>,
    ) {
        let reply = self.carry_out(command, out);
        if let (Ok(reply), Some(origin)) = (&reply, origin) {
            self.publish_post(reply, origin, out);
        }
        out.effects.push(Effect::Reply { request, reply: reply.map(Box::new) });
    }

    fn publish_post(&self, reply: &Reply, origin: Origin, out: &mut Out<'_>) {
        let app = match reply {
            Reply::AppCreated { app, .. } => Some(app),
            Reply::AppUpdated { id, .. } => self.catalog.app(id),
            _ => None,
        };
        if let Some(app) = app {
            out.publish(EventPayload::ApiPost {
                client_ip: origin.client_ip,
                uri: origin.uri,
                app_definition: Arc::clone(app),
            });
        }
    }

    fn carry_out(&mut self, command: Command, out: &mut Out<'_>) -> Result<Reply, Rejection> {
        match command {
            Command::CreateApp { update, force } => self.create_app(&update, force, out),
            Command::UpdateApp { id, update, partial, create, force } => {
                self.update_app(&id, &update, Rules { partial, create }, force, out)
            }
            Command::UpdateApps { updates, partial, create, force } => {
                let mut draft = self.draft(&PathId::root(), out);
                for (index, update) in updates.iter().enumerate() {
                    let prefix = format!("({index})");
                    let id = update.id.as_ref().ok_or_else(|| missing_id().under(&prefix))?;
                    self.put(&mut draft, id, update, Rules { partial, create })
                        .map_err(|rejection| rejection.under(&prefix))?;
                }
                self.deploy(draft, force, out).map(Reply::Deployed)
            }
            Command::RestartApp { id, force } => {
                let app = self.existing(&id)?;
                let mut draft = self.draft(&parent_of(&id), out);
                let mut again = (*app).clone();
                // Any other version makes the draft differ; the right one is set later.
                again.version = draft.version;
                draft.root.put_app(Arc::new(again), draft.version);
                draft.restarts.insert(id);
                self.deploy(draft, force, out).map(Reply::Deployed)
            }
            Command::DeleteApp { id, force } => {
                self.existing(&id)?;
                let mut draft = self.draft(&parent_of(&id), out);
                draft.root.drop_app(&id, draft.version);
                self.deploy(draft, force, out).map(Reply::Deployed)
            }
            Command::KillTasks { tasks, scale, wipe, force } => {
                self.kill_tasks(&tasks, scale, wipe, force, out)
            }
            Command::CreateGroup { id, update, force } => {
                self.create_group(&id, &update, force, out)
            }
            Command::UpdateGroup { id, update, dry_run, force } => {
                self.update_group(&id, &update, dry_run, force, out)
            }
            Command::EnforceRole { id, enforce } => self.enforce_role(&id, enforce, out),
            Command::DeleteGroup { id, force } => self.delete_group(&id, force, out),
            Command::CancelDeployment { id, force } => self.cancel(id, force, out),
            Command::ResetDelay { id } => {
                if !self.queue.contains_key(&id) {
                    let text = format!("Application {id} not found in tasks queue.");
                    return Err(Rejection::not_found(text));
                }
                self.reset_delay(&id);
                Ok(Reply::Done)
            }
        }
    }

    fn existing(&self, id: &AppId) -> Result<Arc<App>, Rejection> {
        self.catalog.app(id).cloned().ok_or_else(|| no_app(id))
    }

    fn create_app(
        &mut self,
        update: &AppUpdate,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<Reply, Rejection> {
        let id = update.id.clone().ok_or_else(missing_id)?;
        if self.catalog.app(&id).is_some() {
            return Err(Rejection::new(409, format!("An app with id [{id}] already exists.")));
        }
        let mut draft = self.draft(&parent_of(&id), out);
        self.put(&mut draft, &id, update, Rules { partial: true, create: true })?;
        let result = self.deploy(draft, force, out)?;
        let app = self.existing(&id)?;
        Ok(Reply::AppCreated { app, result })
    }

    fn update_app(
        &mut self,
        id: &AppId,
        update: &AppUpdate,
        rules: Rules,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<Reply, Rejection> {
        let created = self.catalog.app(id).is_none();
        let mut draft = self.draft(&parent_of(id), out);
        self.put(&mut draft, id, update, rules)?;
        let result = self.deploy(draft, force, out)?;
        Ok(Reply::AppUpdated { id: id.clone(), created, result })
    }

    /// Puts an app into a draft: created, changed, or set back to one of its versions.
    fn put(
        &self,
        draft: &mut Draft,
        id: &AppId,
        update: &AppUpdate,
        rules: Rules,
    ) -> Result<(), Rejection> {
        let current = draft.root.app(id).cloned();
        if current.is_none() && (!rules.create || update.rollback().is_some()) {
            return Err(no_app(id));
        }
        let app = if let Some(version) = update.rollback() {
            self.catalog.revision(id, version).map(|app| (**app).clone()).ok_or_else(|| {
                Rejection::not_found(format!("App '{id}' does not exist in version {version}"))
            })?
        } else {
            if update.version.is_some() {
                let text = "The 'version' field may only be combined with the 'id' field.";
                return Err(Rejection::not_valid_at("/version", text));
            }
            let base = current.as_deref().filter(|_| rules.partial);
            let role = Self::enforced_role(&draft.root, id);
            update.complete(id, base, role.as_ref(), &self.config.settings)?
        };
        // As in Marathon: a group that is left without apps gives its name away.
        if draft.root.group(id).is_some_and(|group| group.all_apps().is_empty()) {
            draft.root.drop_group(id, draft.version);
        }
        draft.root.put_app(Arc::new(app), draft.version);
        Ok(())
    }

    fn kill_tasks(
        &mut self,
        target: &KillTarget,
        scale: bool,
        wipe: bool,
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<Reply, Rejection> {
        if scale && wipe {
            return Err(Rejection::new(400, "You cannot use scale and wipe at the same time."));
        }
        let instances = self.targets(target)?;
        if scale {
            return self.kill_and_scale(&instances, force, out).map(Reply::Deployed);
        }
        let tasks: Vec<Task> = instances.iter().filter_map(|id| self.task_of(id)).collect();
        for id in &instances {
            let unreachable = self
                .instances
                .get(id)
                .is_some_and(|instance| instance.condition().is_unreachable());
            if wipe || unreachable {
                self.decommission(id, out);
                self.rescale.insert(id.run_spec().clone());
            } else {
                self.kill_task_of(id);
            }
        }
        Ok(Reply::Killed(tasks))
    }

    fn targets(&self, target: &KillTarget) -> Result<Vec<InstanceId>, Rejection> {
        match target {
            KillTarget::Tasks(tasks) => {
                let known = tasks.iter().filter_map(|task| self.instances.of_task(task));
                Ok(known.map(|instance| instance.id().clone()).collect())
            }
            KillTarget::TaskOf(app, task) => {
                self.existing(app)?;
                let instance = self.instances.of_task(task).filter(|i| i.app_id() == app);
                let id = instance.map(|instance| vec![instance.id().clone()]);
                id.ok_or_else(|| Rejection::not_found(format!("Task '{task}' does not exist")))
            }
            KillTarget::App { app, host } => {
                self.existing(app)?;
                let on_host = self.instances.of_app(app).filter(|instance| {
                    instance
                        .task()
                        .is_some_and(|task| host.as_ref().is_none_or(|host| task.hostname == *host))
                });
                Ok(on_host.map(|instance| instance.id().clone()).collect())
            }
        }
    }

    fn kill_and_scale(
        &mut self,
        instances: &[InstanceId],
        force: bool,
        out: &mut Out<'_>,
    ) -> Result<DeploymentResult, Rejection> {
        let mut counts: BTreeMap<&AppId, u32> = BTreeMap::new();
        let wanted = |id: &&InstanceId| {
            self.instances.get(id).is_some_and(|i| i.record.goal == Goal::Running)
        };
        for id in instances.iter().filter(wanted) {
            *counts.entry(id.run_spec()).or_default() += 1;
        }
        let subject = match counts.keys().next() {
            Some(app) if counts.len() == 1 => parent_of(app),
            _ => PathId::root(),
        };
        let mut draft = self.draft(&subject, out);
        for (id, count) in counts {
            let mut app = (*self.existing(id)?).clone();
            app.instances = app.instances.saturating_sub(count);
            draft.root.put_app(Arc::new(app), draft.version);
        }
        draft.marked.extend(instances.iter().cloned());
        self.deploy(draft, force, out)
    }

    fn cancel(&mut self, id: Uuid, force: bool, out: &mut Out<'_>) -> Result<Reply, Rejection> {
        let Some(deployment) = self.deployments.get(&id) else {
            let text = format!("DeploymentPlan {id} does not exist");
            return Err(Rejection::not_found(text));
        };
        if force {
            self.cancel_deployment(id, "cancelled without rollback", out);
            return Ok(Reply::Done);
        }
        let record = deployment.record.clone();
        let mut draft = self.draft(&PathId::root(), out);
        for (app, change) in &record.apps {
            let before = change.from.and_then(|version| self.catalog.revision(app, version));
            match before {
                Some(before) => draft.root.put_app(Arc::clone(before), draft.version),
                None => draft.root.drop_app(app, draft.version),
            }
        }
        for (group, version) in &record.changed_groups {
            let before = self.catalog.group_as_of(group, *version);
            draft.root.change(group, draft.version, |group| {
                group.dependencies = before.dependencies;
                group.enforce_role = before.enforce_role;
            });
        }
        for group in record.created_groups.iter().rev() {
            let unused = draft
                .root
                .group(group)
                .is_some_and(|group| group.apps.is_empty() && group.groups.is_empty());
            if unused {
                draft.root.drop_group(group, draft.version);
            }
        }
        let result = self.deploy(draft, true, out)?;
        if self.deployments.contains_key(&id) {
            // The way back changed nothing that this deployment touches.
            self.cancel_deployment(id, "cancelled", out);
        }
        Ok(Reply::Deployed(result))
    }
}

/// How an update treats what is not there.
#[derive(Clone, Copy)]
struct Rules {
    /// Absent fields are kept.
    partial: bool,
    /// Missing apps are created.
    create: bool,
}

pub(crate) fn parent_of(id: &PathId) -> PathId {
    id.parent().unwrap_or_else(PathId::root)
}

fn no_app(id: &AppId) -> Rejection {
    Rejection::not_found(format!("App '{id}' does not exist"))
}

fn missing_id() -> Rejection {
    Rejection::not_valid_at("/id", "not defined")
}
