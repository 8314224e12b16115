//! What readers see: accessors, sums, and the wire forms of what the cluster knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_types::{
    AgentId, ExecutorId, FrameworkId, Now, Resources, Role, TaskId, Term, Value, Wall,
};
use tepui_wire::v1::{self, master::response};

use crate::convert::{Format, allocated_to, write};
use crate::state::{
    Agent, Attachment, DepartedAgent, Executor, Framework, Offer, OfferNumber, RecoveredAgent,
    Task, TaskDetails,
};
use crate::{Cluster, Config, Counters, Drain};

/// What someone holds: scalars add up over agents, other kinds are united.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// By tasks and executors.
    pub used: Resources,
    /// In offers that wait for an answer.
    pub offered: Resources,
}

/// A role that is known because somebody subscribes to it, holds something in it, or because it
/// has a weight; and every role above such a one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleView {
    /// Thousandths; 1000 unless set.
    pub weight: u64,
    /// The frameworks that are subscribed to it or hold something in it.
    pub frameworks: BTreeSet<FrameworkId>,
    /// What is held and offered in exactly this role.
    pub sums: Sums,
}

impl Cluster {
    /// What the operator decided.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The term in which this leader leads; zero before the election.
    pub fn term(&self) -> Term {
        self.term
    }

    /// This leader's description, with the id that is the front part of all ids it hands out.
    pub fn leader(&self) -> &v1::MasterInfo {
        &self.config.leader
    }

    /// When this leader was elected.
    pub fn elected(&self) -> Option<Now> {
        self.elected
    }

