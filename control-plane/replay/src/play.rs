//! Demand played to an allocator in virtual time, with frameworks that behave as recorded ones did.

use std::collections::{BTreeMap, VecDeque};

use tepui_allocator::{Allocate, Epoch, Input, Proposal, Reclaim, Refusal};
use tepui_types::{AgentId, FrameworkId, Mono, Resources, Role, Span};

use crate::demand::{Client, Demand, Habit};
use crate::fit::equivalent;
use crate::measure::{Meter, Outcome};

/// How long the allocator waits for more news before a round, as the control plane's does.
const BATCHING_DELAY: Span = Span::from_millis(20);
/// How long a framework takes to answer an offer.
const ANSWER: Span = Span::from_millis(10);
/// For how long an offer is declined at least: bounds what a framework costs that wants nothing.
const SHORTEST_DECLINE: Span = Span::from_secs(1);
/// How many tasks that wait a framework tries to fit into an offer before it gives up.
const LOOKS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Cluster(usize),
    Wanted(usize),
    Answer(u64),
    Ends(u64),
    Round,
}

struct Agent {
    total: Resources,
    active: bool,
    free: Resources,
    epoch: Epoch,
    /// In use when it came, and not yet given back.
    pinned: Vec<(FrameworkId, Role, Resources)>,
}

/// A task that has its resources.
struct Run {
    item: usize,
    agent: AgentId,
    resources: Resources,
}

struct Player<'a> {
    demand: &'a Demand,
    allocator: &'a mut dyn Allocate,
    meter: Meter,
    queue: BTreeMap<(Mono, u64), Happens>,
    made: u64,
    round_at: Option<Mono>,
    agents: BTreeMap<AgentId, Agent>,
    offers: BTreeMap<u64, Proposal>,
    runs: BTreeMap<u64, Run>,
    waiting: BTreeMap<Client, VecDeque<(Mono, usize)>>,
    /// Clients that may be offered something.
    asking: BTreeMap<Client, bool>,
}

/// Plays the demand to an allocator that knows nothing yet.
pub fn play(demand: &Demand, name: &str, allocator: &mut dyn Allocate) -> Outcome {
    let mut player = Player {
        demand,
        allocator,
        meter: Meter::new(name, demand.begin),
        queue: BTreeMap::new(),
        made: 0,
        round_at: None,
        agents: BTreeMap::new(),
        offers: BTreeMap::new(),
        runs: BTreeMap::new(),
        waiting: BTreeMap::new(),
        asking: BTreeMap::new(),
    };
    for (at, (time, _)) in demand.cluster.iter().enumerate() {
        player.put(*time, Happens::Cluster(at));
    }
    for (at, item) in demand.items.iter().enumerate() {
        player.put(item.wanted, Happens::Wanted(at));
    }
    player.run()
}

