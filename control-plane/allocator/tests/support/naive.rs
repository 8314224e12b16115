//! The same allocator written naively: every round looks at every pair of agent and client, and
//! every number is counted afresh. What it plans is what the incremental one must plan.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;

use tepui_allocator::{AgentFacts, FrameworkFacts, Input, Minimum, Proposal};
use tepui_types::{
    AgentId, Entropy, FrameworkId, Mono, ResourceName, Resources, Role, Span, TraceHash,
};

type Key = (FrameworkId, Role);

#[derive(Clone, Debug)]
struct Filter {
    who: Key,
    until: Mono,
    withdrawn: bool,
    on_round: bool,
    refused: Resources,
}

#[derive(Debug)]
struct Agent {
    facts: AgentFacts,
    booked: BTreeMap<Key, Resources>,
    filters: Vec<Filter>,
}

impl Agent {
    fn free(&self) -> Resources {
        let mut rest = self.facts.total.clone();
        for booked in self.booked.values() {
            rest.remove(booked);
        }
        rest
    }
}

#[derive(Debug)]
pub(crate) struct Naive {
    entropy: Entropy,
    agents: BTreeMap<AgentId, Agent>,
    frameworks: BTreeMap<FrameworkId, FrameworkFacts>,
    weights: BTreeMap<String, u64>,
    minimum: Minimum,
    counts: BTreeMap<Vec<String>, u64>,
}

type Place = Vec<(u64, u64, String)>;

enum Verdict {
    Takes(Resources),
    HeldOnRound,
    No,
}

fn steps((framework, role): &Key) -> Vec<String> {
    let mut steps: Vec<String> = role.components().map(str::to_owned).collect();
    steps.push(".".to_owned());
    steps.push(framework.to_string());
    steps
}

impl Naive {
    pub(crate) fn new(entropy: Entropy) -> Self {
        Self {
            entropy,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            weights: BTreeMap::new(),
            minimum: Minimum::default_of_mesos(),
            counts: BTreeMap::new(),
        }
    }

    /// What is free on each agent, counted from scratch.
    pub(crate) fn free(&self) -> BTreeMap<AgentId, Resources> {
        self.agents.iter().map(|(id, agent)| (id.clone(), agent.free())).collect()
    }

    pub(crate) fn totals(&self) -> BTreeMap<AgentId, Resources> {
        self.agents.iter().map(|(id, agent)| (id.clone(), agent.facts.total.clone())).collect()
    }

    pub(crate) fn booked(&self) -> BTreeMap<AgentId, Vec<Resources>> {
        let booked = |agent: &Agent| agent.booked.values().cloned().collect();
        self.agents.iter().map(|(id, agent)| (id.clone(), booked(agent))).collect()
    }

    fn count(&mut self, who: &Key) {
        let steps = steps(who);
        for end in 1..=steps.len() {
            *self.counts.entry(steps[..end].to_vec()).or_default() += 1;
        }
    }

    fn keys(&self) -> BTreeSet<Key> {
        let subscribed = self
            .frameworks
            .iter()
            .flat_map(|(id, facts)| facts.roles.iter().map(|role| (id.clone(), role.clone())));
        let booked = self.agents.values().flat_map(|agent| agent.booked.keys().cloned());
        subscribed.chain(booked).collect()
    }

    fn forget_the_gone(&mut self) {
        let keys = self.keys();
        let paths: Vec<Vec<String>> = keys.iter().map(steps).collect();
        self.counts.retain(|path, _| paths.iter().any(|p| p.starts_with(path)));
        for agent in self.agents.values_mut() {
            agent.filters.retain(|f| keys.contains(&f.who));
        }
    }

    fn withdraw(&mut self, who: &Key) {
        for agent in self.agents.values_mut() {
            for filter in agent.filters.iter_mut().filter(|f| f.who == *who) {
                filter.withdrawn = true;
            }
        }
    }

