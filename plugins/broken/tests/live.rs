//! The allocator in force stays in force whatever a plugin does: the round in which it fails is
//! planned by the one that is built in.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use support::{Rig, reported};
use tepui_allocator::{AgentFacts, Allocate, Epoch, FrameworkFacts, Input, Plan, Proposal, Reason};
use tepui_plugin_host::{Beside, Live, PluginAllocator, Standing};
use tepui_plugin_sdk::conformance;
use tepui_types::{
    AgentId, Entropy, FrameworkId, Mono, Resource, ResourceName, Resources, Role, Scalar,
};

fn cpus(count: u64) -> Resources {
    [
        Resource::scalar(ResourceName::Cpus, Scalar::from_units(count)),
        Resource::scalar(ResourceName::Mem, Scalar::from_units(count * 100)),
    ]
    .into_iter()
    .collect()
}

fn agent(name: &str, count: u64) -> Input {
    let facts =
        AgentFacts { total: cpus(count), active: true, gpus_guarded: false, epoch: Epoch(1) };
    Input::AgentAdded { agent: AgentId::parse(name).unwrap(), facts, used: vec![] }
}

fn framework(name: &str) -> Input {
    let facts = FrameworkFacts {
        roles: [Role::default_role()].into(),
        active: true,
        ..FrameworkFacts::default()
    };
    Input::FrameworkUpdated { framework: FrameworkId::parse(name).unwrap(), facts: Box::new(facts) }
}

fn offered(plan: &Plan) -> u64 {
    plan.proposals.iter().map(|one| one.resources.cpus().as_milli() / 1000).sum()
}

/// A cluster with two agents, one of them offered already, in which a plugin that behaves so was
/// put in force.
fn cluster(how: &str) -> (Rig, Live) {
    let mut rig = Rig::new();
    rig.install("misbehaves", "misbehaves");
    // A panic takes its time: its backtrace is printed first.
    let budget = if how == "hangs" { 200 } else { 60_000 };
    rig.configure(&format!("[misbehaves]\nbudget_ms = {budget}\nsettings.how = '{how}'"));
    let mut live = Live::new(Entropy::seeded(1), rig.board.clone());
    let now = Mono::default();
    live.apply(now, framework("f1"));
    live.apply(now, agent("a1", 4));
    assert_eq!(offered(&live.round(now)), 4);
    live.apply(now, agent("a2", 2));
    live.seat(now, rig.open("misbehaves").unwrap()).unwrap();
    assert_eq!(live.name(), "misbehaves");
    (rig, live)
}

fn failure(rig: &Rig) -> String {
    match reported(&rig.board, "misbehaves").standing {
        Standing::Failed { reason, instead } => format!("{instead} instead: {reason}"),
        other => panic!("it is {other}"),
    }
}

#[test]
fn a_plugin_that_behaves_knows_what_is_offered_already_and_gives_way_when_asked() {
    let (rig, mut live) = cluster("behaves");
    let plan = live.round(Mono::default());
    assert_eq!(offered(&plan), 2, "a1 is offered already");
    assert_eq!(reported(&rig.board, "drf").standing, Standing::StandsBy);
    live.unseat();
    assert_eq!(live.name(), "drf");
    assert_eq!(offered(&live.round(Mono::default())), 0, "a2 is offered already, too");
    assert_eq!(reported(&rig.board, "misbehaves").standing, Standing::Retired);
    live.seat(Mono::default(), rig.open("misbehaves").unwrap()).unwrap();
    let Proposal { framework, role, agent, resources, .. } = plan.proposals[0].clone();
    let now = Mono::from_nanos(1);
    live.apply(now, Input::Released { framework, role, agent, resources, refusal: None });
    assert_eq!(offered(&live.round(now)), 2, "what came back is offered again");
    assert_eq!(live.name(), "misbehaves");
}

#[test]
fn the_round_in_which_a_plugin_fails_is_planned_all_the_same() {
    for (how, why) in [
        ("panics", "drf instead: round panicked: lost the plan"),
        ("panics_twice", "drf instead: round panicked: it panicked without a word"),
        ("hangs", "drf instead: round took longer than its 200 ms"),
        ("invents", "drf instead: round answered nonsense: cpus:1000000 of a2 to f1 in *: "),
        ("offers_twice", "drf instead: round answered nonsense: cpus:2;mem:200 of a2 to f1"),
    ] {
        let (rig, mut live) = cluster(how);
        let plan = live.round(Mono::default());
        assert_eq!(offered(&plan), 2, "{how}: a2 once, and a1 not again");
        let said = failure(&rig);
        assert!(said.starts_with(why), "{how}: {said}");
        assert_eq!(live.name(), "drf");
        assert_eq!(reported(&rig.board, "drf").standing, Standing::InUse);
        assert_eq!(offered(&live.round(Mono::default())), 0, "{how}");
        live.apply(Mono::default(), agent("a3", 8));
        assert_eq!(offered(&live.round(Mono::default())), 8, "{how}");
    }
}

#[test]
fn what_failed_or_was_refused_is_history_once_the_operator_chose_another_one() {
    let (rig, mut live) = cluster("panics");
    live.round(Mono::default());
    failure(&rig);
    assert!(rig.open("nowhere").is_err());
    let beside = Beside::open(&rig.shelf, "gone", 1, &rig.board);
    assert!(beside.is_err());
    live.unseat();
    let standing = |name| reported(&rig.board, name).standing;
    assert_eq!(standing("misbehaves"), Standing::Retired);
    assert_eq!(standing("nowhere"), Standing::Retired);
    assert!(matches!(standing("gone"), Standing::Refused { .. }), "nobody chose another candidate");
    assert_eq!(standing("drf"), Standing::InUse);
}

