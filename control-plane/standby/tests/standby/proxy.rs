//! Marathon calls (`spec/marathon-api.md` 1.1).

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::any;
use tepui_election::{Leadership, said};
use tepui_standby::Standby;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use crate::rig::{Answer, ask, candidate, led_by, nobody, say, serve, standby};

/// A leader that answers with what it was asked.
async fn echo(request: Request) -> impl IntoResponse {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    text.push_str(&String::from_utf8_lossy(&body));
    let headers = [("x-marathon-leader", "http://leader:8080"), ("via", "1.0 cache")];
    (StatusCode::CREATED, headers, text)
}

/// Marathon's endpoints of a standby that never leads.
fn never_leading(standby: Standby) -> Router {
    tepui_standby::marathon(standby, watch::channel(None).1)
}

/// A standby whose leader is at this address.
async fn before(leader: &str) -> std::net::SocketAddr {
    let (standby, hear) = standby(led_by(candidate("a", "a:5050", leader)));
    // It is told nothing more.
    drop(hear);
    serve(never_leading(standby)).await
}

#[tokio::test]
async fn a_call_is_passed_on_with_the_headers_of_a_proxy() {
    let leader = serve(Router::new().fallback(any(echo))).await.to_string();
    let at = before(&leader).await;
    let request = "PUT /v2/apps//a%2Fb?force=true&x=%20 HTTP/1.1\r\nHost: standby\r\n\
                   Content-Type: application/json\r\nX-Forwarded-For: 9.9.9.9\r\nVia: 1.1 other\r\n\
                   Authorization: Basic eA==\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nTE: trailers\r\n\
                   Content-Length: 8\r\nConnection: close, X-Hop\r\n\r\n{\"a\": 1}";
    let answer = Answer::read(&say(at, request).await);
    assert_eq!(answer.status, "201 Created");
    assert_eq!(answer.header("x-marathon-leader"), Some("http://leader:8080"));
    assert_eq!(answer.header("via"), Some("1.0 cache, 1.1 me:8080"));
    let mut lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!(lines.remove(0), "PUT /v2/apps//a%2Fb?force=true&x=%20 HTTP/1.1");
    assert_eq!(lines.pop(), Some("{\"a\": 1}"));
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "authorization: Basic eA==",
            "content-length: 8",
            "content-type: application/json",
            &format!("host: {leader}"),
            "via: 1.1 other, 1.1 me:8080",
            "x-forwarded-for: 9.9.9.9, 127.0.0.1",
        ]
    );
}

#[tokio::test]
async fn a_call_that_comes_round_again_is_a_loop() {
    let leader = serve(Router::new().fallback(any(echo))).await.to_string();
    let at = before(&leader).await;
    for via in ["1.1 me:8080", "1.1 a:1, 1.1 me:8080 , 1.1 b:2"] {
        let request =
            format!("GET /ping HTTP/1.1\r\nHost: s\r\nVia: {via}\r\nConnection: close\r\n\r\n");
        let answer = Answer::read(&say(at, &request).await);
        assert_eq!(answer.status, "502 Bad Gateway", "{via}");
        assert_eq!(answer.body, "{\"message\":\"Detected proxying loop.\"}");
    }
    let request = "GET /ping HTTP/1.1\r\nHost: s\r\nVia: 1.1 me:80\r\nConnection: close\r\n\r\n";
    assert_eq!(Answer::read(&say(at, request).await).status, "201 Created");
}

#[tokio::test]
async fn whoever_wants_events_is_sent_to_the_leader() {
    let at = before("leader.example:8080").await;
    for path in ["/v2/events", "/v2/events?event_type=a&event_type=b%20c"] {
        let answer = ask(at, &format!("GET {path}")).await;
        assert_eq!(answer.status, "302 Found");
        let location = format!("http://leader.example:8080{path}");
        assert_eq!(answer.header("location"), Some(location.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_leader_and_not_for_ever() {
    let (without, _hear) = standby(None);
    let begin = tokio::time::Instant::now();
    let request = || Request::get("/v2/apps").body(Body::empty()).unwrap();
    let answer = never_leading(without).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(begin.elapsed(), Duration::from_millis(2_500));
    let body = axum::body::to_bytes(answer.into_body(), 1 << 10).await.unwrap();
    assert_eq!(body, format!("{{\"message\":\"{}\"}}", said::UNDETERMINED));

    let (standby, hear) = standby(None);
    let asked = tokio::spawn(
        never_leading(standby).oneshot(Request::get("/v2/events").body(Body::empty()).unwrap()),
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    hear.send_replace(led_by(candidate("a", "a:5050", "a:8080")));
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.headers()["location"], "http://a:8080/v2/events");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_while_this_process_is_elected_is_answered_by_it() {
    let (standby, hear) = standby(None);
    let me = standby.me.as_ref().clone();
    let (lead, own) = watch::channel(None);
    let marathon = tepui_standby::marathon(standby, own);
    let request = Request::post("/v2/apps?force=true").body(Body::from("{}")).unwrap();
    let asked = tokio::spawn(marathon.oneshot(request));
    tokio::time::sleep(Duration::from_millis(500)).await;
    // It is named as the leader before it serves.
    hear.send_replace(led_by(me));
    tokio::time::sleep(Duration::from_millis(500)).await;
    lead.send_replace(Some(Router::new().fallback(any(echo))));
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body = axum::body::to_bytes(answer.into_body(), 1 << 10).await.unwrap();
    assert_eq!(body, "POST /v2/apps?force=true HTTP/1.1\n{}");
}

#[tokio::test]
async fn a_leader_that_is_not_there_has_done_nothing() {
    let at = before(&nobody().await.to_string()).await;
    let answer = ask(at, "POST /v2/apps").await;
    assert_eq!(answer.status, "502 Bad Gateway");
    assert_eq!(answer.body, format!("{{\"message\":\"{}\"}}", said::UNREACHED));
}

#[tokio::test]
async fn a_leader_that_dies_in_the_middle_may_have_done_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = before(&listener.local_addr().unwrap().to_string()).await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = stream.read(&mut [0; 1024]).await.unwrap();
        assert!(read > 0, "it was asked");
    });
    let answer = ask(at, "POST /v2/apps").await;
    assert_eq!(answer.status, "500 Internal Server Error");
    assert!(answer.body.contains(said::BROKE_OFF), "{}", answer.body);
}

/// A leader that was stopped: it takes connections, and what is asked there is told and not answered.
async fn stopped() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).await.unwrap();
            tell.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).unwrap();
            open.push(stream);
        }
    });
    (address, asked)
}