    pub(crate) fn apply(&mut self, now: Mono, input: Input) {
        match input {
            Input::AgentAdded { agent, facts, used } => {
                self.agents.remove(&agent);
                self.forget_the_gone();
                let mut booked: BTreeMap<Key, Resources> = BTreeMap::new();
                for (framework, role, resources) in used {
                    let who = (framework, role);
                    self.count(&who);
                    booked.entry(who).or_default().add_all(&resources);
                }
                self.agents.insert(agent, Agent { facts, booked, filters: vec![] });
            }
            Input::AgentChanged { agent, facts, forget_filters } => {
                if let Some(agent) = self.agents.get_mut(&agent) {
                    agent.facts = facts;
                    if forget_filters {
                        agent.filters.clear();
                    }
                }
            }
            Input::AgentRemoved(agent) => {
                self.agents.remove(&agent);
            }
            Input::FrameworkUpdated { framework, facts } => self.update(framework, *facts),
            Input::FrameworkRemoved(framework) => {
                if let Some(facts) = self.frameworks.remove(&framework) {
                    for role in facts.roles {
                        self.withdraw(&(framework.clone(), role));
                    }
                }
            }
            Input::Revived { framework, roles } => {
                let Some(mut facts) = self.frameworks.remove(&framework) else { return };
                for role in facts.roles.clone() {
                    if roles.is_empty() || roles.contains(&role) {
                        facts.suppressed.remove(&role);
                        self.withdraw(&(framework.clone(), role));
                    }
                }
                self.frameworks.insert(framework, facts);
            }
            Input::Suppressed { framework, roles } => {
                let Some(facts) = self.frameworks.get_mut(&framework) else { return };
                for role in &facts.roles {
                    if roles.is_empty() || roles.contains(role) {
                        facts.suppressed.insert(role.clone());
                    }
                }
            }
            Input::OfferEnded { .. } | Input::Offered { .. } => {}
            Input::Released { framework, role, agent, resources, refusal } => {
                let Some(agent) = self.agents.get_mut(&agent) else { return };
                let who = (framework, role);
                let Some(booked) = agent.booked.get_mut(&who) else { return };
                booked.remove(&resources);
                if booked.is_empty() {
                    agent.booked.remove(&who);
                }
                if let Some(refusal) = refusal {
                    let until = now + refusal.span;
                    agent.filters.push(Filter {
                        who,
                        until,
                        withdrawn: false,
                        on_round: true,
                        refused: resources,
                    });
                } else {
                    agent.filters.iter_mut().for_each(|f| f.on_round = false);
                }
            }
            Input::Weights(weights) => {
                for (role, weight) in weights {
                    self.weights.insert(role.to_string(), weight.0);
                }
            }
            Input::Minimum(minimum) => self.minimum = minimum,
        }
        self.forget_the_gone();
    }

    fn update(&mut self, framework: FrameworkId, facts: FrameworkFacts) {
        let before = self.frameworks.get(&framework).cloned().unwrap_or_default();
        let who: Vec<Key> = self.keys().into_iter().filter(|(id, _)| *id == framework).collect();
        for who in who {
            let role = &who.1;
            let out = before.suppressed.contains(role) && !facts.suppressed.contains(role);
            if !facts.roles.contains(role) || !facts.active || out {
                self.withdraw(&who);
            }
        }
        self.frameworks.insert(framework, facts);
    }

    #[allow(clippy::cast_precision_loss)]
    fn share(&self, path: &[String], totals: &Resources) -> f64 {
        let mut mine: BTreeMap<&ResourceName, u64> = BTreeMap::new();
        for agent in self.agents.values() {
            for (who, resources) in &agent.booked {
                if steps(who).starts_with(path) {
                    for (identity, amount) in resources.scalars() {
                        *mine.entry(&identity.name).or_default() += amount.as_milli();
                    }
                }
            }
        }
        let mut share = 0.0_f64;
        for (name, amount) in mine {
            let total = totals.scalar(name).as_milli();
            if total > 0 {
                share = share.max(amount as f64 / total as f64);
            }
        }
        let own = path.contains(&".".to_owned());
        let weight = if own { None } else { self.weights.get(&path.join("/")).copied() };
        share * 1000.0 / weight.unwrap_or(1000) as f64
    }

