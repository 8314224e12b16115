//! Who goes first when there are too many (`marathon-behaviour.md` sections 5 and 9.2). Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tepui_marathon::{Constraint, InstanceId, KillSelection, Operator, Version};

use crate::offers::place;
use crate::{Condition, TaskRecord};

/// An instance that may have to go.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) id: &'a InstanceId,
    /// Chosen by the plan.
    pub(crate) marked: bool,
    pub(crate) condition: Condition,
    pub(crate) service: Service,
    /// When it started, or was made.
    pub(crate) begun: Version,
    pub(crate) task: Option<&'a TaskRecord>,
}

/// How far a running instance is known to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    /// It is unhealthy, or its end is on the way.
    No,
    /// Nothing has been heard yet.
    Unknown,
    /// It runs and is healthy.
    Yes,
}

/// Order of conditions: who serves least goes first. Among the running, those that serve go last, so
/// that a scale down never ends the only ones that work.
fn rank(candidate: &Candidate<'_>) -> u8 {
    match candidate.condition {
        Condition::Scheduled => 0,
        condition if condition.is_unreachable() => 1,
        Condition::Provisioned | Condition::Staging => 2,
        Condition::Starting => 3,
        Condition::Running if candidate.service == Service::Yes => 6,
        Condition::Running if candidate.service == Service::Unknown => 5,
        _ => 4,
    }
}

/// Chooses `count` of the candidates: marked ones, then by what keeps groups even, then by condition,
/// then by age.
pub(crate) fn choose(
    mut candidates: Vec<Candidate<'_>>,
    count: u32,
    constraints: &[Constraint],
    selection: KillSelection,
) -> Vec<InstanceId> {
    candidates.sort_by(|a, b| {
        let age = match selection {
            KillSelection::YoungestFirst => b.begun.cmp(&a.begun),
            KillSelection::OldestFirst => a.begun.cmp(&b.begun),
        };
        b.marked.cmp(&a.marked).then(rank(a).cmp(&rank(b))).then(age).then(a.id.cmp(b.id))
    });
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let fields: Vec<&str> = constraints
        .iter()
        .filter(|constraint| matches!(constraint.operator, Operator::GroupBy(_)))
        .map(|constraint| constraint.field.as_str())
        .collect();
    let free = |candidate: &&Candidate<'_>| {
        fields.is_empty() || candidate.marked || candidate.task.is_none()
    };
    let mut chosen: Vec<InstanceId> = candidates
        .iter()
        .take_while(free)
        .take(count)
        .map(|candidate| candidate.id.clone())
        .collect();
    let left = count - chosen.len();
    if left > 0 {
        let placed = candidates.iter().skip_while(free);
        chosen.extend(from_largest_groups(placed, &fields, left));
    }
    chosen
}

/// Takes `count` candidates, each the first in the largest group at that moment.
fn from_largest_groups<'a>(
    candidates: impl Iterator<Item = &'a Candidate<'a>>,
    fields: &[&str],
    count: usize,
) -> Vec<InstanceId> {
    let mut groups: BTreeMap<Vec<Option<&str>>, VecDeque<(usize, &InstanceId)>> = BTreeMap::new();
    for (position, candidate) in candidates.enumerate() {
        let place = candidate.task.map(place).unwrap_or_default();
        let group = fields.iter().map(|field| place.field(field)).collect();
        groups.entry(group).or_default().push_back((position, candidate.id));
    }
    let mut groups: Vec<VecDeque<(usize, &InstanceId)>> = groups.into_values().collect();
    let turn = |group: &VecDeque<(usize, &InstanceId)>, index: usize| {
        group.front().map(|(position, _)| (Reverse(group.len()), *position, index))
    };
    let mut turns: BTreeSet<_> =
        groups.iter().enumerate().filter_map(|(index, group)| turn(group, index)).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count
        && let Some((_, _, index)) = turns.pop_first()
        && let Some((_, id)) = groups[index].pop_front()
    {
        chosen.push(id.clone());
        turns.extend(turn(&groups[index], index));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use tepui_marathon::PathId;

    #[test]
    fn who_serves_least_goes_first_and_age_decides_among_equals() {
        let app = PathId::parse("/a").unwrap();
        let ids: Vec<InstanceId> =
            (0..6).map(|number| InstanceId::generate(&app, number, 0)).collect();
        let candidate = |at: usize, condition, service, begun| Candidate {
            id: &ids[at],
            marked: at == 5,
            condition,
            service,
            begun: Version::from_millis(begun),
            task: None,
        };
        let candidates = vec![
            candidate(0, Condition::Running, Service::Yes, 10),
            candidate(1, Condition::Running, Service::Yes, 20),
            candidate(2, Condition::Running, Service::Unknown, 40),
            candidate(3, Condition::Killing, Service::No, 30),
            candidate(4, Condition::Unreachable, Service::No, 1),
            candidate(5, Condition::Running, Service::Yes, 1),
        ];
        let order = |selection| {
            let chosen = choose(candidates.clone(), 6, &[], selection);
            let at = |id: &InstanceId| ids.iter().position(|other| other == id).unwrap();
            chosen.iter().map(at).collect::<Vec<_>>()
        };
        assert_eq!(order(KillSelection::YoungestFirst), [5, 4, 3, 2, 1, 0]);
        assert_eq!(order(KillSelection::OldestFirst), [5, 4, 3, 2, 0, 1]);
        assert_eq!(choose(candidates.clone(), 2, &[], KillSelection::YoungestFirst).len(), 2);
    }
}
