//! Each promise by itself.

use tepui_allocator::{Allocate, Epoch, Input, Proposal};
use tepui_types::{Mono, Resource, ResourceName, Resources, Scalar, Span};

use super::referee::Referee;
use super::words::*;

/// An allocator under the eyes of the referee.
pub(super) struct Court<A> {
    pub(super) allocator: A,
    pub(super) referee: Referee,
    pub(super) now: Mono,
    pub(super) log: Vec<String>,
}

impl<A: Allocate> Court<A> {
    pub(super) fn new(allocator: A) -> Self {
        Self { allocator, referee: Referee::new(), now: secs(1), log: Vec::new() }
    }

    pub(super) fn tell(&mut self, input: Input) -> &mut Self {
        self.log.push(format!("{:?} {input:?}", self.now));
        self.referee.hear(self.now, &input);
        self.allocator.apply(self.now, input);
        self
    }

    /// One round, judged.
    pub(super) fn round(&mut self) -> Vec<Proposal> {
        let plan = self.allocator.round(self.now);
        for proposal in &plan.proposals {
            self.log.push(format!("{:?} {proposal:?}", self.now));
            if let Err(broken) = self.referee.judge(self.now, proposal) {
                self.break_off(&broken);
            }
        }
        plan.proposals
    }

    fn break_off(&self, broken: &str) -> ! {
        panic!("a promise is broken: {broken}; this came before:\n{}", self.log.join("\n"));
    }

    fn must(&self, kept: bool, promise: &str) {
        if !kept {
            self.break_off(promise);
        }
    }

    /// Nothing is proposed now.
    fn nothing(&mut self, promise: &str) {
        let kept = self.settle().is_empty();
        self.must(kept, promise);
    }

    /// Something is proposed now.
    fn something(&mut self, promise: &str) {
        let kept = !self.settle().is_empty();
        self.must(kept, promise);
    }

    /// So many processors are proposed now.
    fn exactly(&mut self, cpus: u64, promise: &str) {
        let kept = sum(&self.settle()) == Scalar::from_units(cpus);
        self.must(kept, promise);
    }

    /// Rounds until nothing more is proposed; what was proposed.
    fn settle(&mut self) -> Vec<Proposal> {
        let mut all = Vec::new();
        for _ in 0..100 {
            let more = self.round();
            if more.is_empty() && !self.allocator.is_dirty() {
                return all;
            }
            all.extend(more);
        }
        self.break_off("nothing changes, and rounds still propose or want another one")
    }

    /// As a control plane would: sleeps until the allocator wakes, at most so long; what it proposed
    /// first.
    fn wait(&mut self, most: Span) -> Vec<Proposal> {
        let end = self.now + most;
        loop {
            let proposals = self.settle();
            if !proposals.is_empty() {
                return proposals;
            }
            match self.allocator.next_wakeup() {
                Some(at) if at <= end => self.now = at.max(self.now + Span::from_millis(1)),
                _ => return Vec::new(),
            }
        }
    }

    fn give_back(&mut self, one: &Proposal, seconds: Option<u64>) {
        for input in given_back(one, seconds.and_then(refusal)) {
            self.tell(input);
        }
    }
}

fn sum(proposals: &[Proposal]) -> Scalar {
    proposals.iter().fold(Scalar::ZERO, |sum, one| sum.saturating_add(one.resources.cpus()))
}

pub(super) fn all<A: Allocate>(open: &impl Fn(u64) -> A) {
    let court = || Court::new(open(7));
    what_is_free_is_offered(court());
    what_was_refused_comes_back(court());
    who_wants_nothing_gets_nothing(court());
    who_refuses_keeps_nobody_from_it(court());
    what_is_not_for_everyone_is_kept_for_its_own(court());
    what_is_in_use_is_not_offered(court());
    what_another_one_offered_is_booked(court());
    what_nobody_knows_is_ignored(court());
    the_same_history_gives_the_same_plans(open);
}

