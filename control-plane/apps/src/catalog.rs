//! The definitions in force and their history (`marathon-behaviour.md` sections 12 and 14).
//!
//! Every change of the root group has one version, shared by all objects it changed. So the state
//! at any kept version is found from the revisions of each object, and a change costs as much as
//! it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_marathon::{App, AppId, Group, GroupId, PathId, Version};

use crate::out::Out;
use crate::{AppRevision, GroupDefinition, GroupRevision, Record, RecordKey};

/// Something before and after a change; `None` where it does not exist.
pub(crate) type Pair<T> = (Option<T>, Option<T>);

/// What changed between two roots.
#[derive(Debug, Default)]
pub(crate) struct Diff {
    /// Apps with their definitions before and after.
    pub(crate) apps: BTreeMap<AppId, Pair<Arc<App>>>,
    /// Groups with what they said before and after.
    pub(crate) groups: BTreeMap<GroupId, Pair<GroupDefinition>>,
}

/// The definitions in force and their history.
#[derive(Debug)]
pub(crate) struct Catalog {
    root: Arc<Group>,
    apps: BTreeMap<AppId, BTreeMap<Version, Option<Arc<App>>>>,
    groups: BTreeMap<GroupId, BTreeMap<Version, Option<GroupDefinition>>>,
    versions: BTreeSet<Version>,
    /// Apps and groups by the version that deleted them.
    deleted: BTreeMap<Version, BTreeSet<PathId>>,
}

