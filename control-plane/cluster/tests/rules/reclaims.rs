//! What an allocator takes back: unanswered offers, and revocable resources in use.

use tepui_allocator::{Plan, Reclaim};
use tepui_cluster::Event;
use tepui_link::Order;
use tepui_types::{Resources, Role, TaskState};
use tepui_wire::v1::{self, resource::RevocableInfo, task_status::Reason};

use crate::rig::*;

const TAKES_REVOCABLE: &[Capability] = &[Capability::RevocableResources];

fn revocable(text: &str) -> Vec<v1::Resource> {
    let mut all = wire_resources(text);
    for one in &mut all {
        one.revocable = Some(RevocableInfo::default());
    }
    all
}

fn bundle(wire: &[v1::Resource]) -> Resources {
    tepui_wire::resources::decode(wire).unwrap().resources
}

fn reclaim(agent: &AgentEnd, from: &FrameworkEnd, revocable: Resources) -> Event {
    let reclaim = Reclaim {
        framework: from.id.clone(),
        role: Role::default_role(),
        agent: agent.id.clone(),
        revocable,
        beneficiary: Role::parse("prod").unwrap(),
    };
    Event::Planned(Plan { reclaims: vec![reclaim], ..Plan::default() })
}

/// An agent with 2 cpus of its own and 4 revocable ones, and a framework that runs two tasks of 2
/// revocable cpus each and one of its own cpu there.
fn with_revocable_tasks() -> (Rig, AgentEnd, FrameworkEnd) {
    let mut rig = Rig::new();
    let mut info = agent_info("a1", "cpus:2;mem:1024");
    info.resources.extend(revocable("cpus:4"));
    let agent = rig.register(None, info, Vec::new()).unwrap();
    let framework = rig.framework("f", TAKES_REVOCABLE);
    let offer = rig.offers(&framework).remove(0);
    let cheap = |name: &str| {
        let mut resources = revocable("cpus:2");
        resources.extend(wire_resources("mem:128"));
        v1::TaskInfo { resources, ..task(name, &agent, "cpus:1") }
    };
    let firm = task("firm", &agent, "cpus:1;mem:128");
    rig.launch(&framework, &offer, vec![firm, cheap("old"), cheap("new")]);
    for (name, second) in [("firm", 1), ("old", 2), ("new", 3)] {
        rig.update_at(&agent, &framework, name, TaskState::Running, f64::from(second));
    }
    rig.orders(&agent);
    rig.events(&framework);
    (rig, agent, framework)
}

fn killed(rig: &mut Rig, agent: &AgentEnd) -> Vec<String> {
    let kills = rig.orders(agent).into_iter().filter_map(|order| match order {
        Order::Kill { task, .. } => Some(task.to_string()),
        _ => None,
    });
    kills.collect()
}

#[test]
fn an_unanswered_offer_is_rescinded_for_somebody_who_comes_first() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:4;mem:1024");
    let framework = rig.framework("f", PLAIN);
    assert_eq!(rig.offers(&framework).len(), 1);
    rig.act(reclaim(&agent, &framework, Resources::new()));
    assert!(rig.events(&framework).iter().any(|event| event.rescind.is_some()));
    assert_eq!(rig.free(&agent), "cpus:4;mem:1024");
    assert_eq!(rig.cluster.counters().reclaimed_offers, 1);
}

#[test]
fn the_newest_revocable_tasks_are_killed_as_far_as_is_needed_and_told_why() {
    let (mut rig, agent, framework) = with_revocable_tasks();
    rig.act(reclaim(&agent, &framework, bundle(&revocable("cpus:1"))));
    assert_eq!(killed(&mut rig, &agent), ["new"]);
    // What is being killed counts, so asking again kills nobody else.
    rig.act(reclaim(&agent, &framework, bundle(&revocable("cpus:2"))));
    assert!(killed(&mut rig, &agent).is_empty());
    rig.act(reclaim(&agent, &framework, bundle(&revocable("cpus:3"))));
    assert_eq!(killed(&mut rig, &agent), ["old"]);
    rig.update(&agent, &framework, "new", TaskState::Killed);
    let status = rig.statuses(&framework).pop().unwrap();
    assert_eq!(status.reason(), Reason::ContainerPreempted);
    assert_eq!(status.message(), "Preempted: its revocable resources are for role 'prod'");
    // An agent says how the task ended, which is no reason.
    rig.update_saying(&agent, &framework, "old", TaskState::Killed, "Command terminated");
    let status = rig.statuses(&framework).pop().unwrap();
    assert_eq!(
        status.message(),
        "Preempted: its revocable resources are for role 'prod'; Command terminated"
    );
    assert_eq!(rig.cluster.counters().preempted_tasks, 2);
}

#[test]
fn what_is_in_use_and_not_revocable_is_never_taken() {
    let (mut rig, agent, framework) = with_revocable_tasks();
    rig.act(reclaim(&agent, &framework, bundle(&wire_resources("cpus:2;mem:512"))));
    assert!(killed(&mut rig, &agent).is_empty());
    let stranger = rig.framework("stranger", PLAIN);
    rig.act(reclaim(&agent, &stranger, bundle(&revocable("cpus:4"))));
    assert!(killed(&mut rig, &agent).is_empty(), "it has nothing there");
}
