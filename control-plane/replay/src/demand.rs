//! What the frameworks must have wanted, read from what an allocator was told.
//!
//! A recording has no wishes in it, only offers and answers. So of each task is known what it held,
//! how long, and from when to when; and that it was not wanted while its framework had suppressed
//! its role, or declined an offer that had room for it. It is taken to be wanted from the first
//! moment on at which neither holds any more.

use std::collections::{BTreeMap, VecDeque};

use tepui_allocator::{FrameworkFacts, Input};
use tepui_types::{AgentId, FrameworkId, Mono, Resources, Role, Span};

use crate::fit::has_room;
use crate::{Recording, What};

/// A framework in a role.
pub type Client = (FrameworkId, Role);

/// How many declined offers of a client are remembered.
const DECLINES: usize = 64;

/// A task, or several that came and went together: what somebody wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Who.
    pub client: Client,
    /// What it held.
    pub resources: Resources,
    /// Where it was.
    pub agent: AgentId,
    /// From when on it was wanted, as far as can be known.
    pub wanted: Mono,
    /// When it got its resources in the recording.
    pub placed: Mono,
    /// How long it held them; `None` when it still did in the end.
    pub length: Option<Span>,
}

/// How a client behaves, whatever it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habit {
    /// It suppresses its role while it wants nothing.
    pub suppresses: bool,
    /// For how long it refuses what it declines.
    pub refusal: Span,
}

impl Default for Habit {
    fn default() -> Self {
        Self { suppresses: false, refusal: Span::from_secs(5) }
    }
}

/// What a cluster was asked for, and what it had.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// Agents, frameworks and roles as they came, changed and went: what no allocator decides.
    /// What was in use on an agent when it came is in there too, and comes back when it did.
    pub cluster: Vec<(Mono, Input)>,
    /// In the order in which they got their resources.
    pub items: Vec<Item>,
    /// By client.
    pub habits: BTreeMap<Client, Habit>,
    /// When the recording begins.
    pub begin: Mono,
    /// When it ends.
    pub end: Mono,
    /// Offers that frameworks answered …
    pub offers: u64,
    /// … and of these, those that they declined whole.
    pub declined: u64,
}

/// What somebody got out of one offer.
#[derive(Clone, Debug)]
struct Lump {
    wanted: Mono,
    placed: Mono,
    left: Resources,
}

#[derive(Debug, Default)]
struct Asking {
    /// Since when it has not been suppressed.
    since: Mono,
    suppressed: bool,
    /// Offers that it declined whole, the newest last.
    declined: VecDeque<(Mono, Resources)>,
}

#[derive(Debug, Default)]
struct Reader {
    demand: Demand,
    asking: BTreeMap<Client, Asking>,
    lumps: BTreeMap<(AgentId, Client), Vec<Lump>>,
    /// In use when the agent came.
    pinned: BTreeMap<(AgentId, Client), Resources>,
    /// What comes back unused next.
    unused: BTreeMap<(AgentId, Client), Vec<(Resources, Resources)>>,
}

impl Demand {
    /// Reads what was wanted out of a recording.
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let mut reader = Reader::default();
        reader.demand.begin = recording.steps.first().map_or_else(Mono::default, |step| step.at);
        for step in &recording.steps {
            reader.demand.end = step.at;
            if let What::Told(inputs) = &step.what {
                for input in inputs {
                    reader.read(step.at, input);
                }
            }
        }
        reader.finish()
    }
}

impl Reader {
    fn read(&mut self, at: Mono, input: &Input) {
        match input {
            Input::AgentAdded { agent, facts, used } => {
                let used = used.iter().filter_map(|(framework, role, resources)| {
                    let client = (framework.clone(), role.clone());
                    let rest = self.not_placed(agent, &client, resources);
                    self.pinned.insert((agent.clone(), client), rest.clone());
                    (!rest.is_empty()).then(|| (framework.clone(), role.clone(), rest))
                });
                let used = used.collect();
                let (agent, facts) = (agent.clone(), facts.clone());
                self.pass(at, Input::AgentAdded { agent, facts, used });
            }
            Input::AgentRemoved(agent) => {
                self.lose(at, agent);
                self.pass(at, input.clone());
            }
            Input::AgentChanged { .. } | Input::Weights(_) | Input::Minimum(_) => {
                self.pass(at, input.clone());
            }
            Input::FrameworkUpdated { framework, facts } => {
                self.framework(at, framework, facts);
            }
            Input::FrameworkRemoved(framework) => {
                self.asking.retain(|(who, _), _| who != framework);
                self.pass(at, input.clone());
            }
            Input::Revived { framework, roles } => {
                for (client, asking) in &mut self.asking {
                    if client.0 == *framework && (roles.is_empty() || roles.contains(&client.1)) {
                        asking.suppressed = false;
                        asking.since = at;
                    }
                }
            }
            Input::Suppressed { framework, roles } => {
                for (client, asking) in &mut self.asking {
                    if client.0 == *framework && (roles.is_empty() || roles.contains(&client.1)) {
                        asking.suppressed = true;
                        self.demand.habits.entry(client.clone()).or_default().suppresses = true;
                    }
                }
            }
            Input::OfferEnded { framework, role, agent, offered, used } => {
                let client = (framework.clone(), role.clone());
                self.answered(at, (agent, client), offered, used);
            }
            Input::Released { framework, role, agent, resources, refusal } => {
                let client = (framework.clone(), role.clone());
                if let Some(offered) = self.take_unused(agent, &client, resources) {
                    if let Some(refusal) = refusal {
                        let habit = self.demand.habits.entry(client.clone()).or_default();
                        habit.refusal = refusal.span;
                    }
                    if refusal.is_some() && offered == *resources {
                        self.declined(at, client, offered);
                    }
                } else {
                    self.released(at, (agent.clone(), client), resources);
                }
            }
            // A recording is of the allocator that decides.
            Input::Offered { .. } => {}
        }
    }

