//! Agents register: new ones, ones that come back, and ones that are not wanted
//! (`spec/mesos-http.md` 6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_allocator::{Epoch, Input};
use tepui_link::{Directive, Order, Registration};
use tepui_types::{AgentId, LinkId, Mono, Resources, Span};
use tepui_wire::v1;

use crate::books::Holdings;
use crate::convert;
use crate::machine::Batch;
use crate::state::{Agent, Link};
use crate::tasks::Loss;
use crate::view::wire_agent;
use crate::{Cluster, Effect};

/// How many ids are saved as taken at once.
const ID_BLOCK: u64 = 64;

/// How many heartbeats an agent may lose before its silence is too long, at least.
const HEARTBEATS_OF_PATIENCE: u64 = 5;
/// What each agent adds to the time over which all of them come back to a new leader: so many as
/// a leader registers without making its other clients wait, with room to spare.
const NANOS_PER_RETURN: u64 = 100_000;
/// Few agents come back as good as at once.
const SHORTEST_PACE: Span = Span::from_millis(20);

/// Why an agent is not admitted.
enum Refused {
    /// It must end its work and not come back under this id.
    Shutdown(String),
    /// It may try again later.
    Later,
}

/// An agent's description and holdings before it registered again.
type Before = (Arc<v1::AgentInfo>, Holdings);

/// Where an agent with an id was before it registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Former {
    /// It never was here.
    New,
    /// It is part of the cluster in this term.
    Present,
    /// It is in the registry and comes back after a change of leader.
    Recovered,
    /// It was given up, or removed: its frameworks think that its tasks are lost.
    Lost,
}

impl Cluster {
    pub(crate) fn register(
        &mut self,
        link: LinkId,
        registration: Registration,
        batch: &mut Batch<'_>,
    ) {
        // The same registration twice on one link is one registration (invariant I-46).
        if self.links.contains_key(&link) {
            return;
        }
        if registration.agent.is_some() {
            self.counters.messages.reregister_agent += 1;
        } else {
            self.counters.messages.register_agent += 1;
        }
        match self.check_registration(link, &registration, batch) {
            Ok((total, former)) => self.admit(link, registration, total, former, batch),
            Err(Refused::Later) => batch.push(Effect::CloseLink { link }),
            Err(Refused::Shutdown(reason)) => {
                let order = Order::Shutdown { reason };
                let directive = Box::new(Directive { term: self.term, generation: 1, order });
                batch.push(Effect::ToAgent { link, directive });
                batch.push(Effect::CloseLink { link });
            }
        }
    }

    /// What the agent has and where it comes from, when it may come in. An older agent whose
    /// place it takes is removed. Link ids rise in the order in which connections are made.
    fn check_registration(
        &mut self,
        link: LinkId,
        registration: &Registration,
        batch: &mut Batch<'_>,
    ) -> Result<(Resources, Former), Refused> {
        if registration.term > self.term {
            // It follows a newer leader: this one has been succeeded and must not give orders.
            let above = &mut self.counters.agents.term_above;
            *above = registration.term.0.max(*above);
            return Err(Refused::Later);
        }
        let info = &registration.info;
        if info.hostname.is_empty() {
            return Err(Refused::Shutdown("'AgentInfo.hostname' must not be empty".into()));
        }
        let total = convert::read(&info.resources)
            .map_err(|error| Refused::Shutdown(format!("Invalid agent resources: {error}")))?
            .resources;
        let former = match &registration.agent {
            None => Former::New,
            Some(id) => self.check_return(link, id, registration)?,
        };
        self.vacate_address(link, registration, batch)?;
        Ok((total, former))
    }

