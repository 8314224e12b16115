//! Mesos calls (`spec/mesos-http.md` 0.5).

use axum::Router;
use axum::routing::get;

use crate::rig::{ask, candidate, led_by, say, serve, standby};

fn own() -> Router {
    Router::new().route("/health", get(|| async { "fine" }))
}

#[tokio::test]
async fn a_call_is_sent_to_the_leader_with_its_path_and_query() {
    let (standby, _hear) = standby(led_by(candidate("a", "leader.example:5050", "a:8080")));
    let at = serve(tepui_standby::mesos(standby, own())).await;
    for (request, location) in [
        ("GET /state", "//leader.example:5050/state"),
        (
            "GET /master/state-summary?jsonp=f%28x",
            "//leader.example:5050/master/state-summary?jsonp=f%28x",
        ),
        ("GET /", "//leader.example:5050/"),
        ("POST /api/v1/scheduler", "//leader.example:5050/api/v1/scheduler"),
        ("POST /master/api/v1?x=1&y", "//leader.example:5050/master/api/v1?x=1&y"),
        ("DELETE /weights/a%2Fb", "//leader.example:5050/weights/a%2Fb"),
        ("GET /redirect", "//leader.example:5050"),
        ("GET /master/redirect", "//leader.example:5050"),
    ] {
        let answer = ask(at, request).await;
        assert_eq!(answer.status, "307 Temporary Redirect", "{request}");
        assert_eq!(answer.header("location"), Some(location), "{request}");
        assert_eq!(answer.body, "", "{request}");
    }
    for path in ["/redirect/x", "/master/redirect/x/y"] {
        assert_eq!(ask(at, &format!("GET {path}")).await.status, "404 Not Found", "{path}");
    }
}

#[tokio::test]
async fn the_answer_is_this_to_the_byte() {
    let (standby, _hear) = standby(led_by(candidate("a", "leader.example:5050", "a:8080")));
    let at = serve(tepui_standby::mesos(standby, own())).await;
    let body = "{\"type\":\"SUBSCRIBE\"}";
    let request = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: s\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = say(at, &request).await;
    let (before, date) = answer.split_once("date: ").unwrap();
    let (_, after) = date.split_once("\r\n").unwrap();
    assert_eq!(
        format!("{before}{after}"),
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: //leader.example:5050/api/v1/scheduler\r\n\
         connection: close\r\ncontent-length: 0\r\n\r\n"
    );
}

#[tokio::test]
async fn without_a_leader_nobody_is_sent_anywhere() {
    let (standby, hear) = standby(None);
    let at = serve(tepui_standby::mesos(standby.clone(), own())).await;
    for path in ["/state", "/redirect", "/master/redirect", "/api/v1/scheduler"] {
        let answer = ask(at, &format!("GET {path}")).await;
        assert_eq!(answer.status, "503 Service Unavailable", "{path}");
        assert!(tepui_election::said::nobody_leads(&answer.body), "{}", answer.body);
    }
    let answer = ask(at, "GET /tepui/v1/vigil").await;
    assert_eq!(answer.status, "503 Service Unavailable", "it leads nobody");
    // This process was elected, and does not serve yet.
    hear.send_replace(led_by(standby.me.as_ref().clone()));
    assert_eq!(ask(at, "GET /state").await.status, "503 Service Unavailable");
    hear.send_replace(led_by(candidate("a", "a:5050", "a:8080")));
    assert_eq!(ask(at, "GET /state").await.header("location"), Some("//a:5050/state"));
}

#[tokio::test]
async fn what_is_its_own_it_answers_itself() {
    let (standby, _hear) = standby(None);
    let at = serve(tepui_standby::mesos(standby, own())).await;
    assert_eq!(ask(at, "GET /health").await.body, "fine");
}
