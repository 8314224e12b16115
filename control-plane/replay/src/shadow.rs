//! A candidate that follows the allocator in charge: the same inputs, rounds at the same times, and
//! nothing that it decides is acted on.
//!
//! After each round its books are brought to what was really decided: what it alone proposed comes
//! back to it, what it did not propose is booked. So every round begins from the same cluster.

use std::collections::{HashMap, VecDeque};

use tepui_allocator::{Allocate, Input, Plan, Proposal};
use tepui_types::{AgentId, FrameworkId, Mono, Resources, Role};

/// How many differences are remembered.
const REMEMBERED: usize = 64;

/// Who was offered something on an agent.
pub type Taker = (FrameworkId, Role, Resources);

/// An agent on which the two decided differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// When.
    pub at: Mono,
    /// Where.
    pub agent: AgentId,
    /// What the allocator in charge offered, that the candidate did not.
    pub live: Vec<Taker>,
    /// What the candidate would have offered, that the other did not.
    pub candidate: Vec<Taker>,
}

/// What the candidate decided so far, beside the allocator in charge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Rounds that were compared.
    pub rounds: u64,
    /// Rounds in which both proposed the same.
    pub same_rounds: u64,
    /// Proposals of both.
    pub agreed: u64,
    /// Proposals of the allocator in charge alone.
    pub only_live: u64,
    /// Proposals of the candidate alone.
    pub only_candidate: u64,
    /// What the candidate would have taken back.
    pub reclaims: u64,
    /// The newest differences, the newest last.
    pub recent: VecDeque<Difference>,
}

/// A candidate, and what it would have done.
#[derive(Debug)]
pub struct Shadow<A> {
    candidate: A,
    tally: Tally,
}

impl<A: Allocate> Shadow<A> {
    /// A candidate that knows nothing yet.
    pub fn new(candidate: A) -> Self {
        Self { candidate, tally: Tally::default() }
    }

    /// What it decided so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The candidate is told what the allocator in charge is told.
    pub fn told(&mut self, at: Mono, inputs: &[Input]) {
        for input in inputs {
            self.candidate.apply(at, input.clone());
        }
    }

    /// The candidate plans the round that the allocator in charge planned.
    pub fn round(&mut self, at: Mono) -> Plan {
        self.candidate.round(at)
    }

    /// Compares the two plans of a round, and brings the candidate's books to the one that counts.
    pub fn compare(&mut self, at: Mono, live: &Plan, candidate: &Plan) {
        let theirs = beyond(&live.proposals, &candidate.proposals);
        let mine = beyond(&candidate.proposals, &live.proposals);
        let tally = &mut self.tally;
        tally.rounds += 1;
        tally.same_rounds += u64::from(mine.is_empty() && theirs.is_empty());
        tally.agreed += (candidate.proposals.len() - mine.len()) as u64;
        tally.only_candidate += mine.len() as u64;
        tally.only_live += theirs.len() as u64;
        tally.reclaims += candidate.reclaims.len() as u64;
        self.remember(at, &theirs, &mine);
        for proposal in mine {
            self.give_back(at, proposal.clone());
        }
        for proposal in theirs {
            let Proposal { framework, role, agent, resources, .. } = proposal.clone();
            self.candidate.apply(at, Input::Offered { framework, role, agent, resources });
        }
    }

    fn give_back(&mut self, at: Mono, proposal: Proposal) {
        let Proposal { framework, role, agent, resources, .. } = proposal;
        let ended = Input::OfferEnded {
            framework: framework.clone(),
            role: role.clone(),
            agent: agent.clone(),
            offered: resources.clone(),
            used: Resources::new(),
        };
        self.candidate.apply(at, ended);
        let released = Input::Released { framework, role, agent, resources, refusal: None };
        self.candidate.apply(at, released);
    }

