//! A plugin that is played to without a daemon is loaded from any file, under the name on its card; its
//! first failure is told with the round, and nobody takes over.
#![allow(clippy::unwrap_used)]

mod support;

use support::Rig;
use tepui_allocator::{AgentFacts, Allocate, Epoch, FrameworkFacts, Input, Plan};
use tepui_plugin_host::Rehearsal;
use tepui_types::{AgentId, FrameworkId, Mono, Resource, ResourceName, Role, Scalar};

fn agent(name: &str) -> Input {
    let total = [Resource::scalar(ResourceName::Cpus, Scalar::from_units(4))].into_iter().collect();
    let facts = AgentFacts { total, active: true, gpus_guarded: false, epoch: Epoch(1) };
    Input::AgentAdded { agent: AgentId::parse(name).unwrap(), facts, used: vec![] }
}

fn framework() -> Input {
    let roles = [Role::default_role()].into();
    let facts = FrameworkFacts { roles, active: true, ..FrameworkFacts::default() };
    Input::FrameworkUpdated { framework: FrameworkId::parse("f1").unwrap(), facts: Box::new(facts) }
}

/// Two rounds, the second of which has something to offer.
fn played(how: &str) -> (Rehearsal, Plan) {
    let mut rig = Rig::new();
    rig.install("misbehaves", "misbehaves");
    rig.configure(&format!("[misbehaves]\nbudget_ms = 60000\nsettings.how = '{how}'"));
    let mut played = Rehearsal::open(&rig.shelf, "misbehaves", 1).unwrap();
    played.apply(Mono::from_nanos(1), framework());
    assert_eq!(played.round(Mono::from_nanos(2)), Plan::default());
    played.apply(Mono::from_nanos(3), agent("a1"));
    assert_eq!(played.is_dirty(), how != "panics");
    let plan = played.round(Mono::from_nanos(4));
    (played, plan)
}

#[test]
fn one_that_behaves_plans_and_is_asked_for_rounds_only_when_one_is_due() {
    let (played, plan) = played("behaves");
    assert_eq!(plan.proposals.len(), 1);
    assert_eq!(played.failure(), None);
    assert!(!played.is_dirty());
}

#[test]
fn the_first_failure_is_told_with_its_round_and_nobody_plans_instead() {
    let words = "round answered nonsense: cpus:1000000 of a1 to f1 in *: ";
    for (how, round, at, why) in
        [("invents", 2, 4, words), ("panics", 1, 2, "round panicked: lost the plan")]
    {
        let (mut played, plan) = played(how);
        assert!(plan.is_empty(), "{how}");
        let failure = played.failure().unwrap().clone();
        assert_eq!((failure.round, failure.at), (round, Mono::from_nanos(at)), "{how}");
        assert!(failure.reason.starts_with(why), "{how}: {}", failure.reason);
        played.apply(Mono::from_nanos(5), agent("a2"));
        assert!(!played.is_dirty() && played.next_wakeup().is_none(), "{how}");
        assert!(played.round(Mono::from_nanos(6)).is_empty());
        assert_eq!(played.failure(), Some(&failure));
    }
}

#[test]
fn a_file_of_any_name_is_the_plugin_on_its_card_and_is_looked_at_like_any_other() {
    let rig = Rig::new();
    let file = rig.install("dominant", "libtepui_plugin_of_mine");
    let (shelf, name) = rig.shelf.clone().with_file(&file).unwrap();
    assert_eq!(name, "dominant");
    assert!(Rehearsal::open(&shelf, &name, 1).is_ok());
    assert!(Rehearsal::open(&shelf, "misbehaves", 1).is_err());
    rig.set_mode(&file, 0o666);
    let why = Rehearsal::open(&shelf, &name, 1).unwrap_err();
    assert!(why.starts_with("plugin dominant: ") && why.ends_with("(mode 0666)"), "{why}");
    let why = rig.shelf.clone().with_file(&file).unwrap_err().to_string();
    assert!(why.ends_with("(mode 0666)"), "{why}");
    let text = rig.install_bytes("text", b"text");
    let why = rig.shelf.clone().with_file(&text).unwrap_err().to_string();
    assert!(why.ends_with("text.so: its file is no library at all (no ELF)"), "{why}");
}
