use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use tepui_marathon::EventPayload;
use tepui_rest::{Apps, Options};

use crate::rig::{Api, World};

/// An open event stream.
struct Stream(Body);

impl Stream {
    async fn open(api: &Api, query: &str) -> Self {
        let request = Request::builder()
            .uri(format!("/v2/events{query}"))
            .header("accept", "text/event-stream")
            .header("accept-encoding", "gzip")
            .body(Body::empty())
            .unwrap();
        let response = api.open(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"));
        Self(response.into_body())
    }

    /// The next frame, or `None` when the stream has ended.
    async fn next(&mut self) -> Option<String> {
        let frame = self.0.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(frame.to_vec()).unwrap())
    }

    async fn next_type(&mut self) -> String {
        let frame = self.next().await.unwrap();
        let line = frame.split("\r\n").next().unwrap();
        line.strip_prefix("event: ").unwrap_or("heartbeat").to_owned()
    }
}

#[tokio::test]
async fn frames_end_every_line_with_cr_lf() {
    let api = Api::new();
    let mut stream = Stream::open(&api, "").await;
    let frame = stream.next().await.unwrap();
    assert!(
        frame.starts_with(
            "event: event_stream_attached\r\ndata: {\"remoteAddress\":\"unknown\",\
             \"eventType\":\"event_stream_attached\",\"timestamp\":\"2030-"
        ),
        "{frame}"
    );
    assert!(frame.ends_with("}\r\n\r\n"));
}

#[tokio::test]
async fn a_write_is_told_on_every_stream() {
    let api = Api::new();
    let mut stream = Stream::open(&api, "").await;
    api.post("/v2/apps", r#"{"id":"/a","cmd":"sleep 1"}"#).await.expect(201);
    api.world.advance(10);
    let mut seen = Vec::new();
    while !seen.iter().any(|seen| seen == "deployment_success") {
        seen.push(stream.next_type().await);
    }
    for expected in ["api_post_event", "group_change_success", "status_update_event"] {
        assert!(seen.iter().any(|seen| seen == expected), "{expected} is not in {seen:?}");
    }
}

#[tokio::test]
async fn clients_get_only_the_types_they_name() {
    let api = Api::new();
    let query =
        "?event_type=deployment_success&event_type=scheduler_disconnected_event&plan-format=light";
    let mut stream = Stream::open(&api, query).await;
    api.post("/v2/apps", r#"{"id":"/a","cmd":"sleep 1"}"#).await.expect(201);
    api.world.advance(10);
    api.world.publish(EventPayload::SchedulerDisconnected {});
    assert_eq!(stream.next_type().await, "deployment_success");
    assert_eq!(stream.next_type().await, "scheduler_disconnected_event");
}

#[tokio::test]
async fn scheduler_events_go_only_to_those_who_ask() {
    let api = Api::new();
    let mut stream = Stream::open(&api, "").await;
    assert_eq!(stream.next_type().await, "event_stream_attached");
    api.world.publish(EventPayload::SchedulerDisconnected {});
    api.world.publish(EventPayload::AppTerminated { app_id: "/a".parse().unwrap() });
    assert_eq!(stream.next_type().await, "app_terminated_event");
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_beats_every_ten_seconds() {
    let api = Api::new();
    let mut stream = Stream::open(&api, "?event_type=none").await;
    let before = tokio::time::Instant::now();
    assert_eq!(stream.next().await.as_deref(), Some("\r\n"));
    assert_eq!(stream.next().await.as_deref(), Some("\r\n"));
    assert_eq!(before.elapsed().as_secs(), 20);
}

#[tokio::test]
async fn a_stream_that_falls_behind_is_cut() {
    let api = Api::over(World::new(), Options::default());
    let mut stream = Stream::open(&api, "").await;
    for _ in 0..2000 {
        api.world.publish(EventPayload::AppTerminated { app_id: "/a".parse().unwrap() });
    }
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_closed_stream_says_good_bye() {
    let api = Api::new();
    let mut watcher = Stream::open(&api, "?event_type=event_stream_detached").await;
    drop(Stream::open(&api, "").await);
    assert_eq!(watcher.next_type().await, "event_stream_detached");
}
