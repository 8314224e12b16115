//! Sessions and calls about containers.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tepui_agent::{Exit, Window};
use tepui_agent_api::{Input, Output};
use tepui_types::ContainerId;
use tepui_wire::recordio;

use crate::rig::{Rig, command, json_request};

fn launched() -> (Rig, ContainerId) {
    let rig = Rig::new();
    rig.launch(command("t1"));
    let run = rig.newest_run();
    (rig, run)
}

fn below(run: &ContainerId) -> Value {
    json!({"value": "s", "parent": {"value": run.as_str()}})
}

fn open(run: &ContainerId) -> Value {
    let container =
        json!({"type": "MESOS", "tty_info": {"window_size": {"rows": 3, "columns": 9}}});
    json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": {
        "container_id": below(run), "command": {"value": "sh"}, "container": container}})
}

fn session(run: &ContainerId) -> ContainerId {
    ContainerId::parse(&format!("{run}.s")).unwrap()
}

fn records(bytes: &[u8]) -> Vec<Value> {
    let mut decoder = recordio::Decoder::default();
    decoder.push(bytes);
    let mut found = Vec::new();
    while let Some(record) = decoder.next_record().unwrap() {
        found.push(serde_json::from_slice(&record).unwrap());
    }
    found
}

#[tokio::test]
async fn a_session_is_answered_by_what_its_command_prints() {
    let (rig, run) = launched();
    let mut request = json_request("/api/v1", open(&run));
    request.headers_mut().insert(header::ACCEPT, "application/recordio".parse().unwrap());
    request.headers_mut().insert("message-accept", "application/json".parse().unwrap());
    request.headers_mut().insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
    let asking = tokio::spawn({
        let rig = rig.clone();
        async move { rig.ask(request).await }
    });
    while !rig.has_talk(&session(&run)) {
        tokio::task::yield_now().await;
    }
    let talk = rig.talk(&session(&run));
    assert_eq!(talk.spec.terminal, Some(Window { rows: 3, columns: 9 }));
    talk.prints.send(Output::Stdout(b"hi".to_vec())).await.unwrap();
    talk.prints.send(Output::Stderr(b"oh".to_vec())).await.unwrap();
    drop(talk);
    let answer = asking.await.unwrap();
    assert_eq!(answer.header("content-type"), "application/recordio");
    assert_eq!(answer.header("message-content-type"), "application/json");
    assert_eq!(answer.header("content-encoding"), "");
    let data =
        |kind: &str, data: &str| json!({"type": "DATA", "data": {"type": kind, "data": data}});
    assert_eq!(records(&answer.body), [data("STDOUT", "aGk="), data("STDERR", "b2g=")]);
}

#[tokio::test]
async fn what_is_said_reaches_the_command() {
    let (rig, run) = launched();
    let (status, _, _held) = rig.stream("/api/v1", open(&run)).await;
    assert_eq!(status, StatusCode::OK);
    let mut talk = rig.talk(&session(&run));
    let call =
        |part: Value| json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": part});
    let io = |io: Value| call(json!({"type": "PROCESS_IO", "process_io": io}));
    let mut body = Vec::new();
    for record in [
        call(json!({"type": "CONTAINER_ID", "container_id": below(&run)})),
        io(json!({"type": "DATA", "data": {"type": "STDIN", "data": "bHM="}})),
        io(json!({"type": "CONTROL", "control": {"type": "HEARTBEAT"}})),
        io(json!({"type": "CONTROL", "control": {"type": "TTY_INFO",
            "tty_info": {"window_size": {"rows": 50, "columns": 100_000}}}})),
        io(json!({"type": "DATA", "data": {"type": "STDIN", "data": ""}})),
    ] {
        recordio::encode_into(record.to_string().as_bytes(), &mut body);
    }
    let answer = rig.ask(input(body)).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, String::new()));
    let window = Window { rows: 50, columns: u16::MAX };
    for expected in [Input::Data(b"ls".to_vec()), Input::Resize(window), Input::End] {
        assert_eq!(talk.hears.recv().await, Some(expected));
    }
}

fn input(body: impl Into<Body>) -> Request<Body> {
    Request::post("/api/v1")
        .header(header::CONTENT_TYPE, "application/recordio")
        .header("message-content-type", "application/json")
        .body(body.into())
        .unwrap()
}

