//! What is built in, and what books are kept for, keep what every plugin promises.

use tepui_plugin_sdk::{
    Agent, AgentId, Allocate, Books, Candidate, Drf, Entropy, Kept, Policy, conformance,
};

#[test]
fn the_allocator_that_is_built_in_keeps_every_promise() {
    conformance::allocator(|seed| Drf::new(Entropy::seeded(seed)));
}

/// Offers to whoever holds least, by processors.
#[derive(Debug)]
struct Poorest;

impl Policy for Poorest {
    fn choose(&mut self, books: &Books, _: &AgentId, candidates: &[Candidate]) -> Option<usize> {
        (0..candidates.len()).min_by_key(|at| books.held(&candidates[*at].client).cpus())
    }
}

/// Offers to nobody but the last, so that the promises are put to the test.
#[derive(Debug)]
struct Last;

impl Policy for Last {
    fn rank(&self, agent: &Agent) -> u64 {
        u64::MAX - agent.free().cpus().as_milli()
    }

    fn most_unanswered(&self) -> Option<usize> {
        Some(3)
    }

    fn choose(&mut self, _: &Books, _: &AgentId, candidates: &[Candidate]) -> Option<usize> {
        candidates.len().checked_sub(1)
    }
}

#[test]
fn an_allocator_whose_books_are_kept_keeps_every_promise() {
    conformance::allocator(|_| Kept::new(Poorest));
    conformance::allocator(|_| Kept::new(Last));
}

/// Offers everything twice.
#[derive(Debug)]
struct Twice(Drf);

impl Allocate for Twice {
    fn apply(&mut self, now: tepui_plugin_sdk::Mono, input: tepui_plugin_sdk::Input) {
        self.0.apply(now, input);
    }

    fn is_dirty(&self) -> bool {
        self.0.is_dirty()
    }

    fn next_wakeup(&self) -> Option<tepui_plugin_sdk::Mono> {
        self.0.next_wakeup()
    }

    fn round(&mut self, now: tepui_plugin_sdk::Mono) -> tepui_plugin_sdk::Plan {
        let mut plan = self.0.round(now);
        plan.proposals.extend(plan.proposals.clone());
        plan
    }

    fn explain(
        &self,
        now: tepui_plugin_sdk::Mono,
        framework: &tepui_plugin_sdk::FrameworkId,
    ) -> Vec<tepui_plugin_sdk::Reason> {
        self.0.explain(now, framework)
    }

    fn refusals(
        &self,
        now: tepui_plugin_sdk::Mono,
    ) -> std::collections::BTreeMap<tepui_plugin_sdk::Role, u64> {
        self.0.refusals(now)
    }
}

#[test]
#[should_panic(expected = "not all of it is free")]
fn the_suite_sees_an_allocator_that_offers_everything_twice() {
    conformance::allocator(|seed| Twice(Drf::new(Entropy::seeded(seed))));
}