impl Catalog {
    /// A catalog with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            root: Arc::new(Group::empty(PathId::root(), Version::default())),
            apps: BTreeMap::new(),
            groups: BTreeMap::new(),
            versions: BTreeSet::new(),
            deleted: BTreeMap::new(),
        }
    }

    /// The catalog that these revisions describe.
    pub(crate) fn load(apps: Vec<AppRevision>, groups: Vec<GroupRevision>) -> Self {
        let mut catalog = Self::empty();
        for revision in apps {
            catalog.note(&revision.id, revision.version, revision.definition.is_none());
            let history = catalog.apps.entry(revision.id).or_default();
            history.insert(revision.version, revision.definition);
        }
        for revision in groups {
            catalog.note(&revision.id, revision.version, revision.definition.is_none());
            let history = catalog.groups.entry(revision.id).or_default();
            history.insert(revision.version, revision.definition);
        }
        if let Some(latest) = catalog.versions.last() {
            catalog.root = Arc::new(catalog.assemble(*latest));
        }
        catalog
    }

    fn note(&mut self, id: &PathId, version: Version, deletion: bool) {
        self.versions.insert(version);
        if deletion {
            self.deleted.entry(version).or_default().insert(id.clone());
        }
    }

    /// The definitions in force.
    pub(crate) fn root(&self) -> &Arc<Group> {
        &self.root
    }

    /// The app's definition in force.
    pub(crate) fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        self.root.app(id)
    }

    /// The definition that this very version made.
    pub(crate) fn revision(&self, id: &AppId, version: Version) -> Option<&Arc<App>> {
        self.apps.get(id)?.get(&version)?.as_ref()
    }

    /// What a group said as of a version; nothing if it was not there.
    pub(crate) fn group_as_of(&self, id: &GroupId, version: Version) -> GroupDefinition {
        let history = self.groups.get(id);
        let found = history.and_then(|history| history.range(..=version).next_back());
        found.and_then(|(_, definition)| definition.clone()).unwrap_or_default()
    }

    /// Whether the app was deleted, as opposed to never known.
    pub(crate) fn was_deleted(&self, id: &AppId) -> bool {
        self.apps
            .get(id)
            .and_then(|history| history.values().next_back())
            .is_some_and(Option::is_none)
    }

    /// The newest definition of an app that is kept, deleted or not.
    pub(crate) fn newest(&self, id: &AppId) -> Option<&Arc<App>> {
        self.apps.get(id)?.values().rev().find_map(Option::as_ref)
    }

    /// Versions of an app, newest first; deletions are none.
    pub(crate) fn app_versions(&self, id: &AppId) -> Vec<Version> {
        let history = self.apps.get(id).into_iter().flatten().rev();
        history.filter(|(_, app)| app.is_some()).map(|(version, _)| *version).collect()
    }

    /// Versions at which something in the group changed, newest first.
    pub(crate) fn group_versions(&self, id: &GroupId, keep: usize) -> Vec<Version> {
        let within = |path: &PathId| path == id || path.is_child_of(id);
        let mut versions = BTreeSet::new();
        for (_, history) in self.apps.iter().filter(|(path, _)| within(path)) {
            versions.extend(history.keys());
        }
        for (_, history) in self.groups.iter().filter(|(path, _)| within(path)) {
            versions.extend(history.keys());
        }
        versions.into_iter().rev().take(keep).collect()
    }

    /// The root as of a version; `None` when nothing was known then.
    pub(crate) fn root_at(&self, version: Version) -> Option<Group> {
        self.versions.range(..=version).next_back()?;
        Some(self.assemble(version))
    }

    /// The version for the next change: now, but later than every earlier one.
    pub(crate) fn next_version(&self, now: Version) -> Version {
        self.versions.last().map_or(now, |latest| now.max(latest.next()))
    }

    fn assemble(&self, version: Version) -> Group {
        let at = self.versions.first().copied().unwrap_or_default();
        let mut flat = BTreeMap::from([(PathId::root(), Group::empty(PathId::root(), at))]);
        let mut gone = Vec::new();
        for (id, history) in &self.groups {
            let Some((at, definition)) = history.range(..=version).next_back() else { continue };
            let Some(definition) = definition else {
                gone.push((id, *at));
                continue;
            };
            let group = ensure(&mut flat, id, *at);
            group.dependencies.clone_from(&definition.dependencies);
            group.enforce_role = definition.enforce_role;
        }
        for (id, history) in &self.apps {
            let Some((at, app)) = history.range(..=version).next_back() else { continue };
            let (Some(app), Some(parent)) = (app, id.parent()) else {
                gone.push((id, *at));
                continue;
            };
            ensure(&mut flat, &parent, *at).apps.insert(id.clone(), Arc::clone(app));
        }
        for (id, at) in gone {
            if let Some(parent) = id.ancestors().find(|ancestor| flat.contains_key(ancestor)) {
                ensure(&mut flat, &parent, at);
            }
        }
        fold(flat).unwrap_or_else(|| Group::empty(PathId::root(), version))
    }

    /// Puts a new root in force and saves what differs. `in_use` says which revisions must be kept
    /// beyond the usual number.
    pub(crate) fn commit(
        &mut self,
        root: Group,
        diff: &Diff,
        keep: usize,
        in_use: &impl Fn(&AppId, Version) -> bool,
        out: &mut Out<'_>,
    ) {
        let version = root.version;
        self.root = Arc::new(root);
        self.versions.insert(version);
        for (id, (_, app)) in &diff.apps {
            self.note(id, version, app.is_none());
            let revision = AppRevision { id: id.clone(), version, definition: app.clone() };
            self.apps.entry(id.clone()).or_default().insert(version, app.clone());
            out.save(Record::App(revision));
            self.prune_app(id, keep, in_use, out);
        }
        for (id, (_, definition)) in &diff.groups {
            self.note(id, version, definition.is_none());
            let definition = definition.clone();
            self.groups.entry(id.clone()).or_default().insert(version, definition.clone());
            out.save(Record::Group(GroupRevision { id: id.clone(), version, definition }));
            self.prune_group(id, keep, out);
        }
        while self.versions.len() > keep {
            self.versions.pop_first();
        }
        self.forget_deleted(out);
    }

    /// Objects that were deleted before the oldest version that can still be asked for leave no trace.
    fn forget_deleted(&mut self, out: &mut Out<'_>) {
        let oldest = self.versions.first().copied().unwrap_or_default();
        while let Some(entry) = self.deleted.first_entry().filter(|entry| *entry.key() < oldest) {
            let (version, ids) = entry.remove_entry();
            for id in ids {
                if ends_with(self.apps.get(&id), version) {
                    let history = self.apps.remove(&id).unwrap_or_default();
                    history.keys().for_each(|at| out.forget(RecordKey::App(id.clone(), *at)));
                }
                if ends_with(self.groups.get(&id), version) {
                    let history = self.groups.remove(&id).unwrap_or_default();
                    history.keys().for_each(|at| out.forget(RecordKey::Group(id.clone(), *at)));
                }
            }
        }
    }

    fn prune_app(
        &mut self,
        id: &AppId,
        keep: usize,
        in_use: &impl Fn(&AppId, Version) -> bool,
        out: &mut Out<'_>,
    ) {
        let Some(history) = self.apps.get_mut(id) else { return };
        let surplus = history.len().saturating_sub(keep);
        let old: Vec<Version> = history.keys().copied().take(surplus).collect();
        for version in old.into_iter().filter(|version| !in_use(id, *version)) {
            history.remove(&version);
            out.forget(RecordKey::App(id.clone(), version));
        }
    }

    fn prune_group(&mut self, id: &GroupId, keep: usize, out: &mut Out<'_>) {
        let Some(history) = self.groups.get_mut(id) else { return };
        while history.len() > keep {
            if let Some((version, _)) = history.pop_first() {
                out.forget(RecordKey::Group(id.clone(), version));
            }
        }
    }
}

