//! Streams: their first records, heartbeats, and ends.

use std::time::Duration;

use serde_json::json;

use crate::client::{JSON, Rig, SCHEDULER, request};
use crate::scenes::{framework_info, subscribe, subscribe_call, watch};

async fn open(
    rig: &Rig,
    info: &serde_json::Value,
    headers: &[(&str, &str)],
) -> crate::client::Records {
    let mut all = vec![("content-type", JSON)];
    all.extend_from_slice(headers);
    let body = subscribe_call(info).to_string();
    rig.open(request(http::Method::POST, SCHEDULER, &all, body.into())).await
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_follows_at_once_and_then_every_15_seconds() {
    let rig = Rig::new();
    let mut events = open(&rig, &framework_info("idle"), &[]).await;
    let begin = tokio::time::Instant::now();
    assert_eq!(events.json().await["type"], "SUBSCRIBED");
    for beat in 0..4 {
        assert_eq!(events.json().await["type"], "HEARTBEAT");
        assert_eq!(begin.elapsed().as_secs(), beat * 15);
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_on_time_whatever_else_is_sent() {
    let rig = Rig::new();
    let mut events = watch(&rig).await;
    assert_eq!(events.json().await["type"], "SUBSCRIBED");
    assert_eq!(events.json().await["type"], "HEARTBEAT");
    let begin = tokio::time::Instant::now();
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(4)).await;
        drop(subscribe(&rig, "busy").await);
        while events.json().await["type"] != "FRAMEWORK_UPDATED" {}
    }
    assert_eq!(events.json().await["type"], "HEARTBEAT");
    assert_eq!(begin.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_neither_compressed_nor_measured() {
    let rig = Rig::new();
    let events = open(&rig, &framework_info("idle"), &[("accept-encoding", "gzip")]).await;
    assert_eq!(events.headers.get("content-encoding"), None);
    assert_eq!(events.headers.get("content-length"), None);
    assert_eq!(events.headers["content-type"], JSON);
    assert!(events.stream_id().len() <= 128);
}

#[tokio::test(start_paused = true)]
async fn a_bad_description_is_told_by_one_error_event() {
    let rig = Rig::new();
    let cases = [
        json!({ "user": "nobody", "name": "x", "failover_timeout": -1 }),
        json!({ "user": "nobody", "name": "x", "roles": ["a"] }),
        json!({ "user": "nobody", "name": "x", "role": "../up" }),
    ];
    for info in cases {
        let mut events = open(&rig, &info, &[]).await;
        let event = events.json().await;
        assert_eq!(event["type"], "ERROR", "{info}");
        assert!(event["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!(events.next().await, None, "nothing follows the error about {info}");
    }
    assert_eq!(rig.plane.look(|cluster| cluster.frameworks().len()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removed_framework_stays_removed() {
    let rig = Rig::new();
    let framework = subscribe(&rig, "removed").await;
    rig.call(&framework.stream, &framework.call("TEARDOWN")).await;
    let mut info = framework_info("removed");
    info["id"] = json!({ "value": framework.id });
    let mut events = open(&rig, &info, &[]).await;
    assert_eq!(events.json().await["error"]["message"], "Framework has been removed");
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_framework_whose_stream_ends_is_disconnected() {
    let rig = Rig::new();
    let framework = subscribe(&rig, "leaves").await;
    let (id, stream) = (framework.id.clone(), framework.stream.clone());
    let revive = framework.call("REVIVE");
    drop(framework.events);
    let listed = rig.get(&format!("/frameworks?framework_id={id}")).await.json();
    assert_eq!(listed["frameworks"][0]["connected"], false);
    assert_eq!(rig.call(&stream, &revive).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn teardown_ends_the_stream() {
    let rig = Rig::new();
    let mut framework = subscribe(&rig, "ends").await;
    rig.call(&framework.stream, &framework.call("TEARDOWN")).await;
    assert_eq!(framework.events.json().await["type"], "HEARTBEAT");
    assert_eq!(framework.events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_leaves_is_forgotten() {
    let rig = Rig::new();
    let events = watch(&rig).await;
    assert_eq!(rig.plane.watchers(), 1);
    drop(events);
    assert_eq!(rig.plane.watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_never_idle_has_its_heartbeats_too() {
    let rig = Rig::new();
    let mut events = watch(&rig).await;
    events.json().await;
    events.json().await;
    tokio::time::advance(Duration::from_secs(16)).await;
    for _ in 0..4 {
        drop(subscribe(&rig, "busy").await);
    }
    let mut kinds = Vec::new();
    for _ in 0..9 {
        kinds.push(events.json().await["type"].as_str().unwrap().to_owned());
    }
    assert!(kinds.iter().any(|kind| kind == "HEARTBEAT"), "{kinds:?}");
}
