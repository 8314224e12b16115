use tepui_cluster::{Event, Operation, RefusalKind, Response};
use tepui_link::Order;
use tepui_types::{AgentId, FrameworkId, Role, TaskState};
use tepui_wire::v1::{self, master::event::Type};

use crate::rig::*;

#[test]
fn an_agent_marked_gone_never_serves_again_under_its_id() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(AWARE);
    let gone = || Operation::MarkAgentGone { agent: agent.id.clone() };
    assert_eq!(rig.operate(gone()), Response::Done);
    assert!(matches!(rig.orders(&agent)[..], [Order::Shutdown { .. }]));
    let statuses = rig.statuses(&framework);
    assert_eq!(summary(&statuses), ["t1 GONE_BY_OPERATOR AGENT_REMOVED_BY_OPERATOR"]);
    assert_eq!(rig.operate(gone()), Response::Done, "again is fine");
    assert!(rig.register(Some(&agent.id), agent.info.clone(), vec![]).is_none());
    rig.change_leader();
    assert!(rig.register(Some(&agent.id), agent.info.clone(), vec![]).is_none());
}

#[test]
fn an_unreachable_agent_can_be_marked_gone() {
    let mut rig = Rig::new();
    let (agent, framework) = rig.with_running_task(AWARE);
    rig.advance(secs(80));
    rig.events(&framework);
    rig.operate(Operation::MarkAgentGone { agent: agent.id.clone() });
    let statuses = rig.statuses(&framework);
    assert_eq!(summary(&statuses), ["t1 GONE_BY_OPERATOR AGENT_REMOVED_BY_OPERATOR"]);
    let known = rig.cluster.framework(&framework.id).unwrap();
    assert!(known.unreachable.is_empty());
    assert_eq!(known.completed[0].state, TaskState::GoneByOperator);
}

#[test]
fn an_unknown_agent_cannot_be_marked_gone() {
    let mut rig = Rig::new();
    let agent = AgentId::parse("nobody").unwrap();
    let response = rig.operate(Operation::MarkAgentGone { agent });
    assert_eq!(refusal(response).0, RefusalKind::NotFound);
}

#[test]
fn an_operator_tears_a_framework_down() {
    let mut rig = Rig::new();
    let (_, framework) = rig.with_running_task(PLAIN);
    let teardown = |id: &FrameworkId| Operation::Teardown { framework: id.clone() };
    assert_eq!(rig.operate(teardown(&framework.id)), Response::Done);
    assert!(rig.closed_streams.contains(&framework.stream));
    assert_eq!(refusal(rig.operate(teardown(&framework.id))).0, RefusalKind::Invalid);
}

#[test]
fn a_deactivated_agent_is_not_offered_even_after_a_change_of_leader() {
    let mut rig = Rig::new();
    let agent = rig.agent("a1", "cpus:1;mem:64");
    let framework = rig.framework("f", PLAIN);
    assert_eq!(rig.offers(&framework).len(), 1);
    let set = |active| Operation::SetAgentActive { agent: agent.id.clone(), active };
    assert_eq!(refusal(rig.operate(set(true))).0, RefusalKind::Invalid);
    assert_eq!(rig.operate(set(false)), Response::Done);
    assert!(rig.events(&framework).iter().any(|event| event.rescind.is_some()));
    rig.change_leader();
    let framework = rig.subscribe(framework.info).unwrap();
    rig.register(Some(&agent.id), agent.info.clone(), vec![]).unwrap();
    assert!(rig.offers(&framework).is_empty());
    assert_eq!(rig.operate(set(true)), Response::Done);
    assert_eq!(rig.offers(&framework).len(), 1);
}

#[test]
fn new_weights_are_durable_and_start_the_offers_over() {
    let mut rig = Rig::new();
    rig.agent("a1", "cpus:1;mem:64");
    let framework = rig.framework("f", PLAIN);
    assert_eq!(rig.offers(&framework).len(), 1);
    let weigh = |weight| Operation::UpdateWeights { weights: vec![(Role::default_role(), weight)] };
    assert_eq!(refusal(rig.operate(weigh(0))).0, RefusalKind::Invalid);
    assert_eq!(rig.operate(weigh(2500)), Response::Done);
    assert!(rig.events(&framework).iter().any(|event| event.rescind.is_some()));
    rig.change_leader();
    assert_eq!(rig.cluster.weights()[&Role::default_role()], 2500);
    assert_eq!(rig.cluster.roles()[&Role::default_role()].weight, 2500);
}

#[test]
fn watchers_see_agents_frameworks_and_tasks_come_and_go() {
    let mut rig = Rig::new();
    rig.act(Event::Watchers(1));
    let (agent, framework) = rig.with_running_task(PLAIN);
    rig.update(&agent, &framework, "t1", TaskState::Finished);
    rig.operate(Operation::Teardown { framework: framework.id.clone() });
    rig.report(&agent, tepui_link::Report::Unregister);
    let kinds: Vec<_> = rig.published.iter().map(v1::master::Event::r#type).collect();
    assert_eq!(
        kinds,
        [
            Type::AgentAdded,
            Type::FrameworkAdded,
            Type::TaskAdded,
            Type::TaskUpdated,
            Type::TaskUpdated,
            Type::FrameworkRemoved,
            Type::AgentRemoved,
        ]
    );
    rig.act(Event::Watchers(0));
    rig.agent("a2", "cpus:1;mem:64");
    assert_eq!(rig.published.len(), 7, "nothing is built for nobody");
}
