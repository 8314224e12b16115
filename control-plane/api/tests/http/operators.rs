//! The operator API: what it shows, changes, and streams.

use serde_json::{Value as Json, json};
use tepui_types::TaskState;
use tepui_wire::v1::master;
use tepui_wire::{MediaType, media};

use crate::client::{OPERATOR, PROTOBUF, Records, Rig};
use crate::scenes::{accept, acknowledge, agent_info, busy, subscribe, task, watch};

#[tokio::test(start_paused = true)]
async fn every_read_is_answered_under_its_own_name() {
    let busy = busy().await;
    for kind in [
        "GET_HEALTH",
        "GET_FLAGS",
        "GET_VERSION",
        "GET_METRICS",
        "GET_LOGGING_LEVEL",
        "GET_STATE",
        "GET_AGENTS",
        "GET_FRAMEWORKS",
        "GET_EXECUTORS",
        "GET_OPERATIONS",
        "GET_TASKS",
        "GET_ROLES",
        "GET_WEIGHTS",
        "GET_MASTER",
        "GET_MAINTENANCE_STATUS",
        "GET_MAINTENANCE_SCHEDULE",
        "GET_QUOTA",
    ] {
        let answer = busy.rig.ask(kind).await;
        assert_eq!(answer["type"], kind);
        let body = &answer[kind.to_lowercase()];
        assert!(body.is_object(), "{kind}: {answer}");
        let call = json!({ "type": kind }).to_string();
        let headers = [("content-type", "application/json"), ("accept", PROTOBUF)];
        let answer = busy.rig.post_with(OPERATOR, &headers, call).await;
        let message: master::Response = media::decode(MediaType::Protobuf, &answer.body).unwrap();
        assert_eq!(message.r#type().as_str_name(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn the_reads_show_what_is_there() {
    let busy = busy().await;
    let rig = &busy.rig;
    assert_eq!(rig.ask("GET_HEALTH").await["get_health"]["healthy"], true);
    let version = rig.ask("GET_VERSION").await;
    assert_eq!(version["get_version"]["version_info"]["version"], "1.11.0");
    let flags = rig.ask("GET_FLAGS").await;
    assert_eq!(flags["get_flags"]["flags"], json!([{ "name": "port", "value": "5050" }]));
    let master = rig.ask("GET_MASTER").await;
    let master = &master["get_master"];
    assert_eq!(master["master_info"]["hostname"], "leader.test");
    assert_eq!(master["elected_time"], 1_700_000_000.0);
    let agents = rig.ask("GET_AGENTS").await;
    let agent = &agents["get_agents"]["agents"][0];
    assert_eq!(agent["agent_info"]["id"]["value"], busy.agent.id.as_str());
    assert_eq!((&agent["active"], &agent["deactivated"]), (&json!(true), &json!(false)));
    let frameworks = rig.ask("GET_FRAMEWORKS").await;
    let framework = &frameworks["get_frameworks"]["frameworks"][0];
    assert_eq!(framework["framework_info"]["name"], "busy");
    assert_eq!(framework["offers"].as_array().unwrap().len(), 1);
    let removed = &frameworks["get_frameworks"]["completed_frameworks"][0];
    assert_eq!(removed["framework_info"]["name"], "removed");
    let tasks = rig.ask("GET_TASKS").await;
    assert_eq!(tasks["get_tasks"]["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(tasks["get_tasks"]["completed_tasks"][0]["task_id"]["value"], "ended");
    let executors = rig.ask("GET_EXECUTORS").await;
    let executor = &executors["get_executors"]["executors"][0];
    assert_eq!(executor["executor_info"]["executor_id"]["value"], "e1");
    assert_eq!(executor["agent_id"]["value"], busy.agent.id.as_str());
    let roles = rig.ask("GET_ROLES").await;
    let names: Vec<&Json> =
        roles["get_roles"]["roles"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["*", "web"]);
    let state = rig.ask("GET_STATE").await;
    for part in ["get_tasks", "get_executors", "get_frameworks", "get_agents"] {
        assert_eq!(state["get_state"][part], rig.ask(&part.to_uppercase()).await[part], "{part}");
    }
}

#[tokio::test(start_paused = true)]
async fn operators_remove_and_pause() {
    let rig = Rig::new();
    let agent = rig.plane.agent(agent_info("a1.test"));
    let mut framework = subscribe(&rig, "x").await;
    framework.offers().await;
    let on_agent = |kind: &str| {
        let mut call = json!({ "type": kind });
        call[kind.to_lowercase()] = json!({ "agent_id": { "value": agent.id.as_str() } });
        call
    };
    assert_eq!(rig.post(OPERATOR, &on_agent("DEACTIVATE_AGENT")).await.status, 200);
    assert_eq!(framework.next().await["type"], "RESCIND");
    assert_eq!(rig.get("/state").await.json()["deactivated_slaves"], 1);
    assert_eq!(rig.post(OPERATOR, &on_agent("REACTIVATE_AGENT")).await.status, 200);
    framework.offers().await;
    assert_eq!(rig.post(OPERATOR, &on_agent("MARK_AGENT_GONE")).await.status, 200);
    assert_eq!(rig.post(OPERATOR, &on_agent("MARK_AGENT_GONE")).await.status, 200, "again");
    let mut unknown = on_agent("MARK_AGENT_GONE");
    unknown["mark_agent_gone"]["agent_id"]["value"] = "nobody".into();
    assert_eq!(rig.post(OPERATOR, &unknown).await.status, 404);
    let teardown =
        |id: &str| json!({ "type": "TEARDOWN", "teardown": { "framework_id": { "value": id } } });
    assert_eq!(rig.post(OPERATOR, &teardown(&framework.id)).await.status, 200);
    assert_eq!(rig.post(OPERATOR, &teardown("nobody")).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn weights_are_set_and_read() {
    let rig = Rig::new();
    let set = |weight: Json| {
        json!({
            "type": "UPDATE_WEIGHTS",
            "update_weights": { "weight_infos": [{ "role": "web", "weight": weight }] },
        })
    };
    assert_eq!(rig.post(OPERATOR, &set(json!(3))).await.status, 200);
    let weights = rig.ask("GET_WEIGHTS").await;
    assert_eq!(weights["get_weights"]["weight_infos"], json!([{ "role": "web", "weight": 3.0 }]));
    for bad in [json!(0), json!(-1), json!("NaN"), json!("Infinity"), Json::Null] {
        assert_eq!(rig.post(OPERATOR, &set(bad.clone())).await.status, 400, "{bad}");
    }
}

/// The next event that is no heartbeat.
async fn next(events: &mut Records) -> Json {
    loop {
        let event = events.json().await;
        if event["type"] != "HEARTBEAT" {
            return event;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_event_stream_begins_with_the_state_and_misses_nothing_after_it() {
    let rig = Rig::new();
    let first = rig.plane.agent(agent_info("a1.test"));
    let mut events = watch(&rig).await;
    let subscribed = next(&mut events).await;
    assert_eq!(subscribed["type"], "SUBSCRIBED");
    assert_eq!(subscribed["subscribed"]["heartbeat_interval_seconds"], 15.0);
    let agents = &subscribed["subscribed"]["get_state"]["get_agents"]["agents"];
    assert_eq!(agents[0]["agent_info"]["id"]["value"], first.id.as_str());

    let mut framework = subscribe(&rig, "watched").await;
    let added = next(&mut events).await;
    assert_eq!(added["type"], "FRAMEWORK_ADDED");
    let info = &added["framework_added"]["framework"]["framework_info"];
    assert_eq!(info["id"]["value"], framework.id);
    let offers = framework.offers().await;
    rig.call(&framework.stream, &accept(&framework, &offers[0], &[task("t1", &first)])).await;
    let added = next(&mut events).await;
    assert_eq!(added["type"], "TASK_ADDED");
    assert_eq!(added["task_added"]["task"]["task_id"]["value"], "t1");
    let uuid = rig.plane.update(&first, &framework.id(), "t1", TaskState::Running);
    let updated = next(&mut events).await;
    assert_eq!(updated["type"], "TASK_UPDATED");
    assert_eq!(updated["task_updated"]["state"], "TASK_RUNNING");
    assert_eq!(updated["task_updated"]["framework_id"]["value"], framework.id);
    acknowledge(&rig, &framework, &first, "t1", &uuid).await;
    let second = rig.plane.agent(agent_info("a2.test"));
    let added = next(&mut events).await;
    assert_eq!(added["type"], "AGENT_ADDED");
    let info = &added["agent_added"]["agent"]["agent_info"];
    assert_eq!(info["id"]["value"], second.id.as_str());
    rig.plane.report(&second, tepui_link::Report::Unregister);
    let removed = next(&mut events).await;
    assert_eq!(removed["type"], "AGENT_REMOVED");
    assert_eq!(removed["agent_removed"]["agent_id"]["value"], second.id.as_str());
    rig.call(&framework.stream, &framework.call("TEARDOWN")).await;
    loop {
        let event = next(&mut events).await;
        if event["type"] == "FRAMEWORK_REMOVED" {
            let info = &event["framework_removed"]["framework_info"];
            assert_eq!(info["id"]["value"], framework.id);
            break;
        }
        assert_eq!(event["type"], "TASK_UPDATED", "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_event_stream_speaks_protobuf_too() {
    let rig = Rig::new();
    let headers = [("content-type", "application/json"), ("accept", PROTOBUF)];
    let call = json!({ "type": "SUBSCRIBE" }).to_string();
    let call = crate::client::request(http::Method::POST, OPERATOR, &headers, call.into());
    let mut events = rig.open(call).await;
    let first: master::Event = events.message(MediaType::Protobuf).await;
    assert!(first.subscribed.is_some());
    let beat: master::Event = events.message(MediaType::Protobuf).await;
    assert_eq!(beat.r#type(), master::event::Type::Heartbeat);
}

#[tokio::test(start_paused = true)]
async fn an_operator_drains_an_agent_and_sees_how_far_it_is() {
    let rig = Rig::new();
    let agent = rig.plane.agent(agent_info("a1.test"));
    let drain = |period: serde_json::Value| {
        json!({ "type": "DRAIN_AGENT", "drain_agent": {
            "agent_id": { "value": agent.id.as_str() }, "max_grace_period": period, "mark_gone": false,
        } })
    };
    let refused = rig.post(OPERATOR, &drain(json!({ "seconds": -1 }))).await;
    assert_eq!(refused.status, 400);
    assert_eq!(rig.post(OPERATOR, &drain(json!({ "seconds": 30 }))).await.status, 200);
    let config = json!({ "max_grace_period": { "nanoseconds": 30_000_000_000_u64 },
                         "mark_gone": false });
    let shown = json!({ "state": "DRAINED", "config": config });
    assert_eq!(rig.get("/slaves").await.json()["slaves"][0]["drain_info"], shown);
    let agents = rig.ask("GET_AGENTS").await;
    assert_eq!(agents["get_agents"]["agents"][0]["drain_info"], shown);
    let text = rig.get("/metrics").await.text();
    assert!(text.contains("tepui_agents{state=\"draining\"} 1"), "{text}");
}
