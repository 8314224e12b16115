//! The incremental allocator plans exactly what a naive one plans, and its books balance
//! (invariants I-1 and I-4).
#![allow(clippy::unwrap_used)]

#[path = "support/naive.rs"]
mod naive;
mod support;

use std::collections::BTreeSet;

use naive::Naive;
use proptest::prelude::*;
use support::*;
use tepui_allocator::{Allocate, Drf, FrameworkFacts, Input, Minimum, Refusal, Weight};
use tepui_types::{AgentId, Entropy, FrameworkId, Mono, Resources, Role, Span};

const TOTALS: [&str; 6] = [
    "cpus:4;mem:1024",
    "cpus:9;mem:18",
    "cpus:2;mem:64;ports:[1-20]",
    "cpus:4;mem:100;cpus(eng):2;mem(eng):40;ports(ops):[1-9]",
    "cpus:4;mem:100;gpus:2",
    "cpus:4;mem:100;cpus{REV}:8;cpus(eng/a){REV}:1",
];
const ROLES: [&str; 5] = ["*", "eng", "eng/a", "eng/b", "ops"];
const SPANS: [u64; 6] = [0, 0, 50, 1000, 5000, 3_600_000];

type Booking = (FrameworkId, Role, AgentId, Resources);

struct Both {
    random: Entropy,
    now: Mono,
    drf: Drf,
    naive: Naive,
    out: Vec<Booking>,
    log: Vec<String>,
}

