//! What the legacy endpoints do with their parameters and bodies.

use serde_json::{Value as Json, json};
use tepui_plugin_host::Standing;
use tokio::task::JoinHandle;

use crate::client::{Answer, JSON, Rig, request};
use crate::scenes::{
    accept, agent_info, busy, framework_info, resources, subscribe, subscribe_as, task,
};

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test(start_paused = true)]
async fn lists_are_narrowed_by_id() {
    let busy = busy().await;
    let rig = &busy.rig;
    let other = rig.plane.agent(agent_info("a2.test"));
    let slaves = rig.get(&format!("/slaves?slave_id={}", other.id)).await.json();
    assert_eq!(slaves["slaves"].as_array().unwrap().len(), 1);
    assert_eq!(slaves["slaves"][0]["hostname"], "a2.test");
    let none = rig.get("/slaves?slave_id=nobody").await.json();
    assert_eq!(none, json!({ "slaves": [], "recovered_slaves": [] }));
    let one = rig.get(&format!("/frameworks?framework_id={}", busy.framework.id)).await.json();
    assert_eq!(one["frameworks"][0]["name"], "busy");
    assert_eq!(one["completed_frameworks"], json!([]));
}

fn names(tasks: &Json) -> Vec<&str> {
    tasks["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn tasks_are_paged_and_ordered() {
    let busy = busy().await;
    let rig = &busy.rig;
    let all = rig.get("/tasks").await.json();
    assert_eq!(names(&all).len(), 3);
    let up = rig.get("/tasks?order=asc").await.json();
    let down = rig.get("/tasks?order=des").await.json();
    assert_eq!(names(&up).len(), 3);
    assert_eq!(names(&down), names(&all));
    let page = rig.get("/tasks?order=asc&limit=1&offset=1").await.json();
    assert_eq!(names(&page), names(&up)[1..2]);
    let one = rig.get("/tasks?task_id=ended").await.json();
    assert_eq!(names(&one), ["ended"]);
    assert_eq!(names(&rig.get("/tasks?framework_id=nobody").await.json()), Vec::<&str>::new());
    assert_eq!(names(&rig.get("/tasks?offset=100").await.json()), Vec::<&str>::new());
    for bad in ["order=up", "limit=x", "limit=-1", "offset=1.5"] {
        assert_eq!(rig.get(&format!("/tasks?{bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn jsonp_wraps_only_with_a_plain_name() {
    let rig = Rig::new();
    let padded = [
        "/state",
        "/state-summary",
        "/slaves",
        "/frameworks",
        "/tasks",
        "/roles",
        "/weights",
        "/quota",
        "/version",
        "/flags",
        "/metrics/snapshot",
        "/system/stats.json",
        "/maintenance/schedule",
        "/maintenance/status",
    ];
    for path in padded {
        let answer = rig.get(&format!("{path}?jsonp=back.call")).await;
        let text = answer.text();
        assert_eq!(answer.header("content-type"), "text/javascript", "{path}");
        assert!(text.starts_with("back.call(") && text.ends_with(");"), "{path}: {text}");
        let inner = &text["back.call(".len()..text.len() - 2];
        serde_json::from_str::<Json>(inner).unwrap();
        let answer = rig.get(&format!("{path}?jsonp=alert(1)//")).await;
        assert_eq!(answer.header("content-type"), JSON, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn redirect_names_the_leader() {
    let rig = Rig::new();
    for path in ["/redirect", "/master/redirect"] {
        let answer = rig.get(path).await;
        assert_eq!(answer.status, 307);
        assert_eq!(answer.header("location"), "//leader.test:5050");
    }
}

#[tokio::test(start_paused = true)]
async fn teardown_takes_a_form() {
    let rig = Rig::new();
    let framework = subscribe(&rig, "ends").await;
    let form = [("content-type", FORM)];
    for (body, status) in [("", 400), ("frameworkId=", 400), ("frameworkId=nobody", 400)] {
        let answer = rig.post_with("/teardown", &form, body).await;
        assert_eq!(answer.status.as_u16(), status, "{body:?}: {}", answer.text());
        assert!(!answer.body.is_empty());
    }
    let body = format!("frameworkId={}", framework.id);
    assert_eq!(rig.post_with("/master/teardown", &form, body).await.status, 200);
    assert_eq!(rig.plane.look(|cluster| cluster.completed_frameworks().len()), 1);
}

#[tokio::test(start_paused = true)]
async fn weights_are_put_and_shown() {
    let rig = Rig::new();
    let put = async |body: &str| {
        let call = request(http::Method::PUT, "/weights", &[], body.to_owned().into());
        rig.send(call).await
    };
    assert_eq!(put(r#"[{"role":"web","weight":2.5}]"#).await.status, 200);
    assert_eq!(rig.get("/weights").await.json(), json!([{ "role": "web", "weight": 2.5 }]));
    for bad in [
        "",
        "{}",
        r#"[{"role":"web"}]"#,
        r#"[{"role":"web","weight":0}]"#,
        r#"[{"role":"web","weight":-1}]"#,
        r#"[{"role":"../x","weight":1}]"#,
        r#"[{"role":"web","weight":1e300}]"#,
    ] {
        assert_eq!(put(bad).await.status, 400, "{bad}");
    }
    assert_eq!(rig.get("/weights").await.json(), json!([{ "role": "web", "weight": 2.5 }]));
}

#[tokio::test(start_paused = true)]
async fn large_answers_are_compressed_for_who_takes_it() {
    let rig = Rig::new();
    for number in 0..20 {
        rig.plane.agent(agent_info(&format!("a{number}.test")));
    }
    let gzip = [("accept-encoding", "gzip")];
    let get = async |path: &str| {
        rig.send(request(http::Method::GET, path, &gzip, axum::body::Body::empty())).await
    };
    let answer = get("/state").await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    let text = ungzipped(&answer.body);
    assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), rig.get("/state").await.json());
    assert_eq!(get("/flags").await.header("content-encoding"), "", "below 1024 bytes");
    assert_eq!(rig.get("/state").await.header("content-encoding"), "");
}

#[tokio::test(start_paused = true)]
async fn many_tasks_travel_in_pieces_as_the_same_text() {
    let rig = Rig::new();
    let mut large = agent_info("a1.test");
    large.resources = resources("cpus:100;mem:100000;disk:10000");
    let agent = rig.plane.agent(large);
    let mut framework = subscribe(&rig, "large").await;
    let offers = framework.offers().await;
    let names: Vec<String> = (0..100).map(|number| format!("t{number:03}")).collect();
    let tasks: Vec<Json> = names.iter().map(|name| task(name, &agent)).collect();
    rig.call(&framework.stream, &accept(&framework, &offers[0], &tasks)).await;
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        rig.send(request(http::Method::GET, path, headers, axum::body::Body::empty())).await
    };
    for path in ["/state".to_owned(), format!("/frameworks?framework_id={}", framework.id)] {
        let plain = ask(&path, &[]).await;
        let seen = plain.json();
        let shown = seen["frameworks"][0]["tasks"].as_array().unwrap();
        assert!(shown.iter().map(|task| task["id"].as_str().unwrap()).eq(&names));
        for (accepted, coded) in [("gzip, deflate", true), ("gzip;q=0", false), ("br", false)] {
            let answer = ask(&path, &[("accept-encoding", accepted)]).await;
            let coding = answer.header("content-encoding");
            assert_eq!(coding, if coded { "gzip" } else { "" }, "{accepted}");
            let text = if coded { ungzipped(&answer.body) } else { answer.text() };
            assert_eq!(text, plain.text(), "{accepted}");
        }
        let question = if path.contains('?') { '&' } else { '?' };
        let padded = ask(&format!("{path}{question}jsonp=f"), &[("accept-encoding", "gzip")]).await;
        assert_eq!(padded.text(), format!("f({});", plain.text()));
    }
    for reader in readers(&rig, "/state", 5).await {
        assert_eq!(reader.await.unwrap().text(), ask("/state", &[]).await.text());
    }
}

fn ungzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes), &mut text).unwrap();
    text
}

/// So many readers of one path, each of whom has asked.
async fn readers(rig: &Rig, path: &'static str, count: usize) -> Vec<JoinHandle<Answer>> {
    let ask = |rig: Rig| async move { rig.get(path).await };
    let all: Vec<_> = (0..count).map(|_| tokio::spawn(ask(rig.clone()))).collect();
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
    all
}

async fn hits(rig: &Rig) -> f64 {
    rig.get("/metrics/snapshot").await.json()["master/http_cache_hits"].as_f64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn readers_who_wait_together_share_one_answer() {
    let rig = Rig::new();
    rig.plane.close_gate();
    let waiting = readers(&rig, "/state", 10).await;
    let others = readers(&rig, "/state-summary", 2).await;
    rig.plane.agent(agent_info("a1.test"));
    rig.plane.open_gate();
    for reader in waiting {
        let state = reader.await.unwrap().json();
        assert_eq!(state["slaves"][0]["hostname"], "a1.test", "nobody sees an older state");
    }
    for reader in others {
        assert_eq!(reader.await.unwrap().json()["slaves"].as_array().unwrap().len(), 1);
    }
    assert!((hits(&rig).await - 10.0).abs() < 1e-9);
    rig.plane.agent(agent_info("a2.test"));
    assert_eq!(rig.get("/state").await.json()["slaves"].as_array().unwrap().len(), 2);
    assert!((hits(&rig).await - 10.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_leaves_takes_nobody_along() {
    let rig = Rig::new();
    rig.plane.close_gate();
    let waiting = readers(&rig, "/state", 5).await;
    waiting[0].abort();
    waiting[2].abort();
    rig.plane.open_gate();
    for (number, reader) in waiting.into_iter().enumerate() {
        match reader.await {
            Ok(answer) => assert_eq!(answer.status, 200, "reader {number}"),
            Err(error) => assert!(error.is_cancelled() && [0, 2].contains(&number)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn readers_are_told_when_nobody_can_be_asked() {
    let rig = Rig::new();
    rig.plane.close_gate();
    let waiting = readers(&rig, "/state", 3).await;
    rig.plane.stop();
    for reader in waiting {
        assert_eq!(reader.await.unwrap().status, 503);
    }
    assert_eq!(rig.get("/state").await.status, 503, "the next one asks anew");
}

#[tokio::test(start_paused = true)]
async fn explain_gives_reasons_with_numbers() {
    let rig = Rig::new();
    let agent = rig.plane.agent(agent_info("a1.test"));
    let mut framework = subscribe(&rig, "asks").await;
    let path = format!("/tepui/v1/explain/frameworks/{}", framework.id);
    let offers = framework.offers().await;
    let reasons = rig.get(&path).await.json();
    assert_eq!(reasons["reasons"][0]["agent_id"], agent.id.as_str(), "{reasons}");
    assert_eq!(reasons["reasons"][0]["role"], "*");
    assert_eq!(reasons["reasons"][0]["reason"], "NOTHING_FREE");
    let mut decline = framework.call("DECLINE");
    decline["decline"] =
        json!({ "offer_ids": [offers[0]["id"]], "filters": { "refuse_seconds": 60 } });
    rig.call(&framework.stream, &decline).await;
    let reasons = rig.get(&path).await.json();
    let left = reasons["reasons"][0]["remaining_seconds"].as_f64().unwrap();
    assert!((59.0..=61.0).contains(&left), "{reasons}");
    rig.call(&framework.stream, &framework.call("SUPPRESS")).await;
    let reasons = rig.get(&path).await.json();
    assert_eq!(reasons["reasons"][0]["reason"], "SUPPRESSED", "{reasons}");
    assert_eq!(reasons["reasons"][0]["text"], "framework suppressed the role");
    let described = rig.get("/tepui/v1/openapi.json").await.json();
    let known = &described["components"]["schemas"]["Reason"]["properties"];
    for (key, _) in reasons["reasons"][0].as_object().unwrap() {
        assert!(known.get(key).is_some(), "{key} is not described");
    }
    assert_eq!(rig.get("/tepui/v1/explain/frameworks/nobody").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn however_a_plugin_stands_is_described() {
    let described = Rig::new().get("/tepui/v1/openapi.json").await.json();
    let states = &described["components"]["schemas"]["Plugin"]["properties"]["state"]["enum"];
    let reason = String::new;
    for standing in [
        Standing::Opening,
        Standing::InUse,
        Standing::Beside,
        Standing::StandsBy,
        Standing::Retired,
        Standing::Refused { reason: reason() },
        Standing::Failed { reason: reason(), instead: reason() },
    ] {
        let state = serde_json::to_value(standing).unwrap()["state"].clone();
        assert!(states.as_array().unwrap().contains(&state), "{state} is not in {states}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_framework_that_came_back_shows_both_times() {
    let rig = Rig::new();
    let first = subscribe(&rig, "back").await;
    rig.plane.advance(tepui_types::Span::from_secs(9));
    let mut info = framework_info("back");
    info["id"] = json!({ "value": first.id });
    let _second = subscribe_as(&rig, &info).await;
    let shown = rig.get("/frameworks").await.json();
    let framework = &shown["frameworks"][0];
    assert_eq!(framework["registered_time"], 1_700_000_000.0);
    assert_eq!(framework["reregistered_time"], 1_700_000_009.0);
}
