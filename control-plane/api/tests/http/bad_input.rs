//! Input that nobody should send: each has its documented answer, and nothing grows or dies.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};

use crate::client::{JSON, OPERATOR, PROTOBUF, Rig, SCHEDULER};
use crate::plane::Agent;
use crate::scenes::{
    Framework, accept, agent_info, framework_info, subscribe, subscribe_as, subscribe_call, task,
};

const MIB: usize = 1 << 20;

/// A body that counts how much of it was asked for.
fn endless(chunks: usize) -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let chunk = Bytes::from(vec![b' '; MIB]);
    let stream = futures_util::stream::iter((0..chunks).map(move |_| {
        counter.fetch_add(MIB, Ordering::Relaxed);
        Ok::<_, Infallible>(chunk.clone())
    }));
    (Body::from_stream(stream), taken)
}

#[tokio::test(start_paused = true)]
async fn a_body_of_100_mb_is_refused_without_reading_it() {
    let rig = Rig::new();
    for path in [SCHEDULER, OPERATOR, "/weights", "/teardown"] {
        let (body, taken) = endless(100);
        let method = if path == "/weights" { http::Method::PUT } else { http::Method::POST };
        let request = crate::client::request(method, path, &[("content-type", JSON)], body);
        let answer = rig.send(request).await;
        assert_eq!(answer.status, 413, "{path}: {}", answer.text());
        assert!(taken.load(Ordering::Relaxed) <= 10 * MIB, "{path} read {taken:?} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn an_announced_length_is_refused_before_any_byte_of_it() {
    let rig = Rig::new();
    let (body, taken) = endless(100);
    let headers = [("content-type", JSON), ("content-length", "104857600")];
    let answer = rig.post_with(OPERATOR, &headers, body).await;
    assert_eq!(answer.status, 413);
    assert_eq!(taken.load(Ordering::Relaxed), 0);
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_gzipped_body_is_read_and_a_bomb_is_not() {
    let rig = Rig::new();
    let headers = [("content-type", JSON), ("content-encoding", "gzip")];
    let call = gzipped(br#"{"type":"GET_HEALTH"}"#);
    let answer = rig.post_with(OPERATOR, &headers, call).await;
    assert_eq!(answer.json()["type"], "GET_HEALTH");
    let bomb = gzipped(&vec![b' '; 100 * MIB]);
    assert!(bomb.len() < MIB);
    assert_eq!(rig.post_with(OPERATOR, &headers, bomb).await.status, 413);
    let broken = rig.post_with(OPERATOR, &headers, "no gzip at all").await;
    assert_eq!(broken.status, 400, "{}", broken.text());
    let headers = [("content-type", JSON), ("content-encoding", "br")];
    assert_eq!(rig.post_with(OPERATOR, &headers, "x").await.status, 415);
}

#[tokio::test(start_paused = true)]
async fn json_a_million_deep_is_refused() {
    let rig = Rig::new();
    let deep = "[".repeat(1_000_000);
    for path in [SCHEDULER, OPERATOR] {
        for body in [deep.clone(), format!("{{\"type\":\"GET_HEALTH\",\"x\":{deep}")] {
            let answer = rig.post_with(path, &[("content-type", JSON)], body).await;
            assert_eq!(answer.status, 400);
            assert!(answer.body.len() < 1000, "the answer does not repeat the question");
        }
    }
    let request = crate::client::request(http::Method::PUT, "/weights", &[], deep.into());
    assert_eq!(rig.send(request).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn broken_bodies_are_refused() {
    let rig = Rig::new();
    let broken: [(&str, &[u8]); 8] = [
        (JSON, b""),
        (JSON, b"{"),
        (JSON, b"null"),
        (JSON, b"[]"),
        (JSON, b"{\"type\":\"\xff\"}"),
        (PROTOBUF, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        (PROTOBUF, b"\x0a\xff\xff\xff\xff\x0f"),
        (PROTOBUF, b""),
    ];
    for path in [SCHEDULER, OPERATOR] {
        for (form, body) in broken {
            let answer = rig.post_with(path, &[("content-type", form)], body.to_vec()).await;
            assert_eq!(answer.status, 400, "{path} {form} {body:?}: {}", answer.text());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn missing_required_fields_are_named() {
    let rig = Rig::new();
    let call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": { "user": "u" } } });
    let answer = rig.post(SCHEDULER, &call).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("subscribe.framework_info.name"), "{}", answer.text());
}

/// The status that a task of this framework ends with.
async fn outcome(
    rig: &Rig,
    framework: &mut Framework,
    offer: &Json,
    task: &Json,
) -> (String, String) {
    let answer =
        rig.call(&framework.stream, &accept(framework, offer, std::slice::from_ref(task))).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let event = framework.next().await;
    let status = &event["update"]["status"];
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
    (format!("{} {}", text("state"), text("reason")), text("message"))
}

fn with(mut task: Json, name: &str, resource: Json) -> Json {
    let all = task["resources"].as_array_mut().unwrap();
    all.retain(|resource| resource["name"] != name);
    all.push(resource);
    task
}

async fn offered() -> (Rig, Agent, Framework, Json) {
    let rig = Rig::new();
    let agent = rig.plane.agent(agent_info("a1.test"));
    let mut framework = subscribe(&rig, "bad").await;
    let offer = framework.offers().await.remove(0);
    (rig, agent, framework, offer)
}

fn cpus(value: &Json) -> Json {
    json!({ "name": "cpus", "type": "SCALAR", "scalar": { "value": value } })
}

#[tokio::test(start_paused = true)]
async fn bad_tasks_are_errors_of_these_tasks() {
    let ports = json!({
        "name": "ports", "type": "RANGES", "ranges": { "range": [{ "begin": 5, "end": 3 }] },
    });
    for (name, change) in [
        ("ports from 5 to 3", ("ports", ports)),
        ("negative cpus", ("cpus", cpus(&json!(-1.0)))),
        ("infinite cpus", ("cpus", cpus(&json!("Infinity")))),
        ("more cpus than there are", ("cpus", cpus(&json!(10_000.0)))),
    ] {
        let (rig, agent, mut framework, offer) = offered().await;
        let task = with(task("t1", &agent), change.0, change.1);
        let (outcome, message) = outcome(&rig, &mut framework, &offer, &task).await;
        assert_eq!(outcome, "TASK_ERROR REASON_TASK_INVALID", "{name}: {message}");
        assert!(!message.is_empty());
        assert!(rig.plane.orders(&agent).is_empty(), "{name}");
    }
    for id in ["../up", "a/b", "..", "", &"x".repeat(300)] {
        let (rig, agent, mut framework, offer) = offered().await;
        let task = task(id, &agent);
        let (outcome, _) = outcome(&rig, &mut framework, &offer, &task).await;
        assert_eq!(outcome, "TASK_ERROR REASON_TASK_INVALID", "{id:?}");
        assert!(rig.plane.orders(&agent).is_empty(), "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cpus_that_are_no_number_are_refused() {
    let (rig, agent, framework, offer) = offered().await;
    let text = accept(&framework, &offer, &[task("t1", &agent)]).to_string();
    let headers = [("content-type", JSON), ("mesos-stream-id", &*framework.stream)];
    for bad in ["NaN", "\"NaN\"", "1e999", "\"x\"", "{}"] {
        let body = text.replacen("1.0", bad, 1);
        assert_ne!(body, text);
        let answer = rig.post_with(SCHEDULER, &headers, body).await;
        if answer.status == 202 {
            // Taken as a number the books cannot hold: the task is refused.
            assert!(rig.plane.orders(&agent).is_empty(), "{bad}");
        } else {
            assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_and_unknown_offers_lose_their_tasks() {
    let (rig, agent, mut framework, offer) = offered().await;
    let unknown = json!({ "id": { "value": "no-such-offer" } });
    let (outcome_of_unknown, _) =
        outcome(&rig, &mut framework, &unknown, &task("t1", &agent)).await;
    assert_eq!(outcome_of_unknown, "TASK_LOST REASON_INVALID_OFFERS");
    let mut thief = subscribe(&rig, "thief").await;
    let (stolen, _) = outcome(&rig, &mut thief, &offer, &task("t2", &agent)).await;
    assert_eq!(stolen, "TASK_LOST REASON_INVALID_OFFERS");
    assert!(rig.plane.orders(&agent).is_empty());
    // The owner may still use it, or it was taken back: nothing is allocated twice.
    let held = rig.plane.look(|cluster| cluster.agents().next().unwrap().used.clone());
    assert!(held.is_empty());
}

#[tokio::test(start_paused = true)]
async fn ids_that_leave_their_directory_are_refused() {
    let rig = Rig::new();
    let mut info = framework_info("x");
    info["id"] = json!({ "value": "../../etc" });
    let answer = rig.post(SCHEDULER, &subscribe_call(&info)).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let call = json!({ "type": "REVIVE", "framework_id": { "value": "../x" } });
    assert_eq!(rig.call("x", &call).await.status, 400);
    for (kind, part, id) in [
        ("TEARDOWN", "teardown", "framework_id"),
        ("MARK_AGENT_GONE", "mark_agent_gone", "agent_id"),
        ("DEACTIVATE_AGENT", "deactivate_agent", "agent_id"),
    ] {
        let mut call = json!({ "type": kind });
        call[part] = json!({ id: { "value": "../x" } });
        let answer = rig.post(OPERATOR, &call).await;
        assert_eq!(answer.status, 400, "{kind}: {}", answer.text());
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = rig.post_with("/teardown", &form, "frameworkId=..%2Fx").await;
    assert_eq!(answer.status, 400);
    let answer = rig.get("/tepui/v1/explain/frameworks/..%2F..%2Fetc").await;
    assert_eq!(answer.status, 400);
}

/// A body that was announced and does not come.
async fn never_sent(rig: Rig) -> u16 {
    let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>());
    let headers = [("content-type", JSON), ("content-length", "10")];
    rig.post_with(SCHEDULER, &headers, body).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_nothing_is_cut_and_keeps_nobody_out_for_long() {
    let rig = Rig::new();
    let slow: Vec<_> =
        (0..tepui_api::MAX_REQUESTS).map(|_| tokio::spawn(never_sent(rig.clone()))).collect();
    for _ in 0..slow.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.get("/state").await.status, 503);
    assert_eq!(rig.get("/health").await.status, 200);
    for request in slow {
        assert_eq!(request.await.unwrap(), 408);
    }
    assert_eq!(rig.get("/state").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn after_all_of_it_a_framework_still_works() {
    let rig = Rig::new();
    let framework = subscribe_as(&rig, &framework_info("fine")).await;
    for junk in ["", "{", "[[[[", "\u{0}"] {
        rig.post_with(SCHEDULER, &[("content-type", JSON)], junk).await;
    }
    assert_eq!(rig.call(&framework.stream, &framework.call("SUPPRESS")).await.status, 202);
}
