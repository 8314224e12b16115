//! What must always hold, and what must hold in the end (the invariants I-…).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tepui_agent::{Record, RunSpec};
use tepui_apps::{Condition, InstanceRecord};
use tepui_leader::{Effect, Event, Leader};
use tepui_link::{Order, Report};
use tepui_types::{AgentId, FrameworkId, Now, Resources, TaskId, TaskState, UpdateId, Uuid};
use tepui_wire::v1;
use tepui_wire::v1::scheduler::event;

use crate::host::Host;
use crate::scheduler::launched;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which, as `I-5`.
    pub invariant: &'static str,
    /// Simulated milliseconds since the start.
    pub at_millis: u64,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms: {}", self.invariant, self.at_millis, self.what)
    }
}

/// The updates of one task on one host, in the order in which they came to be.
#[derive(Clone, Debug, Default)]
struct Stream {
    made: Vec<UpdateId>,
    acknowledged: BTreeSet<UpdateId>,
}

/// What a framework was told of one task.
#[derive(Clone, Debug, Default)]
struct History {
    seen: Vec<Uuid>,
    ended: Option<TaskState>,
}

/// The bookkeeping of the checks: kept apart from everything that is checked.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) violations: Vec<Violation>,
    /// Offers that launched something.
    accepted: BTreeSet<String>,
    /// Main processes by framework and executor.
    started: BTreeMap<(String, String), String>,
    /// Tasks that custom executors got.
    received: BTreeSet<(FrameworkId, String)>,
    streams: BTreeMap<(usize, FrameworkId, TaskId), Stream>,
    histories: BTreeMap<(String, String), History>,
    /// Tasks of instances of apps that were decided to end.
    ended: BTreeSet<String>,
    /// Tasks of apps whose end a client asked for.
    pub(crate) excused: BTreeSet<String>,
    /// The books are counted afresh after each event; of so many events for one in long runs.
    pub(crate) books_every: u64,
    events: u64,
}

/// What has to come of an event.
#[derive(Debug, Default)]
pub(crate) struct Expectation {
    accept: Option<Accept>,
}

#[derive(Debug)]
struct Accept {
    offers: Vec<String>,
    tasks: Vec<String>,
    valid: bool,
}

impl Checks {
    pub(crate) fn violate(&mut self, now: Now, invariant: &'static str, what: String) {
        // The first few tell the story; a broken invariant is often broken again and again.
        if self.violations.len() < 20 {
            let at_millis = now.mono.as_nanos() / 1_000_000 - 1000;
            self.violations.push(Violation { invariant, at_millis, what });
        }
    }

    /// Looks at an event before the leader handles it.
    pub(crate) fn before(&mut self, leader: &Leader, event: &Event) -> Expectation {
        let Event::Cluster(tepui_cluster::Event::Call { stream, call, .. }) = event else {
            return Expectation::default();
        };
        let Some(accept) = &call.accept else { return Expectation::default() };
        let framework = call.framework_id.as_ref();
        let offers: Vec<String> = accept.offer_ids.iter().map(|id| id.value.clone()).collect();
        let cluster = leader.cluster();
        let subscribed = framework
            .and_then(|id| FrameworkId::parse(&id.value).ok())
            .and_then(|id| cluster.framework(&id))
            .is_some_and(|framework| framework.stream() == *stream && stream.is_some());
        let valid = !offers.is_empty()
            && offers.iter().all(|id| cluster.offers().any(|offer| offer.id.as_str() == id));
        let tasks = launched(call);
        Expectation { accept: subscribed.then_some(Accept { offers, tasks, valid }) }
    }

    /// Looks at what the leader made of it.
    pub(crate) fn after(
        &mut self,
        now: Now,
        leader: &Leader,
        expectation: Expectation,
        effects: &[Effect],
    ) {
        self.events += 1;
        if self.events.is_multiple_of(self.books_every.max(1)) {
            self.books(now, leader);
        }
        if let Some(accept) = expectation.accept {
            self.accept(now, &accept, effects);
        }
    }

    /// Looks at what became durable: decisions that died with the process were never made.
    pub(crate) fn saved(&mut self, now: Now, leader: &Leader, durable: &[Effect]) {
        for effect in durable {
            if let Effect::SaveApps(record) = effect
                && let tepui_apps::Record::Instance(instance) = &**record
                && instance.goal != tepui_apps::Goal::Running
            {
                self.end_of_instance(now, leader, instance);
            }
        }
    }

