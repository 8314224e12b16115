//! What handlers read of the apps. The only file that touches the machine's accessors.

use std::sync::Arc;

use tepui_apps::Apps;
use tepui_marathon::{
    App, AppEmbeds, AppId, AppInfo, Deployment, Group, GroupEmbeds, GroupId, GroupInfo, Queue,
    Task, Version,
};
use tepui_types::Now;

/// Apps that `keep` keeps, in the order of ids within each group.
pub(crate) fn apps(
    apps: &Apps,
    now: Now,
    embeds: AppEmbeds,
    keep: impl Fn(&App) -> bool,
) -> Vec<AppInfo> {
    let all = apps.root().all_apps();
    all.into_iter().filter(|app| keep(app)).map(|app| embed(apps, now, app, embeds)).collect()
}

/// One app.
pub(crate) fn app(apps: &Apps, now: Now, id: &AppId, embeds: AppEmbeds) -> Option<AppInfo> {
    apps.app(id).map(|app| embed(apps, now, app, embeds))
}

/// All apps below a group.
pub(crate) fn apps_below(
    apps: &Apps,
    now: Now,
    group: &GroupId,
    embeds: AppEmbeds,
) -> Option<Vec<AppInfo>> {
    let below = apps.root().group(group)?.all_apps();
    Some(below.into_iter().map(|app| embed(apps, now, app, embeds)).collect())
}

fn embed(apps: &Apps, now: Now, app: &Arc<App>, embeds: AppEmbeds) -> AppInfo {
    let id = &app.id;
    AppInfo {
        app: Arc::clone(app),
        counts: embeds.counts.then(|| apps.counts(id)),
        deployments: embeds.deployments.then(|| apps.deployments_of(id)),
        tasks: embeds.tasks.then(|| apps.tasks(id)),
        last_task_failure: apps.last_task_failure(id).filter(|_| embeds.last_task_failure).cloned(),
        readiness_check_results: embeds.readiness.then(|| apps.readiness(id)),
        task_stats: embeds.task_stats.then(|| apps.task_stats(id, now)),
    }
}

/// Versions of an app, newest first; `None` for an app that does not exist.
pub(crate) fn app_versions(apps: &Apps, id: &AppId) -> Option<Vec<Version>> {
    apps.app(id).map(|_| apps.app_versions(id))
}

/// An app as of a version.
pub(crate) fn app_at(apps: &Apps, id: &AppId, version: Version) -> Option<Arc<App>> {
    apps.app_at(id, version).cloned()
}

/// A group in force.
pub(crate) fn group(apps: &Apps, now: Now, id: &GroupId, embeds: GroupEmbeds) -> Option<GroupInfo> {
    apps.root().group(id).map(|group| group_info(apps, now, group, embeds))
}

/// A group as of a version.
pub(crate) fn group_at(
    apps: &Apps,
    now: Now,
    id: &GroupId,
    version: Version,
    embeds: GroupEmbeds,
) -> Option<GroupInfo> {
    apps.group_at(id, version).map(|group| group_info(apps, now, &group, embeds))
}

fn group_info(apps: &Apps, now: Now, group: &Group, embeds: GroupEmbeds) -> GroupInfo {
    let members = || group.apps.values().map(|app| embed(apps, now, app, embeds.app)).collect();
    let groups =
        || group.groups.values().map(|group| group_info(apps, now, group, embeds)).collect();
    GroupInfo {
        id: group.id.clone(),
        apps: embeds.apps.then(members),
        groups: embeds.groups.then(groups),
        pods: embeds.pods,
        dependencies: group.dependencies.clone(),
        version: group.version,
        enforce_role: group.enforce_role,
    }
}

/// Versions of a group, newest first; `None` for a group that does not exist.
pub(crate) fn group_versions(apps: &Apps, id: &GroupId) -> Option<Vec<Version>> {
    apps.root().group(id).map(|_| apps.group_versions(id))
}

/// Tasks of all apps.
pub(crate) fn tasks(apps: &Apps) -> Vec<Task> {
    apps.all_tasks()
}

/// Tasks of one app.
pub(crate) fn tasks_of(apps: &Apps, id: &AppId) -> Option<Vec<Task>> {
    apps.app(id).map(|_| apps.tasks(id))
}

/// Tasks of all apps below a group.
pub(crate) fn tasks_below(apps: &Apps, group: &GroupId) -> Option<Vec<Task>> {
    let below = apps.root().group(group)?.all_apps();
    Some(below.into_iter().flat_map(|app| apps.tasks(&app.id)).collect())
}

/// Running deployments.
pub(crate) fn deployments(apps: &Apps) -> Vec<Deployment> {
    apps.deployments()
}

/// The launch queue.
pub(crate) fn queue(apps: &Apps, now: Now, last_unused_offers: bool) -> Queue {
    apps.queue(now, last_unused_offers)
}
