//! Clusters in which something is going on already.

use serde_json::{Value as Json, json};
use tepui_link::Order;
use tepui_types::{FrameworkId, Role, TaskState};
use tepui_wire::resources::{Format, encode, parse_text};
use tepui_wire::v1;

use crate::client::{JSON, OPERATOR, Records, Rig, SCHEDULER, request};
use crate::plane::Agent;

/// A framework that is subscribed, in JSON.
pub(crate) struct Framework {
    pub(crate) id: String,
    pub(crate) stream: String,
    pub(crate) events: Records,
}

impl Framework {
    pub(crate) fn id(&self) -> FrameworkId {
        FrameworkId::parse(&self.id).unwrap()
    }

    /// A call of this framework.
    pub(crate) fn call(&self, kind: &str) -> Json {
        json!({ "type": kind, "framework_id": { "value": self.id } })
    }

    /// The next event that is no heartbeat.
    pub(crate) async fn next(&mut self) -> Json {
        loop {
            let event = self.events.json().await;
            if event["type"] != "HEARTBEAT" {
                return event;
            }
        }
    }

    /// The offers of the next event.
    pub(crate) async fn offers(&mut self) -> Vec<Json> {
        let event = self.next().await;
        assert_eq!(event["type"], "OFFERS", "{event}");
        event["offers"]["offers"].as_array().unwrap().clone()
    }
}

pub(crate) fn framework_info(name: &str) -> Json {
    json!({ "user": "nobody", "name": name, "failover_timeout": 600, "checkpoint": true })
}

pub(crate) fn subscribe_call(info: &Json) -> Json {
    let mut call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } });
    if let Some(id) = info.get("id") {
        call["framework_id"] = id.clone();
    }
    call
}

pub(crate) async fn subscribe_as(rig: &Rig, info: &Json) -> Framework {
    let call = subscribe_call(info).to_string();
    let headers = [("content-type", JSON), ("accept", JSON)];
    let call = request(http::Method::POST, SCHEDULER, &headers, call.into());
    let mut events = rig.open(call).await;
    let first = events.json().await;
    assert_eq!(first["type"], "SUBSCRIBED", "{first}");
    let id = first["subscribed"]["framework_id"]["value"].as_str().unwrap().to_owned();
    Framework { id, stream: events.stream_id(), events }
}

pub(crate) async fn subscribe(rig: &Rig, name: &str) -> Framework {
    subscribe_as(rig, &framework_info(name)).await
}

/// An operator's event stream.
pub(crate) async fn watch(rig: &Rig) -> Records {
    let headers = [("content-type", JSON)];
    let call = json!({ "type": "SUBSCRIBE" }).to_string();
    rig.open(request(http::Method::POST, OPERATOR, &headers, call.into())).await
}

pub(crate) fn resources(text: &str) -> Vec<v1::Resource> {
    let bundle = parse_text(text, &Role::default_role()).unwrap();
    encode(&bundle, Format::PostRefinement, None)
}

pub(crate) fn agent_info(host: &str) -> v1::AgentInfo {
    v1::AgentInfo {
        hostname: host.into(),
        port: Some(5051),
        resources: resources("cpus:4;mem:4096;disk:10000;ports:[31000-31009]"),
        attributes: vec![
            v1::Attribute {
                name: "rack".into(),
                r#type: v1::value::Type::Text.into(),
                text: Some(v1::value::Text { value: "r1".into() }),
                ..v1::Attribute::default()
            },
            v1::Attribute {
                name: "level".into(),
                r#type: v1::value::Type::Scalar.into(),
                scalar: Some(v1::value::Scalar { value: 1.5 }),
                ..v1::Attribute::default()
            },
        ],
        domain: Some(v1::DomainInfo {
            fault_domain: Some(v1::domain_info::FaultDomain {
                region: v1::domain_info::fault_domain::RegionInfo { name: "north".into() },
                zone: v1::domain_info::fault_domain::ZoneInfo { name: "n1".into() },
            }),
        }),
        ..v1::AgentInfo::default()
    }
}

fn scalar(name: &str, value: f64) -> Json {
    json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } })
}

