//! The properties of dominant resource fairness (Ghodsi and others, NSDI 2011), shown by
//! frameworks that launch one task per offer and give the rest back.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::*;
use tepui_allocator::{Allocate, Drf, Input, Minimum, Refusal, Weight};
use tepui_types::{Entropy, FrameworkId, Mono, Resource, ResourceName, Resources, Scalar, Span};

/// A framework that wants as many tasks of one size as it can get, up to a limit.
#[derive(Clone, Debug)]
struct Wish {
    task: (u64, u64),
    most: u64,
}

#[derive(Clone, Copy, Debug)]
struct Capacity {
    cpus: u64,
    mem: u64,
}

fn amounts((cpus, mem): (u64, u64)) -> Resources {
    [
        Resource::scalar(ResourceName::Cpus, Scalar::from_units(cpus)),
        Resource::scalar(ResourceName::Mem, Scalar::from_units(mem)),
    ]
    .into_iter()
    .collect()
}

/// How many tasks each framework ends up with on one agent of this capacity.
fn fill(capacity: Capacity, wishes: &[Wish], weights: &[u64]) -> Vec<u64> {
    let mut drf = Drf::new(Entropy::seeded(3));
    let mut now = secs(0);
    drf.apply(now, Input::Minimum(Minimum::default()));
    let mut total = facts("");
    total.total = amounts((capacity.cpus, capacity.mem));
    drf.apply(now, Input::AgentAdded { agent: agent("a"), facts: total, used: vec![] });
    let mut ids: BTreeMap<FrameworkId, usize> = BTreeMap::new();
    for at in 0..wishes.len() {
        let name = format!("f{at}");
        if let Some(weight) = weights.get(at) {
            drf.apply(now, Input::Weights(vec![(role(&name), Weight(*weight))]));
        }
        ids.insert(framework(&name), at);
        drf.apply(now, framework_added(&name, &[&name]));
    }
    let mut tasks = vec![0; wishes.len()];
    let mut idle = 0;
    while idle < 3 {
        now += Span::from_secs(1);
        let plan = drf.round(now);
        idle = if plan.proposals.is_empty() { idle + 1 } else { 0 };
        for p in plan.proposals {
            let at = ids[&p.framework];
            let mut rest = p.resources;
            let task = amounts(wishes[at].task);
            let launched = tasks[at] < wishes[at].most && rest.checked_remove(&task);
            tasks[at] += u64::from(launched);
            // Whoever launched would launch more; whoever could not waits for ever.
            let span = if launched { Span::ZERO } else { Span::from_secs(1_000_000) };
            drf.apply(
                now,
                Input::Released {
                    framework: p.framework,
                    role: p.role,
                    agent: p.agent,
                    resources: rest,
                    refusal: (!launched).then_some(Refusal { span }),
                },
            );
        }
    }
    tasks
}

fn share(capacity: Capacity, (cpus, mem): (u64, u64), tasks: u64) -> f64 {
    let part = |mine: u64, all: u64| (mine * tasks) as f64 / all as f64;
    part(cpus, capacity.cpus).max(part(mem, capacity.mem))
}

/// The largest share that one task has.
fn grain(capacity: Capacity, wishes: &[Wish]) -> f64 {
    wishes.iter().map(|wish| share(capacity, wish.task, 1)).fold(0.0, f64::max)
}

fn fits(capacity: Capacity, wishes: &[Wish], tasks: &[u64], extra: (u64, u64)) -> bool {
    let used = |of: fn((u64, u64)) -> u64| -> u64 {
        wishes.iter().zip(tasks).map(|(wish, n)| of(wish.task) * n).sum()
    };
    used(|t| t.0) + extra.0 <= capacity.cpus && used(|t| t.1) + extra.1 <= capacity.mem
}

fn capacities() -> impl Strategy<Value = Capacity> {
    (60_u64..300, 60_u64..300).prop_map(|(cpus, mem)| Capacity { cpus, mem })
}

fn endless() -> impl Strategy<Value = Wish> {
    (1_u64..6, 1_u64..6).prop_map(|task| Wish { task, most: u64::MAX })
}

#[test]
fn the_papers_example_gives_three_tasks_and_two() {
    let wishes = [Wish { task: (1, 4), most: u64::MAX }, Wish { task: (3, 1), most: u64::MAX }];
    assert_eq!(fill(Capacity { cpus: 9, mem: 18 }, &wishes, &[]), [3, 2]);
}

