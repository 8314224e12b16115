//! What `binpack` decides.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tepui_plugin_allocators::binpack::{Binpack, Settings, allocator};
use tepui_plugin_sdk::conformance::{self, words::*};
use tepui_plugin_sdk::{Allocate, Input, Kept, Mono, Proposal};

fn at_once(offers_at_once: usize) -> Settings {
    Settings { offers_at_once }
}

fn places(proposals: &[Proposal]) -> Vec<String> {
    proposals.iter().map(|one| one.agent.to_string()).collect()
}

/// An agent of 8 cpus of which so many are in use by somebody else.
fn partly_used(name: &str, used: u64) -> Input {
    let used = vec![(framework("others"), role("*"), cpus(used))];
    Input::AgentAdded { agent: agent(name), facts: facts(cpus(8)), used }
}

/// Told of these agents in this order.
fn with_agents(now: Mono, most: usize, agents: impl IntoIterator<Item = Input>) -> Kept<Binpack> {
    let mut binpack = allocator(at_once(most)).unwrap();
    for agent in agents {
        binpack.apply(now, agent);
    }
    binpack
}

/// Agents `a0`, `a1` and so on, each fuller than those before it.
fn fuller_and_fuller(agents: u64) -> impl Iterator<Item = Input> {
    (0..agents).map(|at| partly_used(&format!("a{at}"), at))
}

/// So many empty agents.
fn empty(agents: usize, each: u64) -> impl Iterator<Item = Input> {
    (0..agents).map(move |at| added(&format!("a{at}"), cpus(each)))
}

#[test]
fn it_keeps_what_every_allocator_promises() {
    conformance::allocator(|_| allocator(Settings::default()).unwrap());
    conformance::allocator(|_| allocator(at_once(3)).unwrap());
}

#[test]
fn the_fullest_agents_are_offered_first_and_no_more_than_are_asked_for() {
    let now = secs(1);
    let agents = [("empty", 0), ("half", 4), ("nearly", 7), ("some", 2)];
    let agents = agents.map(|(name, used)| partly_used(name, used));
    let mut binpack = with_agents(now, 2, agents);
    binpack.apply(now, comes("f", &["*"]));
    let first = binpack.round(now).proposals;
    assert_eq!(places(&first), ["nearly", "half"]);
    assert!(!binpack.is_dirty(), "it has to answer before it gets more");
    for input in given_back(&first[0], refusal(60)) {
        binpack.apply(now, input);
    }
    assert!(binpack.is_dirty());
    let next = binpack.round(now).proposals;
    assert_eq!(places(&next), ["some"], "the next fullest, for the one that it refused");
    binpack.apply(now, used_up(&first[1]));
    assert_eq!(places(&binpack.round(now).proposals), ["empty"]);
}

#[test]
fn who_has_enough_offers_keeps_nobody_else_from_the_rest() {
    let now = secs(1);
    let mut binpack = with_agents(now, 1, fuller_and_fuller(3));
    binpack.apply(now, comes("one", &["*"]));
    binpack.apply(now, comes("two", &["*"]));
    let offered = binpack.round(now).proposals;
    assert_eq!(places(&offered), ["a2", "a1"]);
    assert_ne!(offered[0].framework, offered[1].framework);
    binpack.apply(now, comes("three", &["*"]));
    assert_eq!(places(&binpack.round(now).proposals), ["a0"]);
}

#[test]
fn who_waits_for_answers_of_agents_that_are_gone_is_offered_others() {
    let now = secs(1);
    let mut binpack = with_agents(now, 2, fuller_and_fuller(4));
    binpack.apply(now, comes("f", &["*"]));
    assert_eq!(places(&binpack.round(now).proposals), ["a3", "a2"]);
    binpack.apply(now, Input::AgentRemoved(agent("a3")));
    binpack.apply(now, Input::AgentRemoved(agent("a2")));
    assert!(binpack.is_dirty(), "there is room for two more offers");
    assert_eq!(places(&binpack.round(now).proposals), ["a1", "a0"]);
}

#[test]
fn offers_at_once_is_at_least_one() {
    let error = allocator(at_once(0)).unwrap_err();
    assert!(error.contains("offers_at_once"));
}

#[test]
fn an_answer_costs_a_look_at_one_agent_however_many_are_kept_back() {
    let now = secs(1);
    let mut binpack = with_agents(now, 3, empty(500, 4));
    binpack.apply(now, comes("f", &["*"]));
    let mut offered = binpack.round(now).proposals;
    assert_eq!(offered.len(), 3);
    for _ in 0..20 {
        binpack.apply(now, used_up(&offered[0]));
        let plan = binpack.round(now);
        assert_eq!((plan.work.agents, plan.proposals.len()), (1, 1), "{:?}", plan.work);
        offered = plan.proposals;
    }
}

proptest! {
    #[test]
    fn nobody_waits_for_more_answers_than_allowed(most in 1_usize..4, uses in prop::collection::vec(any::<bool>(), 1..40)) {
        let now = secs(1);
        let mut binpack = with_agents(now, most, empty(10, 2));
        binpack.apply(now, comes("f", &["*"]));
        let mut open: Vec<Proposal> = Vec::new();
        for used in uses {
            open.extend(binpack.round(now).proposals);
            prop_assert!(open.len() <= most);
            let Some(one) = open.pop() else { break };
            if used {
                binpack.apply(now, used_up(&one));
            } else {
                given_back(&one, refusal(60)).into_iter().for_each(|one| binpack.apply(now, one));
            }
        }
    }
}
