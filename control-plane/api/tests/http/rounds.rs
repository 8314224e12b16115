//! Subscribe, launch, update, acknowledge, kill: in both forms.

use serde_json::json;
use tepui_link::Order;
use tepui_types::{FrameworkId, TaskState};
use tepui_wire::v1::scheduler::{self, call, event};
use tepui_wire::{MediaType, media, v1};

use crate::client::{PROTOBUF, Rig, SCHEDULER, request};
use crate::scenes::{
    accept, acknowledge, agent_info, base64, framework_info, resources, subscribe, subscribe_as,
    task,
};

#[tokio::test(start_paused = true)]
async fn a_json_framework_launches_a_task_and_hears_of_it() {
    let rig = Rig::new();
    let agent = rig.plane.agent(agent_info("a1.test"));
    let mut framework = subscribe(&rig, "json").await;
    let offers = framework.offers().await;
    let offer = &offers[0];
    assert_eq!(offer["hostname"], "a1.test");
    assert_eq!(offer["agent_id"]["value"], agent.id.as_str());
    assert_eq!(offer["url"]["path"], "/slave(1)");
    let answer =
        rig.call(&framework.stream, &accept(&framework, offer, &[task("t1", &agent)])).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    let orders = rig.plane.orders(&agent);
    let [Order::Launch(launch)] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(launch.tasks[0].task_id.value, "t1");

    let uuid = rig.plane.update(&agent, &framework.id(), "t1", TaskState::Running);
    let event = framework.next().await;
    assert_eq!(event["type"], "UPDATE");
    let status = &event["update"]["status"];
    assert_eq!(status["state"], "TASK_RUNNING");
    assert_eq!(status["uuid"], base64(&uuid));
    acknowledge(&rig, &framework, &agent, "t1", &uuid).await;
    assert!(matches!(rig.plane.orders(&agent)[..], [Order::Acknowledge { .. }]));

    let mut kill = framework.call("KILL");
    kill["kill"] = json!({ "task_id": { "value": "t1" } });
    assert_eq!(rig.call(&framework.stream, &kill).await.status, 202);
    assert!(matches!(rig.plane.orders(&agent)[..], [Order::Kill { .. }]));
    rig.plane.update(&agent, &framework.id(), "t1", TaskState::Killed);
    let event = framework.next().await;
    assert_eq!(event["update"]["status"]["state"], "TASK_KILLED");
}

fn protobuf_call(id: &FrameworkId, kind: call::Type) -> scheduler::Call {
    scheduler::Call {
        framework_id: Some(v1::FrameworkId { value: id.to_string() }),
        r#type: Some(kind.into()),
        ..scheduler::Call::default()
    }
}