#[test]
fn on_one_bottleneck_it_is_max_min_fairness() {
    let wish = |cpus, most| Wish { task: (cpus, 1), most };
    let capacity = Capacity { cpus: 30, mem: 1000 };
    assert_eq!(fill(capacity, &[wish(1, 99), wish(1, 99), wish(1, 99)], &[]), [10, 10, 10]);
    // Who wants less than the fair part gets it all; the others share the rest.
    assert_eq!(fill(capacity, &[wish(1, 4), wish(1, 99), wish(1, 99)], &[]), [4, 13, 13]);
    // A weight of two counts double.
    assert_eq!(fill(capacity, &[wish(1, 99), wish(1, 99)], &[1000, 2000]), [10, 20]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Sharing incentive: nobody's dominant share is below an equal part of everything, up to
    /// the largest task.
    #[test]
    fn sharing_is_no_worse_than_an_equal_split(
        capacity in capacities(),
        wishes in prop::collection::vec(endless(), 2..6),
    ) {
        let tasks = fill(capacity, &wishes, &[]);
        let equal = 1.0 / wishes.len() as f64;
        for (wish, got) in wishes.iter().zip(&tasks) {
            let mine = share(capacity, wish.task, *got);
            prop_assert!(mine + grain(capacity, &wishes) + 1e-9 >= equal, "{mine}: {tasks:?}");
        }
    }

    /// Envy-freeness: what another framework has would not let one run more tasks than it has,
    /// leaving out the other's last task, and those that it ran in crumbs too small for one of
    /// one's own.
    #[test]
    fn nobody_envies_another(
        capacity in capacities(),
        wishes in prop::collection::vec(endless(), 2..6),
    ) {
        let tasks = fill(capacity, &wishes, &[]);
        for (mine, got) in wishes.iter().zip(&tasks) {
            for (theirs, had) in wishes.iter().zip(&tasks) {
                let crumbs = mine.task.0.div_ceil(theirs.task.0).max(
                    mine.task.1.div_ceil(theirs.task.1));
                let less = had.saturating_sub(1 + crumbs);
                let with = (theirs.task.0 * less / mine.task.0)
                    .min(theirs.task.1 * less / mine.task.1);
                prop_assert!(*got >= with, "{mine:?} with {got} envies {theirs:?} {had}");
            }
        }
    }

    /// Pareto efficiency: when it is over, no framework could run one more task in what is left.
    #[test]
    fn nothing_that_somebody_wants_is_left(
        capacity in capacities(),
        wishes in prop::collection::vec(endless(), 1..6),
    ) {
        let tasks = fill(capacity, &wishes, &[]);
        prop_assert!(fits(capacity, &wishes, &tasks, (0, 0)));
        for wish in &wishes {
            prop_assert!(!fits(capacity, &wishes, &tasks, wish.task), "{tasks:?}");
        }
    }

    /// Bottleneck fairness: when all frameworks want mostly the same resource, their shares of it
    /// are equal up to one task of the other.
    #[test]
    fn on_a_common_bottleneck_shares_are_equal(
        cpus in 20_u64..120,
        sizes in prop::collection::vec(1_u64..6, 2..6),
    ) {
        let capacity = Capacity { cpus, mem: 10_000 };
        let wishes: Vec<Wish> =
            sizes.iter().map(|size| Wish { task: (*size, 1), most: u64::MAX }).collect();
        let tasks = fill(capacity, &wishes, &[]);
        let used = |at: usize| tasks[at] * sizes[at];
        for a in 0..sizes.len() {
            for b in 0..sizes.len() {
                // A framework with small tasks may take what no other can use any more.
                let spare = sizes.iter().max().unwrap();
                prop_assert!(used(a) <= used(b) + sizes[b] + spare, "{tasks:?} of {sizes:?}");
            }
        }
    }

    /// Population monotonicity: when a framework leaves, the share of the one with the least
    /// does not fall, up to the rounding of whole tasks.
    #[test]
    fn when_one_leaves_nobody_gets_less(
        capacity in capacities(),
        wishes in prop::collection::vec(endless(), 2..6),
    ) {
        let before = fill(capacity, &wishes, &[]);
        let after = fill(capacity, &wishes[1..], &[]);
        let least = |tasks: &[u64]| {
            let shares = wishes[1..].iter().zip(tasks).map(|(w, n)| share(capacity, w.task, *n));
            shares.fold(1.0, f64::min)
        };
        let (low, high) = (least(&before[1..]), least(&after));
        let rounding = 3.0 * grain(capacity, &wishes) + 1e-9;
        prop_assert!(high + rounding >= low, "{before:?} then {after:?}");
    }
}

/// No starvation (I-39): among idle frameworks with a smaller share that refuse everything for no
/// time, one that wants to work is offered something within as many rounds as there are
/// frameworks.
#[test]
fn idle_frameworks_with_small_shares_starve_nobody() {
    for seed in 0..20 {
        starve(seed);
    }
}

fn starve(seed: u64) {
    let mut drf = Drf::new(Entropy::seeded(seed));
    let mut now: Mono = secs(0);
    let idle = 30_usize;
    for n in 0..idle {
        drf.apply(now, framework_added(&format!("idle{n}"), &[&format!("role{n}")]));
    }
    drf.apply(now, framework_added("busy", &["busy"]));
    // The busy one has a large share already.
    let used = (framework("busy"), role("busy"), bundle("cpus:90;mem:9000"));
    let input = Input::AgentAdded {
        agent: agent("full"),
        facts: facts("cpus:90;mem:9000"),
        used: vec![used],
    };
    drf.apply(now, input);
    for n in 0..5 {
        drf.apply(now, agent_added(&format!("a{n}"), "cpus:4;mem:1000"));
    }
    let mut rounds = 0;
    loop {
        now += Span::from_millis(20);
        rounds += 1;
        assert!(rounds <= idle + 1, "nothing for the busy framework in {rounds} rounds");
        let plan = drf.round(now);
        if plan.proposals.iter().any(|p| p.framework == framework("busy")) {
            return;
        }
        for p in plan.proposals {
            // One of them revives as often as it can.
            if p.framework == framework("idle0") {
                drf.apply(now, revived("idle0"));
            }
            drf.apply(
                now,
                Input::Released {
                    framework: p.framework,
                    role: p.role,
                    agent: p.agent,
                    resources: p.resources,
                    refusal: Some(Refusal { span: Span::ZERO }),
                },
            );
        }
    }
}
