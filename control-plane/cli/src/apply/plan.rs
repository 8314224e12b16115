//! The way from what the cluster has to what is declared. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use tepui_marathon::{App, AppId, Settings, decode_stored_app};

use super::definitions::{Definition, OWNER_LABEL};

/// An app as the cluster shows it.
#[derive(Clone, Debug)]
pub(crate) struct Live(pub(crate) App);

impl Live {
    /// Reads one element of `/v2/apps`.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        decode_stored_app(value.to_string().as_bytes(), &Settings::default())
            .map(Self)
            .map_err(|rejection| rejection.to_string())
    }

    fn owner(&self) -> Option<&str> {
        self.0.labels.get(OWNER_LABEL).map(String::as_str)
    }
}

/// One value that changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// Where it is, as `env.NAME` or `fetch[0].uri`.
    pub(crate) path: String,
    /// What the cluster has, if anything.
    pub(crate) from: Option<Value>,
    /// What is declared, if anything.
    pub(crate) to: Option<Value>,
}

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Plan {
    /// Apps that are not there yet.
    pub(crate) create: Vec<AppId>,
    /// Apps that are there and otherwise.
    pub(crate) change: BTreeMap<AppId, Vec<Difference>>,
    /// Apps of this owner that nobody declares any more.
    pub(crate) remove: Vec<AppId>,
    /// Apps that are as declared.
    pub(crate) unchanged: Vec<AppId>,
}

impl Plan {
    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.change.is_empty() && self.remove.is_empty()
    }

    /// What is removed before anything is made, because it holds a path that a new app needs; and
    /// what is removed at the very end, when all else went well.
    pub(crate) fn removals(&self) -> (Vec<&AppId>, Vec<&AppId>) {
        self.remove.iter().partition(|gone| self.create.iter().any(|new| collide(new, gone)))
    }
}

/// Whether one of two different apps needs the other's path as a group.
fn collide(one: &AppId, other: &AppId) -> bool {
    one.is_child_of(other) || other.is_child_of(one)
}

/// An app that cannot be made beside one that stays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Obstacle {
    /// What is declared.
    pub(crate) new: AppId,
    /// What is there, below or above it.
    pub(crate) there: AppId,
    /// Whose that is.
    pub(crate) owner: Option<String>,
}

/// Why a plan cannot be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Conflict {
    /// Apps that are there and somebody else's, or nobody's.
    Foreign(Vec<(AppId, Option<String>)>),
    /// Apps cannot be made, because a path would be an app and a group.
    InTheWay(Vec<Obstacle>),
    /// More would go than may.
    Prune(PruneRefusal),
    /// A definition does not fit what is there.
    Refused(AppId, String),
}

/// Why nothing is pruned (invariant I-33: what vanished from a list is not thereby unwanted).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PruneRefusal {
    /// Nothing at all is declared, and so many apps would go.
    Empty(usize),
    /// More would go than the limit lets.
    TooMany { would: usize, of: usize, may: usize },
}

/// What may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pruning {
    /// Nothing.
    Off,
    /// So many percent of the owner's apps; one always may.
    Percent(u8),
}

impl Pruning {
    fn allows(self, would: usize, of: usize, declared: usize) -> Result<(), PruneRefusal> {
        let Self::Percent(percent) = self else { return Ok(()) };
        if would > 0 && declared == 0 {
            return Err(PruneRefusal::Empty(would));
        }
        let may = (of * usize::from(percent) / 100).max(1);
        if would > may { Err(PruneRefusal::TooMany { would, of, may }) } else { Ok(()) }
    }
}

/// Compares; changes nothing. Apps of others are never touched: `adopt` takes those of nobody.
pub(crate) fn plan(
    definitions: &[Definition],
    live: &[Live],
    owner: &str,
    pruning: Pruning,
    adopt: bool,
) -> Result<Plan, Conflict> {
    let there: BTreeMap<&AppId, &Live> = live.iter().map(|live| (&live.0.id, live)).collect();
    let mut plan = Plan::default();
    let mut foreign = Vec::new();
    for definition in definitions {
        let id = &definition.id;
        let Some(live) = there.get(id) else {
            plan.create.push(id.clone());
            continue;
        };
        match live.owner() {
            Some(other) if other == owner => {}
            None if adopt => {}
            other => {
                foreign.push((id.clone(), other.map(str::to_owned)));
                continue;
            }
        }
        let refused = |why| Conflict::Refused(id.clone(), why);
        let mut wanted = definition.app(Some(&live.0)).map_err(refused)?;
        wanted.labels.insert(OWNER_LABEL.to_owned(), owner.to_owned());
        let differences = differences(&live.0, &wanted);
        if differences.is_empty() {
            plan.unchanged.push(id.clone());
        } else {
            plan.change.insert(id.clone(), differences);
        }
    }
    if !foreign.is_empty() {
        return Err(Conflict::Foreign(foreign));
    }
    if pruning != Pruning::Off {
        let declared: BTreeSet<&AppId> = definitions.iter().map(|one| &one.id).collect();
        let owned: Vec<&Live> = live.iter().filter(|live| live.owner() == Some(owner)).collect();
        plan.remove = owned
            .iter()
            .map(|live| &live.0.id)
            .filter(|id| !declared.contains(id))
            .cloned()
            .collect();
        pruning
            .allows(plan.remove.len(), owned.len(), definitions.len())
            .map_err(Conflict::Prune)?;
    }
    let obstacles = obstacles(&plan, live);
    if obstacles.is_empty() { Ok(plan) } else { Err(Conflict::InTheWay(obstacles)) }
}

/// What stays and stands in the way of what is to be made.
fn obstacles(plan: &Plan, live: &[Live]) -> Vec<Obstacle> {
    let gone: BTreeSet<&AppId> = plan.remove.iter().collect();
    let stays: Vec<&Live> = live.iter().filter(|live| !gone.contains(&live.0.id)).collect();
    let in_the_way_of = |new: &AppId| -> Option<Obstacle> {
        let live = stays.iter().find(|live| collide(new, &live.0.id))?;
        let owner = live.owner().map(str::to_owned);
        Some(Obstacle { new: new.clone(), there: live.0.id.clone(), owner })
    };
    plan.create.iter().filter_map(in_the_way_of).collect()
}

/// Versions are the cluster's own.
const NOT_DECLARED: [&str; 2] = ["version", "versionInfo"];

fn differences(live: &App, wanted: &App) -> Vec<Difference> {
    let (from, to) = (leaves(live), leaves(wanted));
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    paths
        .into_iter()
        .filter(|path| from.get(*path) != to.get(*path))
        .map(|path| Difference {
            path: path.clone(),
            from: from.get(path).cloned(),
            to: to.get(path).cloned(),
        })
        .collect()
}

/// Every value of an app by its path. Both sides come from the same writer, so equal is equal.
fn leaves(app: &App) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    if let Ok(Value::Object(object)) = serde_json::to_value(app) {
        for (key, value) in object {
            if !NOT_DECLARED.contains(&key.as_str()) {
                collect(key, value, &mut found);
            }
        }
    }
    found
}

fn collect(path: String, value: Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                collect(format!("{path}.{key}"), value, found);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.into_iter().enumerate() {
                collect(format!("{path}[{index}]"), value, found);
            }
        }
        // Absent, or there with nothing in it: no difference to anybody.
        Value::Object(_) | Value::Array(_) | Value::Null => {}
        leaf => drop(found.insert(path, leaf)),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
        write!(f, "{}: {} -> {}", self.path, show(&self.from), show(&self.to))
    }
}

#[cfg(test)]
mod tests;
