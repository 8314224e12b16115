//! What one round after another offers, as sentences.
#![allow(clippy::unwrap_used)]

mod support;

use support::*;
use tepui_allocator::{Allocate, Drf, Input, Minimum, NoOffer, Plan, Proposal, Weight};
use tepui_types::{Entropy, Mono, ResourceName, Scalar, Span};

struct Cluster {
    drf: Drf,
    now: Mono,
}

fn show(proposal: &Proposal) -> String {
    let Proposal { framework, role, agent, resources, .. } = proposal;
    format!("{framework} {role} {agent} {resources}")
}

impl Cluster {
    fn new() -> Self {
        Self { drf: Drf::new(Entropy::seeded(7)), now: secs(0) }
    }

    fn with(mut self, input: Input) -> Self {
        self.tell(input);
        self
    }

    fn tell(&mut self, input: Input) {
        self.drf.apply(self.now, input);
    }

    fn plan(&mut self) -> Plan {
        self.drf.round(self.now)
    }

    fn round(&mut self) -> Vec<String> {
        let mut shown: Vec<String> = self.plan().proposals.iter().map(show).collect();
        shown.sort();
        shown
    }

    fn at(&mut self, now: Mono) -> &mut Self {
        self.now = now;
        self
    }

    fn give_back(
        &mut self,
        who: &str,
        role_name: &str,
        where_: &str,
        what: &str,
        secs: Option<u64>,
    ) {
        self.tell(Input::Released {
            framework: framework(who),
            role: role(role_name),
            agent: agent(where_),
            resources: bundle(what),
            refusal: secs.and_then(refuse_secs),
        });
    }
}

#[test]
fn the_first_framework_takes_all_that_is_free_on_an_agent() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024;ports:[31000-32000]"))
        .with(framework_added("f1", &["*"]))
        .with(framework_added("f2", &["*"]));
    assert_eq!(cluster.round(), ["f1 * a1 cpus:4;mem:1024;ports:[31000-32000]"]);
    assert!(!cluster.drf.is_dirty());
    assert_eq!(cluster.round(), [""; 0]);
}

#[test]
fn frameworks_with_equal_demands_get_equal_numbers_of_agents() {
    let mut cluster =
        Cluster::new().with(framework_added("f1", &["*"])).with(framework_added("f2", &["*"]));
    for n in 0..10 {
        cluster.tell(agent_added(&format!("a{n}"), "cpus:4;mem:1024"));
    }
    let shown = cluster.round();
    assert_eq!(shown.iter().filter(|s| s.starts_with("f1")).count(), 5);
    assert_eq!(shown.len(), 10);
}

#[test]
fn declined_resources_return_when_the_filter_expires() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]));
    assert_eq!(cluster.round().len(), 1);
    cluster.give_back("f1", "*", "a1", "cpus:4;mem:1024", Some(5));
    assert!(cluster.drf.is_dirty());
    assert_eq!(cluster.round(), [""; 0]);
    assert!(!cluster.drf.is_dirty());
    assert_eq!(cluster.drf.next_wakeup(), Some(secs(5)));
    assert_eq!(cluster.at(millis(4999)).round(), [""; 0]);
    assert_eq!(cluster.at(secs(5)).round(), ["f1 * a1 cpus:4;mem:1024"]);
}

#[test]
fn more_resources_than_were_refused_are_offered_before_the_filter_expires() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]));
    cluster.round();
    cluster.give_back("f1", "*", "a1", "cpus:2;mem:1024", Some(3600));
    assert_eq!(cluster.round(), [""; 0]);
    cluster.give_back("f1", "*", "a1", "cpus:1", None);
    assert_eq!(cluster.round(), ["f1 * a1 cpus:3;mem:1024"]);
}

