//! An HTTP client that speaks to the router directly.

use std::collections::VecDeque;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tepui_api::{Facts, router};
use tepui_cluster::Config;
use tepui_types::Now;
use tepui_wire::recordio::Decoder;
use tepui_wire::{MediaType, WireMessage, media, v1};
use tower::ServiceExt;

use crate::plane::{START, TestPlane};

pub(crate) const SCHEDULER: &str = "/api/v1/scheduler";
pub(crate) const OPERATOR: &str = "/api/v1";
pub(crate) const JSON: &str = "application/json";
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
const RECORD_LIMIT: usize = 64 << 20;

/// A control plane with its HTTP surface.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) plane: TestPlane,
    router: Router,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An answer that goes on.
pub(crate) struct Records {
    pub(crate) headers: HeaderMap,
    body: Body,
    decoder: Decoder,
    waiting: VecDeque<Vec<u8>>,
}

impl Records {
    /// The next record; `None` once the stream ended. With paused time an idle stream gives its
    /// next heartbeat at once.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(record) = self.waiting.pop_front() {
                return Some(record);
            }
            let frame = self.body.frame().await?.unwrap();
            self.decoder.push(&frame.into_data().unwrap());
            while let Some(record) = self.decoder.next_record().unwrap() {
                self.waiting.push_back(record);
            }
        }
    }

    pub(crate) async fn json(&mut self) -> Json {
        serde_json::from_slice(&self.next().await.unwrap()).unwrap()
    }

    pub(crate) async fn message<M: WireMessage>(&mut self, form: MediaType) -> M {
        media::decode(form, &self.next().await.unwrap()).unwrap()
    }

    pub(crate) fn stream_id(&self) -> String {
        self.headers["mesos-stream-id"].to_str().unwrap().to_owned()
    }
}

/// The cluster's description as the daemon would give it.
pub(crate) fn config() -> Config {
    Config {
        leader: v1::MasterInfo {
            port: 5050,
            ip: u32::from_ne_bytes([10, 0, 0, 1]),
            hostname: Some("leader.test".into()),
            pid: Some("master@10.0.0.1:5050".into()),
            ..v1::MasterInfo::default()
        },
        ..Config::default()
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::over(TestPlane::elected(config()))
    }

    pub(crate) fn over(plane: TestPlane) -> Self {
        let facts = Facts {
            hostname: "leader.test".into(),
            port: 5050,
            cluster: Some("test cluster".into()),
            started: Now { wall: START, ..Now::default() },
            flags: vec![("port".into(), "5050".into())],
        };
        Self { router: router(plane.clone(), facts), plane }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn open(&self, request: Request<Body>) -> Records {
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (head, body) = response.into_parts();
        Records {
            headers: head.headers,
            body,
            decoder: Decoder::with_limit(RECORD_LIMIT),
            waiting: VecDeque::new(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, &[], Body::empty())).await
    }

    /// A call in JSON.
    pub(crate) async fn post(&self, path: &str, call: &Json) -> Answer {
        self.post_with(path, &[("content-type", JSON)], call.to_string()).await
    }

    pub(crate) async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        self.send(request(Method::POST, path, headers, body.into())).await
    }

    /// A framework's call in JSON, with its stream's id.
    pub(crate) async fn call(&self, stream: &str, call: &Json) -> Answer {
        let headers = [("content-type", JSON), ("mesos-stream-id", stream)];
        self.post_with(SCHEDULER, &headers, call.to_string()).await
    }

    /// An operator's read in JSON.
    pub(crate) async fn ask(&self, kind: &str) -> Json {
        self.post(OPERATOR, &serde_json::json!({ "type": kind })).await.json()
    }
}

pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}
