//! An allocator's books, kept: what there is, who has it, who refused what. An allocator made of
//! [`Books`] and a [`Policy`] only says whose turn it is.
//!
//! Between rounds only what changed is noted: of an agent that changed, everybody is asked; of the
//! others, only those whose refusals ended or who came into play. So a round's work grows with what
//! changed, and beyond a bound the next round goes on with it.

mod inputs;
mod open;
mod refusals;
mod round;

use std::collections::{BTreeMap, BTreeSet};

use tepui_allocator::{
    AgentFacts, Allocate, FrameworkFacts, Input, Minimum, NoOffer, Plan, Reason, Reclaim, Weight,
};
use tepui_types::{AgentId, FrameworkId, Mono, Resources, Role};

use open::Open;
use refusals::{Held, Refusals};

/// A framework in one of its roles: what offers are made to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// The framework.
    pub framework: FrameworkId,
    /// The role.
    pub role: Role,
}

/// An agent and what is booked on it.
#[derive(Clone, Debug)]
pub struct Agent {
    facts: AgentFacts,
    booked: BTreeMap<Client, Resources>,
    free: Resources,
    refusals: Refusals,
    /// Offers of it that wait for an answer.
    unanswered: Vec<(Client, Resources)>,
}

impl Agent {
    /// What the control plane says of it.
    #[must_use]
    pub fn facts(&self) -> &AgentFacts {
        &self.facts
    }

    /// What nobody has.
    #[must_use]
    pub fn free(&self) -> &Resources {
        &self.free
    }

    /// What is offered or in use, and by whom.
    pub fn booked(&self) -> impl Iterator<Item = (&Client, &Resources)> {
        self.booked.iter()
    }

    /// Offers of it that wait for an answer.
    pub fn unanswered(&self) -> impl Iterator<Item = (&Client, &Resources)> {
        self.unanswered.iter().map(|(client, resources)| (client, resources))
    }

    /// What a client uses here, without what it is offered.
    #[must_use]
    pub fn in_use(&self, client: &Client) -> Resources {
        let mut used = self.booked.get(client).cloned().unwrap_or_default();
        for (_, offered) in self.unanswered.iter().filter(|(who, _)| who == client) {
            used.remove(offered);
        }
        used
    }
}

/// What somebody could be offered now.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Whom.
    pub client: Client,
    /// What of the agent's free resources.
    pub resources: Resources,
}

/// What an allocator made of [`Books`] decides.
pub trait Policy {
    /// Agents with something free are offered in the order of this number, the lowest first; by id
    /// where it is the same.
    fn rank(&self, _agent: &Agent) -> u64 {
        0
    }

    /// At most so many offers of one client wait for an answer; what it could be offered beyond
    /// that is kept for when it answers, and for others. No bound unless said otherwise.
    fn most_unanswered(&self) -> Option<usize> {
        None
    }

    /// Which of the candidates is offered its part of the agent; `None` leaves it free until
    /// something changes. Candidates are in order of framework and role, and at least one. Asked
    /// again for what is left.
    fn choose(&mut self, books: &Books, agent: &AgentId, candidates: &[Candidate])
    -> Option<usize>;

    /// True when it takes things back: rounds are then planned also when nothing is free.
    fn takes_back(&self) -> bool {
        false
    }

    /// After a round's offers: what to take back from whom.
    fn reclaim(&mut self, _now: Mono, _books: &Books) -> Vec<Reclaim> {
        Vec::new()
    }

    /// When it wants to be asked again what to take back, although nothing happened.
    fn next_wakeup(&self) -> Option<Mono> {
        None
    }
}

/// Of an agent, who has to be asked.
#[derive(Clone, Debug)]
enum Scope {
    /// Everybody.
    All,
    /// These: nothing changed for others.
    Only(BTreeSet<Client>),
}