#[test]
fn a_declined_agent_goes_to_the_next_framework_although_the_refusal_has_no_time() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]))
        .with(framework_added("f2", &["*"]))
        .with(framework_added("f3", &["*"]));
    let mut takers = Vec::new();
    for round in 0..6_u64 {
        let shown = cluster.at(secs(round)).round();
        let who = shown[0].split_once(' ').unwrap().0.to_owned();
        cluster.give_back(&who, "*", "a1", "cpus:4;mem:1024", Some(0));
        takers.push(who);
        // The round that finds nobody left to ask ends the agent's round.
        if round % 3 == 2 {
            assert_eq!(cluster.round(), [""; 0]);
        }
    }
    takers[..3].sort();
    takers[3..].sort();
    assert_eq!(takers, ["f1", "f2", "f3", "f1", "f2", "f3"]);
}

#[test]
fn a_refusal_without_time_ends_soon_when_nobody_else_is_there() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]));
    cluster.round();
    cluster.give_back("f1", "*", "a1", "cpus:4;mem:1024", Some(0));
    assert_eq!(cluster.round(), [""; 0]);
    let again = cluster.drf.next_wakeup().unwrap();
    assert_eq!(again, millis(100));
    assert_eq!(cluster.at(again).round().len(), 1);
}

#[test]
fn a_revived_framework_sees_at_once_what_it_refused() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]));
    cluster.round();
    cluster.give_back("f1", "*", "a1", "cpus:4;mem:1024", Some(3600));
    assert_eq!(cluster.round(), [""; 0]);
    cluster.tell(revived("f1"));
    assert!(cluster.drf.is_dirty());
    assert_eq!(cluster.round().len(), 1);
}

#[test]
fn refusals_count_by_role_until_they_end_or_are_withdrawn() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]))
        .with(framework_added("f2", &["eng"]))
        .with(suppressed("f2"));
    cluster.round();
    cluster.give_back("f1", "*", "a1", "cpus:4;mem:1024", Some(60));
    let count = |cluster: &Cluster| -> Vec<(String, u64)> {
        let all = cluster.drf.refusals(cluster.now);
        all.into_iter().map(|(role, count)| (role.to_string(), count)).collect()
    };
    let none = [("*".to_owned(), 0), ("eng".to_owned(), 0)];
    assert_eq!(count(&cluster), [("*".to_owned(), 1), ("eng".to_owned(), 0)]);
    assert_eq!(count(cluster.at(secs(60))), none);
    let cluster = cluster.at(secs(1));
    cluster.tell(revived("f1"));
    assert_eq!(count(cluster), none);
}

#[test]
fn a_suppressed_framework_is_offered_nothing_until_it_revives() {
    let mut cluster = Cluster::new()
        .with(framework_added("f1", &["*"]))
        .with(suppressed("f1"))
        .with(agent_added("a1", "cpus:4;mem:1024"));
    assert_eq!(cluster.round(), [""; 0]);
    assert_eq!(cluster.drf.explain(cluster.now, &framework("f1"))[0].why, NoOffer::Suppressed);
    cluster.tell(revived("f1"));
    assert_eq!(cluster.round(), ["f1 * a1 cpus:4;mem:1024"]);
}

#[test]
fn a_new_framework_is_offered_what_all_others_refused() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]));
    cluster.round();
    cluster.give_back("f1", "*", "a1", "cpus:4;mem:1024", Some(3600));
    cluster.round();
    cluster.tell(framework_added("f2", &["eng"]));
    let plan = cluster.plan();
    assert_eq!(plan.proposals.len(), 1);
    assert_eq!(plan.work.pairs, 1);
}

#[test]
fn a_fully_filtered_cluster_costs_nothing() {
    let mut cluster = Cluster::new();
    for n in 0..20 {
        cluster.tell(framework_added(&format!("f{n}"), &["*"]));
        cluster.tell(agent_added(&format!("a{n}"), "cpus:4;mem:1024"));
    }
    loop {
        let plan = cluster.plan();
        if plan.proposals.is_empty() {
            break;
        }
        for p in plan.proposals {
            cluster.give_back(
                p.framework.as_str(),
                "*",
                p.agent.as_str(),
                "cpus:4;mem:1024",
                Some(99),
            );
        }
    }
    assert!(!cluster.drf.is_dirty());
    assert_eq!(cluster.at(secs(1)).plan().work.pairs, 0);
    // One refusal's end costs one pair.
    cluster.tell(framework_added("g", &["*"]));
    assert_eq!(cluster.plan().work.pairs, 20);
}