fn ends_with<T>(history: Option<&BTreeMap<Version, Option<T>>>, deletion: Version) -> bool {
    let last = history.and_then(|history| history.last_key_value());
    last.is_some_and(|(version, value)| *version == deletion && value.is_none())
}

/// The group in a flat list of groups, made if missing like its ancestors; all of them are at
/// least as new as `at`.
fn ensure<'a>(flat: &'a mut BTreeMap<GroupId, Group>, id: &GroupId, at: Version) -> &'a mut Group {
    for ancestor in id.ancestors() {
        let group = flat.entry(ancestor.clone()).or_insert_with(|| Group::empty(ancestor, at));
        group.version = group.version.max(at);
    }
    let group = flat.entry(id.clone()).or_insert_with(|| Group::empty(id.clone(), at));
    group.version = group.version.max(at);
    group
}

/// Puts every group into its parent; what is left is the root. A child's id sorts after its
/// parent's.
fn fold(mut flat: BTreeMap<GroupId, Group>) -> Option<Group> {
    while let Some((id, group)) = flat.pop_last() {
        match id.parent().and_then(|parent| flat.get_mut(&parent)) {
            Some(parent) => parent.groups.insert(id, Arc::new(group)),
            None => return Some(group),
        };
    }
    None
}

/// Changes of groups in place.
pub(crate) trait ChangeGroup {
    /// Applies `change` to the group `id` at or below this one, creating missing groups.
    fn change(&mut self, id: &GroupId, version: Version, change: impl FnOnce(&mut Group));

    /// Adds or replaces an app.
    fn put_app(&mut self, app: Arc<App>, version: Version);

    /// Takes an app out.
    fn drop_app(&mut self, id: &AppId, version: Version);

    /// Takes a group out.
    fn drop_group(&mut self, id: &GroupId, version: Version);
}

impl ChangeGroup for Group {
    fn change(&mut self, id: &GroupId, version: Version, change: impl FnOnce(&mut Self)) {
        *self = self.with_group(id, version, change);
    }

    fn put_app(&mut self, app: Arc<App>, version: Version) {
        if let Some(parent) = app.id.parent() {
            self.change(&parent, version, |group| {
                group.apps.insert(app.id.clone(), app);
            });
        }
    }

    fn drop_app(&mut self, id: &AppId, version: Version) {
        if let Some(parent) = id.parent().filter(|parent| self.group(parent).is_some()) {
            self.change(&parent, version, |group| {
                group.apps.remove(id);
            });
        }
    }

    fn drop_group(&mut self, id: &GroupId, version: Version) {
        if let Some(parent) = id.parent().filter(|parent| self.group(parent).is_some()) {
            self.change(&parent, version, |group| {
                group.groups.remove(id);
            });
        }
    }
}

/// What differs between two roots; shared subtrees are not looked at.
pub(crate) fn diff(old: &Group, new: &Group) -> Diff {
    let mut diff = Diff::default();
    compare(Some(old), Some(new), &mut diff);
    diff
}

fn definition(group: &Group) -> GroupDefinition {
    GroupDefinition { dependencies: group.dependencies.clone(), enforce_role: group.enforce_role }
}

fn compare(old: Option<&Group>, new: Option<&Group>, diff: &mut Diff) {
    let (before, after) = (old.map(definition), new.map(definition));
    if before != after
        && let Some(group) = new.or(old)
    {
        diff.groups.insert(group.id.clone(), (before, after));
    }
    for (id, (old, new)) in pairs(old.map(|group| &group.apps), new.map(|group| &group.apps)) {
        let same =
            matches!((old, new), (Some(old), Some(new)) if Arc::ptr_eq(old, new) || old == new);
        if !same {
            diff.apps.insert(id.clone(), (old.cloned(), new.cloned()));
        }
    }
    for (_, (old, new)) in pairs(old.map(|group| &group.groups), new.map(|group| &group.groups)) {
        if !matches!((old, new), (Some(old), Some(new)) if Arc::ptr_eq(old, new)) {
            compare(old.map(|group| &**group), new.map(|group| &**group), diff);
        }
    }
}

fn pairs<'a, V>(
    old: Option<&'a BTreeMap<PathId, V>>,
    new: Option<&'a BTreeMap<PathId, V>>,
) -> BTreeMap<&'a PathId, Pair<&'a V>> {
    let mut pairs: BTreeMap<&PathId, Pair<&V>> = BTreeMap::new();
    for (id, value) in old.into_iter().flatten() {
        pairs.entry(id).or_insert((None, None)).0 = Some(value);
    }
    for (id, value) in new.into_iter().flatten() {
        pairs.entry(id).or_insert((None, None)).1 = Some(value);
    }
    pairs
}
