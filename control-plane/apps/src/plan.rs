//! Steps of a deployment, and the order that dependencies ask for (`marathon-behaviour.md` sections 9.1
//! and 12). Pure.

use std::collections::{BTreeMap, BTreeSet};

use tepui_marathon::{Action, ActionKind, App, AppId, Group, PathId, Step};

use crate::catalog::Diff;

/// The apps depend on each other in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cycle;

/// The steps that lead from the old root to the new one. `restarts` names apps whose instances are
/// replaced whatever changed.
pub(crate) fn steps(
    diff: &Diff,
    restarts: &BTreeSet<AppId>,
    root: &Group,
) -> Result<Vec<Step>, Cycle> {
    let mut stop = Step::default();
    let mut start = Step::default();
    let mut kinds: BTreeMap<AppId, ActionKind> = BTreeMap::new();
    for (id, change) in &diff.apps {
        let kind = match change {
            (_, None) => {
                stop.actions.push(action(ActionKind::StopApplication, id));
                continue;
            }
            (None, Some(_)) => {
                start.actions.push(action(ActionKind::StartApplication, id));
                ActionKind::ScaleApplication
            }
            (Some(old), Some(new)) => replace_or_scale(old, new, restarts.contains(id)),
        };
        kinds.insert(id.clone(), kind);
    }
    let depths = depths(root, kinds.keys())?;
    let mut layers: BTreeMap<usize, Step> = BTreeMap::new();
    for (id, kind) in kinds {
        let depth = depths.get(&id).copied().unwrap_or(0);
        layers.entry(depth).or_default().actions.push(action(kind, &id));
    }
    let all = [stop, start].into_iter().chain(layers.into_values());
    Ok(all.filter(|step| !step.actions.is_empty()).collect())
}

fn action(action: ActionKind, app: &AppId) -> Action {
    Action { action, app: app.clone() }
}

fn replace_or_scale(old: &App, new: &App, restart: bool) -> ActionKind {
    if new.instances > 0 && (restart || old.differs_in_config(new)) {
        ActionKind::RestartApplication
    } else {
        ActionKind::ScaleApplication
    }
}

/// Apps that must be deployed before `app`: its dependencies and those of its groups, where a group
/// stands for everything in it.
fn dependencies(root: &Group, app: &App) -> BTreeSet<AppId> {
    let mut found = BTreeSet::new();
    let own = app.dependencies.iter();
    let groups = app.id.ancestors().filter_map(|id| root.group(&id));
    let inherited = groups.flat_map(|group| group.dependencies.iter());
    for id in own.chain(inherited) {
        if root.app(id).is_some() {
            found.insert(id.clone());
        }
        if let Some(group) = root.group(id) {
            found.extend(group.all_apps().into_iter().map(|app| app.id.clone()));
        }
    }
    found
}

/// Length of the longest dependency path below each of the apps.
pub(crate) fn depths<'a>(
    root: &Group,
    apps: impl Iterator<Item = &'a AppId>,
) -> Result<BTreeMap<AppId, usize>, Cycle> {
    let mut needs: BTreeMap<AppId, BTreeSet<AppId>> = BTreeMap::new();
    let mut open: Vec<PathId> = apps.cloned().collect();
    while let Some(id) = open.pop() {
        if needs.contains_key(&id) {
            continue;
        }
        let found = root.app(&id).map(|app| dependencies(root, app)).unwrap_or_default();
        open.extend(found.iter().filter(|id| !needs.contains_key(*id)).cloned());
        needs.insert(id, found);
    }
    let mut dependants: BTreeMap<&AppId, Vec<&AppId>> = BTreeMap::new();
    let mut missing: BTreeMap<&AppId, usize> = BTreeMap::new();
    for (id, found) in &needs {
        missing.insert(id, found.len());
        for dependency in found {
            dependants.entry(dependency).or_default().push(id);
        }
    }
    let mut depths: BTreeMap<AppId, usize> = BTreeMap::new();
    let mut ready: Vec<(&AppId, usize)> =
        missing.iter().filter(|(_, count)| **count == 0).map(|(id, _)| (*id, 0)).collect();
    while let Some((id, depth)) = ready.pop() {
        let depth = depths.get(id).copied().unwrap_or(0).max(depth);
        depths.insert(id.clone(), depth);
        for dependant in dependants.get(id).into_iter().flatten() {
            let known = depths.entry((*dependant).clone()).or_insert(0);
            *known = (*known).max(depth + 1);
            let known = *known;
            if let Some(count) = missing.get_mut(dependant) {
                *count -= 1;
                if *count == 0 {
                    ready.push((dependant, known));
                }
            }
        }
    }
    if missing.values().any(|count| *count > 0) { Err(Cycle) } else { Ok(depths) }
}
