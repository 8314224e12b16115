//! Random histories: whatever happens, the books add up (the rig checks them after every event),
//! offers end once, terminal is final, and in the end everything is free again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tepui_cluster::Operation;
use tepui_link::{Order, Report};
use tepui_types::TaskState;
use tepui_wire::v1::{self, scheduler, scheduler::call::Type};

use crate::rig::*;

#[derive(Clone, Debug)]
enum Step {
    Launch { framework: usize, tasks: usize },
    Decline { framework: usize, seconds: u64 },
    Update { agent: usize, state: usize },
    Kill { framework: usize, task: usize },
    Break { agent: usize },
    Return { agent: usize, forget: bool },
    Silence { seconds: u64 },
    Leave { framework: usize },
    Come { framework: usize },
    Suppress { framework: usize },
    Revive { framework: usize },
    Gone { agent: usize },
    ChangeLeader,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let f = 0..3_usize;
    let a = 0..3_usize;
    let step = prop_oneof![
        6 => (f.clone(), 0..4_usize).prop_map(|(framework, tasks)| Step::Launch { framework, tasks }),
        2 => (f.clone(), 0..9_u64)
            .prop_map(|(framework, seconds)| Step::Decline { framework, seconds }),
        8 => (a.clone(), 0..6_usize).prop_map(|(agent, state)| Step::Update { agent, state }),
        2 => (f.clone(), 0..9_usize).prop_map(|(framework, task)| Step::Kill { framework, task }),
        1 => a.clone().prop_map(|agent| Step::Break { agent }),
        3 => (a.clone(), any::<bool>())
            .prop_map(|(agent, forget)| Step::Return { agent, forget }),
        2 => (1..90_u64).prop_map(|seconds| Step::Silence { seconds }),
        1 => f.clone().prop_map(|framework| Step::Leave { framework }),
        2 => f.clone().prop_map(|framework| Step::Come { framework }),
        1 => f.clone().prop_map(|framework| Step::Suppress { framework }),
        1 => f.prop_map(|framework| Step::Revive { framework }),
        1 => a.prop_map(|agent| Step::Gone { agent }),
        1 => Just(Step::ChangeLeader),
    ];
    prop::collection::vec(step, 1..60)
}

/// A played agent: what it really runs.
struct Host {
    end: AgentEnd,
    connected: bool,
    tasks: BTreeMap<(String, String), TaskState>,
}

struct World {
    rig: Rig,
    hosts: Vec<Host>,
    frameworks: Vec<(FrameworkEnd, bool)>,
    offers: Vec<Vec<v1::Offer>>,
    /// Every task that was ever started.
    started: BTreeSet<(String, String)>,
    /// The terminal state that each task came to.
    ended: BTreeMap<(String, String), TaskState>,
    names: u64,
}

const RESOURCES: &str = "cpus:4;mem:400;ports:[1-20]";

impl World {
    fn new() -> Self {
        let mut rig = Rig::new();
        let hosts = (0..3)
            .map(|n| Host {
                end: rig.agent(&format!("h{n}"), RESOURCES),
                connected: true,
                tasks: BTreeMap::new(),
            })
            .collect();
        let kinds = [AWARE, PLAIN, PLAIN];
        let frameworks = kinds
            .iter()
            .enumerate()
            .map(|(n, capabilities)| {
                let info = v1::FrameworkInfo {
                    checkpoint: Some(n < 2),
                    ..framework_info(&format!("f{n}"), capabilities)
                };
                (rig.subscribe(info).unwrap(), true)
            })
            .collect();
        Self {
            rig,
            hosts,
            frameworks,
            offers: vec![vec![]; 3],
            started: BTreeSet::new(),
            ended: BTreeMap::new(),
            names: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Launch { framework, tasks } => self.launch(framework, tasks),
            Step::Decline { framework, seconds } => {
                let offers = std::mem::take(&mut self.offers[framework]);
                #[allow(clippy::cast_precision_loss)]
                self.call(framework, decline(&offers, Some(seconds as f64)));
            }
            Step::Update { agent, state } => self.update(agent, state),
            Step::Kill { framework, task } => {
                let id = &self.frameworks[framework].0.id;
                let known = self.rig.cluster.framework(id);
                let name = known.and_then(|known| known.tasks.keys().nth(task)).cloned();
                if let Some(name) = name {
                    self.call(framework, crate::calls::kill(name.as_str()));
                }
            }
            Step::Break { agent } => {
                if self.hosts[agent].connected {
                    self.hosts[agent].connected = false;
                    let end = self.hosts[agent].end.clone();
                    self.rig.break_link(&end);
                }
            }
            Step::Return { agent, forget } => self.come_back(agent, forget),
            Step::Silence { seconds } => self.rig.advance(secs(seconds)),
            Step::Leave { framework } => {
                if std::mem::replace(&mut self.frameworks[framework].1, false) {
                    let end = self.frameworks[framework].0.clone();
                    self.rig.close_stream(&end);
                }
            }
            Step::Come { framework } => {
                let info = self.frameworks[framework].0.info.clone();
                if let Ok(end) = self.rig.subscribe(info) {
                    self.frameworks[framework] = (end, true);
                }
            }
            Step::Suppress { framework } => self.call(
                framework,
                scheduler::Call {
                    suppress: Some(scheduler::call::Suppress::default()),
                    ..call(Type::Suppress)
                },
            ),
            Step::Revive { framework } => self.call(framework, call(Type::Revive)),
            Step::Gone { agent } => {
                let id = self.hosts[agent].end.id.clone();
                self.rig.operate(Operation::MarkAgentGone { agent: id });
            }
            Step::ChangeLeader => {
                self.rig.change_leader();
                self.hosts.iter_mut().for_each(|host| host.connected = false);
                self.frameworks.iter_mut().for_each(|framework| framework.1 = false);
            }
        }
        self.settle();
    }