#[test]
fn crumbs_below_the_minimum_are_not_offered_and_the_reason_has_numbers() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:0.005;mem:31"))
        .with(framework_added("f1", &["*"]));
    assert_eq!(cluster.round(), [""; 0]);
    let why = &cluster.drf.explain(cluster.now, &framework("f1"))[0].why;
    let crumbs = NoOffer::BelowMinimum { cpus: Scalar::from_milli(5), mem: Scalar::from_units(31) };
    assert_eq!(*why, crumbs);
    let mut facts = subscribed(&["*"]);
    facts
        .minimum
        .insert(role("*"), Minimum(vec![vec![(ResourceName::Mem, Scalar::from_units(31))]]));
    cluster.tell(Input::FrameworkUpdated { framework: framework("f1"), facts: Box::new(facts) });
    assert_eq!(cluster.round(), ["f1 * a1 cpus:0.005;mem:31"]);
}

#[test]
fn an_agent_with_gpus_is_kept_for_frameworks_that_ask_for_gpus() {
    let mut guarded = facts("cpus:4;mem:1024;gpus:1");
    guarded.gpus_guarded = true;
    let mut cluster = Cluster::new()
        .with(Input::AgentAdded { agent: agent("a1"), facts: guarded, used: vec![] })
        .with(framework_added("f1", &["*"]));
    assert_eq!(cluster.round(), [""; 0]);
    let why = &cluster.drf.explain(cluster.now, &framework("f1"))[0].why;
    assert_eq!(*why, NoOffer::NeedsGpuCapability);
    let mut wanting = subscribed(&["*"]);
    wanting.gpus = true;
    cluster.tell(Input::FrameworkUpdated { framework: framework("f1"), facts: Box::new(wanting) });
    assert_eq!(cluster.round(), ["f1 * a1 cpus:4;gpus:1;mem:1024"]);
}

#[test]
fn revocable_resources_go_only_to_those_who_take_them() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024;cpus{REV}:8"))
        .with(framework_added("f1", &["*"]));
    assert_eq!(cluster.round(), ["f1 * a1 cpus:4;mem:1024"]);
    let mut taking = subscribed(&["*"]);
    taking.revocable = true;
    cluster.tell(Input::FrameworkUpdated { framework: framework("f2"), facts: Box::new(taking) });
    assert_eq!(cluster.round(), ["f2 * a1 cpus{REV}:8"]);
}

#[test]
fn reserved_resources_go_to_their_role_and_the_roles_below_it() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:1;mem:100;cpus(eng):2;mem(eng):200;cpus(ops):3"))
        .with(framework_added("f1", &["eng/web"]))
        .with(framework_added("f2", &["hr"]));
    let shown = cluster.round();
    assert!(
        shown == ["f1 eng/web a1 cpus:1;cpus(eng):2;mem:100;mem(eng):200"]
            || shown == ["f1 eng/web a1 cpus(eng):2;mem(eng):200", "f2 hr a1 cpus:1;mem:100"],
        "{shown:?}"
    );
}

#[test]
fn a_role_with_twice_the_weight_gets_twice_the_agents() {
    let mut cluster = Cluster::new()
        .with(Input::Weights(vec![(role("big"), Weight(2000))]))
        .with(framework_added("f1", &["big"]))
        .with(framework_added("f2", &["small"]));
    for n in 0..30 {
        cluster.tell(agent_added(&format!("a{n}"), "cpus:4;mem:1024"));
    }
    let shown = cluster.round();
    assert_eq!(shown.iter().filter(|s| s.starts_with("f1")).count(), 20);
}

