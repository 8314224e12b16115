use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use clap::Parser;
use tokio::net::TcpListener;

use super::*;
use crate::args::{Args, Endpoints, Verb};
use crate::fault::FAILED;

type Seen = Arc<Mutex<Vec<String>>>;

/// A cluster that has these apps of `me`, and answers changes so.
async fn cluster(apps: &[&str], change: (u16, &'static str)) -> (Client, Seen) {
    let app = |id: &&str| json!({"id": id, "cmd": "serve", "labels": {OWNER_LABEL: "me"}});
    let apps = json!({"apps": apps.iter().map(app).collect::<Vec<_>>()}).to_string();
    let seen = Seen::default();
    let sees = seen.clone();
    let router = Router::new().fallback(move |request: Request| {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let answer = match asked.as_str() {
            "GET /v2/apps" => (StatusCode::OK, apps.clone()),
            _ => (StatusCode::from_u16(change.0).unwrap(), change.1.to_owned()),
        };
        sees.lock().unwrap().push(asked);
        std::future::ready(answer.into_response())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Client::new(&Endpoints::at(&address)).unwrap(), seen)
}

/// Applies these apps and prunes; the exit code.
async fn applied(client: &Client, apps: &[&str]) -> u8 {
    let app = |id: &&str| json!({"id": id, "cmd": "serve"});
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = json!(apps.iter().map(app).collect::<Vec<_>>()).to_string();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let words = ["tepui", "apply", "--owner", "me", "--detach", "--prune", "--prune-limit", "100"];
    let args = Args::parse_from(words.into_iter().chain([path]));
    let Verb::Apply(words) = args.verb else { panic!("{args:?}") };
    run(client, Format::Table, words).await.unwrap_or_else(|error| {
        print!("{}", fault::show(&error));
        fault::code(&error)
    })
}

const STARTED: (u16, &str) =
    (200, r#"{"version": "2026-01-01T00:00:00.000Z", "deploymentId": "7f"}"#);

#[tokio::test]
async fn only_what_is_in_the_way_goes_before_what_is_new() {
    let (client, seen) = cluster(&["/a", "/b", "/old"], STARTED).await;
    assert_eq!(applied(&client, &["/a/x", "/b"]).await, DONE);
    let changes = ["DELETE /v2/apps/a", "PUT /v2/apps", "DELETE /v2/apps/old"];
    assert_eq!(seen.lock().unwrap()[1..], changes);
}

#[tokio::test]
async fn what_somebody_else_removed_meanwhile_is_removed() {
    let (client, seen) = cluster(&["/a", "/b", "/c"], (404, "App '/b' does not exist")).await;
    assert_eq!(applied(&client, &["/a"]).await, DONE);
    assert_eq!(seen.lock().unwrap()[1..], ["DELETE /v2/apps/b", "DELETE /v2/apps/c"]);
}

#[tokio::test]
async fn the_exit_code_tells_whether_another_try_may_help() {
    for (status, code) in [
        (400, USAGE_OR_PLACEMENT),
        (404, USAGE_OR_PLACEMENT),
        (422, USAGE_OR_PLACEMENT),
        (403, FAILED),
        (409, FAILED),
        (429, FAILED),
        (500, FAILED),
        (503, FAILED),
    ] {
        let (client, _) = cluster(&[], (status, "{\"message\": \"no\"}")).await;
        assert_eq!(applied(&client, &["/a"]).await, code, "{status}");
    }
}

#[test]
fn one_app_is_not_many() {
    assert_eq!(checked(1), "1 app, as the cluster takes it");
    assert_eq!(checked(2), "2 apps, all as the cluster takes them");
}

#[test]
fn what_cannot_be_made_is_told_with_what_is_in_the_way() {
    let id = |id| AppId::parse(id).unwrap();
    let obstacle = Obstacle { new: id("/a/x"), there: id("/a"), owner: Some("node2".to_owned()) };
    let shown = fault::show(&explain(&Conflict::InTheWay(vec![obstacle]), "node1").into());
    assert!(shown.contains("/a/x cannot be made beside /a, which is node2's"), "{shown}");
    assert!(shown.contains("an app and a group cannot have the same path"), "{shown}");
}

#[test]
fn a_plan_is_a_diff() {
    let id = |id| tepui_marathon::AppId::parse(id).unwrap();
    let difference =
        apply::Difference { path: "cpus".into(), from: Some(json!(0.5)), to: Some(json!(1)) };
    let plan = Plan {
        create: vec![id("/new")],
        change: [(id("/web"), vec![difference])].into(),
        remove: vec![id("/old")],
        unchanged: vec![id("/a"), id("/b")],
    };
    assert_eq!(render(&plan, false), "+ /new\n~ /web\n    cpus: 0.5 -> 1\n- /old\n= 2 unchanged\n");
}

#[test]
fn a_refusal_to_prune_says_the_way_out() {
    let refused = PruneRefusal::TooMany { would: 3, of: 4, may: 2 };
    let shown = crate::fault::show(&explain(&Conflict::Prune(refused), "node1").into());
    assert!(shown.contains("3 of the 4 apps of node1, and 2 may go at once"), "{shown}");
    assert!(shown.contains("--prune-limit"), "{shown}");
    let shown =
        crate::fault::show(&explain(&Conflict::Prune(PruneRefusal::Empty(4)), "node1").into());
    assert!(shown.contains("never done"), "{shown}");
}