    fn call(&mut self, framework: usize, call: scheduler::Call) {
        if self.frameworks[framework].1 {
            let end = self.frameworks[framework].0.clone();
            self.rig.call(&end, call);
        }
    }

    fn launch(&mut self, framework: usize, tasks: usize) {
        if !self.frameworks[framework].1 {
            return;
        }
        let end = self.frameworks[framework].0.clone();
        let Some(offer) = self.offers[framework].pop() else { return };
        let infos = (0..tasks)
            .map(|n| {
                self.names += 1;
                let port = 1 + self.names % 20;
                let text = format!("cpus:{};mem:50;ports:[{port}-{port}]", 1 + n % 2);
                v1::TaskInfo {
                    agent_id: offer.agent_id.clone(),
                    ..task(&format!("t{}", self.names), &self.hosts[0].end, &text)
                }
            })
            .collect();
        self.rig.launch(&end, &offer, infos);
        // The same answer twice: nothing starts twice.
        if tasks == 3 {
            self.rig.accept(&end, &[&offer], vec![]);
        }
    }

    fn update(&mut self, agent: usize, state: usize) {
        let states = [
            TaskState::Starting,
            TaskState::Running,
            TaskState::Running,
            TaskState::Finished,
            TaskState::Failed,
            TaskState::Killed,
        ];
        let host = &mut self.hosts[agent];
        let live = host.tasks.iter_mut().find(|(_, state)| !state.is_terminal());
        let Some(((owner, name), now)) = live else { return };
        if let Ok(next) = now.advance(states[state]) {
            *now = next;
        }
        let (owner, name, now, end) = (owner.clone(), name.clone(), *now, host.end.clone());
        let connected = host.connected && !self.rig.closed_links.contains(&end.link);
        let framework =
            self.frameworks.iter().find(|one| one.0.id.as_str() == owner).unwrap().0.clone();
        if connected {
            let uuid = self.rig.update(&end, &framework, &name, now);
            self.rig.acknowledge(&framework, &end, &name, uuid);
        }
    }

    fn come_back(&mut self, agent: usize, forget: bool) {
        let host = &mut self.hosts[agent];
        if forget {
            host.tasks.clear();
        }
        let tasks = host
            .tasks
            .iter()
            .map(|((owner, name), state)| {
                let framework = self.frameworks.iter().find(|one| one.0.id.as_str() == owner);
                let wire = tepui_link::codec::wire_state(*state);
                reported(name, &framework.unwrap().0, &host.end, wire)
            })
            .collect();
        let (id, info) = (host.end.id.clone(), host.end.info.clone());
        match self.rig.register(Some(&id), info.clone(), tasks) {
            Some(end) => {
                host.end = end;
                host.connected = true;
            }
            None => {
                // Refused for good: the host starts over as a new agent.
                host.tasks.clear();
                if let Some(end) = self.rig.register(None, info, vec![]) {
                    host.end = end;
                    host.connected = true;
                }
            }
        }
    }