#[tokio::test]
async fn faulty_input_is_refused_and_says_what_would_be_right() {
    let (rig, run) = launched();
    let first = |id: Value| {
        let part = json!({"type": "CONTAINER_ID", "container_id": id});
        let call = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": part});
        recordio::encode(call.to_string().as_bytes())
    };
    let unknown = rig.ask(input(first(json!({"value": "x"})))).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.text());
    let task = rig.ask(input(first(json!({"value": run.as_str()})))).await;
    assert_eq!(task.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", task.text());
    for body in [&b""[..], b"x", b"3\n{}}", b"99999999999\n"] {
        let answer = rig.ask(input(body.to_vec())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:?}: {}", answer.text());
    }
    let mut bare = input(Vec::new());
    bare.headers_mut().remove("message-content-type");
    assert_eq!(rig.ask(bare).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let plain = rig.post("/api/v1", json!({"type": "ATTACH_CONTAINER_INPUT"})).await;
    assert_eq!(plain.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn waiting_tells_the_raw_status_under_both_names_of_the_call() {
    let (rig, run) = launched();
    let (_, _, _held) = rig.stream("/api/v1", open(&run)).await;
    rig.end_session(&session(&run), Exit::Code(3));
    let wait = json!({"type": "WAIT_NESTED_CONTAINER",
        "wait_nested_container": {"container_id": below(&run)}});
    let told = rig.post("/api/v1", wait).await.json();
    assert_eq!(
        told,
        json!({"type": "WAIT_NESTED_CONTAINER",
        "wait_nested_container": {"exit_status": 768}})
    );
    let wait = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": below(&run)}});
    assert_eq!(rig.post("/api/v1", wait).await.json()["wait_container"]["exit_status"], 768);
}

#[tokio::test]
async fn a_killed_container_ends_and_can_be_removed() {
    let (rig, run) = launched();
    let id = json!({"value": run.as_str()});
    let remove = json!({"type": "REMOVE_CONTAINER", "remove_container": {"container_id": id}});
    let alive = rig.post("/api/v1", remove.clone()).await;
    assert_eq!(alive.status, StatusCode::INTERNAL_SERVER_ERROR);
    let kill = json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": id}});
    assert_eq!(rig.post("/api/v1", kill.clone()).await.status, StatusCode::OK);
    assert_eq!(rig.post("/api/v1", kill).await.status, StatusCode::NOT_FOUND);
    assert_eq!(rig.post("/api/v1", remove).await.status, StatusCode::OK);
    let bare =
        json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": id}});
    let bare = rig.post("/api/v1", bare).await;
    assert_eq!(bare.status, StatusCode::BAD_REQUEST);
    assert!(bare.text().contains("container_id.parent"), "{}", bare.text());
}

#[tokio::test]
async fn a_reader_that_is_attached_later_sees_what_follows() {
    let (rig, run) = launched();
    let (_, _, _held) = rig.stream("/api/v1", open(&run)).await;
    let attach = json!({"type": "ATTACH_CONTAINER_OUTPUT",
        "attach_container_output": {"container_id": {"value": "nobody"}}});
    assert_eq!(rig.post("/api/v1", attach).await.status, StatusCode::NOT_FOUND);
    let attach = json!({"type": "ATTACH_CONTAINER_OUTPUT",
        "attach_container_output": {"container_id": {"value": run.as_str()}}});
    let (status, _, body) = rig.stream("/api/v1", attach).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let text = body.collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("only sessions have"));
}

#[tokio::test]
async fn containers_are_launched_listed_waited_for_and_removed_by_calls() {
    let (rig, run) = launched();
    let launch = |kind: &str, id: &Value| {
        let part = json!({"container_id": id, "command": {"value": "sleep 9"}});
        json!({"type": kind, kind.to_lowercase(): part})
    };
    let alone = json!({"value": "alone"});
    let nested = launch("LAUNCH_NESTED_CONTAINER", &below(&run));
    assert_eq!(rig.post("/api/v1", nested.clone()).await.status, StatusCode::OK);
    assert_eq!(rig.post("/api/v1", nested).await.status, StatusCode::ACCEPTED);
    let standalone = launch("LAUNCH_CONTAINER", &alone);
    assert_eq!(rig.post("/api/v1", standalone).await.status, StatusCode::OK);
    let bare = rig.post("/api/v1", launch("LAUNCH_NESTED_CONTAINER", &alone)).await;
    assert_eq!(bare.status, StatusCode::BAD_REQUEST);
    let orphan = json!({"value": "x", "parent": {"value": "gone"}});
    let orphan = rig.post("/api/v1", launch("LAUNCH_CONTAINER", &orphan)).await;
    assert_eq!(orphan.status, StatusCode::BAD_REQUEST);
    assert!(orphan.text().contains("gone cannot be found"), "{}", orphan.text());

    let listed = |nested: bool, standalone: bool| {
        let part = json!({"show_nested": nested, "show_standalone": standalone});
        let rig = rig.clone();
        async move {
            let call = json!({"type": "GET_CONTAINERS", "get_containers": part});
            let answer = rig.post("/api/v1", call).await.json();
            let found = answer["get_containers"]["containers"].as_array().unwrap().clone();
            found.into_iter().map(|one| one["container_id"]["value"].clone()).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed(false, false).await, [json!(run.as_str())]);
    assert!(listed(true, false).await.contains(&json!("s")));
    assert!(listed(false, true).await.contains(&json!("alone")));
    let page = rig.get("/containers?show_standalone=true").await.json();
    let ids: Vec<_> = page.as_array().unwrap().iter().map(|one| &one["container_id"]).collect();
    assert!(ids.contains(&&json!("alone")), "{page}");

    let kill = json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": alone}});
    assert_eq!(rig.post("/api/v1", kill).await.status, StatusCode::OK);
    let wait = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": alone}});
    let told = rig.post("/api/v1", wait.clone()).await.json();
    assert_eq!(told["wait_container"], json!({"exit_status": 9}));
    let remove = json!({"type": "REMOVE_CONTAINER", "remove_container": {"container_id": alone}});
    for _ in 0..2 {
        assert_eq!(rig.post("/api/v1", remove.clone()).await.status, StatusCode::OK);
    }
    assert_eq!(rig.post("/api/v1", wait).await.status, StatusCode::NOT_FOUND);
}
