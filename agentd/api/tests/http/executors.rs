//! The executor API.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tepui_wire::recordio;
use tower::ServiceExt;

use crate::rig::{Rig, command, custom, json_request};
use crate::slow::Slow;

const PATH: &str = "/api/v1/executor";

fn subscribe() -> Value {
    json!({
        "type": "SUBSCRIBE",
        "framework_id": {"value": "f1"},
        "executor_id": {"value": "e1"},
        "subscribe": {},
    })
}

fn update(uuid: &str, state: &str) -> Value {
    json!({
        "type": "UPDATE",
        "framework_id": {"value": "f1"},
        "executor_id": {"value": "e1"},
        "update": {"status": {
            "task_id": {"value": "t1"},
            "executor_id": {"value": "e1"},
            "state": state,
            "source": "SOURCE_EXECUTOR",
            "uuid": uuid,
            "timestamp": 5.0,
        }},
    })
}

const UUID: &str = "AAECAwQFBgcICQoLDA0ODw==";

/// The next events of a stream, at least so many.
async fn events(body: &mut Body, reader: &mut recordio::Decoder, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    while found.len() < count {
        let frame = body.frame().await.expect("the stream goes on").unwrap();
        reader.push(frame.data_ref().unwrap());
        while let Some(record) = reader.next_record().unwrap() {
            found.push(serde_json::from_slice(&record).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn an_executor_subscribes_gets_its_task_and_reports() {
    let rig = Rig::new();
    rig.launch(custom("t1"));
    let (status, headers, mut body) = rig.stream(PATH, subscribe()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    assert!(!headers.contains_key("mesos-stream-id"));
    let mut reader = recordio::Decoder::default();
    let first = events(&mut body, &mut reader, 2).await;
    assert_eq!(first[0]["type"], "SUBSCRIBED");
    assert_eq!(first[0]["subscribed"]["agent_info"]["id"]["value"], "a1");
    assert_eq!(first[1]["launch"]["task"]["task_id"]["value"], "t1");
    let answer = rig.post(PATH, update(UUID, "TASK_RUNNING")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let acknowledged = events(&mut body, &mut reader, 1).await;
    assert_eq!(acknowledged[0]["acknowledged"]["uuid"], UUID);
    let message = json!({
        "type": "MESSAGE",
        "framework_id": {"value": "f1"},
        "executor_id": {"value": "e1"},
        "message": {"data": "aGk="},
    });
    assert_eq!(rig.post(PATH, message).await.status, StatusCode::ACCEPTED);
    assert_eq!(rig.closed_streams(), 0);
    drop(body);
    assert_eq!(rig.closed_streams(), 1);
}

#[tokio::test]
async fn a_stream_that_the_agent_closes_ends() {
    let rig = Rig::new();
    rig.launch(custom("t1"));
    let (_, _, body) = rig.stream(PATH, subscribe()).await;
    rig.hang_up();
    let bytes = body.collect().await.unwrap().to_bytes();
    assert!(!bytes.is_empty());
}

#[tokio::test]
async fn protobuf_works_as_json_does() {
    use tepui_wire::v1::executor::{Call, Event};
    let rig = Rig::new();
    rig.launch(custom("t1"));
    let call: Call = tepui_wire::decode_json(subscribe().to_string().as_bytes()).unwrap();
    let request = Request::post(PATH)
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .header(header::ACCEPT, "application/x-protobuf")
        .body(Body::from(tepui_wire::encode_protobuf(&call)))
        .unwrap();
    let collected = tokio::spawn({
        let rig = rig.clone();
        async move { rig.ask(request).await }
    });
    // Yields until the subscription is there, then ends it.
    while rig.post(PATH, update(UUID, "TASK_RUNNING")).await.status != StatusCode::ACCEPTED {
        tokio::task::yield_now().await;
    }
    rig.hang_up();
    let answer = collected.await.unwrap();
    assert_eq!(answer.header("content-type"), "application/x-protobuf");
    let mut reader = recordio::Decoder::default();
    reader.push(&answer.body);
    let record = reader.next_record().unwrap().unwrap();
    let event: Event = tepui_wire::decode_protobuf(&record).unwrap();
    assert!(event.subscribed.is_some());
}

#[tokio::test]
async fn calls_are_refused_in_the_documented_order() {
    let rig = Rig::new();
    rig.launch(custom("t1"));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut call = update(UUID, "TASK_RUNNING");
        change(&mut call);
        call
    };
    let status = |call: &mut Value, key: &str, value: Value| {
        call["update"]["status"][key] = value;
    };
    for (what, call, code) in [
        ("no type", with(&|c| c["type"] = Value::Null), 400),
        ("unknown type", with(&|c| c["type"] = json!("DANCE")), 400),
        ("the literal UNKNOWN", with(&|c| c["type"] = json!("UNKNOWN")), 501),
        ("no framework", with(&|c| c["framework_id"] = Value::Null), 400),
        ("no executor", with(&|c| c["executor_id"] = Value::Null), 400),
        ("no update", with(&|c| c["update"] = Value::Null), 400),
        ("no uuid", with(&|c| status(c, "uuid", Value::Null)), 400),
        ("short uuid", with(&|c| status(c, "uuid", json!("AAEC"))), 400),
        ("other source", with(&|c| status(c, "source", json!("SOURCE_AGENT"))), 400),
        ("no source", with(&|c| status(c, "source", Value::Null)), 400),
        ("staging", with(&|c| status(c, "state", json!("TASK_STAGING"))), 400),
        ("other executor", with(&|c| status(c, "executor_id", json!({"value": "e2"}))), 400),
        ("bad check", with(&|c| status(c, "check_status", json!({"type": "HTTP"}))), 400),
        ("foreign framework", with(&|c| c["framework_id"] = json!({"value": "f2"})), 400),
        ("not subscribed", with(&|_| {}), 403),
    ] {
        let answer = rig.post(PATH, call).await;
        assert_eq!(answer.status.as_u16(), code, "{what}: {}", answer.text());
        assert!(!answer.body.is_empty(), "{what}");
    }
    let heartbeat = json!({
        "type": "HEARTBEAT",
        "framework_id": {"value": "nobody"},
        "executor_id": {"value": "nobody"},
    });
    assert_eq!(rig.post(PATH, heartbeat).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn method_type_and_accept_are_checked() {
    let rig = Rig::new();
    rig.launch(custom("t1"));
    let get = rig.get(PATH).await;
    assert_eq!((get.status, get.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    let bare = Request::post(PATH).body(Body::from("{}")).unwrap();
    assert_eq!(rig.ask(bare).await.status, StatusCode::BAD_REQUEST);
    let mut text = json_request(PATH, subscribe());
    text.headers_mut().insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
    assert_eq!(rig.ask(text).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut picky = json_request(PATH, subscribe());
    picky.headers_mut().insert(header::ACCEPT, "text/html".parse().unwrap());
    assert_eq!(rig.ask(picky).await.status, StatusCode::NOT_ACCEPTABLE);
    let broken = Request::post(PATH)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from("{\"type\":"))
        .unwrap();
    assert_eq!(rig.ask(broken).await.status, StatusCode::BAD_REQUEST);
    let huge = Request::post(PATH)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(vec![b' '; 9 << 20]))
        .unwrap();
    assert_eq!(rig.ask(huge).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_executor_that_hangs_up_before_its_answer_leaves_no_stream_behind() {
    let rig = Rig::new();
    rig.launch(custom("t1"));
    let slow = Slow::new(rig.clone());
    let asking = tokio::spawn(slow.router().oneshot(json_request(PATH, subscribe())));
    slow.asked().await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    slow.go_on();
    let closed = async {
        while rig.closed_streams() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the stream is closed");
}

#[tokio::test]
async fn while_executors_may_come_back_only_they_are_served() {
    let rig = Rig::new();
    rig.launch(custom("t1"));
    rig.launch(command("t2"));
    rig.restart();
    let refused = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(rig.post(PATH, update(UUID, "TASK_RUNNING")).await.status, refused);
    assert_eq!(rig.post("/api/v1", json!({"type": "GET_HEALTH"})).await.status, refused);
    assert_eq!(rig.get("/state").await.status, refused);
    assert_eq!(rig.get("/health").await.status, StatusCode::OK);
    assert_eq!(rig.get("/metrics/snapshot").await.json()["slave/registered"], 0.0);
    let (status, _, _body) = rig.stream(PATH, subscribe()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(rig.post(PATH, update(UUID, "TASK_RUNNING")).await.status, StatusCode::ACCEPTED);
    assert_eq!(rig.post("/api/v1", json!({"type": "GET_HEALTH"})).await.status, StatusCode::OK);
    assert_eq!(rig.get("/state").await.status, StatusCode::OK);
}