    /// I-1: what is offered and what is held never exceeds what there is, counted afresh.
    fn books(&mut self, now: Now, leader: &Leader) {
        let cluster = leader.cluster();
        for agent in cluster.agents() {
            let mut rest = agent.total.clone();
            let mut fits = true;
            let mut take = |resources: &Resources| fits &= rest.checked_remove(resources);
            for number in &agent.offers {
                if let Some(offer) = cluster.offer(*number) {
                    take(&offer.resources);
                }
            }
            for (framework, tasks) in &agent.tasks {
                for task in tasks {
                    let known = cluster.task(framework, task);
                    if let Some(task) = known.filter(|task| !task.state.is_terminal()) {
                        take(&task.resources);
                    }
                }
            }
            for executors in agent.executors.values() {
                executors.values().for_each(|executor| take(&executor.resources));
            }
            agent.departing.values().flat_map(|one| one.held()).for_each(take);
            if !fits && !agent.overbooked {
                self.violate(now, "I-1", format!("agent {} gives out more than it has", agent.id));
            } else if fits && rest != agent.free {
                let what = format!(
                    "agent {}: the books say {} is free, it is {rest}",
                    agent.id, agent.free
                );
                self.violate(now, "I-1", what);
            }
        }
    }

    /// I-3: an offer is accepted at most once; ACCEPT on a dead one launches nothing and gives
    /// each task one state.
    fn accept(&mut self, now: Now, accept: &Accept, effects: &[Effect]) {
        let mut launched: BTreeSet<&str> = BTreeSet::new();
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::ToAgent { directive, .. } => {
                    if let Order::Launch(order) = &directive.order {
                        launched.extend(order.tasks.iter().map(|task| task.task_id.value.as_str()));
                    }
                }
                Effect::ToFramework { event, .. } if event.r#type() == event::Type::Update => {
                    if let Some(update) = &event.update {
                        *told.entry(update.status.task_id.value.as_str()).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        if accept.valid {
            for offer in &accept.offers {
                if !self.accepted.insert(offer.clone()) {
                    self.violate(now, "I-3", format!("offer {offer} was accepted twice"));
                }
            }
        }
        for task in &accept.tasks {
            let started = launched.contains(task.as_str());
            let states = told.get(task.as_str()).copied().unwrap_or(0);
            if !accept.valid && started {
                let what = format!("{task} was launched on an offer that is over");
                self.violate(now, "I-3", what);
            }
            if !started && states != 1 {
                let what = format!("{task} was not launched and got {states} states");
                self.violate(now, "I-3", what);
            }
        }
    }

    /// I-28: while a deployment runs, each instance that it decides to end leaves enough healthy
    /// ones.
    fn end_of_instance(&mut self, now: Now, leader: &Leader, instance: &InstanceRecord) {
        let Some(task) = &instance.task else { return };
        let first = self.ended.insert(task.id.to_string());
        if !first || self.excused.contains(&task.id.to_string()) {
            return;
        }
        // What was saved with it may be newer: it counts as what it was when that was decided.
        if instance.condition != Condition::Running {
            return;
        }
        let apps = leader.apps();
        let Some(victim) = apps.task(&task.id) else { return };
        let Some(app) = apps.app(&victim.app_id) else { return };
        let healthy = |task: &tepui_marathon::Task| {
            let well = task.health_check_results.iter().all(|health| health.alive);
            task.state == TaskState::Running && task.started_at.is_some() && well
        };
        if apps.deployments_of(&app.id).is_empty() || !healthy(&victim) {
            return;
        }
        let needed = app.upgrade_strategy.minimum_health_capacity.ceil_of(app.instances);
        let others = apps.tasks(&app.id).into_iter();
        let left = others.filter(|o| healthy(o) && !self.ended.contains(&o.id.to_string())).count();
        if left < usize::try_from(needed).unwrap_or(usize::MAX) {
            let what = format!(
                "ending {} leaves {left} of {} healthy, {needed} are needed",
                task.id, app.id
            );
            self.violate(now, "I-28", what);
        }
    }

    pub(crate) fn alarm(&mut self, now: Now, alarm: &tepui_apps::Alarm) {
        if let tepui_apps::Alarm::RecordIgnored { what } = alarm {
            self.violate(now, "I-49", format!("a record was inconsistent: {what}"));
        }
    }

    /// I-5: a task has at most one main process, ever. And no two live processes share a port or
    /// hold more than the host has (I-1, the ground truth).
    pub(crate) fn process_started(&mut self, now: Now, host: &Host, spec: &RunSpec) {
        let variable = |name: &str| {
            let found = spec.environment.iter().rev().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        // A task of a pod has a process of its own.
        let task = Some(variable("MESOS_TASK_ID")).filter(|task| !task.is_empty());
        let own = task.unwrap_or_else(|| variable("MESOS_EXECUTOR_ID"));
        let key = (variable("MESOS_FRAMEWORK_ID"), own);
        if key.0.is_empty() || key.1.is_empty() {
            self.violate(now, "I-5", format!("run {} has no task in its environment", spec.run));
            return;
        }
        if let Some(executor) = host
            .live()
            .filter_map(|one| one.executor.as_ref())
            .find(|one| one.framework.as_str() == key.0 && one.id.as_str() == key.1)
        {
            // A custom executor may be started again after its end, for new tasks.
            let same = |one: &&crate::host::Process| {
                one.executor
                    .as_ref()
                    .is_some_and(|one| one.id == executor.id && one.framework == executor.framework)
            };
            if host.live().filter(same).count() > 1 {
                let what = format!("executor {} of {} runs twice on {}", key.1, key.0, host.name);
                self.violate(now, "I-5", what);
            }
        } else if let Some(before) = self.started.insert(key.clone(), host.name.clone()) {
            let what = format!(
                "task {} of {} was started twice: {before} and {}",
                key.1, key.0, host.name
            );
            self.violate(now, "I-5", what);
        }
        let mut rest = host.total.clone();
        for process in host.live() {
            let held = process.holds();
            if !rest.checked_remove(&held) {
                let what = format!("{} runs more than it has: {held}", host.name);
                self.violate(now, "I-1", what);
            }
        }
    }

    /// I-5 for tasks of custom executors: each is handed out once, ever.
    pub(crate) fn task_reached_executor(&mut self, now: Now, framework: &FrameworkId, task: &str) {
        if !self.received.insert((framework.clone(), task.to_owned())) {
            let what = format!("task {task} of {framework} was given to an executor twice");
            self.violate(now, "I-5", what);
        }
    }

    /// An agent's journal got a record.
    pub(crate) fn journaled(&mut self, host: usize, record: &Record) {
        match record {
            Record::Update { framework, status } => {
                let task = TaskId::parse(&status.task_id.value).ok();
                let update = status.uuid.as_deref().and_then(UpdateId::from_slice);
                if let (Some(task), Some(update)) = (task, update) {
                    let key = (host, framework.clone(), task);
                    self.streams.entry(key).or_default().made.push(update);
                }
            }
            Record::Acknowledged { framework, task, update } => {
                let key = (host, framework.clone(), task.clone());
                self.streams.entry(key).or_default().acknowledged.insert(*update);
            }
            _ => {}
        }
    }

    /// The host was cleaned.
    pub(crate) fn wiped(&mut self, host: usize) {
        self.streams.retain(|(of, _, _), _| *of != host);
    }

    /// I-8: an update is not sent before the ones before it are acknowledged. I-9: nor after it
    /// was acknowledged itself. And none is sent that is not in the journal (I-7).
    pub(crate) fn reported(&mut self, now: Now, host: usize, report: &Report) {
        let Report::Update { framework, status, .. } = report else { return };
        let task = TaskId::parse(&status.task_id.value).ok();
        let update = status.uuid.as_deref().and_then(UpdateId::from_slice);
        let (Some(task), Some(update)) = (task, update) else { return };
        let name = task.to_string();
        let key = (host, framework.clone(), task);
        let Some(stream) = self.streams.get(&key) else {
            self.violate(now, "I-7", format!("an update of {name} was sent before it was saved"));
            return;
        };
        let Some(at) = stream.made.iter().position(|made| *made == update) else {
            self.violate(now, "I-7", format!("an update of {name} was sent before it was saved"));
            return;
        };
        if stream.made[..at].iter().any(|made| !stream.acknowledged.contains(made)) {
            self.violate(now, "I-8", format!("an update of {name} overtook an earlier one"));
        } else if stream.acknowledged.contains(&update) {
            self.violate(now, "I-9", format!("an acknowledged update of {name} was sent again"));
        }
    }

    /// I-10: an end is final. I-8: first deliveries come in order.
    pub(crate) fn delivered(
        &mut self,
        now: Now,
        framework: &str,
        status: &v1::TaskStatus,
        state: TaskState,
    ) {
        let Some(uuid) = status.uuid.as_deref().and_then(Uuid::from_slice) else { return };
        let key = (framework.to_owned(), status.task_id.value.clone());
        let history = self.histories.entry(key).or_default();
        if history.seen.contains(&uuid) {
            return;
        }
        let (task, ended) = (&status.task_id.value, history.ended);
        history.seen.push(uuid);
        if state.is_terminal() {
            history.ended = Some(state);
        }
        if let Some(ended) = ended {
            let what = format!("{task} was {} and is {} now", ended.wire_name(), state.wire_name());
            self.violate(now, "I-10", what);
        }
        let made: Vec<&Stream> = self
            .streams
            .iter()
            .filter(|((_, _, id), stream)| id.as_str() == *task && stream.made.contains(&uuid))
            .map(|(_, stream)| stream)
            .collect();
        if let [stream] = made.as_slice() {
            let at = stream.made.iter().position(|made| *made == uuid).unwrap_or(0);
            let key = (framework.to_owned(), task.clone());
            let later = &stream.made[at + 1..];
            let overtaken = self
                .histories
                .get(&key)
                .is_some_and(|history| later.iter().any(|made| history.seen.contains(made)));
            if overtaken {
                let what = format!("an update of {task} was delivered after a later one");
                self.violate(now, "I-8", what);
            }
        }
    }
}

/// True when the agent has nothing that waits for an acknowledgement.
pub(crate) fn all_acknowledged(host: &Host, mute: &BTreeSet<FrameworkId>) -> bool {
    let Some(agent) = &host.agent else { return false };
    agent
        .frameworks()
        .filter(|framework| !mute.contains(&framework.id))
        .all(|framework| framework.tasks.values().all(|task| task.pending.is_empty()))
}

/// What a reader needs to know of an agent's books.
pub(crate) fn unused(leader: &Leader, agent: &AgentId) -> bool {
    leader.cluster().agent(agent).is_some_and(|agent| {
        agent.used.is_empty() && agent.free.plus(&agent.offered) == agent.total
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tepui_types::Entropy;

    use super::*;
    use crate::run::parse;

    fn host() -> Host {
        let info = v1::AgentInfo::default();
        let config = tepui_agent::Config::new(info, "127.0.0.1");
        Host::new("host0", config, parse("cpus:1"), Entropy::seeded(1))
    }

    fn spec(framework: &str, task: &str) -> RunSpec {
        RunSpec {
            title: "t".into(),
            network: None,
            run: tepui_types::ContainerId::parse("run").unwrap(),
            sandbox: "sandbox".into(),
            role: None,
            command: tepui_agent::Command::Shell("forever".to_owned()),
            environment: vec![
                ("MESOS_FRAMEWORK_ID".to_owned(), framework.to_owned()),
                ("MESOS_EXECUTOR_ID".to_owned(), task.to_owned()),
            ],
            secret_variables: std::collections::BTreeSet::new(),
            secret_files: Vec::new(),
            user: None,
            rlimits: None,
            ports: tepui_types::Ranges::new(),
            resources: Resources::new(),
            container: None,
            limits: Box::default(),
        }
    }

    fn status(number: u64) -> v1::TaskStatus {
        v1::TaskStatus {
            task_id: v1::TaskId { value: "t".to_owned() },
            uuid: Some(Entropy::seeded(number).uuid().as_bytes().to_vec()),
            ..v1::TaskStatus::default()
        }
    }

    fn broken(checks: &Checks) -> Vec<&'static str> {
        checks.violations.iter().map(|violation| violation.invariant).collect()
    }

    fn now() -> Now {
        let mono = tepui_types::Mono::from_nanos(2_000_000_000);
        Now { mono, ..Now::default() }
    }

    #[test]
    fn a_second_process_of_a_task_is_noticed() {
        let mut checks = Checks::default();
        checks.process_started(now(), &host(), &spec("f", "t1"));
        checks.process_started(now(), &host(), &spec("f", "t2"));
        assert_eq!(broken(&checks), [""; 0]);
        checks.process_started(now(), &host(), &spec("f", "t1"));
        assert_eq!(broken(&checks), ["I-5"]);
    }

    #[test]
    fn an_update_that_was_not_saved_or_overtakes_or_comes_again_is_noticed() {
        let mut checks = Checks::default();
        let framework = FrameworkId::parse("f").unwrap();
        let update = |number| Report::Update {
            framework: framework.clone(),
            status: Box::new(status(number)),
            latest_state: TaskState::Running,
        };
        checks.reported(now(), 0, &update(1));
        assert_eq!(broken(&checks), ["I-7"]);
        for number in [1, 2] {
            let status = Box::new(status(number));
            checks.journaled(0, &Record::Update { framework: framework.clone(), status });
        }
        checks.reported(now(), 0, &update(1));
        assert_eq!(broken(&checks), ["I-7"]);
        checks.reported(now(), 0, &update(2));
        assert_eq!(broken(&checks), ["I-7", "I-8"]);
        let acknowledged = Record::Acknowledged {
            framework: framework.clone(),
            task: TaskId::parse("t").unwrap(),
            update: Entropy::seeded(1).uuid(),
        };
        checks.journaled(0, &acknowledged);
        checks.reported(now(), 0, &update(2));
        checks.reported(now(), 0, &update(1));
        assert_eq!(broken(&checks), ["I-7", "I-8", "I-9"]);
    }

    #[test]
    fn a_second_end_of_a_task_is_noticed() {
        let mut checks = Checks::default();
        checks.delivered(now(), "f", &status(1), TaskState::Finished);
        checks.delivered(now(), "f", &status(1), TaskState::Finished);
        assert_eq!(broken(&checks), [""; 0]);
        checks.delivered(now(), "f", &status(2), TaskState::Failed);
        assert_eq!(broken(&checks), ["I-10"]);
    }
}
