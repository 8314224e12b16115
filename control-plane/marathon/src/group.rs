//! Groups: the tree of app definitions, and its view for clients (`marathon-app.tsv`, Group).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::App;
use crate::number::Ratio;
use crate::path::{AppId, GroupId, PathId};
use crate::task::AppInfo;
use crate::update::AppUpdate;
use crate::version::Version;

/// A group with everything below it. Cloning shares all apps and subgroups.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Absolute id; `/` for the root.
    pub id: GroupId,
    /// Direct apps.
    pub apps: BTreeMap<AppId, Arc<App>>,
    /// Direct subgroups.
    pub groups: BTreeMap<GroupId, Arc<Self>>,
    /// Apps and groups that are deployed before the members.
    pub dependencies: Vec<PathId>,
    /// Time of the last change in the group.
    pub version: Version,
    /// Whether members must use the group's name as role; `None` where no role policy is set.
    pub enforce_role: Option<bool>,
}

impl Group {
    /// An empty group.
    #[must_use]
    pub fn empty(id: GroupId, version: Version) -> Self {
        Self {
            id,
            apps: BTreeMap::new(),
            groups: BTreeMap::new(),
            dependencies: Vec::new(),
            version,
            enforce_role: None,
        }
    }

    /// The app with this id, at any depth.
    #[must_use]
    pub fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        self.group(&id.parent()?)?.apps.get(id)
    }

    /// The group with this id, at any depth; this group itself under its own id.
    #[must_use]
    pub fn group(&self, id: &GroupId) -> Option<&Self> {
        if *id == self.id {
            return Some(self);
        }
        self.groups.values().find(|group| *id == group.id || id.is_child_of(&group.id))?.group(id)
    }

    /// Every app of this group and of the groups below it, in the order of ids within each group.
    #[must_use]
    pub fn all_apps(&self) -> Vec<&Arc<App>> {
        let mut found = Vec::new();
        self.visit(&mut |group| found.extend(group.apps.values()));
        found
    }

    /// Calls `see` with this group and every group below it, parents first.
    pub fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        for group in self.groups.values() {
            group.visit(see);
        }
    }

    /// A copy in which `change` was applied to the group `id` below (or at) this one; missing
    /// groups on the way are created. Groups on the way get `version`.
    ///
    /// `id` must be this group or lie below it; otherwise the copy is unchanged.
    #[must_use]
    pub fn with_group(
        &self,
        id: &GroupId,
        version: Version,
        change: impl FnOnce(&mut Self),
    ) -> Self {
        let mut copy = self.clone();
        copy.change_group(id, version, change);
        copy
    }

    fn change_group(&mut self, id: &GroupId, version: Version, change: impl FnOnce(&mut Self)) {
        if *id == self.id {
            self.version = version;
            change(self);
            return;
        }
        let step = std::iter::once(id.clone())
            .chain(id.ancestors())
            .find(|candidate| candidate.is_direct_child_of(&self.id));
        let Some(step) = step else { return };
        self.version = version;
        let child =
            self.groups.entry(step.clone()).or_insert_with(|| Arc::new(Self::empty(step, version)));
        Arc::make_mut(child).change_group(id, version, change);
    }
}

/// A group as clients see it, with what was asked to be embedded.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupInfo {
    /// Absolute id.
    pub id: GroupId,
    /// Direct apps; `None` when not embedded.
    pub apps: Option<Vec<AppInfo>>,
    /// Direct subgroups; `None` when not embedded.
    pub groups: Option<Vec<Self>>,
    /// Whether the (always empty) list of pods is embedded.
    pub pods: bool,
    /// Apps and groups that are deployed before the members.
    pub dependencies: Vec<PathId>,
    /// Time of the last change.
    pub version: Version,
    /// Role policy of a top-level group, where one is set.
    pub enforce_role: Option<bool>,
}

impl Serialize for GroupInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("dependencies", &self.dependencies)?;
        map.serialize_entry("version", &self.version)?;
        if let Some(apps) = &self.apps {
            map.serialize_entry("apps", apps)?;
        }
        if let Some(groups) = &self.groups {
            map.serialize_entry("groups", groups)?;
        }
        if self.pods {
            map.serialize_entry("pods", &[(); 0])?;
        }
        if let Some(enforce_role) = self.enforce_role {
            map.serialize_entry("enforceRole", &enforce_role)?;
        }
        map.end()
    }
}

/// A change of a group as decoded; its apps are not yet complete. What is `None` is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupUpdate {
    /// The group meant, if the body names it; resolved against the group of the path.
    pub id: Option<GroupId>,
    /// The direct apps become exactly these.
    pub apps: Option<Vec<AppUpdate>>,
    /// The direct subgroups become exactly these; every one has an id.
    pub groups: Option<Vec<Self>>,
    /// New dependencies.
    pub dependencies: Option<Vec<PathId>>,
    /// Multiply the instances of every app below; stands alone.
    pub scale_by: Option<Ratio>,
    /// Roll back to this version; stands alone.
    pub version: Option<Version>,
    /// New role policy of a top-level group.
    pub enforce_role: Option<bool>,
}
