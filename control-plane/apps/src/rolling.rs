//! The arithmetic of rolling updates (`marathon-behaviour.md` section 9.3). Pure, and without memory:
//! it looks at what there is and says what to do next, so a new leader goes on where the last one was.

use tepui_marathon::UpgradeStrategy;

/// The instances of an app during a rolling update, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fleet {
    /// Old, running and healthy.
    pub(crate) old_healthy: u32,
    /// Old, running, with checks that have not all reported.
    pub(crate) old_unknown: u32,
    /// Old, in any other condition.
    pub(crate) old_other: u32,
    /// Old, told to end and not gone yet.
    pub(crate) old_ending: u32,
    /// New, running, healthy and ready.
    pub(crate) new_serving: u32,
    /// New, in any other condition.
    pub(crate) new_other: u32,
    /// New, told to end and not gone yet.
    pub(crate) new_ending: u32,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// End this many old ones that are not healthy.
    pub(crate) kill_other: u32,
    /// End this many healthy old ones.
    pub(crate) kill_healthy: u32,
    /// End this many surplus new ones that do not serve.
    pub(crate) kill_new_other: u32,
    /// End this many surplus new ones that serve.
    pub(crate) kill_new_serving: u32,
    /// Start this many new ones.
    pub(crate) launch: u32,
}

impl Fleet {
    fn old(&self) -> u32 {
        self.old_healthy + self.old_unknown + self.old_other
    }

    fn new_ones(&self) -> u32 {
        self.new_serving + self.new_other
    }

    fn everything(&self) -> u32 {
        self.old() + self.old_ending + self.new_ones() + self.new_ending
    }

    /// Whether the update is finished: enough new ones serve, and nothing else is left.
    pub(crate) fn is_done(&self, target: u32) -> bool {
        self.new_serving == target
            && self.old() + self.old_ending + self.new_other + self.new_ending == 0
    }
}

/// How many must stay healthy, and how many there may be at all.
pub(crate) fn limits(target: u32, strategy: UpgradeStrategy) -> (u32, u32) {
    let over = strategy.maximum_over_capacity.floor_of(target);
    (strategy.minimum_health_capacity.ceil_of(target), target.saturating_add(over))
}