#[test]
fn sub_roles_share_what_their_parent_gets() {
    let mut cluster = Cluster::new()
        .with(framework_added("f1", &["eng/a"]))
        .with(framework_added("f2", &["eng/b"]))
        .with(framework_added("f3", &["eng"]))
        .with(framework_added("f4", &["ops"]));
    for n in 0..24 {
        cluster.tell(agent_added(&format!("a{n}"), "cpus:4;mem:1024"));
    }
    let shown = cluster.round();
    let of = |who: &str| shown.iter().filter(|s| s.starts_with(who)).count();
    assert_eq!([of("f1"), of("f2"), of("f3"), of("f4")], [4, 4, 4, 12]);
}

#[test]
fn what_is_in_use_when_an_agent_appears_counts_and_is_not_offered() {
    let mut cluster = Cluster::new().with(framework_added("f1", &["*"])).with(Input::AgentAdded {
        agent: agent("a1"),
        facts: facts("cpus:4;mem:1024;ports:[1-9]"),
        used: vec![(framework("f9"), role("*"), bundle("cpus:3;mem:24;ports:[2-3]"))],
    });
    assert_eq!(cluster.round(), ["f1 * a1 cpus:1;mem:1000;ports:[1-1, 4-9]"]);
    cluster.give_back("f9", "*", "a1", "cpus:3;mem:24;ports:[2-3]", None);
    assert_eq!(cluster.round(), ["f1 * a1 cpus:3;mem:24;ports:[2-3]"]);
}

#[test]
fn an_agent_that_shrank_under_its_bookings_offers_nothing_it_does_not_have() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]));
    cluster.round();
    cluster.tell(Input::AgentChanged {
        agent: agent("a1"),
        facts: facts("cpus:2;mem:1024"),
        forget_filters: false,
    });
    assert_eq!(cluster.round(), [""; 0]);
    cluster.give_back("f1", "*", "a1", "cpus:1", None);
    assert_eq!(cluster.round(), [""; 0]);
    cluster.give_back("f1", "*", "a1", "cpus:2;mem:1024", None);
    assert_eq!(cluster.round(), ["f1 * a1 cpus:1;mem:1024"]);
}

#[test]
fn an_inactive_agent_or_framework_gets_no_offers_and_says_so() {
    let mut cluster = Cluster::new().with(framework_added("f1", &["*"]));
    let mut away = facts("cpus:4;mem:1024");
    away.active = false;
    cluster.tell(Input::AgentAdded { agent: agent("a1"), facts: away, used: vec![] });
    assert_eq!(cluster.round(), [""; 0]);
    let why = cluster.drf.explain(cluster.now, &framework("f1"));
    assert_eq!(why[0].why, NoOffer::AgentInactive);
    let mut gone = subscribed(&["*"]);
    gone.active = false;
    cluster.tell(Input::FrameworkUpdated { framework: framework("f1"), facts: Box::new(gone) });
    let why = cluster.drf.explain(cluster.now, &framework("f1"));
    assert_eq!(why[0].why, NoOffer::FrameworkInactive);
}

#[test]
fn a_filters_remaining_time_is_part_of_the_reason() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]));
    cluster.round();
    cluster.give_back("f1", "*", "a1", "cpus:4;mem:1024", Some(5));
    let why = cluster.drf.explain(secs(2), &framework("f1"));
    assert_eq!(why[0].why, NoOffer::Filtered { remaining: Span::from_secs(3) });
}

#[test]
fn a_removed_frameworks_resources_stay_booked_until_released() {
    let mut cluster = Cluster::new()
        .with(agent_added("a1", "cpus:4;mem:1024"))
        .with(framework_added("f1", &["*"]));
    cluster.round();
    cluster.tell(Input::FrameworkRemoved(framework("f1")));
    cluster.tell(framework_added("f2", &["*"]));
    assert_eq!(cluster.round(), [""; 0]);
    cluster.give_back("f1", "*", "a1", "cpus:4;mem:1024", None);
    assert_eq!(cluster.round(), ["f2 * a1 cpus:4;mem:1024"]);
}
