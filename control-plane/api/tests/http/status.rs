//! Which status, and why (`spec/mesos-http.md` 0.2, 0.5, 1.2).

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};

use crate::client::{Answer, JSON, OPERATOR, PROTOBUF, Rig, SCHEDULER, config, request};
use crate::plane::TestPlane;
use crate::scenes::{framework_info, subscribe, subscribe_call};

#[track_caller]
fn refused(answer: &Answer, status: u16, part: &str) {
    let text = answer.text();
    assert_eq!(answer.status.as_u16(), status, "{text}");
    assert!(text.contains(part), "{text:?} does not say {part:?}");
}

#[tokio::test(start_paused = true)]
async fn the_v1_apis_take_only_post() {
    let rig = Rig::new();
    for path in [SCHEDULER, OPERATOR, "/master/api/v1", "/master/api/v1/scheduler"] {
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
            let answer = rig.send(request(method.clone(), path, &[], Body::empty())).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.header("allow"), "POST", "{method} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_content_type_is_needed_and_known() {
    let rig = Rig::new();
    for path in [SCHEDULER, OPERATOR] {
        refused(&rig.post_with(path, &[], "{}").await, 400, "Content-Type");
        for other in ["text/plain", "application/recordio", "application/x-www-form-urlencoded"] {
            let answer = rig.post_with(path, &[("content-type", other)], "{}").await;
            refused(&answer, 415, "Content-Type");
        }
    }
    let answer = rig.post_with(OPERATOR, &[("content-type", PROTOBUF)], "{}").await;
    refused(&answer, 400, "");
}

#[tokio::test(start_paused = true)]
async fn accept_is_checked_where_an_answer_has_a_form() {
    let rig = Rig::new();
    let html = ("accept", "text/html");
    let health = json!({ "type": "GET_HEALTH" }).to_string();
    let answer = rig.post_with(OPERATOR, &[("content-type", JSON), html], health.clone()).await;
    refused(&answer, 406, "Accept");
    let call = subscribe_call(&framework_info("x")).to_string();
    let answer = rig.post_with(SCHEDULER, &[("content-type", JSON), html], call).await;
    refused(&answer, 406, "Accept");
    let framework = subscribe(&rig, "x").await;
    let headers = [("content-type", JSON), html, ("mesos-stream-id", &*framework.stream)];
    let revive = framework.call("REVIVE").to_string();
    assert_eq!(rig.post_with(SCHEDULER, &headers, revive).await.status, 202);
    let mut reconcile = framework.call("RECONCILE_OPERATIONS");
    reconcile["reconcile_operations"] = json!({ "operations": [] });
    let answer = rig.post_with(SCHEDULER, &headers, reconcile.to_string()).await;
    refused(&answer, 406, "Accept");
    for (accept, form) in [
        ("*/*", JSON),
        ("application/x-protobuf", PROTOBUF),
        ("application/x-protobuf, application/json", JSON),
        ("application/json;q=0, application/x-protobuf", PROTOBUF),
    ] {
        let headers = [("content-type", JSON), ("accept", accept)];
        let answer = rig.post_with(OPERATOR, &headers, health.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, form),
            "{accept}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_type_is_needed_known_and_not_unknown() {
    let rig = Rig::new();
    for path in [SCHEDULER, OPERATOR] {
        for call in [json!({}), json!({ "type": "NO_SUCH_CALL" }), json!({ "type": null })] {
            refused(&rig.post(path, &call).await, 400, "type");
        }
        refused(&rig.post(path, &json!({ "type": "UNKNOWN" })).await, 501, "UNKNOWN");
    }
    // Protobuf: field 1 or 2 of each call is the type; 99 is none.
    let unknown = [0x08, 99];
    let answer = rig.post_with(OPERATOR, &[("content-type", PROTOBUF)], unknown.to_vec()).await;
    refused(&answer, 400, "type");
}

#[tokio::test(start_paused = true)]
async fn a_call_needs_the_part_that_its_type_names() {
    let rig = Rig::new();
    let framework = subscribe(&rig, "x").await;
    for (kind, part) in [
        ("ACCEPT", "accept"),
        ("DECLINE", "decline"),
        ("KILL", "kill"),
        ("SHUTDOWN", "shutdown"),
        ("ACKNOWLEDGE", "acknowledge"),
        ("ACKNOWLEDGE_OPERATION_STATUS", "acknowledge_operation_status"),
        ("RECONCILE", "reconcile"),
        ("RECONCILE_OPERATIONS", "reconcile_operations"),
        ("MESSAGE", "message"),
        ("REQUEST", "request"),
        ("ACCEPT_INVERSE_OFFERS", "accept_inverse_offers"),
        ("DECLINE_INVERSE_OFFERS", "decline_inverse_offers"),
        ("UPDATE_FRAMEWORK", "update_framework"),
    ] {
        refused(&rig.call(&framework.stream, &framework.call(kind)).await, 400, part);
    }
    refused(&rig.post(SCHEDULER, &json!({ "type": "SUBSCRIBE" })).await, 400, "subscribe");
    refused(&rig.post(SCHEDULER, &json!({ "type": "REVIVE" })).await, 400, "framework_id");
    for kind in ["TEARDOWN", "MARK_AGENT_GONE", "DEACTIVATE_AGENT", "UPDATE_WEIGHTS"] {
        let answer = rig.post(OPERATOR, &json!({ "type": kind })).await;
        refused(&answer, 400, &kind.to_lowercase());
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_id_has_16_bytes() {
    let rig = Rig::new();
    let framework = subscribe(&rig, "x").await;
    let mut call = framework.call("ACKNOWLEDGE");
    call["acknowledge"] = json!({
        "agent_id": { "value": "a" }, "task_id": { "value": "t" }, "uuid": "QUJD",
    });
    refused(&rig.call(&framework.stream, &call).await, 400, "uuid");
}

#[tokio::test(start_paused = true)]
async fn the_stream_id_is_the_current_one() {
    let rig = Rig::new();
    let framework = subscribe(&rig, "x").await;
    let revive = framework.call("REVIVE");
    refused(&rig.post(SCHEDULER, &revive).await, 400, "Mesos-Stream-Id");
    for other in ["", "no uuid", "3f8a1f3c-5d0c-4b5a-9d53-0f5f5f5f5f5f"] {
        refused(&rig.call(other, &revive).await, 400, "");
    }
    let headers = [("content-type", JSON), ("mesos-stream-id", &*framework.stream)];
    let again = subscribe_call(&framework_info("x")).to_string();
    refused(&rig.post_with(SCHEDULER, &headers, again).await, 400, "Mesos-Stream-Id");
}

#[tokio::test(start_paused = true)]
async fn the_framework_is_known_before_its_stream_is_asked_for() {
    let rig = Rig::new();
    let call = json!({ "type": "REVIVE", "framework_id": { "value": "nobody" } });
    refused(&rig.post(SCHEDULER, &call).await, 400, "Framework cannot be found");
    let mut two = subscribe_call(&framework_info("x"));
    two["framework_id"] = json!({ "value": "a" });
    two["subscribe"]["framework_info"]["id"] = json!({ "value": "b" });
    refused(&rig.post(SCHEDULER, &two).await, 400, "framework_id");
}

#[tokio::test(start_paused = true)]
async fn before_the_election_calls_are_answered_503_and_health_200() {
    let rig = Rig::over(TestPlane::waiting(config()));
    refused(&rig.post(SCHEDULER, &subscribe_call(&framework_info("x"))).await, 503, "lead");
    let call = json!({ "type": "TEARDOWN", "teardown": { "framework_id": { "value": "x" } } });
    refused(&rig.post(OPERATOR, &call).await, 503, "lead");
    let health = rig.get("/health").await;
    assert_eq!((health.status.as_u16(), health.body.len()), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_here_yet_says_so() {
    let rig = Rig::new();
    for kind in [
        "SET_LOGGING_LEVEL",
        "RESERVE_RESOURCES",
        "UNRESERVE_RESOURCES",
        "CREATE_VOLUMES",
        "DESTROY_VOLUMES",
        "GROW_VOLUME",
        "SHRINK_VOLUME",
        "UPDATE_MAINTENANCE_SCHEDULE",
        "START_MAINTENANCE",
        "STOP_MAINTENANCE",
        "UPDATE_QUOTA",
        "SET_QUOTA",
        "REMOVE_QUOTA",
    ] {
        refused(&rig.post(OPERATOR, &json!({ "type": kind })).await, 501, kind);
    }
    for path in [
        "/reserve",
        "/unreserve",
        "/create-volumes",
        "/destroy-volumes",
        "/machine/down",
        "/machine/up",
        "/quota",
        "/maintenance/schedule",
        "/master/reserve",
        "/logging/toggle",
    ] {
        let answer = rig.post_with(path, &[], "x=1").await;
        refused(&answer, 501, path.trim_start_matches("/master"));
    }
    let answer = rig.send(request(Method::DELETE, "/quota/web", &[], Body::empty())).await;
    refused(&answer, 501, "/quota/web");
}

#[tokio::test(start_paused = true)]
async fn the_control_plane_has_no_log_files_to_read() {
    let rig = Rig::new();
    let list = json!({ "type": "LIST_FILES", "list_files": { "path": "/master/log" } });
    refused(&rig.post(OPERATOR, &list).await, 404, "/master/log");
    let read = json!({ "type": "READ_FILE", "read_file": { "path": "/../etc", "offset": 0 } });
    refused(&rig.post(OPERATOR, &read).await, 404, "/../etc");
    refused(&rig.post(OPERATOR, &json!({ "type": "LIST_FILES" })).await, 400, "list_files");
}

#[tokio::test(start_paused = true)]
async fn unknown_paths_are_not_found() {
    let rig = Rig::new();
    for path in ["/nowhere", "/master/nowhere", "/redirect/anything", "/api/v1/executor", "/state/"]
    {
        assert_eq!(rig.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_legacy_endpoints_say_which_method_they_take() {
    let rig = Rig::new();
    let answer = rig.post_with("/state", &[], "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.header("allow").contains("GET"));
    let answer = rig.get("/teardown").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
}

#[tokio::test(start_paused = true)]
async fn head_is_get_without_the_body() {
    let rig = Rig::new();
    for path in ["/health", "/state", "/version", "/master/metrics/snapshot"] {
        let answer = rig.send(request(Method::HEAD, path, &[], Body::empty())).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{path}");
    }
}

fn json_of(answer: &Answer) -> Json {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_route_exists_under_the_component_too() {
    let rig = Rig::new();
    for path in ["/version", "/state", "/roles", "/redirect", "/health"] {
        let bare = rig.get(path).await;
        let prefixed = rig.get(&format!("/master{path}")).await;
        assert_eq!((bare.status, bare.body), (prefixed.status, prefixed.body), "{path}");
    }
    let health = json!({ "type": "GET_HEALTH" });
    let answer = rig.post("/master/api/v1", &health).await;
    assert_eq!(json_of(&answer)["get_health"]["healthy"], true);
}
