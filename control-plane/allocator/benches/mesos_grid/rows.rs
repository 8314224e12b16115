//! The rows: each workload with Mesos's figures.

use std::collections::{BTreeSet, HashMap};

use tepui_allocator::{Allocate as _, Input, Proposal, Refusal};
use tepui_types::{Resource, ResourceName, Resources, Role, Scalar, Span};

use crate::cluster::{
    Cluster, agent_ids, fragmented_ports, framework, ports, revocable_cpus, role, scalars, slices,
    with,
};
use crate::timed;

/// One row of the grid.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Returns the seconds of each phase.
    pub(crate) run: Box<dyn Fn() -> Vec<f64>>,
    /// Each phase's name and Mesos's milliseconds.
    pub(crate) phases: &'static [(&'static str, f64)],
    pub(crate) mesos_megabytes: Option<f64>,
    pub(crate) memory_counts: bool,
    pub(crate) quick: bool,
}

fn row(
    name: &'static str,
    phases: &'static [(&'static str, f64)],
    megabytes: f64,
    run: impl Fn() -> Vec<f64> + 'static,
) -> Row {
    Row {
        name,
        run: Box::new(run),
        phases,
        mesos_megabytes: (megabytes > 0.0).then_some(megabytes),
        memory_counts: false,
        quick: false,
    }
}

impl Row {
    fn quick(self) -> Self {
        Self { quick: true, ..self }
    }

    fn memory_counts(self) -> Self {
        Self { memory_counts: true, ..self }
    }
}

/// Runs a workload several times and takes each phase's median, so that one interruption of a
/// run of microseconds does not decide.
fn median_of(times: usize, run: impl Fn() -> Vec<f64>) -> Vec<f64> {
    let runs: Vec<Vec<f64>> = (0..times).map(|_| run()).collect();
    let phases = runs.first().map_or(0, Vec::len);
    (0..phases).map(|at| median(runs.iter().map(|run| run[at]).collect())).collect()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn add_and_update(agents: usize, frameworks: usize) -> Vec<f64> {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, true);
    let total = with(scalars(2000, 1024, 4096), &ports(&[(31000, 32000)]));
    let some = ports(&[(31126, 31510), (31512, 31623), (31810, 31852), (31854, 31964)]);
    let used = slices(frameworks, &with(scalars(1000, 128, 1024), &some));
    let ids = agent_ids(agents);
    let add = timed(|| {
        cluster.add_agents(&ids, &total, &used);
        assert_eq!(cluster.round().proposals.len(), agents);
    });
    let more = with(total, &revocable_cpus(10));
    let update = timed(|| {
        cluster.change_agents(&ids, &more);
        assert_eq!(cluster.round().proposals.len(), agents);
    });
    vec![add, update]
}

/// A cluster whose agents are partly in use, as the decline and suppress benchmarks have it.
fn partly_used(agents: usize, frameworks: usize, used_mem: u64) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, false);
    let total = with(scalars(24_000, 4096, 4096), &ports(&[(31000, 32000)]));
    let used = slices(frameworks, &with(scalars(16_000, used_mem, 1024), &fragmented_ports()));
    cluster.add_agents(&agent_ids(agents), &total, &used);
    cluster
}

/// Every offer is declined for good, round after round. The first phase is the median round that
/// made an offer per agent; the second, when asked for, the first that had none left to make.
fn decline(agents: usize, frameworks: usize, rounds: usize, to_the_end: bool) -> Vec<f64> {
    let mut cluster = partly_used(agents, frameworks, 2014);
    let forever = Refusal { span: Span::from_secs(2_147_483_647) };
    let mut making = Vec::new();
    let mut made: Vec<Proposal> = Vec::new();
    for _ in 0..rounds {
        cluster.give_back(std::mem::take(&mut made), Some(forever));
        let seconds = timed(|| made = cluster.round().proposals);
        if made.len() == agents {
            making.push(seconds);
        } else {
            assert!(to_the_end && made.is_empty(), "{} offers", made.len());
            assert_eq!(making.len(), frameworks);
            return vec![median(making), seconds];
        }
    }
    assert!(!to_the_end, "the frameworks were still offered something");
    vec![median(making)]
}

fn suppress(agents: usize, frameworks: usize) -> Vec<f64> {
    let mut cluster = partly_used(agents, frameworks, 1024);
    let mut made: Vec<Proposal> = cluster.round().proposals;
    let (mut making, mut suppressed) = (Vec::new(), 0);
    for batch in 1..=5 {
        cluster.give_back(std::mem::take(&mut made), None);
        while suppressed < frameworks * batch / 5 {
            let framework = framework(suppressed);
            cluster.tell(Input::Suppressed { framework, roles: BTreeSet::new() });
            suppressed += 1;
        }
        let seconds = timed(|| made = cluster.round().proposals);
        if batch < 5 {
            assert_eq!(made.len(), agents);
            making.push(seconds);
        } else {
            assert!(made.is_empty());
            return vec![median(making), seconds];
        }
    }
    Vec::new()
}

