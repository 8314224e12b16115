//! How long `GET /state` and its siblings take with many agents and tasks, and how much of that the
//! driver loop is kept from deciding.
//!
//! `cargo run --release -p tepui-api --example state_speed -- [agents] [tasks per agent]`; the
//! default is 10,000 agents with 10 tasks each, for which Mesos needs 1.9 s.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/http/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../tests/http/plane.rs"]
mod plane;
#[allow(dead_code)]
#[path = "../tests/http/scenes.rs"]
mod scenes;

use std::time::Instant;

use client::{OPERATOR, Rig};
use serde_json::json;
use tepui_types::TaskState;

fn argument(position: usize, default: usize) -> usize {
    std::env::args().nth(position).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (agents, per_agent) = (argument(1, 10_000), argument(2, 10));
    let rig = Rig::new();
    let mut framework = scenes::subscribe(&rig, "many").await;
    for number in 0..agents {
        let mut info = scenes::agent_info(&format!("agent-{number}.test"));
        info.resources = scenes::resources("cpus:64;mem:65536;disk:100000;ports:[31000-32000]");
        let agent = rig.plane.agent(info);
        let offers = framework.offers().await;
        let tasks: Vec<_> = (0..per_agent)
            .map(|task| scenes::task(&format!("t-{number}-{task}"), &agent))
            .collect();
        rig.call(&framework.stream, &scenes::accept(&framework, &offers[0], &tasks)).await;
        for task in 0..per_agent {
            let name = format!("t-{number}-{task}");
            rig.plane.update(&agent, &framework.id(), &name, TaskState::Running);
            framework.next().await;
        }
    }
    println!("{agents} agents, {} tasks", agents * per_agent);
    for path in
        ["/state", "/state-summary", "/slaves", "/frameworks", "/roles", "/metrics/snapshot"]
    {
        let (begin, held) = (Instant::now(), rig.plane.held());
        let answer = rig.get(path).await;
        report(path, begin, rig.plane.held() - held, answer.body.len());
    }
    for kind in ["GET_STATE", "GET_TASKS", "GET_AGENTS"] {
        let (begin, held) = (Instant::now(), rig.plane.held());
        let answer = rig.post(OPERATOR, &json!({ "type": kind })).await;
        report(kind, begin, rig.plane.held() - held, answer.body.len());
    }
}

fn report(what: &str, begin: Instant, held: std::time::Duration, bytes: usize) {
    let (all, held) = (begin.elapsed().as_millis(), held.as_millis());
    println!("{what:>18}: {all:5} ms, of these {held:5} ms in the loop; {} KB", bytes / 1000);
}