#[tokio::test]
async fn what_only_reads_is_asked_of_the_next_leader_when_one_stops() {
    let (leader, mut asked) = stopped().await;
    let (standby, hear) = standby(led_by(candidate("a", "a:5050", &leader)));
    let at = serve(never_leading(standby)).await;
    let answer = tokio::spawn(async move { ask(at, "GET /v2/apps?x=1").await });
    asked.recv().await.unwrap();
    let (second, mut asked) = stopped().await;
    hear.send_replace(led_by(candidate("b", "b:5050", &second)));
    assert!(asked.recv().await.unwrap().starts_with("GET /v2/apps?x=1 "));
    let third = serve(Router::new().fallback(any(echo))).await.to_string();
    hear.send_replace(led_by(candidate("c", "c:5050", &third)));
    let answer = answer.await.unwrap();
    assert_eq!(answer.status, "201 Created");
    assert!(answer.body.starts_with("GET /v2/apps?x=1 "), "{}", answer.body);
    assert!(answer.body.contains("via: 1.1 me:8080\n"), "{}", answer.body);
}

#[tokio::test]
async fn what_only_reads_is_answered_by_this_process_when_it_leads_next() {
    let (leader, mut asked) = stopped().await;
    let (standby, hear) = standby(led_by(candidate("a", "a:5050", &leader)));
    let me = standby.me.as_ref().clone();
    let (lead, own) = watch::channel(None);
    let at = serve(tepui_standby::marathon(standby, own)).await;
    let answer = tokio::spawn(async move { ask(at, "HEAD /v2/apps").await });
    asked.recv().await.unwrap();
    hear.send_replace(led_by(me));
    lead.send_replace(Some(Router::new().fallback(any(echo))));
    assert_eq!(answer.await.unwrap().status, "201 Created");
}

#[tokio::test]
async fn what_changes_something_ends_when_the_leader_changes_and_may_be_done() {
    let (leader, mut asked) = stopped().await;
    let (standby, hear) = standby(led_by(candidate("a", "a:5050", &leader)));
    let at = serve(never_leading(standby)).await;
    let answer = tokio::spawn(async move { ask(at, "DELETE /v2/apps/a").await });
    asked.recv().await.unwrap();
    let next = serve(Router::new().fallback(any(echo))).await.to_string();
    hear.send_replace(led_by(candidate("b", "b:5050", &next)));
    let answer = answer.await.unwrap();
    assert_eq!(answer.status, "500 Internal Server Error");
    let text = format!("{}; what was asked may be done", said::CHANGED);
    assert_eq!(answer.body, format!("{{\"message\":\"{text}\"}}"));
}

#[tokio::test]
async fn a_leader_that_goes_on_leading_is_waited_for() {
    let (begin, mut begun) = mpsc::unbounded_channel();
    let (finish, finished) = watch::channel(false);
    let slow = move || {
        let mut finished = finished.clone();
        begin.send(()).unwrap();
        async move {
            finished.wait_for(|finished| *finished).await.unwrap();
            "slow"
        }
    };
    let leader = serve(Router::new().fallback(any(slow))).await.to_string();
    let (standby, hear) = standby(led_by(candidate("a", "a:5050", &leader)));
    let at = serve(never_leading(standby)).await;
    let answer = tokio::spawn(async move { ask(at, "GET /v2/apps").await });
    begun.recv().await.unwrap();
    let later = led_by(candidate("a", "a:5050", &leader));
    hear.send_replace(later.map(|record| Leadership { writes: 9, ..record }));
    finish.send_replace(true);
    assert_eq!(answer.await.unwrap().body, "slow");
    assert!(begun.try_recv().is_err(), "it was asked once");
}

#[tokio::test]
async fn an_open_connection_is_served_by_who_leads_now() {
    let (standby, _hear) = standby(led_by(candidate("a", "a:5050", "a:8080")));
    let front = tepui_standby::Front::new(never_leading(standby));
    let at = serve(front.router()).await;
    let mut stream = TcpStream::connect(at).await.unwrap();
    let mut ask = async |wanted: &str| {
        stream.write_all(b"GET /v2/events HTTP/1.1\r\nHost: s\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        while !answer.contains(wanted) {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the connection stays open: {answer}");
            answer.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    };
    ask("302 Found").await;
    front.replace(Router::new().fallback(any(echo)));
    ask("201 Created").await;
}
