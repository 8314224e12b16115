//! What `priority` decides.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tepui_plugin_allocators::priority::{Settings, allocator};
use tepui_plugin_sdk::conformance::{self, words::*};
use tepui_plugin_sdk::{
    Allocate, Input, Kept, Mono, Plan, Proposal, Reclaim, Resources, Scalar, Span, Weight,
};

fn settings(priorities: &[(&str, i64)]) -> Settings {
    let priorities = priorities.iter().map(|(role, one)| ((*role).to_owned(), *one)).collect();
    Settings { priorities, ..Settings::default() }
}

struct Cluster {
    allocator: Kept<tepui_plugin_allocators::priority::Priority>,
    now: Mono,
}

impl Cluster {
    fn new(settings: Settings) -> Self {
        Self { allocator: allocator(settings).unwrap(), now: secs(1) }
    }

    fn tell(&mut self, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            self.allocator.apply(self.now, input);
        }
    }

    fn round(&mut self) -> Plan {
        self.allocator.round(self.now)
    }

    /// Who is offered how many processors.
    fn offers(&mut self) -> Vec<(String, u64)> {
        let plan = self.round();
        let cpus = |one: &Proposal| one.resources.cpus().as_milli() / 1000;
        plan.proposals.iter().map(|one| (one.framework.to_string(), cpus(one))).collect()
    }

    fn reclaims(&mut self) -> Vec<Reclaim> {
        self.round().reclaims
    }
}

fn takes_revocable(name: &str, of: &str) -> Input {
    let mut facts = subscribed(&[of]);
    facts.revocable = true;
    updated(name, facts)
}

#[test]
fn it_keeps_what_every_allocator_promises() {
    conformance::allocator(|_| allocator(Settings::default()).unwrap());
    conformance::allocator(|_| allocator(settings(&[("eng", 5), ("eng/b", 9)])).unwrap());
}

#[test]
fn the_highest_priority_is_asked_first_and_the_others_get_what_it_leaves() {
    let mut cluster = Cluster::new(settings(&[("prod", 10), ("batch", 1)]));
    cluster.tell([comes("low", &["batch"]), comes("high", &["prod/web"]), added("a1", cpus(4))]);
    let plan = cluster.round();
    assert_eq!(plan.proposals[0].framework, framework("high"), "a role below prod is prod's");
    cluster.tell(given_back(&plan.proposals[0], refusal(60)));
    assert_eq!(cluster.offers(), [("low".to_owned(), 4)]);
}

#[test]
fn the_lowest_number_that_can_be_written_is_the_lowest_priority() {
    let mut cluster = Cluster::new(settings(&[("last", i64::MIN), ("first", i64::MAX)]));
    cluster.tell([comes("low", &["last"]), comes("middle", &["*"]), comes("high", &["first"])]);
    cluster.tell([added("a1", cpus(4))]);
    assert_eq!(cluster.offers(), [("high".to_owned(), 4)]);
}

#[test]
fn roles_without_a_setting_have_their_weight_and_equals_share_fairly() {
    let mut cluster = Cluster::new(Settings::default());
    cluster.tell([Input::Weights(vec![(role("a"), Weight(500))])]);
    cluster.tell([comes("fa", &["a"]), comes("fb", &["b"]), comes("fc", &["c"])]);
    cluster.tell([added("a1", cpus(4)), added("a2", cpus(2))]);
    let mut taken: Vec<String> = cluster.offers().into_iter().map(|(who, _)| who).collect();
    taken.sort();
    assert_eq!(taken, ["fb", "fc"], "each of the two with weight 1, and not the one below");
}

#[test]
fn an_unanswered_offer_below_is_taken_back_once_and_waited_for() {
    let mut cluster = Cluster::new(settings(&[("prod", 10)]));
    cluster.tell([comes("low", &["batch"]), added("a1", cpus(4)), added("a2", cpus(4))]);
    let offered = cluster.round().proposals;
    assert_eq!(offered.len(), 2);
    cluster.tell([comes("high", &["prod"])]);
    assert!(cluster.allocator.is_dirty(), "somebody wants something");
    let reclaims = cluster.reclaims();
    let [one] = &reclaims[..] else { panic!("one agent at a time: {reclaims:?}") };
    assert_eq!((&one.framework, &one.beneficiary), (&framework("low"), &role("prod")));
    assert!(one.revocable.is_empty(), "nobody is killed for it");
    assert!(cluster.reclaims().is_empty(), "it is waited for");

    let back = offered.iter().find(|offer| offer.agent == one.agent).unwrap();
    cluster.tell(given_back(back, None));
    let plan = cluster.round();
    assert_eq!(plan.proposals[0].framework, framework("high"));
    assert!(plan.reclaims.is_empty(), "it has an offer to answer");
    cluster.tell([used_up(&plan.proposals[0])]);
    assert_eq!(cluster.reclaims().len(), 1, "it wants more");
}

#[test]
fn what_never_comes_back_is_given_up_after_its_patience() {
    let mut cluster = Cluster::new(settings(&[("prod", 10)]));
    cluster.tell([comes("low", &["batch"]), added("a1", cpus(4))]);
    cluster.round();
    cluster.tell([comes("high", &["prod"])]);
    assert_eq!(cluster.reclaims().len(), 1);
    let wakeup = cluster.allocator.next_wakeup().unwrap();
    assert_eq!(wakeup, cluster.now + Span::from_secs(10));
    cluster.now = wakeup;
    assert_eq!(cluster.reclaims().len(), 1, "it asks again");
}