    /// The agents that are part of the cluster in this term.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = &Agent> {
        self.agents.values()
    }

    /// One of them.
    pub fn agent(&self, agent: &AgentId) -> Option<&Agent> {
        self.agents.get(agent)
    }

    /// The agents of the registry that have not come back since the change of leader.
    pub fn recovered_agents(&self) -> impl ExactSizeIterator<Item = (&AgentId, &RecoveredAgent)> {
        self.recovered.iter()
    }

    /// The agents that do not answer.
    pub fn unreachable_agents(&self) -> impl ExactSizeIterator<Item = (&AgentId, &DepartedAgent)> {
        self.unreachable.iter()
    }

    /// The agents that are gone for good.
    pub fn gone_agents(&self) -> impl ExactSizeIterator<Item = (&AgentId, &DepartedAgent)> {
        self.gone.iter()
    }

    /// The frameworks, recovered and disconnected ones included.
    pub fn frameworks(&self) -> impl ExactSizeIterator<Item = &Framework> {
        self.frameworks.values()
    }

    /// One of them.
    pub fn framework(&self, framework: &FrameworkId) -> Option<&Framework> {
        self.frameworks.get(framework)
    }

    /// The removed frameworks, oldest first.
    pub fn completed_frameworks(&self) -> impl ExactSizeIterator<Item = &Framework> {
        self.completed.iter()
    }

    /// The tasks of all frameworks that the cluster tracks.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.frameworks.values().flat_map(|framework| framework.tasks.values().map(Arc::as_ref))
    }

    /// One of them.
    pub fn task(&self, framework: &FrameworkId, task: &TaskId) -> Option<&Task> {
        self.frameworks.get(framework)?.tasks.get(task).map(Arc::as_ref)
    }

    /// The offers that wait for an answer, oldest first.
    pub fn offers(&self) -> impl ExactSizeIterator<Item = &Offer> {
        self.offers.values()
    }

    /// One of them.
    pub fn offer(&self, number: OfferNumber) -> Option<&Offer> {
        self.offers.get(&number)
    }

    /// The custom executors: where, whose, which.
    pub fn executors(&self) -> impl Iterator<Item = (&Agent, &FrameworkId, &Executor)> {
        self.agents.values().flat_map(|agent| {
            agent.executors.iter().flat_map(move |(framework, executors)| {
                executors.values().map(move |executor| (agent, framework, executor))
            })
        })
    }

    /// One custom executor.
    pub fn executor(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Option<&Executor> {
        self.agents.get(agent)?.executor(framework, executor)
    }

    /// Weights that were set, in thousandths.
    pub fn weights(&self) -> &BTreeMap<Role, u64> {
        &self.weights
    }

    /// Everything counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What one framework holds; costs its own tasks and offers, not everybody's.
    pub fn sums_of(&self, framework: &Framework) -> Sums {
        let mut sums = Sums::default();
        for task in framework.tasks.values().filter(|task| !task.state.is_terminal()) {
            add_to(&mut sums, &task.resources, false);
        }
        let executors = self.agents.values().filter_map(|agent| agent.executors.get(&framework.id));
        for executor in executors.flat_map(BTreeMap::values) {
            add_to(&mut sums, &executor.resources, false);
        }
        for offer in framework.offers.iter().filter_map(|number| self.offers.get(number)) {
            add_to(&mut sums, &offer.resources, true);
        }
        sums
    }

    /// What every framework holds.
    pub fn sums_by_framework(&self) -> BTreeMap<FrameworkId, Sums> {
        let mut all: BTreeMap<FrameworkId, Sums> = BTreeMap::new();
        self.each_holding(|framework, _, held, offered| {
            add_to(all.entry(framework.clone()).or_default(), held, offered);
        });
        all
    }

    /// Every known role (`spec/mesos-http.md` 3.1, GET_ROLES).
    pub fn roles(&self) -> BTreeMap<Role, RoleView> {
        let mut all: BTreeMap<Role, RoleView> = BTreeMap::new();
        for framework in self.frameworks.values() {
            for role in &framework.roles {
                all.entry(role.clone()).or_default().frameworks.insert(framework.id.clone());
            }
        }
        self.each_holding(|framework, role, held, offered| {
            let view = all.entry(role.clone()).or_default();
            view.frameworks.insert(framework.clone());
            add_to(&mut view.sums, held, offered);
        });
        for role in self.weights.keys() {
            all.entry(role.clone()).or_default();
        }
        for agent in self.agents.values() {
            for role in agent.total.iter().filter_map(|r| r.identity.reserved_to()) {
                all.entry(role.clone()).or_default();
            }
        }
        let known: Vec<Role> = all.keys().cloned().collect();
        for role in known {
            let mut above = role.parent();
            while let Some(parent) = above {
                above = parent.parent();
                all.entry(parent).or_default();
            }
        }
        for (role, view) in &mut all {
            view.weight = self.weights.get(role).copied().unwrap_or(1000);
        }
        all
    }

    fn each_holding(&self, mut visit: impl FnMut(&FrameworkId, &Role, &Resources, bool)) {
        for task in self.tasks().filter(|task| !task.state.is_terminal()) {
            visit(&task.framework, &task.role, &task.resources, false);
        }
        for (_, framework, executor) in self.executors() {
            visit(framework, &executor.role, &executor.resources, false);
        }
        for offer in self.offers.values() {
            visit(&offer.framework, &offer.role, &offer.resources, true);
        }
    }

    /// An agent as the operator API shows it.
    pub fn agent_to_wire(&self, agent: &Agent) -> response::get_agents::Agent {
        let plain = |bundle| write(bundle, None, Format::PostRefinement);
        response::get_agents::Agent {
            agent_info: (*agent.info).clone(),
            active: agent.is_active(),
            deactivated: Some(agent.deactivated),
            version: agent.version.clone(),
            pid: Some(format!("slave(1)@{}:{}", agent.info.hostname, agent.info.port())),
            registered_time: Some(wire_time(agent.registered)),
            reregistered_time: agent.reregistered.map(wire_time),
            total_resources: plain(&agent.total),
            allocated_resources: plain(&agent.used),
            offered_resources: plain(&agent.offered),
            capabilities: agent_capabilities(),
            drain_info: self.drain_of(&agent.id).map(Drain::to_wire),
            ..response::get_agents::Agent::default()
        }
    }

    /// A framework as the operator API shows it, with what it holds
    /// ([`Cluster::sums_by_framework`]).
    pub fn framework_to_wire(
        &self,
        framework: &Framework,
        sums: &Sums,
    ) -> response::get_frameworks::Framework {
        let offers = framework
            .offers
            .iter()
            .filter_map(|number| {
                let offer = self.offers.get(number)?;
                Some(offer.to_wire(self.agents.get(&offer.agent)?, framework))
            })
            .collect();
        let plain = |bundle| write(bundle, None, Format::PostRefinement);
        response::get_frameworks::Framework {
            framework_info: (*framework.info).clone(),
            active: framework.is_connected(),
            connected: framework.is_connected(),
            recovered: framework.is_recovered(),
            registered_time: Some(wire_time(framework.registered)),
            reregistered_time: framework.reregistered.map(wire_time),
            unregistered_time: framework.unregistered.map(wire_time),
            offers,
            allocated_resources: plain(&sums.used),
            offered_resources: plain(&sums.offered),
            offer_constraints: framework.offer_constraints.clone(),
            ..response::get_frameworks::Framework::default()
        }
    }
}