impl Player<'_> {
    fn put(&mut self, at: Mono, what: Happens) {
        self.made += 1;
        self.queue.insert((at, self.made), what);
    }

    fn run(mut self) -> Outcome {
        while let Some(((now, _), what)) = self.queue.pop_first() {
            if now > self.demand.end {
                break;
            }
            self.meter.pass(now);
            match what {
                Happens::Cluster(at) => self.cluster(now, at),
                Happens::Wanted(at) => self.wanted(now, now, at),
                Happens::Answer(offer) => self.answer(now, offer),
                Happens::Ends(run) => self.ends(now, run),
                Happens::Round => self.round(now),
            }
            self.wake(now);
        }
        self.meter.pass(self.demand.end);
        let unplaced = self.waiting.values().map(|all| all.len() as u64).sum();
        let mut outcome = self.meter.finish();
        outcome.unplaced = unplaced;
        outcome
    }

    fn wake(&mut self, now: Mono) {
        let due = if self.allocator.is_dirty() {
            Some(now + BATCHING_DELAY)
        } else {
            self.allocator.next_wakeup().map(|at| at.max(now))
        };
        if let Some(due) = due
            && self.round_at.is_none_or(|at| due < at)
        {
            self.round_at = Some(due);
            self.put(due, Happens::Round);
        }
    }

    fn round(&mut self, now: Mono) {
        if self.round_at.is_none_or(|at| at > now) {
            return;
        }
        self.round_at = None;
        let plan = self.allocator.round(now);
        self.meter.outcome.rounds += 1;
        self.meter.outcome.pairs += plan.work.pairs;
        for reclaim in plan.reclaims {
            self.reclaim(now, &reclaim);
        }
        for proposal in plan.proposals {
            self.propose(now, proposal);
        }
    }

    fn propose(&mut self, now: Mono, proposal: Proposal) {
        let agent = self.agents.get_mut(&proposal.agent);
        let current = agent.filter(|agent| agent.active && agent.epoch == proposal.epoch);
        let fits = current.is_some_and(|agent| agent.free.checked_remove(&proposal.resources));
        if fits {
            self.meter.outcome.offers += 1;
            self.made += 1;
            let offer = self.made;
            self.offers.insert(offer, proposal);
            self.put(now + ANSWER, Happens::Answer(offer));
        } else {
            self.meter.outcome.misfits += 1;
            self.over(now, &proposal, &Resources::new(), Some(Span::from_secs(5)));
        }
    }

    /// Tells the allocator that an offer is over, and what of it is in use.
    fn over(&mut self, now: Mono, offer: &Proposal, used: &Resources, refusal: Option<Span>) {
        let Proposal { framework, role, agent, resources: offered, .. } = offer.clone();
        let rest = offered.minus(used);
        let ended = Input::OfferEnded {
            framework: framework.clone(),
            role: role.clone(),
            agent: agent.clone(),
            offered,
            used: used.clone(),
        };
        self.allocator.apply(now, ended);
        self.released(now, (framework, role), agent, rest, refusal);
    }

    fn released(
        &mut self,
        now: Mono,
        (framework, role): Client,
        agent: AgentId,
        resources: Resources,
        refusal: Option<Span>,
    ) {
        if !resources.is_empty() {
            let refusal = refusal.map(|span| Refusal { span });
            let released = Input::Released { framework, role, agent, resources, refusal };
            self.allocator.apply(now, released);
        }
    }

    fn habit(&self, client: &Client) -> Habit {
        self.demand.habits.get(client).copied().unwrap_or_default()
    }

    /// A task is wanted, at `now` or again since `since`.
    fn wanted(&mut self, now: Mono, since: Mono, at: usize) {
        let client = &self.demand.items[at].client;
        self.meter.wants(&client.0);
        self.waiting.entry(client.clone()).or_default().push_back((since, at));
        let asking = self.asking.entry(client.clone()).or_default();
        if !std::mem::replace(asking, true) {
            let roles = std::iter::once(client.1.clone()).collect();
            self.allocator.apply(now, Input::Revived { framework: client.0.clone(), roles });
        }
    }

    /// A framework answers an offer with as many of its tasks as fit.
    fn answer(&mut self, now: Mono, offer: u64) {
        let Some(proposal) = self.offers.remove(&offer) else { return };
        let client = (proposal.framework.clone(), proposal.role.clone());
        let mut left = proposal.resources.clone();
        let mut used = Resources::new();
        let mut waiting = self.waiting.remove(&client).unwrap_or_default();
        let (mut at, mut misses) = (0, 0);
        while let Some((since, item)) = waiting.get(at).copied().filter(|_| misses < LOOKS) {
            let Some(taken) = equivalent(&left, &self.demand.items[item].resources) else {
                at += 1;
                misses += 1;
                continue;
            };
            waiting.remove(at);
            left.remove(&taken);
            used.add_all(&taken);
            self.start(now, since, item, &proposal.agent, taken);
        }
        let content = waiting.is_empty();
        self.waiting.insert(client.clone(), waiting);
        self.meter.outcome.declined += u64::from(used.is_empty());
        if let Some(agent) = self.agents.get_mut(&proposal.agent) {
            agent.free.add_all(&left);
        }
        let habit = self.habit(&client);
        let refusal = match used.is_empty() {
            true => habit.refusal.max(SHORTEST_DECLINE),
            false => habit.refusal,
        };
        self.over(now, &proposal, &used, Some(refusal));
        if content {
            // Who never suppresses is asked again when its refusals end, and revives for new tasks.
            let asked = self.asking.insert(client.clone(), false) == Some(true);
            if asked && habit.suppresses {
                let roles = std::iter::once(client.1).collect();
                self.allocator.apply(now, Input::Suppressed { framework: client.0, roles });
            }
        }
    }

    fn start(&mut self, now: Mono, since: Mono, at: usize, agent: &AgentId, taken: Resources) {
        let item = &self.demand.items[at];
        self.meter.placed(item, since, now);
        self.meter.take(&item.client.0, agent, &taken);
        self.made += 1;
        let run = self.made;
        self.runs.insert(run, Run { item: at, agent: agent.clone(), resources: taken });
        if let Some(length) = item.length {
            self.put(now + length, Happens::Ends(run));
        }
    }

    fn ends(&mut self, now: Mono, run: u64) {
        let Some(Run { item, agent, resources }) = self.runs.remove(&run) else { return };
        let client = self.demand.items[item].client.clone();
        self.meter.give(&client.0, &agent, &resources);
        if let Some(known) = self.agents.get_mut(&agent) {
            known.free.add_all(&resources);
        }
        self.released(now, client, agent, resources, None);
    }

    fn reclaim(&mut self, now: Mono, reclaim: &Reclaim) {
        let theirs = |offer: &Proposal| {
            offer.framework == reclaim.framework
                && offer.role == reclaim.role
                && offer.agent == reclaim.agent
        };
        let offers: Vec<u64> =
            self.offers.iter().filter(|(_, one)| theirs(one)).map(|(at, _)| *at).collect();
        for offer in offers {
            self.meter.outcome.rescinded += 1;
            self.withdraw(now, offer);
        }
        let mut missing = reclaim.revocable.filter(|one| one.identity.revocable);
        let client = (reclaim.framework.clone(), reclaim.role.clone());
        let runs: Vec<u64> = self.runs.keys().rev().copied().collect();
        for run in runs {
            let Some(known) = self.runs.get(&run) else { continue };
            let item = known.item;
            let gives = known.resources.filter(|one| one.identity.revocable);
            let rest = missing.minus(&gives);
            let theirs = known.agent == reclaim.agent && self.demand.items[item].client == client;
            if !theirs || rest == missing {
                continue;
            }
            missing = rest;
            self.meter.outcome.preempted += 1;
            self.ends(now, run);
            self.wanted(now, now, item);
        }
    }

    /// Takes an unanswered offer back.
    fn withdraw(&mut self, now: Mono, offer: u64) {
        let Some(proposal) = self.offers.remove(&offer) else { return };
        if let Some(agent) = self.agents.get_mut(&proposal.agent) {
            agent.free.add_all(&proposal.resources);
        }
        self.over(now, &proposal, &Resources::new(), None);
    }

    /// Something of the cluster itself changes, as it did in the recording.
    fn cluster(&mut self, now: Mono, at: usize) {
        let input = self.demand.cluster[at].1.clone();
        let input = match input {
            Input::AgentAdded { agent, facts, used } => {
                self.withdraw_agent(now, &agent);
                self.forget_agent(&agent);
                let mut known = Agent {
                    total: facts.total.clone(),
                    active: facts.active,
                    free: facts.total.clone(),
                    epoch: facts.epoch,
                    pinned: used.clone(),
                };
                self.meter.agent_added(&agent, &facts.total);
                let mut used = used;
                for run in self.runs.values().filter(|run| run.agent == agent) {
                    let (framework, role) = self.demand.items[run.item].client.clone();
                    used.push((framework, role, run.resources.clone()));
                }
                for (framework, _, resources) in &used {
                    known.free.remove(resources);
                    self.meter.take(framework, &agent, resources);
                }
                self.agents.insert(agent.clone(), known);
                Input::AgentAdded { agent, facts, used }
            }
            Input::AgentChanged { agent, facts, forget_filters } => {
                self.withdraw_agent(now, &agent);
                if let Some(known) = self.agents.get_mut(&agent) {
                    self.meter.agent_changed(&known.total, &facts.total);
                    let taken = known.total.minus(&known.free);
                    known.free = facts.total.minus(&taken);
                    known.total = facts.total.clone();
                    known.active = facts.active;
                    known.epoch = facts.epoch;
                }
                Input::AgentChanged { agent, facts, forget_filters }
            }
            Input::AgentRemoved(agent) => {
                self.withdraw_agent(now, &agent);
                let lost: Vec<u64> = self.runs_on(&agent);
                for run in lost {
                    self.ends(now, run);
                }
                self.forget_agent(&agent);
                Input::AgentRemoved(agent)
            }
            Input::Released { framework, role, agent, resources, refusal } => {
                self.unpin(&framework, &role, &agent, &resources);
                Input::Released { framework, role, agent, resources, refusal }
            }
            Input::FrameworkUpdated { framework, mut facts } => {
                // Who wants something is not suppressed.
                let wants = |role: &Role| {
                    self.asking.get(&(framework.clone(), role.clone())).is_some_and(|asks| *asks)
                };
                facts.suppressed.retain(|role| {
                    let client = (framework.clone(), role.clone());
                    self.habit(&client).suppresses && !wants(role)
                });
                Input::FrameworkUpdated { framework, facts }
            }
            other => other,
        };
        self.allocator.apply(now, input);
    }

    fn runs_on(&self, agent: &AgentId) -> Vec<u64> {
        self.runs.iter().filter(|(_, run)| run.agent == *agent).map(|(at, _)| *at).collect()
    }

    /// Ends the offers of an agent.
    fn withdraw_agent(&mut self, now: Mono, agent: &AgentId) {
        let of: Vec<u64> =
            self.offers.iter().filter(|(_, one)| one.agent == *agent).map(|(at, _)| *at).collect();
        for offer in of {
            self.withdraw(now, offer);
        }
    }

    fn forget_agent(&mut self, agent: &AgentId) {
        let Some(known) = self.agents.remove(agent) else { return };
        for run in self.runs.values().filter(|run| run.agent == *agent) {
            let framework = &self.demand.items[run.item].client.0;
            self.meter.give(framework, agent, &run.resources);
        }
        for (framework, _, resources) in &known.pinned {
            self.meter.give(framework, agent, resources);
        }
        self.meter.agent_removed(agent, &known.total);
    }

    /// What was in use when the agent came is given back.
    fn unpin(&mut self, framework: &FrameworkId, role: &Role, agent: &AgentId, what: &Resources) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        let holder = known
            .pinned
            .iter_mut()
            .find(|(who, of, held)| who == framework && of == role && held.contains(what));
        let Some((_, _, held)) = holder else { return };
        held.remove(what);
        let over = held.is_empty();
        known.pinned.retain(|(_, _, held)| !held.is_empty());
        known.free.add_all(what);
        self.meter.unpin(framework, agent, what, over);
    }
}

