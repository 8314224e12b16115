use axum::body::Body;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::*;
use crate::args::Endpoints;
use crate::fault;

/// What a cluster says: bytes of the event stream, deployments, apps, queue.
struct Fixture {
    events: Option<&'static str>,
    deployments: Value,
    apps: Value,
    queue: Value,
}

impl Fixture {
    async fn client(self) -> Client {
        let Self { events, deployments, apps, queue } = self;
        let slaves = json!({"slaves": [{"id": "S0", "hostname": "node1", "active": true,
            "resources": {"cpus": 2}, "used_resources": {}}]});
        let mut router = Router::new()
            .route("/v2/deployments", get(move || async move { Json(deployments.clone()) }))
            .route("/v2/apps", get(move || async move { Json(json!({"apps": apps.clone()})) }))
            .route("/v2/queue", get(move || async move { Json(json!({"queue": queue.clone()})) }))
            .route("/slaves", get(move || async move { Json(slaves.clone()) }));
        if let Some(bytes) = events {
            let stream = move || async move {
                let first = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]);
                Body::from_stream(first.chain(futures_util::stream::pending()))
            };
            router = router.route("/v2/events", get(stream));
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Client::new(&Endpoints::at(&address)).unwrap()
    }
}

fn wait(timeout: Option<Duration>) -> Change {
    Change { force: false, detach: false, timeout }
}

async fn finish(fixture: Fixture, timeout: Option<Duration>) -> anyhow::Result<u8> {
    let client = fixture.client().await;
    Watch::begin(&client, Format::Table, wait(timeout))
        .await
        .finish("d1", &["/web".to_owned()])
        .await
}

fn running() -> Value {
    json!([{"id": "d1", "affectedApps": ["/web"], "currentActions": [], "currentStep": 1, "totalSteps": 1}])
}

#[test]
fn ends_are_read_from_the_event_stream() {
    let line = b"data: {\"id\":\"7f\",\"plan\":{},\"eventType\":\"deployment_success\"}\r\n";
    assert_eq!(parse_end(line), Some(Ended { deployment: "7f".into(), failed: None }));
    let line = b"data: {\"id\":\"7f\",\"eventType\":\"deployment_failed\",\"reason\":\"x\"}\n";
    assert_eq!(parse_end(line), Some(Ended { deployment: "7f".into(), failed: Some("x".into()) }));
    for line in [&b"event: deployment_success\r\n"[..], b"\r\n", b"data: {", b"data: {}"] {
        assert_eq!(parse_end(line), None);
    }
}

#[tokio::test]
async fn a_deployment_that_succeeds_ends_with_0() {
    let fixture = Fixture {
        events: Some(
            "event: deployment_success\r\ndata: {\"id\":\"other\",\"eventType\":\"deployment_success\"}\r\n\r\n\
             event: deployment_success\r\ndata: {\"id\":\"d1\",\"eventType\":\"deployment_success\"}\r\n\r\n",
        ),
        deployments: json!([]),
        apps: json!([{"id": "/web", "instances": 2, "tasksRunning": 2}]),
        queue: json!([]),
    };
    assert_eq!(finish(fixture, None).await.unwrap(), DONE);
}

#[tokio::test]
async fn a_deployment_that_is_cancelled_fails_and_says_how_far_it_came() {
    let fixture = Fixture {
        events: Some("data: {\"id\":\"d1\",\"eventType\":\"deployment_failed\"}\r\n\r\n"),
        deployments: json!([]),
        apps: json!([{"id": "/web", "instances": 2, "tasksRunning": 1}]),
        queue: json!([]),
    };
    let error = finish(fixture, None).await.unwrap_err();
    assert_eq!(fault::code(&error), FAILED);
    assert_eq!(error.to_string(), "deployment d1 was cancelled or replaced: /web has 1/2 running");
}

#[tokio::test]
async fn without_an_event_stream_the_end_is_read_from_the_apps() {
    let with = |running: u32| Fixture {
        events: None,
        deployments: json!([]),
        apps: json!([{"id": "/web", "instances": 2, "tasksRunning": running}]),
        queue: json!([]),
    };
    assert_eq!(finish(with(2), None).await.unwrap(), DONE);
    assert!(finish(with(1), None).await.is_err());
}

#[tokio::test]
async fn what_does_not_fit_in_time_ends_with_2_and_the_reason() {
    let fixture = Fixture {
        events: None,
        deployments: running(),
        apps: json!([{"id": "/web", "instances": 1, "cpus": 10000}]),
        queue: json!([{"count": 1, "delay": {"timeLeftSeconds": 0, "overdue": true},
            "processedOffersSummary": {"processedOffersCount": 1,
                "rejectSummaryLastOffers": [{"reason": "InsufficientCpus", "declined": 1, "processed": 1}]},
            "lastUnusedOffers": [{"offer": {"hostname": "node1", "agentId": "S0",
                "resources": [{"name": "cpus", "role": "*", "scalar": 2}]}, "reason": ["InsufficientCpus"]}],
            "app": {"id": "/web"}}]),
    };
    let error = finish(fixture, Some(Duration::ZERO)).await.unwrap_err();
    assert_eq!(fault::code(&error), USAGE_OR_PLACEMENT);
    assert_eq!(
        error.to_string(),
        "deployment d1 did not end within 0s: /web needs 10000 cpus, best has 2 on node1"
    );
}

#[tokio::test]
async fn detached_nothing_is_awaited() {
    let fixture =
        Fixture { events: None, deployments: running(), apps: json!([]), queue: json!([]) };
    let client = fixture.client().await;
    let change = Change { force: false, detach: true, timeout: None };
    let code = Watch::begin(&client, Format::Table, change).await.finish("d1", &[]).await.unwrap();
    assert_eq!(code, DONE);
}