    /// The active clients in order of fair share.
    fn order(&self) -> Vec<Key> {
        let mut totals = Resources::new();
        self.agents.values().for_each(|agent| totals.add_all(&agent.facts.total));
        let mut active: Vec<(Place, Key)> = Vec::new();
        for (id, facts) in self.frameworks.iter().filter(|(_, facts)| facts.active) {
            for role in facts.roles.difference(&facts.suppressed) {
                let who = (id.clone(), role.clone());
                let steps = steps(&who);
                let mut place = Vec::new();
                for end in 1..=steps.len() {
                    let path = &steps[..end];
                    let share = self.share(path, &totals).to_bits();
                    let count = self.counts.get(path).copied().unwrap_or(0);
                    place.push((share, count, steps[end - 1].clone()));
                }
                active.push((place, who));
            }
        }
        active.sort();
        active.into_iter().map(|(_, who)| who).collect()
    }

    fn judge(&self, now: Mono, agent: &Agent, who: &Key) -> Verdict {
        let facts = &self.frameworks[&who.0];
        if agent.facts.gpus_guarded && !facts.gpus {
            return Verdict::No;
        }
        let bundle =
            agent.free().usable_by(&who.1).filter(|r| facts.revocable || !r.identity.revocable);
        let minimum = facts.minimum.get(&who.1).unwrap_or(&self.minimum);
        let has = |all: &Vec<_>| all.iter().all(|(name, least)| bundle.scalar(name) >= *least);
        if bundle.is_empty() || !(minimum.0.is_empty() || minimum.0.iter().any(has)) {
            return Verdict::No;
        }
        let mut held = false;
        let mut on_round = false;
        for f in agent.filters.iter().filter(|f| f.who == *who && f.refused.contains(&bundle)) {
            on_round |= f.on_round;
            held |= f.on_round || (!f.withdrawn && f.until > now);
        }
        match (held, on_round) {
            (false, _) => Verdict::Takes(bundle),
            (true, true) => Verdict::HeldOnRound,
            (true, false) => Verdict::No,
        }
    }

    pub(crate) fn round(&mut self, now: Mono) -> Vec<Proposal> {
        let seed = self.entropy.next_u64();
        let mut turns: Vec<(u64, AgentId)> = Vec::new();
        for id in self.agents.keys() {
            let mut hash = TraceHash::default();
            hash.write(id.as_str().as_bytes());
            let mut z = seed ^ hash.finish();
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            turns.push((z ^ (z >> 31), id.clone()));
        }
        turns.sort();
        let mut proposals = Vec::new();
        for (_, id) in turns {
            self.round_of(now, &id, &mut proposals);
        }
        proposals
    }

    fn round_of(&mut self, now: Mono, id: &AgentId, proposals: &mut Vec<Proposal>) {
        while self.agents[id].facts.active && !self.agents[id].free().is_empty() {
            let mut taker = None;
            let mut held_on_round = false;
            for who in self.order() {
                match self.judge(now, &self.agents[id], &who) {
                    Verdict::Takes(bundle) => {
                        taker = Some((who, bundle));
                        break;
                    }
                    Verdict::HeldOnRound => held_on_round = true,
                    Verdict::No => {}
                }
            }
            let agent = self.agents.get_mut(id).expect("it has a turn");
            let Some((who, resources)) = taker else {
                if held_on_round {
                    let soonest = now + Span::from_millis(100);
                    for filter in agent.filters.iter_mut().filter(|f| f.on_round) {
                        filter.on_round = false;
                        if filter.withdrawn || filter.until < soonest {
                            filter.until = soonest;
                            filter.withdrawn = false;
                        }
                    }
                }
                return;
            };
            agent.booked.entry(who.clone()).or_default().add_all(&resources);
            let epoch = agent.facts.epoch;
            self.count(&who);
            let (framework, role) = who;
            proposals.push(Proposal { framework, role, agent: id.clone(), resources, epoch });
        }
    }
}
