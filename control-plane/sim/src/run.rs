//! One seeded run: faults first, then calm in which everything has to come right, then an end.

use std::collections::BTreeSet;
use std::hash::Hasher as _;

use tepui_marathon::AppId;
use tepui_types::{AgentId, Entropy, FrameworkId, Mono, Span};
use tepui_wire::resources::{Format, encode};
use tepui_wire::v1;

use crate::checks::{Violation, all_acknowledged, unused};
use crate::faults::FaultCounts;
use crate::host::Host;
use crate::queue::Action;
use crate::scheduler::{Behaviour, Known, Scheduler};
use crate::world::{Phase, World};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which run.
    pub seed: u64,
    /// The first invariants that did not hold.
    pub violations: Vec<Violation>,
    /// How often each kind of fault happened.
    pub faults: FaultCounts,
    /// The same for the same seed and build (invariant I-50).
    pub trace: u64,
    /// Simulated time.
    pub simulated: Span,
    /// Things that happened.
    pub steps: u64,
    /// Tasks that were launched by frameworks.
    pub tasks: u64,
    /// Tasks that reached a custom executor.
    pub executor_tasks: u64,
    /// The transcript, when one was asked for.
    pub story: Vec<String>,
}

/// How long everything may take to come right after the faults.
const PATIENCE: Span = Span::from_secs(240);
/// How long after the faults an accepted task may be without any state.
const PROMISE: Span = Span::from_secs(30);

pub(crate) fn cluster_config() -> tepui_cluster::Config {
    tepui_cluster::Config {
        heartbeat: Span::from_secs(2),
        patience: Span::from_secs(8),
        directive_patience: Span::from_secs(4),
        agent_reregister_timeout: Span::from_secs(20),
        offer_timeout: Some(Span::from_secs(3)),
        ..tepui_cluster::Config::default()
    }
}

pub(crate) fn apps_config() -> tepui_apps::Config {
    tepui_apps::Config {
        launch_token_refresh: Span::from_secs(3),
        decline_offer_duration: Span::from_secs(3),
        min_revive_interval: Span::from_secs(1),
        task_launch_timeout: Span::from_secs(15),
        reconciliation_delay: Span::from_secs(2),
        reconciliation_interval: Span::from_secs(10),
        scale_delay: Span::from_secs(3),
        scale_interval: Span::from_secs(10),
        kill_retry: Span::from_secs(3),
        ..tepui_apps::Config::default()
    }
}

pub(crate) fn add_host(world: &mut World, name: &str, total: tepui_types::Resources) {
    let info = v1::AgentInfo {
        hostname: name.to_owned(),
        port: Some(5051),
        resources: encode(&total, Format::PreRefinement, None),
        ..v1::AgentInfo::default()
    };
    let mut config = tepui_agent::Config::new(info, "127.0.0.1");
    config.switch_user = false;
    config.registration_backoff = Span::from_millis(200);
    config.registration_backoff_max = Span::from_secs(2);
    config.registration_timeout = Span::from_secs(3);
    config.executor_reregistration_timeout = Span::from_millis(300);
    let entropy = Entropy::seeded(world.random.next_u64());
    world.hosts.push(Host::new(name, config, total, entropy));
}

fn populate(world: &mut World) {
    world.control.cluster_config = cluster_config();
    world.control.apps_config = apps_config();
    let hosts = 2 + world.random.below(3);
    for n in 0..hosts {
        let cpus = 2 + world.random.below(4);
        let text = format!("cpus:{cpus};mem:2048;disk:4096;ports:[31000-31010]");
        add_host(world, &format!("host{n}"), parse(&text));
    }
    for n in 0..1 + world.random.below(2) {
        let wants = usize::try_from(2 + world.random.below(6)).unwrap_or(2);
        let mut worker = Scheduler::new(&format!("worker{n}"), Behaviour::Worker, wants);
        worker.partition_aware = world.random.chance(2, 3);
        if world.random.chance(1, 2) {
            worker.role = "eng/batch".to_owned();
        }
        world.schedulers.push(worker);
    }
    for (name, behaviour, wants) in [
        ("hoarder", Behaviour::Hoarder, 0),
        ("refuser", Behaviour::Refuser, 0),
        ("mute", Behaviour::Mute, 3),
    ] {
        if world.random.chance(1, 3) {
            world.schedulers.push(Scheduler::new(name, behaviour, wants));
        }
    }
    for n in 0..1 + world.random.below(3) {
        if let Ok(app) = AppId::parse(&format!("/app{n}")) {
            world.client.apps.push(app);
        }
    }
}

pub(crate) fn parse(text: &str) -> tepui_types::Resources {
    let role = tepui_types::Role::default_role();
    tepui_wire::resources::parse_text(text, &role).expect("the simulator's own text is legal")
}

pub(crate) fn start(world: &mut World) {
    world.after(Span::ZERO, Action::ControlStarts);
    for host in 0..world.hosts.len() {
        let pause = world.millis(0, 500);
        world.after(pause, Action::AgentStarts { host });
    }
    for scheduler in 0..world.schedulers.len() {
        let pause = world.millis(0, 1500);
        world.after(pause, Action::SchedulerStarts { scheduler });
    }
}

