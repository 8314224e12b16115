//! Who goes first when there are too many (`marathon-behaviour.md` sections 5 and 9.2). Pure.

use std::collections::BTreeMap;

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
    let mut chosen = Vec::new();
    while chosen.len() < count && !candidates.is_empty() {
        let at = if fields.is_empty() { 0 } else { next_balanced(&candidates, &fields) };
        chosen.push(candidates.remove(at).id.clone());
    }
    chosen
}

/// The first candidate in the largest group; marked and unplaced ones come before all others.
fn next_balanced(candidates: &[Candidate<'_>], fields: &[&str]) -> usize {
    let free = |candidate: &Candidate<'_>| candidate.marked || candidate.task.is_none();
    if candidates.first().is_some_and(free) {
        return 0;
    }
    let group = |candidate: &Candidate<'_>| -> Vec<Option<String>> {
        let place = candidate.task.map(place).unwrap_or_default();
        fields.iter().map(|field| place.field(field).map(str::to_owned)).collect()
    };
    let mut sizes: BTreeMap<Vec<Option<String>>, usize> = BTreeMap::new();
    for candidate in candidates {
        *sizes.entry(group(candidate)).or_default() += 1;
    }
    let largest = sizes.values().max().copied().unwrap_or(0);
    candidates
        .iter()
        .position(|candidate| sizes.get(&group(candidate)).copied() == Some(largest))
        .unwrap_or(0)
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
