//! A candidate that follows the allocator in charge: the same inputs, rounds at the same times, and
//! nothing that it decides is acted on.
//!
//! After each round its books are brought to what was really decided: what it alone proposed comes
//! back to it, what it did not propose is booked. So every round begins from the same cluster.

use std::collections::VecDeque;

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
        let mut theirs: Vec<&Proposal> = live.proposals.iter().collect();
        let mut mine: Vec<&Proposal> = Vec::new();
        for proposal in &candidate.proposals {
            let same = theirs.iter().position(|other| same(other, proposal));
            match same {
                Some(position) => {
                    theirs.remove(position);
                }
                None => mine.push(proposal),
            }
        }
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

fn same(a: &Proposal, b: &Proposal) -> bool {
    (&a.agent, &a.framework, &a.role, &a.resources)
        == (&b.agent, &b.framework, &b.role, &b.resources)
}