fn add_to(sums: &mut Sums, resources: &Resources, offered: bool) {
    let sum = if offered { &mut sums.offered } else { &mut sums.used };
    sum.add_all(resources);
}

impl Framework {
    /// When it was lost sight of, if it is disconnected.
    pub fn disconnected_since(&self) -> Option<Wall> {
        match self.attachment {
            Attachment::Disconnected { since } => Some(since),
            Attachment::Recovered | Attachment::Subscribed { .. } => None,
        }
    }
}

impl Task {
    /// The task as the wire knows it.
    pub fn to_wire(&self) -> v1::Task {
        let empty = TaskDetails::default();
        let details = self.details.as_deref().unwrap_or(&empty);
        let role = Some(&self.role);
        v1::Task {
            name: self.name.clone(),
            task_id: wire_task(&self.id),
            framework_id: wire_framework(&self.framework),
            executor_id: self.executor.as_ref().map(wire_executor),
            agent_id: wire_agent(&self.agent),
            state: tepui_link::codec::wire_state(self.state).into(),
            resources: write(&self.resources, role, Format::PostRefinement),
            statuses: self.statuses.iter().map(|one| one.to_wire(self)).collect(),
            status_update_state: self
                .forwarded
                .map(|forwarded| tepui_link::codec::wire_state(forwarded.state).into()),
            status_update_uuid: self
                .forwarded
                .and_then(|forwarded| forwarded.update)
                .map(|update| update.as_bytes().to_vec()),
            labels: details.labels.clone(),
            discovery: details.discovery.clone(),
            container: details.container.clone(),
            health_check: details.health_check.clone(),
            kill_policy: details.kill_policy,
            user: details.user.clone(),
            limits: details.limits.clone(),
        }
    }
}

impl Offer {
    /// The offer as its framework sees it (`spec/mesos-http.md` 1.4, "Offer contents").
    pub fn to_wire(&self, agent: &Agent, framework: &Framework) -> v1::Offer {
        let format = if framework.abilities.reservation_refinement {
            Format::PostRefinement
        } else {
            Format::PreRefinement
        };
        let role = framework.abilities.multi_role.then_some(&self.role);
        let (hostname, port) = agent.address();
        let executors = agent.executors.get(&self.framework);
        v1::Offer {
            id: v1::OfferId { value: self.id.to_string() },
            framework_id: wire_framework(&self.framework),
            agent_id: wire_agent(&self.agent),
            hostname: hostname.to_owned(),
            url: Some(v1::Url {
                scheme: "http".into(),
                address: v1::Address {
                    hostname: Some(hostname.to_owned()),
                    ip: hostname.parse::<std::net::IpAddr>().is_ok().then(|| hostname.to_owned()),
                    port,
                },
                path: Some("/slave(1)".into()),
                ..v1::Url::default()
            }),
            domain: agent.info.domain.clone(),
            resources: write(&without_hidden(&self.resources), role, format),
            attributes: agent.info.attributes.clone(),
            executor_ids: executors
                .into_iter()
                .flatten()
                .map(|(id, _)| wire_executor(id))
                .collect(),
            unavailability: None,
            allocation_info: role.map(allocated_to),
        }
    }
}

/// Mesos keeps `ephemeral_ports` from frameworks.
fn without_hidden(resources: &Resources) -> Resources {
    resources.filter(|resource| {
        resource.identity.name.as_str() != "ephemeral_ports"
            || !matches!(resource.value, Value::Ranges(_))
    })
}

/// What every agent of this version can do (`spec/mesos-http.md` 9, end).
pub fn agent_capabilities() -> Vec<v1::agent_info::Capability> {
    use v1::agent_info::capability::Type;
    [Type::MultiRole, Type::HierarchicalRole, Type::ReservationRefinement, Type::TaskResourceLimits]
        .into_iter()
        .map(|kind| v1::agent_info::Capability { r#type: Some(kind.into()) })
        .collect()
}

pub(crate) fn wire_time(wall: Wall) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX) }
}

pub(crate) fn wire_task(id: &TaskId) -> v1::TaskId {
    v1::TaskId { value: id.to_string() }
}

pub(crate) fn wire_framework(id: &FrameworkId) -> v1::FrameworkId {
    v1::FrameworkId { value: id.to_string() }
}

pub(crate) fn wire_agent(id: &AgentId) -> v1::AgentId {
    v1::AgentId { value: id.to_string() }
}

pub(crate) fn wire_executor(id: &ExecutorId) -> v1::ExecutorId {
    v1::ExecutorId { value: id.to_string() }
}