    fn remember(&mut self, at: Mono, live: &[&Proposal], candidate: &[&Proposal]) {
        let taker =
            |one: &Proposal| (one.framework.clone(), one.role.clone(), one.resources.clone());
        let mut found: Vec<Difference> = Vec::new();
        let sides =
            live.iter().map(|one| (*one, true)).chain(candidate.iter().map(|one| (*one, false)));
        for (one, is_live) in sides.take(REMEMBERED) {
            let position = found.iter().position(|known| known.agent == one.agent);
            let position = position.unwrap_or_else(|| {
                let agent = one.agent.clone();
                found.push(Difference { at, agent, live: Vec::new(), candidate: Vec::new() });
                found.len() - 1
            });
            let side =
                if is_live { &mut found[position].live } else { &mut found[position].candidate };
            side.push(taker(one));
        }
        self.tally.recent.extend(found);
        let over = self.tally.recent.len().saturating_sub(REMEMBERED);
        self.tally.recent.drain(..over);
    }
}

/// What makes two proposals the same: not the epoch, which is the agent's affair.
type Key<'a> = (&'a AgentId, &'a FrameworkId, &'a Role, &'a Resources);

fn key(one: &Proposal) -> Key<'_> {
    (&one.agent, &one.framework, &one.role, &one.resources)
}

/// Those of `all`, in their order, that have no equal in `others`; each of the others makes up for one.
/// A look at each, however many there are.
fn beyond<'a>(all: &'a [Proposal], others: &[Proposal]) -> Vec<&'a Proposal> {
    let mut equals: HashMap<Key<'_>, usize> = HashMap::with_capacity(others.len());
    for other in others {
        *equals.entry(key(other)).or_default() += 1;
    }
    let mut beyond = Vec::new();
    for one in all {
        match equals.get_mut(&key(one)) {
            Some(left) if *left > 0 => *left -= 1,
            _ => beyond.push(one),
        }
    }
    beyond
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tepui_allocator::Epoch;
    use tepui_plugin_sdk::conformance::words::{agent, cpus, framework, role};

    use super::*;

    fn proposal(at: usize, to: usize, amount: u64, epoch: u64) -> Proposal {
        Proposal {
            framework: framework(&format!("f{to}")),
            role: role("*"),
            agent: agent(&format!("a{at}")),
            resources: cpus(amount),
            epoch: Epoch(epoch),
        }
    }

    fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
        let one = (0..3_usize, 0..2_usize, 1..3_u64, 0..2_u64);
        prop::collection::vec(
            one.prop_map(|(at, to, much, epoch)| proposal(at, to, much, epoch)),
            0..30,
        )
    }

    /// What only the one in charge proposes and what only the candidate does, found by looking at
    /// each pair.
    fn pair_by_pair<'a>(
        live: &'a [Proposal],
        candidate: &'a [Proposal],
    ) -> (Vec<&'a Proposal>, Vec<&'a Proposal>) {
        let mut theirs: Vec<&Proposal> = live.iter().collect();
        let mut mine = Vec::new();
        for one in candidate {
            match theirs.iter().position(|other| key(other) == key(one)) {
                Some(position) => drop(theirs.remove(position)),
                None => mine.push(one),
            }
        }
        (theirs, mine)
    }

    proptest! {
        #[test]
        fn what_differs_is_what_a_look_at_each_pair_finds(live in proposals(), candidate in proposals()) {
            let found = (beyond(&live, &candidate), beyond(&candidate, &live));
            prop_assert_eq!(found, pair_by_pair(&live, &candidate));
        }
    }

    #[test]
    fn a_hundred_thousand_proposals_in_another_order_are_the_same() {
        let live: Vec<Proposal> = (0..100_000).map(|at| proposal(at, at % 7, 1, 0)).collect();
        let candidate: Vec<Proposal> = live.iter().rev().cloned().collect();
        assert_eq!(beyond(&live, &candidate), Vec::<&Proposal>::new());
        assert_eq!(beyond(&candidate, &live[1..]), [&live[0]]);
    }
}