    /// A registration on an older connection than the agent's newest one is a latecomer from
    /// before: what it says of tasks is not true any more.
    fn check_return(
        &self,
        link: LinkId,
        id: &AgentId,
        registration: &Registration,
    ) -> Result<Former, Refused> {
        if self.gone.contains_key(id) {
            return Err(Refused::Shutdown("Agent has been marked gone".into()));
        }
        let same_address = |info: &v1::AgentInfo| {
            info.hostname == registration.info.hostname && info.port() == registration.info.port()
        };
        if let Some(agent) = self.agents.get(id) {
            if !same_address(&agent.info) {
                let how = if agent.is_connected() { "is in use by" } else { "belongs to" };
                return Err(Refused::Shutdown(format!(
                    "Agent id {id} {how} another agent at {}:{}",
                    agent.info.hostname,
                    agent.info.port()
                )));
            }
            if link < agent.newest_link {
                return Err(Refused::Later);
            }
            return Ok(Former::Present);
        }
        if let Some(agent) = self.recovered.get(id) {
            if !same_address(&agent.info) {
                return Err(Refused::Shutdown(format!(
                    "Agent {id} re-registered from another address than {}:{}",
                    agent.info.hostname,
                    agent.info.port()
                )));
            }
            return Ok(Former::Recovered);
        }
        Ok(Former::Lost)
    }

    /// Makes room at the agent's address. A disconnected agent there, or one that has nothing to
    /// do, is replaced; a connected one at work stays and the newcomer waits.
    fn vacate_address(
        &mut self,
        link: LinkId,
        registration: &Registration,
        batch: &mut Batch<'_>,
    ) -> Result<(), Refused> {
        let address = (registration.info.hostname.clone(), registration.info.port());
        let Some(holder) = self.addresses.get(&address).cloned() else { return Ok(()) };
        if registration.agent.as_ref() == Some(&holder) {
            return Ok(());
        }
        let Some(agent) = self.agents.get(&holder) else { return Ok(()) };
        if link < agent.newest_link || (agent.is_connected() && !agent.tasks.is_empty()) {
            return Err(Refused::Later);
        }
        self.counters.agents.removed_registered += 1;
        self.remove_agent(&holder, Loss::Removed("a new agent registered at its address"), batch);
        Ok(())
    }

    fn next_agent_id(&mut self, batch: &mut Batch<'_>) -> AgentId {
        loop {
            let number = self.next.agent;
            self.next.agent += 1;
            if number >= self.next.agents_saved {
                self.next.agents_saved = number + ID_BLOCK;
                self.save_counters(batch);
            }
            let id = AgentId::parse(&format!("{}-S{number}", self.leader_id))
                .expect("a UUID, a dash, a letter and digits are an id");
            let taken = self.agents.contains_key(&id)
                || self.recovered.contains_key(&id)
                || self.unreachable.contains_key(&id)
                || self.gone.contains_key(&id);
            if !taken {
                return id;
            }
        }
    }

    fn admit(
        &mut self,
        link: LinkId,
        registration: Registration,
        total: Resources,
        former: Former,
        batch: &mut Batch<'_>,
    ) {
        let Registration {
            agent,
            mut info,
            boot,
            version,
            frameworks,
            executors,
            tasks,
            leftovers,
            term: _,
        } = registration;
        let id = agent.unwrap_or_else(|| self.next_agent_id(batch));
        info.id = Some(wire_agent(&id));
        let info = Arc::new(info);
        if former == Former::Present {
            self.cut_link(&id, batch);
        }
        let saved = self.standing(&id).map(|(info, off, standing)| (info.clone(), off, standing));
        let before = self.agents.get(&id).map(|agent| (agent.info.clone(), self.holdings(agent)));
        let deactivated = self.former_deactivation(&id);
        self.recovered.remove(&id);
        self.unreachable.remove(&id);
        let now = batch.now;
        let agent = self
            .agents
            .entry(id.clone())
            .or_insert_with(|| Agent::blank(id.clone(), info.clone(), now));
        agent.info = info;
        agent.version = version;
        agent.boot = boot;
        agent.total = total;
        agent.deactivated = deactivated;
        agent.reregistered = (former != Former::New).then_some(now.wall);
        agent.last_heard = now.mono;
        agent.doomed = None;
        agent.link = Some(Link { id: link, sent: 0, unconfirmed: None, differs: None });
        agent.newest_link = link;
        self.links.insert(link, id.clone());
        self.addresses.insert(address_of(&self.agents[&id]), id.clone());
        // A registry write is dear when ten thousand agents come back at once.
        let known = saved.as_ref().map(|(info, off, standing)| (info, *off, *standing));
        if known != self.standing(&id)
            && let Some(record) = self.agent_record(&id)
        {
            batch.push(Effect::Save(record));
        }
        self.send_registered(&id, batch);
        let completed = self.meet_frameworks(frameworks, batch);
        self.take_departing(&id, &leftovers, &executors, &tasks, &completed);
        self.take_executors(&id, executors, &completed);
        self.take_tasks(&id, tasks, &completed, former, batch);
        for framework in &completed {
            self.order_shutdown(&id, framework, batch);
        }
        let held = self.rebook(&id);
        self.order_drain(&id, batch);
        self.tell_admitted(&id, before, held, batch);
        self.watch_agent(&id, now.mono + self.config.patience);
        if former == Former::New {
            self.counters.agents.registrations += 1;
        } else {
            self.counters.agents.reregistrations += 1;
        }
        if former != Former::Present {
            self.publish_agent_added(&id, batch);
        }
    }