#[test]
fn one_that_is_refused_when_it_is_loaded_anew_goes_on_as_it_was() {
    let (mut rig, mut live) = cluster("behaves");
    rig.configure(&format!("[misbehaves]\nsha256 = '{}'", "0".repeat(64)));
    for _ in 0..2 {
        assert!(rig.open("misbehaves").is_err());
        let Standing::Refused { reason } = reported(&rig.board, "misbehaves").standing else {
            panic!("it is not refused");
        };
        assert!(reason.ends_with("is configured; as it was loaded before it goes on"), "{reason}");
    }
    assert_eq!(live.name(), "misbehaves");
    assert_eq!(offered(&live.round(Mono::default())), 2);
    live.unseat();
    assert!(rig.open("misbehaves").is_err());
    let Standing::Refused { reason } = reported(&rig.board, "misbehaves").standing else {
        panic!("it is not refused");
    };
    assert!(reason.ends_with("is configured"), "{reason}");
}

#[test]
fn a_question_that_a_plugin_fails_at_is_answered_and_ends_its_use() {
    let (rig, mut live) = cluster("panics_at_explain");
    let who = FrameworkId::parse("f1").unwrap();
    let reasons: Vec<Reason> = live.explain(Mono::default(), &who);
    assert_eq!(reasons.len(), 2);
    assert!(live.is_dirty());
    assert_eq!(offered(&live.round(Mono::default())), 2);
    assert!(failure(&rig).contains("explain panicked: there is nothing to explain"));
    assert_eq!(live.refusals(Mono::default()).len(), 1);
}

#[test]
fn one_that_hangs_when_it_is_put_in_force_leaves_the_one_before_in_force() {
    let (rig, mut live) = cluster("behaves");
    let mut broken = Rig::new();
    broken.install("misbehaves", "misbehaves");
    broken.configure("[misbehaves]\nsettings.how = 'hangs_on_load'\nbudget_ms = 20");
    assert!(broken.open("misbehaves").is_err());
    assert_eq!(live.name(), "misbehaves");
    assert_eq!(offered(&live.round(Mono::default())), 2);
    assert_eq!(reported(&rig.board, "misbehaves").standing, Standing::InUse);
}

/// A cluster of so many agents, before a plugin that behaves so is put in force.
fn large_cluster(agents: usize, how: &str, budget_ms: u64) -> (Rig, Live) {
    let mut rig = Rig::new();
    rig.install("misbehaves", "misbehaves");
    rig.configure(&format!("[misbehaves]\nbudget_ms = {budget_ms}\nsettings.how = '{how}'"));
    let mut live = Live::new(Entropy::seeded(1), rig.board.clone());
    live.apply(Mono::default(), framework("f1"));
    for at in 0..agents {
        live.apply(Mono::default(), agent(&format!("a{at}"), 1));
    }
    (rig, live)
}

#[test]
fn one_that_needs_its_time_for_each_agent_is_put_in_force_however_many_there_are() {
    let (rig, mut live) = large_cluster(20_000, "hangs_when_told_much", 60_000);
    live.seat(Mono::default(), rig.open("misbehaves").unwrap()).unwrap();
    assert_eq!(live.name(), "misbehaves");
    assert_eq!(offered(&live.round(Mono::default())), 20_000);
    assert_eq!(reported(&rig.board, "misbehaves").standing, Standing::InUse);
}

#[test]
fn one_that_hangs_when_it_is_told_of_a_large_cluster_is_given_up_within_one_budget() {
    let (rig, mut live) = large_cluster(20_000, "hangs_when_told", 200);
    let why = live.seat(Mono::default(), rig.open("misbehaves").unwrap()).unwrap_err();
    assert_eq!(why.to_string(), "apply took longer than its 200 ms");
    assert_eq!((live.name(), failure(&rig)), ("drf", format!("drf instead: {why}")));
    assert_eq!(offered(&live.round(Mono::default())), 20_000);
}

/// A plugin as a plain allocator: a failure fails the test.
struct Unwrapped(PluginAllocator);

impl Allocate for Unwrapped {
    fn apply(&mut self, now: Mono, input: Input) {
        self.0.hear(now, input);
        self.0.tell().unwrap();
    }

    fn is_dirty(&self) -> bool {
        self.0.is_dirty()
    }

    fn next_wakeup(&self) -> Option<Mono> {
        self.0.next_wakeup()
    }

    fn round(&mut self, now: Mono) -> Plan {
        self.0.round(now).unwrap()
    }

    fn explain(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        self.0.explain(now, framework).unwrap()
    }

    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64> {
        self.0.refusals(now).unwrap()
    }
}

#[test]
fn the_allocator_that_is_built_in_keeps_every_promise_behind_the_boundary_too() {
    let rig = Rig::new();
    rig.install("dominant", "dominant");
    conformance::allocator(|_| Unwrapped(rig.open("dominant").unwrap()));
}

#[test]
fn the_allocator_in_force_keeps_every_promise() {
    let rig = Rig::new();
    rig.install("dominant", "dominant");
    conformance::allocator(|seed| {
        let mut live = Live::new(Entropy::seeded(seed), rig.board.clone());
        live.seat(Mono::default(), rig.open("dominant").unwrap()).unwrap();
        live
    });
    assert_eq!(reported(&rig.board, "dominant").standing, Standing::InUse);
}