fn what_is_free_is_offered<A: Allocate>(mut court: Court<A>) {
    court.must(!court.allocator.is_dirty(), "there is nothing to plan in an empty cluster");
    court.nothing("nothing is offered in an empty cluster");
    court.tell(added("a1", cpus(4))).tell(comes("f1", &["*"]));
    court.must(court.allocator.is_dirty(), "an agent and a framework are something to plan");
    let offered = court.settle();
    court.must(sum(&offered) == Scalar::from_units(4), "all that is free is offered");
    court.give_back(&offered[0], None);
    court.must(court.allocator.is_dirty(), "what comes back is something to plan");
    court.something("what came back is offered again");
}

fn what_was_refused_comes_back<A: Allocate>(mut court: Court<A>) {
    court.tell(added("a1", cpus(4))).tell(comes("f1", &["*"]));
    for one in court.settle() {
        court.give_back(&one, Some(5));
    }
    court.nothing("what was refused is not offered at once");
    let begin = court.now;
    let again = court.wait(Span::from_secs(6));
    court.must(!again.is_empty(), "what was refused is offered after its time, or a second later");
    court.must(court.now >= begin + Span::from_secs(5), "and not before");
    for one in again {
        court.give_back(&one, Some(3600));
    }
    court.nothing("what was refused is not offered at once");
    court.tell(Input::Revived { framework: framework("f1"), roles: Default::default() });
    court.must(court.allocator.is_dirty(), "a revival is something to plan");
    court.something("a revived framework sees at once what it refused");
}

fn who_wants_nothing_gets_nothing<A: Allocate>(mut court: Court<A>) {
    court.tell(comes("f1", &["*"]));
    court.tell(Input::Suppressed { framework: framework("f1"), roles: Default::default() });
    let mut away = subscribed(&["*"]);
    away.active = false;
    court.tell(updated("f2", away)).tell(added("a1", cpus(4)));
    court.nothing("nobody wants anything");
    court.tell(updated("f2", subscribed(&["*"])));
    court.something("a framework that is back is offered what is free");
    court.tell(Input::FrameworkRemoved(framework("f2")));
    court.nothing("what a removed framework had is not free");
    for (agent, (framework, role, resources)) in court.referee.bookings() {
        court.tell(Input::Released { framework, role, agent, resources, refusal: None });
    }
    court.nothing("a removed framework is offered nothing");
    let mut drained = facts(cpus(4));
    (drained.active, drained.epoch) = (false, Epoch(2));
    court.tell(Input::AgentChanged { agent: agent("a1"), facts: drained, forget_filters: false });
    court.tell(Input::Revived { framework: framework("f1"), roles: Default::default() });
    court.nothing("an inactive agent is not offered");
    court.tell(Input::AgentRemoved(agent("a1")));
    court.nothing("nor is one that is gone");
}

/// Invariant I-39: however short its refusals are.
fn who_refuses_keeps_nobody_from_it<A: Allocate>(mut court: Court<A>) {
    court.tell(added("a1", cpus(4)));
    for name in ["f1", "f2", "f3"] {
        court.tell(comes(name, &["*"]));
    }
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..30 {
        for one in court.wait(Span::from_secs(1)) {
            asked.insert(one.framework.clone());
            court.give_back(&one, Some(0));
        }
        court.now += Span::from_millis(20);
    }
    court.must(asked.len() == 3, "everybody is asked, although the first ones refuse for no time");
}