/// What to do next. Healthy instances are only ended while more than the minimum remain
/// (invariant I-28); those that are not healthy go first and never need permission.
pub(crate) fn next_moves(
    target: u32,
    strategy: UpgradeStrategy,
    resident: bool,
    fleet: &Fleet,
) -> Moves {
    let (min_healthy, mut cap) = limits(target, strategy);
    let healthy = fleet.old_healthy + fleet.new_serving;
    let mut spare = healthy.saturating_sub(min_healthy);
    if min_healthy == cap && cap <= healthy {
        // No room in either direction: one step over the line is the only way forward.
        if resident { spare += 1 } else { cap += 1 }
    }
    let current = fleet.old() + fleet.new_ones();
    let budget = spare.max(current.saturating_sub(target));
    let mut moves = Moves { kill_other: budget.min(fleet.old_other), ..Moves::default() };
    moves.kill_healthy = (budget - moves.kill_other).min(fleet.old_healthy).min(spare);
    let surplus = fleet.new_ones().saturating_sub(target);
    moves.kill_new_other = surplus.min(fleet.new_other);
    moves.kill_new_serving = (surplus - moves.kill_new_other).min(spare - moves.kill_healthy);
    moves.launch =
        target.saturating_sub(fleet.new_ones()).min(cap.saturating_sub(fleet.everything()));
    let stuck = moves == Moves::default()
        && fleet.new_ones() < target
        && fleet.old_ending + fleet.new_ending == 0;
    if stuck && fleet.old_other > 0 {
        // Instances that serve nobody take the room of those that would.
        moves.kill_other = 1;
    }
    moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tepui_marathon::Ratio;

    use super::*;

    fn strategy(min: f64, over: f64) -> UpgradeStrategy {
        UpgradeStrategy {
            minimum_health_capacity: Ratio::parse(min).unwrap(),
            maximum_over_capacity: Ratio::parse(over).unwrap(),
        }
    }

    #[test]
    fn the_first_moves_are_those_of_the_documented_table() {
        for (target, running, min, over, resident, killed, launched) in [
            (10, 10, 1.0, 1.0, false, 0, 10),
            (10, 10, 1.0, 0.0, false, 0, 1),
            (10, 10, 0.5, 0.0, false, 5, 0),
            (10, 10, 0.5, 0.2, false, 5, 2),
            (10, 10, 0.75, 0.0, false, 2, 0),
            (10, 10, 0.0, 0.0, false, 10, 0),
            (3, 3, 0.5, 0.2, false, 1, 0),
            (4, 4, 0.25, 0.25, false, 3, 1),
            (1, 1, 1.0, 1.0, false, 0, 1),
            (1, 1, 1.0, 0.0, false, 0, 1),
            (1, 1, 0.0, 0.0, false, 1, 0),
            (1, 1, 0.5, 0.0, true, 1, 0),
            (3, 3, 0.5, 0.0, true, 1, 0),
            (10, 15, 1.0, 1.0, false, 5, 5),
        ] {
            let fleet = Fleet { old_healthy: running, ..Fleet::default() };
            let moves = next_moves(target, strategy(min, over), resident, &fleet);
            assert_eq!(
                (moves.kill_healthy, moves.launch),
                (killed, launched),
                "{target} {min} {over}"
            );
            let later = Fleet {
                old_healthy: running - killed,
                old_ending: killed,
                new_other: launched,
                ..Fleet::default()
            };
            if !resident {
                let again = next_moves(target, strategy(min, over), resident, &later);
                assert_eq!(again, Moves::default(), "planning again changes nothing");
            }
        }
    }

    #[test]
    fn room_of_ended_instances_is_used_again() {
        let fleet = Fleet { old_healthy: 5, new_other: 2, ..Fleet::default() };
        assert_eq!(next_moves(10, strategy(0.5, 0.2), false, &fleet).launch, 5);
    }

    #[test]
    fn an_app_whose_old_instances_are_all_broken_can_still_be_updated() {
        let mut fleet = Fleet { old_other: 3, ..Fleet::default() };
        for _ in 0..20 {
            let moves = next_moves(3, strategy(1.0, 0.0), false, &fleet);
            fleet.old_other -= moves.kill_other;
            fleet.new_serving += moves.launch;
            fleet.old_healthy -= moves.kill_healthy;
        }
        assert!(fleet.is_done(3), "{fleet:?}");
    }

    #[test]
    fn an_instance_whose_health_is_not_known_yet_is_left_alone() {
        let fleet = Fleet { old_unknown: 10, ..Fleet::default() };
        let moves = next_moves(10, strategy(0.0, 0.0), false, &fleet);
        assert_eq!((moves.kill_other, moves.kill_healthy), (0, 0));
    }

    proptest! {
        #[test]
        fn kills_leave_enough_healthy_and_launches_stay_under_the_cap(
            target in 0_u32..20, old in 0_u32..25, other in 0_u32..5, unknown in 0_u32..5,
            ending in 0_u32..5, serving in 0_u32..25, fresh in 0_u32..5,
            min in 0_u32..=100, over in 0_u32..=100,
        ) {
            let strategy = strategy(f64::from(min) / 100.0, f64::from(over) / 100.0);
            let fleet = Fleet {
                old_healthy: old, old_other: other, old_unknown: unknown, old_ending: ending,
                new_serving: serving, new_other: fresh, new_ending: 0,
            };
            let moves = next_moves(target, strategy, false, &fleet);
            let (min_healthy, cap) = limits(target, strategy);
            let killed = moves.kill_healthy + moves.kill_new_serving;
            prop_assert!(killed == 0 || old + serving - killed >= min_healthy);
            let extra = u32::from(min_healthy == cap);
            prop_assert!(moves.launch == 0 || fleet.everything() + moves.launch <= cap + extra);
        }

        #[test]
        fn every_update_ends(
            target in 1_u32..12, old in 0_u32..15, broken in 0_u32..4,
            min in 0_u32..=100, over in 0_u32..=100,
        ) {
            let strategy = strategy(f64::from(min) / 100.0, f64::from(over) / 100.0);
            let mut fleet = Fleet { old_healthy: old, old_other: broken, ..Fleet::default() };
            for _ in 0..200 {
                let moves = next_moves(target, strategy, false, &fleet);
                fleet.old_healthy -= moves.kill_healthy;
                fleet.old_other -= moves.kill_other;
                fleet.new_serving += moves.launch;
            }
            prop_assert!(fleet.is_done(target), "{:?}", fleet);
        }
    }
}
