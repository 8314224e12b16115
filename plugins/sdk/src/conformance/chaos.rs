//! Random histories: whatever happens, plans stay within what there is.

use std::collections::BTreeSet;

use tepui_allocator::{AgentFacts, Allocate, Epoch, Input, Minimum, Refusal, Weight};
use tepui_types::{AgentId, Entropy, FrameworkId, ResourceName, Role, Scalar, Span};

use super::promises::Court;
use super::words::*;

const ROLES: [&str; 5] = ["*", "eng", "eng/a", "eng/b", "ops"];
const SPANS: [u64; 6] = [0, 0, 50, 1000, 5000, 3_600_000];
const STEPS: usize = 150;

struct Chaos<A> {
    court: Court<A>,
    random: Entropy,
    epoch: u64,
}

pub(super) fn plans_stay_within_what_there_is<A: Allocate>(seed: u64, open: impl Fn(u64) -> A) {
    let mut chaos =
        Chaos { court: Court::new(open(seed)), random: Entropy::seeded(seed), epoch: 1 };
    for _ in 0..STEPS {
        chaos.step();
    }
}

impl<A: Allocate> Chaos<A> {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap_or_default()
    }

    fn an_agent(&mut self) -> AgentId {
        agent(&format!("a{}", self.below(4)))
    }

    fn a_framework(&mut self) -> FrameworkId {
        framework(&format!("f{}", self.below(5)))
    }

    fn a_role(&mut self) -> Role {
        role(ROLES[self.below(ROLES.len())])
    }

    fn some_roles(&mut self) -> BTreeSet<Role> {
        (0..self.below(3)).map(|_| self.a_role()).collect()
    }

    fn agent_facts(&mut self) -> AgentFacts {
        let gpu = tepui_types::Resource::scalar(ResourceName::Gpus, Scalar::from_units(1));
        let total = match self.below(5) {
            0 => cpus(4),
            1 => cpus(2).plus(&special(2, Some("eng"), false)),
            2 => cpus(9).plus(&special(3, Some("eng/a"), true)),
            3 => cpus(1).plus(&[gpu].into_iter().collect()),
            _ => cpus(3).plus(&special(8, None, true)),
        };
        self.epoch += 1;
        AgentFacts {
            gpus_guarded: total.gpus() > Scalar::ZERO,
            total,
            active: self.below(6) > 0,
            epoch: Epoch(self.epoch),
        }
    }

    fn framework_changes(&mut self) -> Input {
        let mut facts = subscribed(&["*"]);
        facts.roles.extend(self.some_roles());
        facts.active = self.below(5) > 0;
        facts.revocable = self.below(2) == 0;
        facts.gpus = self.below(2) == 0;
        if self.below(4) == 0 {
            facts.suppressed = self.some_roles();
        }
        if self.below(2) == 0 {
            facts.minimum.clear();
        }
        Input::FrameworkUpdated { framework: self.a_framework(), facts: Box::new(facts) }
    }

    fn something_comes_back(&mut self) -> Option<Input> {
        let all = self.court.referee.bookings();
        let at = self.below(all.len().max(1));
        let (agent, (framework, role, mut resources)) = all.into_iter().nth(at)?;
        if self.below(3) == 0 {
            resources = resources.filter(|one| one.identity.name == ResourceName::Cpus);
        }
        let span = Span::from_millis(SPANS[self.below(SPANS.len())]);
        let refusal = (self.below(4) > 0).then_some(Refusal { span });
        Some(Input::Released { framework, role, agent, resources, refusal })
    }

    fn input(&mut self) -> Option<Input> {
        Some(match self.below(17) {
            0..=2 => Input::AgentAdded {
                agent: self.an_agent(),
                facts: self.agent_facts(),
                used: match self.below(3) {
                    0 => vec![(self.a_framework(), self.a_role(), cpus(1))],
                    _ => Vec::new(),
                },
            },
            3 => Input::AgentChanged {
                agent: self.an_agent(),
                facts: self.agent_facts(),
                forget_filters: self.below(2) == 0,
            },
            4 => Input::AgentRemoved(self.an_agent()),
            5..=7 => self.framework_changes(),
            8 => Input::FrameworkRemoved(self.a_framework()),
            9 => Input::Revived { framework: self.a_framework(), roles: self.some_roles() },
            10 => Input::Suppressed { framework: self.a_framework(), roles: self.some_roles() },
            11 => {
                let weight = Weight(500 + 500 * self.random.below(4));
                Input::Weights(vec![(self.a_role(), weight)])
            }
            12 => Input::Minimum(match self.below(2) {
                0 => Minimum::default(),
                _ => Minimum::default_of_mesos(),
            }),
            _ => self.something_comes_back()?,
        })
    }

    fn step(&mut self) {
        match self.below(9) {
            0 => {
                let millis = [1, 50, 100, 1000, 4000][self.below(5)];
                self.court.now += Span::from_millis(millis);
            }
            1..=3 => {
                self.court.round();
            }
            _ => {
                if let Some(input) = self.input() {
                    self.court.tell(input);
                }
            }
        }
    }
}