/// What there is in a cluster, who has it, and who refused what.
#[derive(Clone, Debug)]
pub struct Books {
    agents: BTreeMap<AgentId, Agent>,
    frameworks: BTreeMap<FrameworkId, FrameworkFacts>,
    /// Scalars only: the same port of two agents is not one port.
    held: BTreeMap<Client, Resources>,
    weights: BTreeMap<Role, Weight>,
    minimum: Minimum,
    /// The scalars of all agents.
    total: Resources,
    dirty: BTreeMap<AgentId, Scope>,
    /// Of these, those that the round before did not come to.
    left: BTreeSet<AgentId>,
    ends: BTreeSet<(Mono, AgentId, Client)>,
    open: Open,
    /// Something happened since the last round that may give a reason to take something back.
    stirred: bool,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            held: BTreeMap::new(),
            weights: BTreeMap::new(),
            minimum: Minimum::default_of_mesos(),
            total: Resources::new(),
            dirty: BTreeMap::new(),
            left: BTreeSet::new(),
            ends: BTreeSet::new(),
            open: Open::default(),
            stirred: false,
        }
    }
}

impl Books {
    /// All agents, by id.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentId, &Agent)> {
        self.agents.iter()
    }

    /// One agent.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// One framework, while it is registered.
    #[must_use]
    pub fn framework(&self, id: &FrameworkId) -> Option<&FrameworkFacts> {
        self.frameworks.get(id)
    }

    /// Everybody who wants offers now, in order of framework and role.
    pub fn clients(&self) -> impl Iterator<Item = Client> {
        self.frameworks.iter().filter(|(_, facts)| facts.active).flat_map(|(id, facts)| {
            let roles = facts.roles.iter().filter(|role| !facts.suppressed.contains(*role));
            roles.map(|role| Client { framework: id.clone(), role: role.clone() })
        })
    }

    /// The scalars that a client is offered or uses, over all agents.
    #[must_use]
    pub fn held(&self, client: &Client) -> Resources {
        self.held.get(client).cloned().unwrap_or_default()
    }

    /// The scalars of all agents.
    #[must_use]
    pub fn total(&self) -> &Resources {
        &self.total
    }

    /// How many offers of a client wait for an answer.
    #[must_use]
    pub fn unanswered(&self, client: &Client) -> usize {
        self.open.count(client)
    }

    /// The agents of which offers wait for an answer, by id.
    pub fn offered_agents(&self) -> impl Iterator<Item = (&AgentId, &Agent)> {
        self.open.agents().filter_map(|id| self.agents.get_key_value(id))
    }

    /// The agents on which somebody uses revocable resources, by id.
    pub fn revocable_agents(&self) -> impl Iterator<Item = (&AgentId, &Agent)> {
        self.open.revocable.iter().filter_map(|id| self.agents.get_key_value(id))
    }

    /// The largest part that a client has of the cluster's amount of any scalar, divided by its
    /// role's weight: what fair sharing compares.
    #[must_use]
    pub fn dominant_share(&self, client: &Client) -> f64 {
        let Some(held) = self.held.get(client) else { return 0.0 };
        let part = |one: &tepui_types::Identity| {
            let all = self.total.scalar(&one.name).as_f64();
            if all > 0.0 { held.scalar(&one.name).as_f64() / all } else { 0.0 }
        };
        let share = held.scalars().map(|(one, _)| part(one)).fold(0.0, f64::max);
        share * 1000.0 / thousandths(self.weight(&client.role))
    }

    /// Whether a client would take `bundle` on an agent if it were free there: enough, and not
    /// refused.
    #[must_use]
    pub fn would_take(&self, now: Mono, id: &AgentId, client: &Client, bundle: &Resources) -> bool {
        let facts = self.frameworks.get(&client.framework);
        let (Some(agent), Some(facts)) = (self.agents.get(id), facts) else { return false };
        let guarded = agent.facts.gpus_guarded && !facts.gpus;
        agent.facts.active
            && !guarded
            && facts.minimum.get(&client.role).unwrap_or(&self.minimum).allows(bundle)
            && agent.refusals.held(now, client, bundle) == Held::No
    }

    /// The part of a bundle that a client may use.
    #[must_use]
    pub fn usable(&self, client: &Client, bundle: &Resources) -> Resources {
        let revocable = self.frameworks.get(&client.framework).is_some_and(|facts| facts.revocable);
        usable(bundle, &client.role, revocable)
    }

    /// The weight of a role; 1000 unless it was given one.
    #[must_use]
    pub fn weight(&self, role: &Role) -> Weight {
        self.weights.get(role).copied().unwrap_or_default()
    }

    /// What a client would be offered on an agent, or why nothing. An agent or a framework that is
    /// not there has nothing free.
    ///
    /// # Errors
    ///
    /// The reason.
    pub fn judge(&self, now: Mono, agent: &AgentId, client: &Client) -> Result<Resources, NoOffer> {
        match (self.agents.get(agent), self.frameworks.get(&client.framework)) {
            (Some(agent), Some(facts)) if agent.facts.active => {
                self.weigh(now, agent, client, facts).map_err(|(why, _)| why)
            }
            (Some(_), Some(_)) => Err(NoOffer::AgentInactive),
            _ => Err(NoOffer::NothingFree),
        }
    }

    fn weigh(
        &self,
        now: Mono,
        agent: &Agent,
        client: &Client,
        facts: &FrameworkFacts,
    ) -> Result<Resources, (NoOffer, Held)> {
        let no = |why| Err((why, Held::No));
        if agent.facts.gpus_guarded && !facts.gpus {
            return no(NoOffer::NeedsGpuCapability);
        }
        let bundle = usable(&agent.free, &client.role, facts.revocable);
        if bundle.is_empty() {
            return no(NoOffer::NothingFree);
        }
        if !facts.minimum.get(&client.role).unwrap_or(&self.minimum).allows(&bundle) {
            return no(NoOffer::BelowMinimum { cpus: bundle.cpus(), mem: bundle.mem() });
        }
        match agent.refusals.held(now, client, &bundle) {
            Held::No => Ok(bundle),
            held @ (Held::OnRound(until) | Held::Until(until)) => {
                Err((NoOffer::Filtered { remaining: until.since(now) }, held))
            }
        }
    }

    fn reasons(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        let Some(facts) = self.frameworks.get(framework) else { return Vec::new() };
        let mut reasons = Vec::new();
        for role in &facts.roles {
            let everywhere = match () {
                () if !facts.active => Some(NoOffer::FrameworkInactive),
                () if facts.suppressed.contains(role) => Some(NoOffer::Suppressed),
                () => None,
            };
            if let Some(why) = everywhere {
                reasons.push(Reason { role: role.clone(), agent: None, why });
                continue;
            }
            let client = Client { framework: framework.clone(), role: role.clone() };
            reasons.extend(self.agents.keys().map(|id| {
                let why = self.judge(now, id, &client).err().unwrap_or(NoOffer::NotItsTurn);
                Reason { role: role.clone(), agent: Some(id.clone()), why }
            }));
        }
        reasons
    }

    fn refusals_by_role(&self, now: Mono) -> BTreeMap<Role, u64> {
        let roles = self.frameworks.values().flat_map(|facts| &facts.roles);
        let mut counts: BTreeMap<Role, u64> = roles.map(|role| (role.clone(), 0)).collect();
        for client in self.agents.values().flat_map(|agent| agent.refusals.holding(now)) {
            if let Some(count) = counts.get_mut(&client.role) {
                *count += 1;
            }
        }
        counts
    }
}