impl Both {
    fn new(seed: u64) -> Self {
        Self {
            random: Entropy::seeded(seed),
            now: secs(1),
            drf: Drf::new(Entropy::seeded(seed ^ 1)),
            naive: Naive::new(Entropy::seeded(seed ^ 1)),
            out: Vec::new(),
            log: Vec::new(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap()
    }

    fn tell(&mut self, input: Input) {
        self.log.push(format!("{:?} {input:?}", self.now));
        self.drf.apply(self.now, input.clone());
        self.naive.apply(self.now, input);
    }

    fn an_agent(&mut self) -> AgentId {
        agent(&format!("a{}", self.below(4)))
    }

    fn a_framework(&mut self) -> FrameworkId {
        framework(&format!("f{}", self.below(5)))
    }

    fn a_role(&mut self) -> Role {
        role(ROLES[self.below(5)])
    }

    fn some_roles(&mut self) -> BTreeSet<Role> {
        let count = self.below(3);
        (0..count).map(|_| self.a_role()).collect()
    }

    fn agent_facts(&mut self) -> tepui_allocator::AgentFacts {
        let mut facts = facts(TOTALS[self.below(6)]);
        facts.active = self.below(6) > 0;
        facts.gpus_guarded = facts.total.gpus() > tepui_types::Scalar::ZERO;
        facts
    }

    fn framework_facts(&mut self) -> FrameworkFacts {
        let mut facts = FrameworkFacts {
            roles: self.some_roles(),
            active: self.below(5) > 0,
            revocable: self.below(2) == 0,
            gpus: self.below(2) == 0,
            ..FrameworkFacts::default()
        };
        facts.roles.insert(role("*"));
        if self.below(4) == 0 {
            facts.suppressed = self.some_roles();
        }
        if self.below(4) == 0 {
            facts.minimum.insert(role("*"), Minimum::default());
        }
        facts
    }

    fn add_agent(&mut self) {
        let id = self.an_agent();
        self.out.retain(|(_, _, agent, _)| *agent != id);
        let facts = self.agent_facts();
        let mut used = Vec::new();
        if self.below(3) == 0 {
            let booking = (self.a_framework(), self.a_role(), bundle("cpus:1;mem:10"));
            self.out.push((booking.0.clone(), booking.1.clone(), id.clone(), booking.2.clone()));
            used.push(booking);
        }
        self.tell(Input::AgentAdded { agent: id, facts, used });
    }

    fn release(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let at = self.below(self.out.len());
        let (framework, role, agent, all) = self.out.swap_remove(at);
        let part = if self.below(3) == 0 {
            all.filter(|r| r.identity.name == tepui_types::ResourceName::Cpus)
        } else {
            all.clone()
        };
        let rest = all.minus(&part);
        if !rest.is_empty() {
            self.out.push((framework.clone(), role.clone(), agent.clone(), rest));
        }
        let span = Span::from_millis(SPANS[self.below(6)]);
        let refusal = (self.below(4) > 0).then_some(Refusal { span });
        self.tell(Input::Released { framework, role, agent, resources: part, refusal });
    }

    fn round(&mut self) -> Result<(), TestCaseError> {
        let free = self.naive.free();
        let plan = self.drf.round(self.now);
        let expected = self.naive.round(self.now);
        self.log.push(format!("{:?} round {:?}", self.now, plan.proposals));
        prop_assert_eq!(&plan.proposals, &expected, "{:#?}", self.log);
        let mut left = free;
        for p in &plan.proposals {
            let inside = left.get_mut(&p.agent).unwrap().checked_remove(&p.resources);
            prop_assert!(inside, "{} is not free", p.resources);
        }
        let booked = |p: tepui_allocator::Proposal| (p.framework, p.role, p.agent, p.resources);
        self.out.extend(plan.proposals.into_iter().map(booked));
        Ok(())
    }

    fn step(&mut self) -> Result<(), TestCaseError> {
        match self.below(24) {
            0 | 1 => self.add_agent(),
            2 => {
                let agent = self.an_agent();
                let facts = self.agent_facts();
                let forget_filters = self.below(2) == 0;
                self.tell(Input::AgentChanged { agent, facts, forget_filters });
            }
            3 => {
                let id = self.an_agent();
                self.out.retain(|(_, _, agent, _)| *agent != id);
                self.tell(Input::AgentRemoved(id));
            }
            4 | 5 => {
                let framework = self.a_framework();
                let facts = Box::new(self.framework_facts());
                self.tell(Input::FrameworkUpdated { framework, facts });
            }
            6 => {
                let framework = self.a_framework();
                self.tell(Input::FrameworkRemoved(framework));
            }
            7 => {
                let (framework, roles) = (self.a_framework(), self.some_roles());
                self.tell(Input::Revived { framework, roles });
            }
            8 => {
                let (framework, roles) = (self.a_framework(), self.some_roles());
                self.tell(Input::Suppressed { framework, roles });
            }
            9 => {
                let weight = Weight(500 + 500 * self.random.below(4));
                let role = self.a_role();
                self.tell(Input::Weights(vec![(role, weight)]));
            }
            10 => {
                let minimum = if self.below(2) == 0 {
                    Minimum::default()
                } else {
                    Minimum::default_of_mesos()
                };
                self.tell(Input::Minimum(minimum));
            }
            11 | 12 => {
                let millis = [1, 50, 100, 1000, 4000][self.below(5)];
                self.now += Span::from_millis(millis);
            }
            13..=17 => self.release(),
            _ => self.round()?,
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_incremental_plan_is_the_naive_plan(seed in any::<u64>()) {
        let mut both = Both::new(seed);
        for _ in 0..120 {
            both.step()?;
        }
    }

    #[test]
    fn when_everything_is_released_everything_is_free_again(seed in any::<u64>()) {
        let mut both = Both::new(seed);
        for _ in 0..60 {
            both.step()?;
        }
        for (framework, role, agent, resources) in std::mem::take(&mut both.out) {
            both.tell(Input::Released { framework, role, agent, resources, refusal: None });
        }
        prop_assert_eq!(both.naive.free(), both.naive.totals());
        // A framework that takes everything is offered everything there is.
        let mut taking = subscribed(&ROLES);
        (taking.revocable, taking.gpus) = (true, true);
        taking.minimum = ROLES.iter().map(|r| (role(r), Minimum::default())).collect();
        for n in 0..5 {
            both.tell(Input::FrameworkRemoved(framework(&format!("f{n}"))));
        }
        both.tell(Input::FrameworkUpdated { framework: framework("g"), facts: Box::new(taking) });
        let mut totals = both.naive.totals();
        for id in totals.keys().cloned().collect::<Vec<_>>() {
            let mut facts = facts("");
            facts.total = totals[&id].clone();
            both.tell(Input::AgentChanged { agent: id, facts, forget_filters: true });
        }
        both.round()?;
        for (_, _, agent, resources) in &both.out {
            prop_assert!(totals.get_mut(agent).unwrap().checked_remove(resources));
        }
        prop_assert!(totals.values().all(Resources::is_empty), "{:?}", totals);
    }

    #[test]
    fn bookings_stay_inside_the_agent_and_their_ports_apart(seed in any::<u64>()) {
        let mut both = Both::new(seed);
        for (n, role) in ROLES.iter().take(4).enumerate() {
            both.tell(agent_added(&format!("a{n}"), "cpus:4;mem:400;ports:[1-40]"));
            both.tell(framework_added(&format!("f{n}"), &["*", role]));
        }
        for _ in 0..80 {
            match both.below(3) {
                0 => both.release(),
                1 => both.now += Span::from_millis(700),
                _ => both.round()?,
            }
            for (agent, total) in both.naive.totals() {
                let mut rest = total;
                for booked in &both.naive.booked()[&agent] {
                    prop_assert!(rest.checked_remove(booked));
                }
            }
        }
    }
}
