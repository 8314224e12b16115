//! The workloads' building blocks: the same clusters and deeds as in Mesos's own benchmarks
//! (`hierarchical_allocator_tests.cpp` and `hierarchical_allocator_benchmarks.cpp`).

use std::collections::BTreeSet;

use tepui_allocator::{
    AgentFacts, Allocate, Drf, Epoch, FrameworkFacts, Input, Plan, Proposal, Refusal,
};
use tepui_types::{
    AgentId, Entropy, FrameworkId, Identity, Mono, Range, Ranges, Resource, ResourceName,
    Resources, Role, Scalar, Span, Value,
};

pub(crate) struct Cluster {
    pub(crate) drf: Drf,
    pub(crate) now: Mono,
}

/// Mesos's allocation interval: the benchmarks step their clock by it.
const INTERVAL: Span = Span::from_secs(1);

pub(crate) fn role(name: &str) -> Role {
    Role::parse(name).expect("the benchmarks name legal roles")
}

fn framework_id(name: &str) -> FrameworkId {
    FrameworkId::parse(name).expect("the benchmarks name legal ids")
}

fn agent_id(number: usize) -> AgentId {
    AgentId::parse(&format!("agent{number}")).expect("the benchmarks name legal ids")
}

/// Processors in thousandths, memory and disk in megabytes.
pub(crate) fn scalars(milli_cpus: u64, mem: u64, disk: u64) -> Resources {
    [
        Resource::scalar(ResourceName::Cpus, Scalar::from_milli(milli_cpus)),
        Resource::scalar(ResourceName::Mem, Scalar::from_units(mem)),
        Resource::scalar(ResourceName::Disk, Scalar::from_units(disk)),
    ]
    .into_iter()
    .collect()
}

pub(crate) fn ports(ranges: &[(u64, u64)]) -> Resource {
    let ranges = ranges.iter().filter_map(|(begin, end)| Range::new(*begin, *end).ok());
    Resource::ranges(ResourceName::Ports, Ranges::from_ranges(ranges))
}

/// All ports but 15, in 16 ranges.
pub(crate) fn fragmented_ports() -> Resource {
    let mut ranges: Vec<(u64, u64)> = (0..15).map(|n| (31000 + 2 * n, 31000 + 2 * n)).collect();
    ranges.push((31030, 32000));
    ports(&ranges)
}

pub(crate) fn with(mut resources: Resources, more: &Resource) -> Resources {
    resources.add(more);
    resources
}

pub(crate) fn revocable_cpus(cpus: u64) -> Resource {
    let identity = Identity { revocable: true, ..Identity::unreserved(ResourceName::Cpus) };
    Resource { identity, value: Value::Scalar(Scalar::from_units(cpus)) }
}

pub(crate) fn framework(number: usize) -> FrameworkId {
    framework_id(&format!("framework{number}"))
}

fn agent_facts(total: Resources) -> AgentFacts {
    AgentFacts { total, active: true, gpus_guarded: false, epoch: Epoch(0) }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self { drf: Drf::new(Entropy::seeded(1)), now: Mono::default() + INTERVAL }
    }

    pub(crate) fn tell(&mut self, input: Input) {
        self.drf.apply(self.now, input);
    }

    pub(crate) fn round(&mut self) -> Plan {
        self.now += INTERVAL;
        self.drf.round(self.now)
    }

    pub(crate) fn add_framework(&mut self, id: FrameworkId, role: &Role, revocable: bool) {
        let facts = FrameworkFacts {
            roles: BTreeSet::from([role.clone()]),
            active: true,
            revocable,
            ..FrameworkFacts::default()
        };
        self.tell(Input::FrameworkUpdated { framework: id, facts: Box::new(facts) });
    }

    pub(crate) fn add_frameworks(&mut self, count: usize, revocable: bool) {
        for n in 0..count {
            self.add_framework(framework(n), &Role::default_role(), revocable);
        }
    }

    /// Adds agents; a slice of each is in use by the frameworks in turn.
    pub(crate) fn add_agents(&mut self, ids: &[AgentId], total: &Resources, used: &[Slice]) {
        for (n, id) in ids.iter().enumerate() {
            let slice = (!used.is_empty()).then(|| {
                let slice = &used[n % used.len()];
                (slice.0.clone(), slice.1.clone(), slice.2.clone())
            });
            let facts = agent_facts(total.clone());
            let used = slice.into_iter().collect();
            self.tell(Input::AgentAdded { agent: id.clone(), facts, used });
        }
    }

    pub(crate) fn change_agents(&mut self, ids: &[AgentId], total: &Resources) {
        for id in ids {
            let facts = agent_facts(total.clone());
            self.tell(Input::AgentChanged { agent: id.clone(), facts, forget_filters: false });
        }
    }

    pub(crate) fn give_back(&mut self, proposals: Vec<Proposal>, refusal: Option<Refusal>) {
        for Proposal { framework, role, agent, resources, .. } in proposals {
            self.tell(Input::Released { framework, role, agent, resources, refusal });
        }
    }
}

/// Resources in use by a framework in a role.
pub(crate) type Slice = (FrameworkId, Role, Resources);

pub(crate) fn slices(frameworks: usize, resources: &Resources) -> Vec<Slice> {
    let slice = |n| (framework(n), Role::default_role(), resources.clone());
    (0..frameworks).map(slice).collect()
}

pub(crate) fn agent_ids(count: usize) -> Vec<AgentId> {
    (0..count).map(agent_id).collect()
}
