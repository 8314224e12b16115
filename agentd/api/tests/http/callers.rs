//! What tasks are refused, and what they are not.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use tepui_agent::Caller;
use tepui_process::Connection;
use tower::ServiceExt;

use crate::rig::{Rig, command, json_request};

/// Calls that are as good as being root on the host, or show what is in sandboxes.
const FOR_OPERATORS: [&str; 13] = [
    "LAUNCH_CONTAINER",
    "LAUNCH_NESTED_CONTAINER",
    "LAUNCH_NESTED_CONTAINER_SESSION",
    "KILL_CONTAINER",
    "KILL_NESTED_CONTAINER",
    "REMOVE_CONTAINER",
    "REMOVE_NESTED_CONTAINER",
    "ATTACH_CONTAINER_INPUT",
    "ATTACH_CONTAINER_OUTPUT",
    "PRUNE_IMAGES",
    "SET_LOGGING_LEVEL",
    "LIST_FILES",
    "READ_FILE",
];

fn callers() -> [Caller; 2] {
    [Caller::Task(None), Caller::Unclear("its socket is closed already".into())]
}

#[tokio::test]
async fn a_task_is_refused_every_call_that_would_make_it_root_under_every_path() {
    let rig = Rig::new();
    for caller in callers() {
        rig.is_called_by(caller);
        for path in ["/api/v1", "/slave(1)/api/v1", "/slave%281%29/api/v1"] {
            for call in FOR_OPERATORS {
                let answer = rig.post(path, json!({ "type": call })).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {call}");
                assert!(
                    answer.text().contains(&format!("may not call {call}")),
                    "{}",
                    answer.text()
                );
            }
            let stream = Request::post(path)
                .header("content-type", "application/recordio")
                .header("message-content-type", "application/json")
                .body(Body::empty());
            let answer = rig.ask(stream.unwrap()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_task_reads_no_sandbox_through_the_agent() {
    let rig = Rig::new();
    rig.launch(command("t1"));
    let stdout = rig.sandbox("t1").join("stdout");
    std::fs::write(&stdout, "secret").unwrap();
    let paths = ["read", "download", "browse", "debug"].map(|what| {
        let base = if what == "download" { "/slave(1)/files" } else { "/files" };
        format!("{base}/{what}?offset=0&path={}", stdout.display())
    });
    assert!(rig.get(&paths[0]).await.text().contains("secret"), "an operator does");
    for path in &paths {
        let fetch = Request::get(path).header(tepui_types::FOR_TASK, "fetch").body(Body::empty());
        let answer = rig.ask(fetch.unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {}", answer.text());
    }
    for caller in callers() {
        rig.is_called_by(caller);
        for path in &paths {
            let answer = rig.get(path).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_task_looks_at_the_agent_and_speaks_as_an_executor() {
    let rig = Rig::new();
    rig.launch(command("t1"));
    rig.is_called_by(Caller::Task(None));
    for call in ["GET_STATE", "GET_CONTAINERS", "GET_TASKS", "GET_HEALTH", "GET_FLAGS"] {
        rig.post("/api/v1", json!({ "type": call })).await.json();
    }
    for path in ["/state", "/metrics", "/health", "/containers"] {
        assert_eq!(rig.get(path).await.status, StatusCode::OK, "{path}");
    }
    let heartbeat = json!({
        "type": "HEARTBEAT", "framework_id": { "value": "f1" }, "executor_id": { "value": "e1" },
    });
    for path in ["/api/v1/executor", "/slave(1)/api/v1/executor"] {
        let answer = rig.post(path, heartbeat.clone()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {}", answer.text());
    }
    assert_eq!(rig.asked_for_callers(), 0, "nobody is asked about who only looks");
}

#[tokio::test]
async fn a_connection_is_asked_about_once() {
    let rig = Rig::new();
    let connection = Connection::new(([10, 0, 0, 9], 1).into(), ([10, 0, 0, 1], 2).into());
    let router = rig.router_of(connection);
    rig.is_called_by(Caller::Task(None));
    for _ in 0..3 {
        let call = json_request("/api/v1", json!({ "type": "PRUNE_IMAGES" }));
        let answer = router.clone().oneshot(call).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(rig.asked_for_callers(), 1);
    rig.is_called_by(Caller::Operator);
    assert_eq!(rig.post("/api/v1", json!({ "type": "PRUNE_IMAGES" })).await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_comes_by_no_known_connection_is_no_operator() {
    let rig = Rig::new();
    let router = tepui_agent_api::router(rig.clone(), rig.facts());
    let call = json_request("/api/v1", json!({ "type": "PRUNE_IMAGES" }));
    assert_eq!(router.oneshot(call).await.unwrap().status(), StatusCode::FORBIDDEN);
}