/// A command task of 1 cpu and 128 MB.
pub(crate) fn task(id: &str, agent: &Agent) -> Json {
    json!({
        "name": id,
        "task_id": { "value": id },
        "agent_id": { "value": agent.id.as_str() },
        "resources": [scalar("cpus", 1.0), scalar("mem", 128.0)],
        "command": { "value": "sleep 100" },
    })
}

/// An ACCEPT of one offer that launches these tasks.
pub(crate) fn accept(framework: &Framework, offer: &Json, tasks: &[Json]) -> Json {
    let mut call = framework.call("ACCEPT");
    call["accept"] = json!({
        "offer_ids": [offer["id"]],
        "operations": [{ "type": "LAUNCH", "launch": { "task_infos": tasks } }],
    });
    call
}

/// Everything that an answer can show: a framework with labels and a principal; a command task
/// that runs, one with an executor, one that ended; an outstanding offer; a reservation; a removed
/// framework; an agent that left an unreachable task behind.
pub(crate) struct Busy {
    pub(crate) rig: Rig,
    pub(crate) framework: Framework,
    pub(crate) agent: Agent,
}

pub(crate) async fn busy() -> Busy {
    let rig = Rig::new();
    let mut info = agent_info("a1.test");
    let reserved = parse_text("mem(web):512", &Role::default_role()).unwrap();
    info.resources.extend(encode(&reserved, Format::PostRefinement, None));
    let agent = rig.plane.agent(info);
    let gone = subscribe(&rig, "removed").await;
    assert_eq!(rig.call(&gone.stream, &gone.call("TEARDOWN")).await.status, 202);
    let mut info = framework_info("busy");
    info["principal"] = "somebody".into();
    info["webui_url"] = "http://busy.test".into();
    info["labels"] = json!({ "labels": [{ "key": "team", "value": "a" }, { "key": "bare" }] });
    let mut framework = subscribe_as(&rig, &info).await;
    let mut custom = task("custom", &agent);
    custom.as_object_mut().unwrap().remove("command");
    custom["executor"] = json!({
        "executor_id": { "value": "e1" },
        "name": "an executor",
        "command": {
            "value": "./run",
            "uris": [{ "value": "http://x.test/run" }],
            "environment": { "variables": [{ "name": "A", "value": "1" }] },
        },
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
    });
    custom["labels"] = json!({ "labels": [{ "key": "app", "value": "b" }] });
    custom["discovery"] = json!({ "visibility": "CLUSTER", "name": "custom" });
    let tasks = [task("plain", &agent), custom, task("ended", &agent)];
    let offers = framework.offers().await;
    assert_eq!(
        rig.call(&framework.stream, &accept(&framework, &offers[0], &tasks)).await.status,
        202
    );
    let orders = rig.plane.orders(&agent);
    let launches = orders.iter().filter(|order| matches!(order, Order::Launch(_))).count();
    assert_eq!(launches, 1, "{orders:?}");
    for name in ["plain", "custom"] {
        let uuid = rig.plane.update(&agent, &framework.id(), name, TaskState::Running);
        acknowledge(&rig, &framework, &agent, name, &uuid).await;
    }
    let uuid = rig.plane.update(&agent, &framework.id(), "ended", TaskState::Finished);
    acknowledge(&rig, &framework, &agent, "ended", &uuid).await;
    // The filter of the launch ends, so that what is left is offered again.
    rig.plane.advance(tepui_types::Span::from_secs(6));
    Busy { rig, framework, agent }
}

pub(crate) async fn acknowledge(
    rig: &Rig,
    framework: &Framework,
    agent: &Agent,
    task: &str,
    uuid: &[u8],
) {
    let mut call = framework.call("ACKNOWLEDGE");
    call["acknowledge"] = json!({
        "agent_id": { "value": agent.id.as_str() },
        "task_id": { "value": task },
        "uuid": base64(uuid),
    });
    assert_eq!(rig.call(&framework.stream, &call).await.status, 202);
}

/// Base64 of 16 bytes or any other length.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = usize::try_from((word >> (18 - 6 * position)) & 63).unwrap();
            let shown = position <= chunk.len();
            out.push(if shown { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    out
}