async fn send(rig: &Rig, stream: &str, call: &scheduler::Call) -> u16 {
    let headers = [("content-type", PROTOBUF), ("mesos-stream-id", stream)];
    let body = media::encode(MediaType::Protobuf, call);
    rig.post_with(SCHEDULER, &headers, body).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn a_protobuf_framework_launches_a_task_and_hears_of_it() {
    let rig = Rig::new();
    let agent = rig.plane.agent(agent_info("a1.test"));
    let call = scheduler::Call {
        r#type: Some(call::Type::Subscribe.into()),
        subscribe: Some(call::Subscribe {
            framework_info: v1::FrameworkInfo {
                user: "nobody".into(),
                name: "protobuf".into(),
                ..v1::FrameworkInfo::default()
            },
            ..call::Subscribe::default()
        }),
        ..scheduler::Call::default()
    };
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    let body = media::encode(MediaType::Protobuf, &call).into();
    let mut events = rig.open(request(http::Method::POST, SCHEDULER, &headers, body)).await;
    assert_eq!(events.headers["content-type"], PROTOBUF);
    let stream = events.stream_id();
    let mut next = async |kind: event::Type| {
        let event: scheduler::Event = events.message(MediaType::Protobuf).await;
        assert_eq!(event.r#type(), kind, "{event:?}");
        event
    };
    let subscribed = next(event::Type::Subscribed).await.subscribed.unwrap();
    let id = FrameworkId::parse(&subscribed.framework_id.value).unwrap();
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    next(event::Type::Heartbeat).await;
    let offers = next(event::Type::Offers).await.offers.unwrap().offers;
    let accept = scheduler::Call {
        accept: Some(call::Accept {
            offer_ids: vec![offers[0].id.clone()],
            operations: vec![v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch.into()),
                launch: Some(v1::offer::operation::Launch {
                    task_infos: vec![v1::TaskInfo {
                        name: "t1".into(),
                        task_id: v1::TaskId { value: "t1".into() },
                        agent_id: offers[0].agent_id.clone(),
                        resources: resources("cpus:1;mem:128"),
                        command: Some(v1::CommandInfo {
                            value: Some("true".into()),
                            ..v1::CommandInfo::default()
                        }),
                        ..v1::TaskInfo::default()
                    }],
                }),
                ..v1::offer::Operation::default()
            }],
            filters: None,
        }),
        ..protobuf_call(&id, call::Type::Accept)
    };
    assert_eq!(send(&rig, &stream, &accept).await, 202);
    assert!(matches!(rig.plane.orders(&agent)[..], [Order::Launch(_)]));
    let uuid = rig.plane.update(&agent, &id, "t1", TaskState::Finished);
    let status = next(event::Type::Update).await.update.unwrap().status;
    assert_eq!(status.state(), v1::TaskState::TaskFinished);
    assert_eq!(status.uuid.as_deref(), Some(&uuid[..]));
    let acknowledge = scheduler::Call {
        acknowledge: Some(call::Acknowledge {
            agent_id: offers[0].agent_id.clone(),
            task_id: v1::TaskId { value: "t1".into() },
            uuid,
        }),
        ..protobuf_call(&id, call::Type::Acknowledge)
    };
    assert_eq!(send(&rig, &stream, &acknowledge).await, 202);
    assert_eq!(send(&rig, &stream, &protobuf_call(&id, call::Type::Teardown)).await, 202);
    assert_eq!(rig.plane.look(|cluster| cluster.frameworks().len()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_declined_offer_returns_when_its_filter_ends() {
    let rig = Rig::new();
    rig.plane.agent(agent_info("a1.test"));
    let mut framework = subscribe(&rig, "picky").await;
    let offers = framework.offers().await;
    let mut decline = framework.call("DECLINE");
    decline["decline"] =
        json!({ "offer_ids": [offers[0]["id"]], "filters": { "refuse_seconds": 60 } });
    assert_eq!(rig.call(&framework.stream, &decline).await.status, 202);
    rig.plane.advance(tepui_types::Span::from_secs(30));
    assert_eq!(rig.plane.look(|cluster| cluster.offers().len()), 0);
    assert_eq!(rig.call(&framework.stream, &framework.call("REVIVE")).await.status, 202);
    assert_eq!(framework.offers().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn implicit_reconciliation_tells_every_task() {
    let rig = Rig::new();
    let agent = rig.plane.agent(agent_info("a1.test"));
    let mut framework = subscribe(&rig, "asks").await;
    let offers = framework.offers().await;
    let launch = accept(&framework, &offers[0], &[task("t1", &agent), task("t2", &agent)]);
    rig.call(&framework.stream, &launch).await;
    let mut reconcile = framework.call("RECONCILE");
    reconcile["reconcile"] = json!({ "tasks": [] });
    assert_eq!(rig.call(&framework.stream, &reconcile).await.status, 202);
    for name in ["t1", "t2"] {
        let event = framework.next().await;
        let status = &event["update"]["status"];
        assert_eq!(status["task_id"]["value"], name);
        assert_eq!(status["reason"], "REASON_RECONCILIATION");
        assert_eq!(status.get("uuid"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_of_the_framework_is_answered_when_it_holds() {
    let rig = Rig::new();
    let framework = subscribe(&rig, "changes").await;
    let mut info = framework_info("changed");
    info["id"] = json!({ "value": framework.id });
    let mut update = framework.call("UPDATE_FRAMEWORK");
    update["update_framework"] = json!({ "framework_info": info });
    assert_eq!(rig.call(&framework.stream, &update).await.status, 200);
    let name = rig.plane.look(|cluster| cluster.frameworks().next().unwrap().info.name.clone());
    assert_eq!(name, "changed");
    update["update_framework"]["framework_info"]["user"] = "root".into();
    let refused = rig.call(&framework.stream, &update).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[tokio::test(start_paused = true)]
async fn the_last_subscriber_of_an_id_owns_it() {
    let rig = Rig::new();
    let agent = rig.plane.agent(agent_info("a1.test"));
    let mut old = subscribe(&rig, "twice").await;
    let offers = old.offers().await;
    rig.call(&old.stream, &accept(&old, &offers[0], &[task("t1", &agent)])).await;
    let mut info = framework_info("twice");
    info["id"] = json!({ "value": old.id });
    let new = subscribe_as(&rig, &info).await;
    assert_eq!(new.id, old.id);
    assert_ne!(new.stream, old.stream);
    let error = old.next().await;
    assert_eq!(error["error"]["message"], "Framework failed over");
    assert_eq!(old.events.next().await, None, "the old stream ends");
    assert_eq!(rig.call(&old.stream, &old.call("REVIVE")).await.status, 400);
    assert_eq!(rig.call(&new.stream, &new.call("REVIVE")).await.status, 202);
    assert_eq!(rig.plane.look(|cluster| cluster.tasks().count()), 1);
}