fn backlog(agents: usize, frameworks: usize) -> Vec<f64> {
    let mut cluster = Cluster::new();
    cluster.add_frameworks(frameworks, false);
    let total = with(scalars(24_000, 4096, 4096), &ports(&[(31000, 32000)]));
    cluster.add_agents(&agent_ids(agents), &total, &[]);
    assert_eq!(cluster.round().proposals.len(), agents);
    let revive = timed(|| {
        for n in 0..frameworks {
            cluster.tell(Input::Revived { framework: framework(n), roles: BTreeSet::new() });
            if cluster.drf.is_dirty() {
                assert!(cluster.round().proposals.is_empty());
            }
        }
        assert!(cluster.round().proposals.is_empty());
    });
    vec![revive]
}

/// Two agents and two frameworks per role, every role beside the others.
fn many_roles(roles: usize) -> Vec<f64> {
    let mut cluster = Cluster::new();
    cluster.add_agents(&agent_ids(2 * roles), &scalars(2000, 2048, 2048), &[]);
    let names: Vec<Role> = (0..roles).map(|n| role(&format!("role{n}"))).collect();
    let add = timed(|| {
        for n in 0..2 * roles {
            cluster.add_framework(framework(n), &names[n / 2], false);
        }
    });
    let making = timed(|| assert_eq!(cluster.round().proposals.len(), 2 * roles));
    let idle = timed(|| assert!(cluster.round().proposals.is_empty()));
    vec![add, making, idle]
}

/// What a framework of the mix launches.
struct Profile {
    tasks: usize,
    per_offer: usize,
    task: Resources,
}

fn task(milli_cpus: u64, mem: u64) -> Resources {
    [
        Resource::scalar(ResourceName::Cpus, Scalar::from_milli(milli_cpus)),
        Resource::scalar(ResourceName::Mem, Scalar::from_units(mem)),
    ]
    .into_iter()
    .collect()
}

/// 4 frameworks like Marathon, 500 like Jenkins in one role, 50 like Spark; none ever suppresses
/// or declines for a time, also when it has launched all that it wants.
fn mix() -> Vec<f64> {
    let mut cluster = Cluster::new();
    let capacity: Resources = task(64_000, 488_000);
    cluster.add_agents(&agent_ids(80), &capacity, &[]);
    let mut profiles = HashMap::new();
    let mut add = |cluster: &mut Cluster, role: &Role, (tasks, per_offer), task| {
        let id = framework(profiles.len());
        cluster.add_framework(id.clone(), role, false);
        profiles.insert(id, Profile { tasks, per_offer, task });
    };
    for n in 1..=4 {
        add(&mut cluster, &role(&format!("roleA-{n}")), (4000, 100), task(70, 400));
    }
    for _ in 0..500 {
        add(&mut cluster, &role("roleB"), (5, 1), task(100, 4000));
    }
    for n in 1..=50 {
        add(&mut cluster, &role(&format!("roleC-{n}")), (20, 5), task(1000, 1000));
    }
    let (mut wanted, mut rounds, mut making) = (19_500, 0, Vec::new());
    while wanted > 0 && rounds < 20_000 {
        rounds += 1;
        let mut made = Vec::new();
        let seconds = timed(|| made = cluster.round().proposals);
        if made.len() == 80 && making.len() < 40 {
            making.push(seconds);
        }
        for proposal in &mut made {
            let Some(profile) = profiles.get_mut(&proposal.framework) else { continue };
            for _ in 0..profile.per_offer.min(profile.tasks) {
                if !proposal.resources.checked_remove(&profile.task) {
                    break;
                }
                profile.tasks -= 1;
                wanted -= 1;
            }
        }
        // The framework is done with the offer, and asks for no time without the rest.
        cluster.give_back(made, Some(Refusal { span: Span::ZERO }));
    }
    assert_eq!(wanted, 0, "tasks unplaced after {rounds} rounds");
    eprintln!("all 19500 tasks placed in {rounds} rounds");
    vec![median(making)]
}

