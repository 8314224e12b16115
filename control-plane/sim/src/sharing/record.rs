//! A recording of a simulated mixed cluster's allocator, for `tepui allocator replay`.

use tepui_marathon::AppId;
use tepui_replay::{Step, What, encode_step, header};
use tepui_types::{Identity, Resource, ResourceName, Resources, Role, Scalar, Span, Value};

use super::workload::mixed;
use super::{Jobs, UnfinishedWork};
use crate::run::{add_host, apps_config, parse, start};
use crate::scheduler::{Behaviour, Scheduler};
use crate::world::World;

/// What each host of the mixed cluster has, besides revocable processors.
const HOST: &str = "cpus:8;mem:32768;disk:100000;ports:[31000-32000]";
/// Revocable processors of each host: what its tasks were given and do not use.
const REVOCABLE: u64 = 4;
/// Weights of roles, thousandths; the others have 1000.
const WEIGHTS: [(&str, u64); 3] = [("urgent", 10_000), ("prod", 5_000), ("scavenger", 500)];

/// A mixed cluster to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixed {
    /// Decides everything that is random.
    pub seed: u64,
    /// How many hosts.
    pub hosts: u32,
    /// How much virtual time.
    pub length: Span,
}

impl Mixed {
    /// Simulates the cluster; the bytes of the recording.
    ///
    /// # Errors
    /// When an invariant breaks on the way.
    pub fn record(self) -> Result<Vec<u8>, UnfinishedWork> {
        let mut world = World::new(self.seed);
        world.steady = true;
        world.checks.books_every = super::BOOKS_EVERY;
        world.control.recording = Some(Vec::new());
        world.control.apps_config = apps_config();
        for (role, weight) in WEIGHTS {
            if let Ok(role) = Role::parse(role) {
                world.control.cluster_config.weights.push((role, weight));
            }
        }
        for host in 0..self.hosts {
            add_host(&mut world, &format!("host{host}"), parse(HOST).plus(&revocable_cpus()));
        }
        let begin = world.now.mono + Span::from_secs(10);
        for (role, work) in mixed(self.seed, self.hosts, self.length) {
            let mut scheduler = Scheduler::new(work.name, Behaviour::Worker, 0);
            scheduler.role = role.to_owned();
            scheduler.revocable = work.revocable;
            scheduler.jobs = Some(Box::new(Jobs::new(work, begin)));
            world.schedulers.push(scheduler);
        }
        start(&mut world);
        while world.step(begin) {}
        for app in ["/web", "/api", "/cache"] {
            if let Ok(app) = AppId::parse(app) {
                world.create_app(app, self.hosts, "forever".to_owned());
            }
        }
        while world.step(begin + self.length) {}
        if let Some(violation) = world.checks.violations.first() {
            return Err(UnfinishedWork::Broken(violation.to_string()));
        }
        let mut bytes = header();
        for step in world.control.recording.take().unwrap_or_default() {
            let frame = encode_step(&step);
            bytes
                .extend(frame.ok_or_else(|| UnfinishedWork::Broken("a step is too large".into()))?);
        }
        Ok(bytes)
    }
}

fn revocable_cpus() -> Resources {
    let identity = Identity { revocable: true, ..Identity::unreserved(ResourceName::Cpus) };
    [Resource { identity, value: Value::Scalar(Scalar::from_units(REVOCABLE)) }]
        .into_iter()
        .collect()
}

impl World {
    /// Writes down what the allocator is told or decides, when somebody records.
    pub(crate) fn record(&mut self, what: What) {
        let at = self.now.mono;
        let Some(steps) = &mut self.control.recording else { return };
        if let (Some(Step { at: last, what: What::Told(before) }), What::Told(more)) =
            (steps.last_mut(), &what)
            && *last == at
        {
            before.extend(more.iter().cloned());
            return;
        }
        steps.push(Step { at, what });
    }
}