/// The recording's own decisions, measured in the same way.
#[must_use]
pub fn as_recorded(demand: &Demand) -> Outcome {
    let mut events: Vec<(Mono, Happens)> = Vec::new();
    for (at, (time, _)) in demand.cluster.iter().enumerate() {
        events.push((*time, Happens::Cluster(at)));
    }
    for (at, item) in demand.items.iter().enumerate() {
        events.push((item.wanted, Happens::Wanted(at)));
        events.push((item.placed, Happens::Answer(at as u64)));
        if let Some(length) = item.length {
            events.push((item.placed + length, Happens::Ends(at as u64)));
        }
    }
    events.sort_unstable();
    let mut meter = Meter::new("as recorded", demand.begin);
    let mut totals: BTreeMap<AgentId, Resources> = BTreeMap::new();
    let item = |at: u64| usize::try_from(at).ok().and_then(|at| demand.items.get(at));
    for (now, what) in events {
        meter.pass(now.min(demand.end));
        match what {
            Happens::Cluster(at) => recorded_change(&demand.cluster[at].1, &mut totals, &mut meter),
            Happens::Wanted(at) => meter.wants(&demand.items[at].client.0),
            Happens::Answer(at) => {
                let Some(item) = item(at) else { continue };
                meter.placed(item, item.wanted, now);
                meter.take(&item.client.0, &item.agent, &item.resources);
            }
            Happens::Ends(at) => {
                let Some(item) = item(at) else { continue };
                meter.give(&item.client.0, &item.agent, &item.resources);
            }
            Happens::Round => {}
        }
    }
    meter.pass(demand.end);
    meter.outcome.offers = demand.offers;
    meter.outcome.declined = demand.declined;
    meter.finish()
}

fn recorded_change(input: &Input, totals: &mut BTreeMap<AgentId, Resources>, meter: &mut Meter) {
    match input {
        Input::AgentAdded { agent, facts, used } => {
            if let Some(total) = totals.insert(agent.clone(), facts.total.clone()) {
                meter.agent_changed(&total, &facts.total);
                return;
            }
            meter.agent_added(agent, &facts.total);
            for (framework, _, resources) in used {
                meter.take(framework, agent, resources);
            }
        }
        Input::AgentChanged { agent, facts, .. } => {
            if let Some(total) = totals.insert(agent.clone(), facts.total.clone()) {
                meter.agent_changed(&total, &facts.total);
            }
        }
        Input::AgentRemoved(agent) => {
            if let Some(total) = totals.remove(agent) {
                meter.agent_removed(agent, &total);
            }
        }
        Input::Released { framework, agent, resources, .. } => {
            meter.unpin(framework, agent, resources, true);
        }
        _ => {}
    }
}