    /// Agents do as they are told, frameworks read what they got.
    fn settle(&mut self) {
        self.rig.allocate();
        for n in 0..self.hosts.len() {
            let end = self.hosts[n].end.clone();
            if self.rig.closed_links.contains(&end.link) {
                self.hosts[n].connected = false;
            }
            for order in self.rig.orders(&end) {
                self.obey(n, &order);
            }
        }
        for n in 0..self.frameworks.len() {
            let end = self.frameworks[n].0.clone();
            for event in self.rig.events(&end) {
                self.offers[n].extend(event.offers.into_iter().flat_map(|offers| offers.offers));
            }
        }
        self.check_final();
    }

    /// A task that ended stays what it is while it is tracked; only a lost one may come back
    /// (invariant I-10).
    fn check_final(&mut self) {
        for task in self.rig.cluster.tasks() {
            let key = (task.framework.to_string(), task.id.to_string());
            if let Some(ended) = self.ended.get(&key).filter(|state| **state != TaskState::Lost) {
                assert_eq!(task.state, *ended, "{key:?} came back");
            }
            if task.state.is_terminal() {
                self.ended.insert(key, task.state);
            }
        }
    }

    fn obey(&mut self, agent: usize, order: &Order) {
        match order {
            Order::Launch(launch) => {
                let owner = launch.framework.id.as_ref().unwrap().value.clone();
                for task in &launch.tasks {
                    let key = (owner.clone(), task.task_id.value.clone());
                    assert!(self.started.insert(key.clone()), "{key:?} started twice");
                    self.hosts[agent].tasks.insert(key, TaskState::Staging);
                }
            }
            Order::Kill { framework, task, .. } => {
                let key = (framework.to_string(), task.to_string());
                if let Some(state) = self.hosts[agent].tasks.get_mut(&key)
                    && !state.is_terminal()
                {
                    *state = TaskState::Killed;
                    let (end, owner) = (self.hosts[agent].end.clone(), framework.clone());
                    let owner = self.frameworks.iter().find(|one| one.0.id == owner);
                    let owner = owner.unwrap().0.clone();
                    if self.hosts[agent].connected {
                        let uuid = self.rig.update(&end, &owner, task.as_str(), TaskState::Killed);
                        self.rig.acknowledge(&owner, &end, task.as_str(), uuid);
                    }
                }
            }
            Order::Reconcile { tasks } => {
                for (framework, task, _) in tasks {
                    let owner = self.frameworks.iter().find(|one| one.0.id == *framework);
                    let (owner, end) = (owner.unwrap().0.clone(), self.hosts[agent].end.clone());
                    let uuid = self.rig.update(&end, &owner, task.as_str(), TaskState::Lost);
                    self.rig.acknowledge(&owner, &end, task.as_str(), uuid);
                }
            }
            Order::ShutdownFramework { framework } => {
                let gone = framework.to_string();
                self.hosts[agent].tasks.retain(|(owner, _), _| *owner != gone);
            }
            Order::Shutdown { .. } => self.hosts[agent].tasks.clear(),
            _ => {}
        }
    }

    /// Everything ends; what is left must be nothing.
    fn wind_down(&mut self) {
        for n in 0..3 {
            self.step(&Step::Come { framework: n });
            self.step(&Step::Return { agent: n, forget: false });
        }
        let frameworks: Vec<_> = self.rig.cluster.frameworks().map(|one| one.id.clone()).collect();
        for framework in frameworks {
            self.rig.operate(Operation::Teardown { framework });
        }
        assert_eq!(self.rig.cluster.offers().len(), 0);
        assert_eq!(self.rig.cluster.tasks().count(), 0);
        let ends: Vec<_> = self.hosts.iter().map(|host| host.end.clone()).collect();
        ends.iter().for_each(|end| self.rig.heartbeat(end));
        for agent in self.rig.cluster.agents() {
            assert_eq!(agent.free, agent.total, "a leak on {}", agent.id);
        }
        // The allocator thinks so too: a newcomer is offered everything there is.
        let active = self.rig.cluster.agents().filter(|agent| agent.is_active()).count();
        let newcomer = self.rig.framework("newcomer", PLAIN);
        let offers = self.rig.offers(&newcomer);
        assert_eq!(offers.len(), active);
        for offer in offers {
            let cpus = offer.resources.iter().find(|one| one.name == "cpus").unwrap();
            assert!((cpus.scalar.as_ref().unwrap().value - 4.0).abs() < 1e-9, "{offer:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_books_add_up_in_every_history(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.wind_down();
    }
}

#[test]
fn heartbeats_of_strangers_change_nothing() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", RESOURCES);
    rig.report(&agent, Report::Heartbeat { seen: 1, executors: 0, leftovers: Vec::new() });
    assert_eq!(rig.free(&agent), "cpus:4;mem:400;ports:[1-20]");
}