    fn pass(&mut self, at: Mono, input: Input) {
        self.demand.cluster.push((at, input));
    }

    /// What of a holding did not come out of an offer of this recording.
    fn not_placed(&self, agent: &AgentId, client: &Client, held: &Resources) -> Resources {
        let mut rest = held.clone();
        for lump in self.lumps.get(&(agent.clone(), client.clone())).into_iter().flatten() {
            rest.remove(&lump.left);
        }
        rest
    }

    fn framework(&mut self, at: Mono, framework: &FrameworkId, facts: &FrameworkFacts) {
        for role in &facts.roles {
            let client = (framework.clone(), role.clone());
            let suppressed = facts.suppressed.contains(role);
            if suppressed {
                self.demand.habits.entry(client.clone()).or_default().suppresses = true;
            }
            let new = Asking { since: at, suppressed: true, ..Asking::default() };
            let asking = self.asking.entry(client).or_insert(new);
            if asking.suppressed && !suppressed {
                asking.since = at;
            }
            asking.suppressed = suppressed;
        }
        let facts = FrameworkFacts { suppressed: facts.roles.clone(), ..facts.clone() };
        let framework = framework.clone();
        self.pass(at, Input::FrameworkUpdated { framework, facts: Box::new(facts) });
    }

    fn answered(
        &mut self,
        at: Mono,
        (agent, client): (&AgentId, Client),
        offered: &Resources,
        used: &Resources,
    ) {
        self.demand.offers += 1;
        let key = (agent.clone(), client);
        let unused = offered.minus(used);
        if !unused.is_empty() {
            self.unused.entry(key.clone()).or_default().push((unused, offered.clone()));
        }
        if !used.is_empty() {
            let wanted = self.wanted_since(at, &key.1, used);
            let lump = Lump { wanted, placed: at, left: used.clone() };
            self.lumps.entry(key).or_default().push(lump);
        }
    }

    fn wanted_since(&self, at: Mono, client: &Client, used: &Resources) -> Mono {
        let Some(asking) = self.asking.get(client) else { return at };
        let declined = asking.declined.iter().rev().find(|(_, offer)| has_room(offer, used));
        declined.map_or(asking.since, |(declined, _)| asking.since.max(*declined)).min(at)
    }

    fn declined(&mut self, at: Mono, client: Client, offered: Resources) {
        self.demand.declined += 1;
        let declined = &mut self.asking.entry(client).or_default().declined;
        if declined.len() >= DECLINES {
            declined.pop_front();
        }
        declined.push_back((at, offered));
    }

    /// The offer that these resources come back from, if they were not used.
    fn take_unused(
        &mut self,
        agent: &AgentId,
        client: &Client,
        resources: &Resources,
    ) -> Option<Resources> {
        let waiting = self.unused.get_mut(&(agent.clone(), client.clone()))?;
        let at = waiting.iter().position(|(unused, _)| unused == resources)?;
        Some(waiting.swap_remove(at).1)
    }

    /// A task ended.
    fn released(&mut self, at: Mono, key: (AgentId, Client), resources: &Resources) {
        let lumps = self.lumps.get_mut(&key);
        let lump = lumps.and_then(|all| all.iter_mut().find(|one| one.left.contains(resources)));
        let Some(lump) = lump else { return self.unpinned(at, key, resources) };
        lump.left.remove(resources);
        let item = Item {
            client: key.1.clone(),
            resources: resources.clone(),
            agent: key.0.clone(),
            wanted: lump.wanted,
            placed: lump.placed,
            length: Some(at.since(lump.placed)),
        };
        self.demand.items.push(item);
        if let Some(lumps) = self.lumps.get_mut(&key) {
            lumps.retain(|lump| !lump.left.is_empty());
        }
    }

    fn unpinned(&mut self, at: Mono, key: (AgentId, Client), resources: &Resources) {
        if let Some(pinned) = self.pinned.get_mut(&key) {
            pinned.remove(resources);
        }
        let (agent, (framework, role)) = key;
        let resources = resources.clone();
        self.pass(at, Input::Released { framework, role, agent, resources, refusal: None });
    }

    /// An agent is gone: what ran there ended.
    fn lose(&mut self, at: Mono, agent: &AgentId) {
        let keys: Vec<_> = self.lumps.keys().filter(|(on, _)| on == agent).cloned().collect();
        for key in keys {
            for lump in self.lumps.remove(&key).unwrap_or_default() {
                let length = Some(at.since(lump.placed));
                self.demand.items.push(item(&key, lump, length));
            }
        }
        self.pinned.retain(|(on, _), _| on != agent);
        self.unused.retain(|(on, _), _| on != agent);
    }

    fn finish(mut self) -> Demand {
        for (key, lumps) in std::mem::take(&mut self.lumps) {
            for lump in lumps {
                self.demand.items.push(item(&key, lump, None));
            }
        }
        self.demand.items.sort_by(|a, b| (a.placed, &a.client).cmp(&(b.placed, &b.client)));
        self.demand
    }
}

fn item(key: &(AgentId, Client), lump: Lump, length: Option<Span>) -> Item {
    let Lump { wanted, placed, left } = lump;
    let (agent, client) = key.clone();
    Item { client, resources: left, agent, wanted, placed, length }
}
