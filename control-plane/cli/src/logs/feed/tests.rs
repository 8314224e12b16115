use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;

use super::*;
use crate::args::Endpoints;

type Files = Arc<Mutex<BTreeMap<String, String>>>;

/// An agent with these files in the sandbox `/box`.
async fn agent(files: &[(&str, &str)]) -> (Files, Client, Place) {
    let owned = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let files: Files = Arc::new(Mutex::new(owned.collect()));
    let router = Router::new()
        .route("/files/browse", get(browse))
        .route("/api/v1", post(read))
        .with_state(Arc::clone(&files));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::new(&Endpoints::at(&agent)).unwrap();
    let place = Place { agent, folder: "/box".into(), name: "stdout".into() };
    (files, client, place)
}

async fn browse(
    State(files): State<Files>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, StatusCode> {
    if asked["path"] != "/box" {
        return Err(StatusCode::NOT_FOUND);
    }
    let files = files.lock().unwrap();
    let list = files.iter().map(
        |(name, text)| json!({"path": format!("/box/{name}"), "size": text.len(), "mtime": 100.0}),
    );
    Ok(Json(list.collect()))
}

async fn read(
    State(files): State<Files>,
    Json(call): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let asked = &call["read_file"];
    let name = asked["path"].as_str().unwrap().strip_prefix("/box/").unwrap();
    let files = files.lock().unwrap();
    let text = files.get(name).ok_or(StatusCode::NOT_FOUND)?.as_bytes();
    let at = usize::try_from(asked["offset"].as_u64().unwrap()).unwrap().min(text.len());
    // Small pieces, so that lines are cut everywhere.
    let piece = &text[at..text.len().min(at + 7)];
    Ok(Json(json!({"read_file": {"size": text.len(), "data": STANDARD.encode(piece)}})))
}

fn begin(since: Option<u64>, tail: Option<usize>, grep: Option<&str>) -> Begin {
    let grep = grep.map(|grep| Regex::new(grep).unwrap());
    Begin { since: since.map(Instant), tail, grep }
}

async fn old(feed: &mut Feed) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = feed.next_old().await.unwrap() {
        lines.push(line.text);
    }
    lines
}

async fn new(feed: &mut Feed) -> Vec<String> {
    feed.next_new().await.unwrap().into_iter().map(|line| line.text).collect()
}

const ROTATED: [(&str, &str); 5] = [
    ("stdout.2", "first\nsecond li"),
    ("stdout.1", "ne\nthird\nfour"),
    ("stdout", "th\nfifth é\nlast"),
    ("stdout.9", "somebody else's\n"),
    (".stdout.times", "1000 3 0\n2000 4 0\n3000 4 3\n4000 5 0\n5000 5 3\n9000 5 12\n"),
];

#[tokio::test]
async fn rotated_files_are_one_stream() {
    let (_, client, place) = agent(&ROTATED).await;
    let mut feed = Feed::open(&client, place, &begin(None, None, None)).await.unwrap();
    let lines = old(&mut feed).await;
    assert_eq!(lines, ["first", "second line", "third", "fourth", "fifth é"]);
    assert_eq!(feed.rest().unwrap().text, "last");
    assert!(feed.rest().is_none());
}

#[tokio::test]
async fn lines_have_the_time_at_which_they_were_written() {
    let (_, client, place) = agent(&ROTATED).await;
    let mut feed = Feed::open(&client, place, &begin(None, None, None)).await.unwrap();
    let mut times = Vec::new();
    while let Some(line) = feed.next_old().await.unwrap() {
        times.push(line.time.unwrap().0);
    }
    assert_eq!(times, [1000, 1000, 3000, 3000, 5000]);
}

#[tokio::test]
async fn the_last_lines_are_found_backwards_and_those_that_match_are_counted() {
    let (_, client, place) = agent(&ROTATED).await;
    for (tail, grep, expected) in [
        (2, None, vec!["fifth é"]),
        (3, None, vec!["fourth", "fifth é"]),
        (99, None, vec!["first", "second line", "third", "fourth", "fifth é"]),
        (0, None, vec![]),
        (1, Some("ir"), vec!["third", "fourth", "fifth é"]),
        (5, Some("nothing"), vec![]),
    ] {
        let begin = begin(None, Some(tail), grep);
        let mut feed = Feed::open(&client, place.clone(), &begin).await.unwrap();
        assert_eq!(old(&mut feed).await, expected, "{tail} {grep:?}");
    }
}

#[tokio::test]
async fn what_was_written_since_begins_at_a_line() {
    let (_, client, place) = agent(&ROTATED).await;
    for (since, tail, expected) in [
        (500, None, vec!["first", "second line", "third", "fourth", "fifth é"]),
        (3500, None, vec!["third", "fourth", "fifth é"]),
        // The file begins within a line that was begun before.
        (4500, None, vec!["fifth é"]),
        (3500, Some(2), vec!["fifth é"]),
        (99_000, None, vec![]),
    ] {
        let begin = begin(Some(since), tail, None);
        let mut feed = Feed::open(&client, place.clone(), &begin).await.unwrap();
        assert_eq!(old(&mut feed).await, expected, "{since} {tail:?}");
    }
}

#[tokio::test]
async fn without_records_the_time_of_the_file_decides() {
    let (_, client, place) = agent(&[("stdout", "a\nb\n")]).await;
    for (since, expected) in [(50_000, vec!["a", "b"]), (200_000, vec![])] {
        let begin = begin(Some(since), None, None);
        let mut feed = Feed::open(&client, place.clone(), &begin).await.unwrap();
        assert!(feed.lacks_times());
        assert_eq!(old(&mut feed).await, expected);
    }
}

#[tokio::test]
async fn what_comes_is_followed_through_a_rotation_and_from_before_the_file_is_there() {
    let (files, client, place) = agent(&[]).await;
    let mut feed = Feed::open(&client, place, &begin(None, Some(20), None)).await.unwrap();
    assert!(old(&mut feed).await.is_empty() && new(&mut feed).await.is_empty());
    let set = |name: &str, text: &str| {
        files.lock().unwrap().insert(name.to_owned(), text.to_owned());
    };
    set("stdout", "one\ntwo\nthr");
    assert_eq!(new(&mut feed).await, ["one", "two"]);
    assert!(new(&mut feed).await.is_empty());
    set("stdout.1", "one\ntwo\nthree\nfour and ");
    set("stdout", "more\n");
    assert_eq!(new(&mut feed).await, ["three", "four and more"]);
}