    /// Tells the allocator. When the agent was here before and holds the same, refusals of its
    /// resources stay good unless its attributes changed.
    fn tell_admitted(
        &mut self,
        id: &AgentId,
        before: Option<Before>,
        held: Holdings,
        batch: &mut Batch<'_>,
    ) {
        let Some((info, held_before)) = before else {
            return self.tell_agent_added(id, held, batch);
        };
        let Some(agent) = self.agents.get(id) else { return };
        if held == held_before {
            let forget_filters = agent.info.attributes != info.attributes;
            self.tell_agent_changed(id, forget_filters, batch);
        } else {
            batch.tell_allocator(Input::AgentRemoved(id.clone()));
            self.tell_agent_added(id, held, batch);
        }
    }

    fn former_deactivation(&self, id: &AgentId) -> bool {
        self.agents.get(id).is_some_and(|agent| agent.deactivated)
            || self.recovered.get(id).is_some_and(|agent| agent.deactivated)
            || self.unreachable.get(id).is_some_and(|agent| agent.deactivated)
    }

    fn send_registered(&mut self, id: &AgentId, batch: &mut Batch<'_>) {
        let patience = self.config.patience;
        let often = Span::from_nanos(patience.as_nanos() / HEARTBEATS_OF_PATIENCE);
        let heartbeat = self.config.heartbeat.min(often);
        let expected = u64::try_from(self.agents.len() + self.recovered.len()).unwrap_or(u64::MAX);
        let pace = Span::from_nanos(expected.saturating_mul(NANOS_PER_RETURN)).max(SHORTEST_PACE);
        if let Some(agent) = self.agents.get_mut(id) {
            let order = Order::Registered { agent: id.clone(), heartbeat, patience, pace };
            batch.direct(self.term, agent, order);
        }
    }
}

impl Agent {
    fn blank(id: AgentId, info: Arc<v1::AgentInfo>, now: tepui_types::Now) -> Self {
        Self {
            id,
            info,
            version: String::new(),
            boot: None,
            total: Resources::new(),
            offered: Resources::new(),
            used: Resources::new(),
            free: Resources::new(),
            overbooked: false,
            link: None,
            newest_link: LinkId(0),
            deactivated: false,
            registered: now.wall,
            reregistered: None,
            last_heard: now.mono,
            watched_until: Mono::default(),
            doomed: None,
            epoch: Epoch::default(),
            added_epoch: Epoch::default(),
            tasks: BTreeMap::new(),
            executors: BTreeMap::new(),
            departing: BTreeMap::new(),
            offers: BTreeSet::new(),
            pending_kills: BTreeMap::new(),
        }
    }
}

pub(crate) fn address_of(agent: &Agent) -> (String, i32) {
    (agent.info.hostname.clone(), agent.info.port())
}