#[test]
fn revocable_work_below_goes_only_for_those_who_take_revocable_resources() {
    let mut cluster = Cluster::new(settings(&[("prod", 10)]));
    cluster.tell([takes_revocable("low", "batch"), added("a1", special(8, None, true))]);
    let offered = cluster.round().proposals;
    cluster.tell([used_up(&offered[0])]);
    cluster.tell([comes("firm", &["prod"])]);
    assert!(cluster.reclaims().is_empty(), "it could not use it");
    cluster.tell([takes_revocable("high", "prod")]);
    let reclaims = cluster.reclaims();
    assert_eq!(reclaims[0].framework, framework("low"));
    assert_eq!(reclaims[0].revocable.cpus(), Scalar::from_units(1), "a little at a time");
}

#[test]
fn equals_and_what_is_firmly_in_use_are_left_alone() {
    let mut cluster = Cluster::new(settings(&[("prod", 10), ("other", 10)]));
    cluster.tell([takes_revocable("first", "prod"), added("a1", special(8, None, true))]);
    let offered = cluster.round().proposals;
    cluster.tell([used_up(&offered[0]), takes_revocable("second", "other")]);
    assert!(cluster.reclaims().is_empty(), "an equal");
    cluster.tell([comes("low", &["batch"]), added("a2", cpus(4))]);
    let offered = cluster.round().proposals;
    cluster.tell(offered.iter().map(used_up).collect::<Vec<_>>());
    assert!(cluster.reclaims().is_empty(), "in use, and not revocable");
    let mut off = Cluster::new(Settings { preempt: false, ..settings(&[("prod", 10)]) });
    off.tell([comes("low", &["batch"]), added("a1", cpus(4))]);
    off.round();
    off.tell([comes("high", &["prod"])]);
    assert!(off.reclaims().is_empty(), "it is switched off");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let error = allocator(settings(&[("/x", 1)])).unwrap_err();
    assert!(error.contains("\"/x\""), "{error}");
    let error = allocator(Settings { patience_seconds: 0, ..Settings::default() }).unwrap_err();
    assert!(error.contains("patience_seconds"));
}

#[test]
fn a_round_looks_at_what_changed_alone() {
    const AGENTS: u64 = 300;
    let mut cluster = Cluster::new(Settings { preempt: false, ..Settings::default() });
    for at in 0..20 {
        cluster.tell([comes(&format!("f{at}"), &["*"])]);
    }
    cluster.tell((0..AGENTS).map(|at| added(&format!("a{at}"), cpus(4))));
    let offered = cluster.round().proposals;
    cluster.tell(offered.iter().map(used_up).collect::<Vec<_>>());
    cluster.tell(given_back(&offered[7], None).into_iter().skip(1));
    let work = cluster.round().work;
    assert_eq!(work.agents, 1, "one agent has something free");
    assert!(work.pairs <= 20, "{work:?}");
    cluster.tell([comes("late", &["*"])]);
    let work = cluster.round().work;
    assert_eq!((work.agents, work.pairs), (0, 0), "nothing is free for the newcomer");
}

#[test]
fn a_round_looks_at_so_much_and_the_next_one_goes_on_where_it_ended() {
    let mut cluster = Cluster::new(settings(&[("prod", 10)]));
    cluster.tell((0..400).map(|at| comes(&format!("f{at:03}"), &["batch"])));
    cluster.tell((0..1000).map(|at| added(&format!("a{at:03}"), cpus(4))));
    let first = cluster.round();
    assert!((250_000..250_400).contains(&first.work.pairs), "{:?}", first.work);
    assert!(cluster.allocator.is_dirty());
    cluster.tell([comes("high", &["prod"])]);
    let next = cluster.round();
    let of = |plan: &Plan, at: usize| plan.proposals[at].agent.to_string();
    assert_eq!(
        of(&next, 0),
        format!("a{}", first.proposals.len()),
        "it begins where the first ended"
    );
    assert!(next.reclaims.is_empty() && !cluster.allocator.is_dirty());
    assert_eq!(first.proposals.len() + next.proposals.len(), 1000, "all that is free is offered");
    assert!(next.proposals.iter().all(|one| one.framework == framework("high")));
}

proptest! {
    #[test]
    fn nobody_is_offered_what_somebody_above_would_take(ranks in prop::collection::vec(0_i64..4, 2..8)) {
        let names: Vec<String> = (0..ranks.len()).map(|at| format!("r{at}")).collect();
        let priorities: Vec<_> = names.iter().map(String::as_str).zip(ranks.clone()).collect();
        let mut cluster = Cluster::new(settings(&priorities));
        for name in &names {
            cluster.tell([comes(name, &[name])]);
        }
        cluster.tell((0..4).map(|at| added(&format!("a{at}"), cpus(2))));
        let highest = *ranks.iter().max().unwrap();
        for one in cluster.round().proposals {
            let at = names.iter().position(|name| *name == one.role.to_string()).unwrap();
            prop_assert_eq!(ranks[at], highest);
            prop_assert!(one.resources != Resources::new());
        }
    }
}