/// Runs one seed: faults for half of `length`, calm for the other half and for as long as
/// everything takes to come right, then the end of all work.
pub fn run(seed: u64, length: Span, story: bool) -> Outcome {
    let mut world = World::new(seed);
    populate(&mut world);
    if story {
        world.story = Some(Vec::new());
    }
    let begin = world.now.mono;
    start(&mut world);
    world.after(Span::from_millis(700), Action::ClientStep);
    world.after(Span::from_secs(1), Action::FaultStep);
    world.phase = Phase::Faults;
    let half = Span::from_nanos(length.as_nanos() / 2);
    while world.step(begin + half) {}
    world.calm();
    while world.step(begin + length) {}
    settle(&mut world, converged, "I-32");
    settle(&mut world, unkept_promise, "I-6");
    world.phase = Phase::Drain;
    world.after(Span::ZERO, Action::ClientStep);
    settle(&mut world, drained, "I-4");
    Outcome {
        seed,
        violations: std::mem::take(&mut world.checks.violations),
        faults: std::mem::take(&mut world.faults),
        trace: world.trace.finish(),
        simulated: world.elapsed(),
        steps: world.steps,
        tasks: world.schedulers.iter().map(|one| one.tasks.len() as u64).sum(),
        executor_tasks: world.executor_tasks,
        story: world.story.take().unwrap_or_default(),
    }
}

/// Goes on until nothing is missing any more, at most for [`PATIENCE`].
fn settle(world: &mut World, missing: fn(&World) -> Option<String>, invariant: &'static str) {
    let end = world.now.mono + PATIENCE;
    let mut at: Mono = world.now.mono;
    let mut what = missing(world);
    while what.is_some() && at < end && world.checks.violations.is_empty() {
        at += Span::from_secs(2);
        while world.step(at) {}
        if world.phase == Phase::Drain {
            world.after(Span::ZERO, Action::ClientStep);
        }
        what = missing(world);
    }
    if let Some(what) = what.filter(|_| world.checks.violations.is_empty()) {
        world.checks.violate(world.now, invariant, what);
    }
}

/// What has not come right yet after the faults (I-7, I-32).
fn converged(world: &World) -> Option<String> {
    let Some(leader) = &world.control.leader else {
        return Some("nobody leads".to_owned());
    };
    let connected = leader.cluster().agents().filter(|agent| agent.is_connected()).count();
    if connected < world.hosts.len() {
        return Some(format!("{connected} of {} agents are connected", world.hosts.len()));
    }
    let apps = leader.apps();
    if let Some(deployment) = apps.deployments().first() {
        return Some(format!("deployment of {:?} is stuck", deployment.affected_apps));
    }
    for app in apps.root().all_apps() {
        let restless = app.cmd.as_deref().is_some_and(|cmd| cmd.starts_with("sleep"));
        let counts = apps.counts(&app.id);
        let wanted = u64::from(app.instances);
        if !restless && u64::from(counts.tasks_running) != wanted {
            return Some(format!("{}: {} of {wanted} run", app.id, counts.tasks_running));
        }
    }
    for (app, instances) in &world.client.acknowledged {
        let known = apps.app(app).map(|app| app.instances);
        if known != *instances {
            return Some(format!("{app}: {instances:?} was acknowledged, {known:?} is known"));
        }
    }
    None
}

/// I-6: each task of an ACCEPT that was answered 202 gets a state in bounded time.
fn unkept_promise(world: &World) -> Option<String> {
    let late = |known: &Known| {
        let promised = known.promised.filter(|_| known.heard == 0);
        promised.is_some_and(|at| world.now.mono.since(at) > PROMISE)
    };
    let tasks = world.schedulers.iter().flat_map(|scheduler| &scheduler.tasks);
    let (task, _) = tasks.into_iter().find(|(_, known)| late(known))?;
    Some(format!("{task} was accepted and nothing was heard of it"))
}

/// What is left although all work was ended (I-4, I-7).
fn drained(world: &World) -> Option<String> {
    let Some(leader) = &world.control.leader else {
        return Some("nobody leads".to_owned());
    };
    let agents: Vec<AgentId> = leader.cluster().agents().map(|agent| agent.id.clone()).collect();
    for id in &agents {
        if !unused(leader, id) {
            let agent = leader.cluster().agent(id);
            let used = agent.map(|agent| agent.used.to_string()).unwrap_or_default();
            return Some(format!("{used} of {id} is still in use"));
        }
    }
    let nobody: BTreeSet<FrameworkId> = BTreeSet::new();
    for host in &world.hosts {
        if host.live().next().is_some() {
            return Some(format!("processes still run on {}", host.name));
        }
        if !all_acknowledged(host, &nobody) {
            return Some(format!("{} has updates that nobody acknowledged", host.name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tepui_cluster::told::ContainerTold;

    use super::*;

    #[test]
    fn what_agents_tell_of_usual_tasks_takes_little_room() {
        let mut world = World::new(1);
        world.control.cluster_config = cluster_config();
        add_host(&mut world, "host0", parse("cpus:4;mem:2048;disk:4096;ports:[31000-31010]"));
        world.schedulers.push(Scheduler::new("worker", Behaviour::Worker, 3));
        start(&mut world);
        let end = world.now.mono + Span::from_secs(20);
        while world.step(end) {}
        let leader = world.control.leader.as_ref().expect("nothing breaks here");
        let tasks = leader.cluster().frameworks().flat_map(|framework| framework.tasks.values());
        let (mut usual, mut told) = (0, 0);
        for status in tasks.flat_map(|task| &task.statuses) {
            told += usize::from(status.container().is_some());
            usual += usize::from(matches!(status.container(), Some(ContainerTold::Usual { .. })));
        }
        assert!(told > 0);
        assert_eq!(usual, told);
    }
}