fn usable(bundle: &Resources, role: &Role, revocable: bool) -> Resources {
    bundle.filter(|one| one.identity.is_usable_by(role) && (revocable || !one.identity.revocable))
}

#[allow(clippy::cast_precision_loss)]
fn thousandths(weight: Weight) -> f64 {
    weight.0.max(1) as f64
}

/// An allocator made of [`Books`] and a [`Policy`].
#[derive(Clone, Debug)]
pub struct Kept<P> {
    books: Books,
    policy: P,
}

impl<P: Policy> Kept<P> {
    /// An allocator of an empty cluster.
    pub fn new(policy: P) -> Self {
        Self { books: Books::default(), policy }
    }
}

impl<P: Policy> Allocate for Kept<P> {
    fn apply(&mut self, now: Mono, input: Input) {
        self.books.take_note(now, input);
    }

    fn is_dirty(&self) -> bool {
        let stirred = self.books.stirred && self.policy.takes_back();
        (stirred || !self.books.dirty.is_empty()) && self.books.clients().next().is_some()
    }

    fn next_wakeup(&self) -> Option<Mono> {
        let ends = self.books.ends.first().map(|(at, _, _)| *at);
        ends.into_iter().chain(self.policy.next_wakeup()).min()
    }

    fn round(&mut self, now: Mono) -> Plan {
        self.books.plan_round(now, &mut self.policy)
    }

    fn explain(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        self.books.reasons(now, framework)
    }

    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64> {
        self.books.refusals_by_role(now)
    }
}