/// All rows, in the order of the figures.
#[allow(clippy::too_many_lines)] // A table.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "AddAndUpdateSlave 1000x1",
            &[("add agents", 51.0), ("update agents", 28.0)],
            37.0,
            || median_of(5, || add_and_update(1000, 1)),
        )
        .quick(),
        row(
            "AddAndUpdateSlave 1000x200",
            &[("add agents", 49.0), ("update agents", 29.0)],
            36.0,
            || median_of(5, || add_and_update(1000, 200)),
        )
        .quick(),
        row(
            "AddAndUpdateSlave 1000x1000",
            &[("add agents", 66.0), ("update agents", 41.0)],
            41.0,
            || median_of(5, || add_and_update(1000, 1000)),
        )
        .quick(),
        row(
            "AddAndUpdateSlave 5000x200",
            &[("add agents", 273.0), ("update agents", 191.0)],
            141.0,
            || median_of(3, || add_and_update(5000, 200)),
        ),
        row(
            "AddAndUpdateSlave 10000x1",
            &[("add agents", 569.0), ("update agents", 339.0)],
            272.0,
            || median_of(3, || add_and_update(10_000, 1)),
        ),
        row(
            "AddAndUpdateSlave 10000x200",
            &[("add agents", 579.0), ("update agents", 381.0)],
            270.0,
            || median_of(3, || add_and_update(10_000, 200)),
        ),
        row(
            "AddAndUpdateSlave 10000x1000",
            &[("add agents", 636.0), ("update agents", 458.0)],
            274.0,
            || median_of(3, || add_and_update(10_000, 1000)),
        ),
        row(
            "AddAndUpdateSlave 50000x1",
            &[("add agents", 3370.0), ("update agents", 2080.0)],
            1381.0,
            || add_and_update(50_000, 1),
        ),
        row(
            "AddAndUpdateSlave 50000x200",
            &[("add agents", 3030.0), ("update agents", 2350.0)],
            1315.0,
            || add_and_update(50_000, 200),
        ),
        row(
            "AddAndUpdateSlave 50000x1000",
            &[("add agents", 3970.0), ("update agents", 2710.0)],
            1314.0,
            || add_and_update(50_000, 1000),
        ),
        row(
            "DeclineOffers 1000x50",
            &[("making 1000", 39.0), ("all 50000 pairs filtered", 233.0)],
            277.0,
            || decline(1000, 50, 100, true),
        )
        .quick(),
        row(
            "DeclineOffers 1000x200",
            &[("making 1000", 39.0), ("all 200000 pairs filtered", 943.0)],
            891.0,
            || decline(1000, 200, 400, true),
        ),
        row("DeclineOffers 1000x1000", &[("making 1000", 45.0)], 872.0, || {
            decline(1000, 1000, 197, false)
        }),
        row("DeclineOffers 10000x50", &[("making 10000", 388.0)], 1349.0, || {
            decline(10_000, 50, 20, false)
        }),
        row("DeclineOffers 10000x200", &[("making 10000", 339.0)], 1385.0, || {
            decline(10_000, 200, 21, false)
        })
        .memory_counts(),
        row("DeclineOffers 10000x1000", &[("making 10000", 453.0)], 1357.0, || {
            decline(10_000, 1000, 19, false)
        }),
        row(
            "DeclineOffers 50000x1",
            &[("making 50000", 2210.0), ("all 50000 pairs filtered", 654.0)],
            1916.0,
            || decline(50_000, 1, 2, true),
        ),
        row("DeclineOffers 50000x200", &[("making 50000", 2210.0)], 2994.0, || {
            decline(50_000, 200, 5, false)
        }),
        row(
            "SuppressOffers 1000x200",
            &[("making 1000", 21.0), ("all suppressed", 2.1)],
            64.0,
            || median_of(5, || suppress(1000, 200)),
        )
        .quick(),
        row(
            "SuppressOffers 10000x200",
            &[("making 10000", 288.0), ("all suppressed", 35.0)],
            502.0,
            || suppress(10_000, 200),
        ),
        row(
            "SuppressOffers 10000x1000",
            &[("making 10000", 338.0), ("all suppressed", 62.0)],
            508.0,
            || suppress(10_000, 1000),
        ),
        row("AllocatorBacklog 1000x200", &[("every framework revives", 23.0)], 27.0, || {
            median_of(5, || backlog(1000, 200))
        })
        .quick(),
        row("AllocatorBacklog 10000x200", &[("every framework revives", 315.0)], 144.0, || {
            backlog(10_000, 200)
        }),
        row("AllocatorBacklog 10000x1000", &[("every framework revives", 1510.0)], 149.0, || {
            backlog(10_000, 1000)
        }),
        row(
            "NonQuotaVsQuota 200x200 roles100",
            &[("add frameworks", 20.0), ("making 200", 3.1), ("making 0", 0.7)],
            9.0,
            || median_of(9, || many_roles(100)),
        )
        .quick(),
        row(
            "NonQuotaVsQuota 2000x2000 roles1000",
            &[("add frameworks", 1950.0), ("making 2000", 111.0), ("making 0", 76.0)],
            1168.0,
            || median_of(3, || many_roles(1000)),
        )
        .memory_counts(),
        row("MultiFrameworkAllocations 80x554", &[("a round making 80", 1.0)], 0.0, mix).quick(),
    ]
}
