use tepui_cluster::{Operation, RefusalKind, Response};
use tepui_link::Order;
use tepui_types::{Span, TaskState};
use tepui_wire::v1;

use crate::rig::*;

fn drain(agent: &AgentEnd, grace: Option<u64>, mark_gone: bool) -> Operation {
    let max_grace = grace.map(Span::from_secs);
    Operation::DrainAgent { agent: agent.id.clone(), max_grace, mark_gone }
}

fn reactivate(agent: &AgentEnd) -> Operation {
    Operation::SetAgentActive { agent: agent.id.clone(), active: true }
}

/// Grace of every kill that the agent was ordered, in seconds.
fn kills(orders: &[Order]) -> Vec<Option<i64>> {
    let policies = orders.iter().filter_map(|order| match order {
        Order::Kill { kill_policy, .. } => Some(*kill_policy),
        _ => None,
    });
    policies.map(|policy| Some(policy?.grace_period?.nanoseconds / 1_000_000_000)).collect()
}

#[test]
fn an_agent_that_drains_kills_its_tasks_and_is_drained_once_they_are_acknowledged() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(AWARE);
    assert_eq!(rig.operate(drain(&agent, None, false)), Response::Done);
    assert_eq!(kills(&rig.orders(&agent)), [None]);
    assert!(!rig.cluster.drain_of(&agent.id).unwrap().drained);
    assert_eq!(refusal(rig.operate(reactivate(&agent))).0, RefusalKind::Invalid, "not yet");
    let update = rig.update(&agent, &framework, "t1", TaskState::Killed);
    assert_eq!(summary(&rig.statuses(&framework)), ["t1 KILLED AGENT_DRAINING"]);
    assert!(!rig.cluster.drain_of(&agent.id).unwrap().drained, "not acknowledged");
    rig.acknowledge(&framework, &agent, "t1", update);
    assert!(rig.cluster.drain_of(&agent.id).unwrap().drained);
    assert!(rig.offers(&framework).is_empty());
    assert_eq!(rig.operate(reactivate(&agent)), Response::Done);
    assert_eq!(rig.cluster.drain_of(&agent.id), None);
    rig.advance(secs(1));
    assert_eq!(rig.offers(&framework).len(), 1);
}

#[test]
fn a_grace_is_only_ever_made_shorter() {
    let mut rig = Rig::new();
    let (agent, _) = rig.with_running_task(AWARE);
    rig.operate(drain(&agent, Some(1), false));
    assert_eq!(kills(&rig.orders(&agent)), [Some(1)]);
    rig.operate(drain(&agent, Some(60), false));
    assert_eq!(kills(&rig.orders(&agent)), [None], "it has 3 s by itself");
}

#[test]
fn an_agent_may_be_declared_gone_when_it_is_empty() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(AWARE);
    rig.operate(drain(&agent, None, true));
    let update = rig.update(&agent, &framework, "t1", TaskState::Killed);
    assert_eq!(summary(&rig.statuses(&framework)), ["t1 GONE_BY_OPERATOR AGENT_DRAINING"]);
    rig.orders(&agent);
    rig.acknowledge(&framework, &agent, "t1", update);
    assert!(matches!(rig.orders(&agent)[..], [.., Order::Shutdown { .. }]));
    assert_eq!(rig.cluster.gone_agents().len(), 1);
    assert_eq!(rig.cluster.drain_of(&agent.id), None);
}

#[test]
fn a_drain_survives_a_change_of_leader_and_is_ordered_again() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(AWARE);
    rig.operate(drain(&agent, Some(1), false));
    rig.change_leader();
    let known = reported("t1", &framework, &agent, v1::TaskState::TaskRunning);
    let agent = rig.register(Some(&agent.id), agent.info, vec![known]).unwrap();
    assert_eq!(kills(&rig.orders(&agent)), [Some(1)]);
}

#[test]
fn an_empty_agent_is_drained_at_once_and_a_stranger_is_not() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:1;mem:64");
    rig.operate(drain(&agent, None, false));
    assert!(rig.cluster.drain_of(&agent.id).unwrap().drained);
    let mut stranger = agent;
    stranger.id = tepui_types::AgentId::parse("nobody").unwrap();
    assert_eq!(refusal(rig.operate(drain(&stranger, None, false))).0, RefusalKind::Invalid);
}