fn what_is_not_for_everyone_is_kept_for_its_own<A: Allocate>(mut court: Court<A>) {
    let total = cpus(2).plus(&special(4, Some("eng"), false)).plus(&special(8, None, true));
    court.tell(added("a1", total)).tell(comes("f1", &["ops"]));
    court.exactly(2, "the rest is for others");
    let mut taking = subscribed(&["eng/web"]);
    taking.revocable = true;
    court.tell(updated("f2", taking));
    court.exactly(12, "others get the rest");
    let gpus: Resources =
        [Resource::scalar(ResourceName::Gpus, Scalar::from_units(1))].into_iter().collect();
    let mut guarded = facts(cpus(1).plus(&gpus));
    guarded.gpus_guarded = true;
    court.tell(Input::AgentAdded { agent: agent("a2"), facts: guarded, used: Vec::new() });
    court.nothing("gpus are for those who ask for them");
    let mut asking = subscribed(&["*"]);
    asking.gpus = true;
    court.tell(updated("f3", asking));
    court.something("who asks for gpus is offered them");
}

fn what_is_in_use_is_not_offered<A: Allocate>(mut court: Court<A>) {
    court.tell(comes("f1", &["*"]));
    let used = vec![(framework("f9"), role("*"), cpus(3))];
    court.tell(Input::AgentAdded { agent: agent("a1"), facts: facts(cpus(4)), used });
    court.exactly(1, "the rest is in use");
    let mut less = facts(cpus(2));
    less.epoch = Epoch(2);
    court.tell(Input::AgentChanged { agent: agent("a1"), facts: less, forget_filters: false });
    court.nothing("an agent that shrank offers nothing it does not have");
    let mut more = facts(cpus(9));
    more.epoch = Epoch(3);
    court.tell(Input::AgentChanged { agent: agent("a1"), facts: more, forget_filters: false });
    court.exactly(5, "an agent that grew offers more");
}

fn what_another_one_offered_is_booked<A: Allocate>(mut court: Court<A>) {
    court.tell(added("a1", cpus(4))).tell(comes("f1", &["*"]));
    court.tell(Input::Offered {
        framework: framework("f1"),
        role: role("*"),
        agent: agent("a1"),
        resources: cpus(3),
    });
    court.exactly(1, "what another allocator offered is not free");
}

fn what_nobody_knows_is_ignored<A: Allocate>(mut court: Court<A>) {
    let nobody = framework("nobody");
    court.tell(Input::Released {
        framework: nobody.clone(),
        role: role("*"),
        agent: agent("nowhere"),
        resources: cpus(1),
        refusal: refusal(5),
    });
    court.tell(Input::AgentRemoved(agent("nowhere")));
    court.tell(Input::AgentChanged {
        agent: agent("nowhere"),
        facts: facts(cpus(1)),
        forget_filters: true,
    });
    court.tell(Input::FrameworkRemoved(nobody.clone()));
    court.tell(Input::Revived { framework: nobody.clone(), roles: Default::default() });
    court.tell(Input::Suppressed { framework: nobody.clone(), roles: Default::default() });
    court.nothing("there is nothing to offer");
    let reasons = court.allocator.explain(court.now, &nobody);
    court.must(reasons.is_empty(), "there is nothing to say of a framework that is not there");
    court.tell(added("a1", cpus(1))).tell(comes("f1", &["*"]));
    for one in court.settle() {
        court.give_back(&one, Some(60));
    }
    court.settle();
    let reasons = court.allocator.explain(court.now, &framework("f1"));
    court.must(!reasons.is_empty(), "a framework that is offered nothing is told why");
    let count = court.allocator.refusals(court.now).get(&role("*")).copied();
    court.must(count == Some(1), "refusals that hold are counted by role");
}

/// Invariant I-50.
fn the_same_history_gives_the_same_plans<A: Allocate>(open: &impl Fn(u64) -> A) {
    let plans = || {
        let mut court = Court::new(open(3));
        for n in 0..9 {
            court.tell(added(&format!("a{n}"), cpus(1 + n % 3)));
            court.tell(comes(&format!("f{n}"), &["*"]));
        }
        court.settle()
    };
    let (one, other) = (plans(), plans());
    assert_eq!(one, other, "a promise is broken: the same seed and inputs give the same plans");
}
