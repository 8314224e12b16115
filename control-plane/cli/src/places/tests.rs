use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::routing::any;
use reqwest::Method;
use tepui_election::{Candidate, Leadership};
use tepui_ensemble::servers::Server;
use tepui_ensemble::{Ensemble, Stamp};
use tepui_types::{Term, Uuid};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::client::Client;

/// A control plane that gives these answers, the last one again and again, and counts.
async fn control_plane(answers: &'static [(u16, &'static str)]) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let router = Router::new().fallback(any(move || {
        let number = counted.fetch_add(1, Ordering::Relaxed) as usize;
        let (status, text) = answers[number.min(answers.len() - 1)];
        async move { (axum::http::StatusCode::from_u16(status).unwrap(), text) }
    }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, count)
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A control plane that dies while it is asked.
async fn dying() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // What was asked is read, so it may be done.
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    address
}

fn client(addresses: &[&String]) -> Client {
    let list: Vec<&str> = addresses.iter().map(|address| address.as_str()).collect();
    Client::new(&Endpoints::at(&list.join(","))).unwrap()
}

const LEADS: &[(u16, &str)] = &[(200, "{\"apps\": []}")];

#[tokio::test]
async fn a_control_plane_that_is_gone_is_passed_over() {
    let (leader, count) = control_plane(LEADS).await;
    let client = client(&[&nobody().await, &leader]);
    for _ in 0..3 {
        assert!(client.apps("").await.unwrap().is_empty());
    }
    assert_eq!(count.load(Ordering::Relaxed), 3);
    let moves = client.places(Api::Marathon).moves();
    assert_eq!(moves, 1, "whoever answered is asked first the next time");
}

#[tokio::test]
async fn while_nobody_leads_the_question_is_asked_again() {
    let (leader, count) = control_plane(&[
        (503, "No leader elected: this control plane has not heard of one, try again"),
        (502, "{\"message\": \"Could not determine the current leader\"}"),
        (502, "{\"message\": \"Could not connect to the leader\"}"),
        (200, "{\"apps\": []}"),
    ])
    .await;
    let client = client(&[&leader]);
    client.send(Api::Marathon, Method::DELETE, "/v2/apps/a", None).await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn what_could_be_done_twice_is_not_asked_twice() {
    let (other, count) = control_plane(LEADS).await;
    let client = client(&[&dying().await, &other]);
    let error = client.send(Api::Marathon, Method::POST, "/v2/apps", None).await.unwrap_err();
    assert!(error.to_string().contains("failed to reach"), "{error}");
    assert_eq!(count.load(Ordering::Relaxed), 0);
    assert!(client.apps("").await.is_ok(), "a look does no harm");
}

#[tokio::test]
async fn a_refusal_is_the_leaders_and_final() {
    let (leader, count) = control_plane(&[(409, "{\"message\": \"App is locked\"}")]).await;
    let (other, never) = control_plane(LEADS).await;
    let error = client(&[&leader, &other]).apps("").await.unwrap_err();
    assert!(error.to_string().contains("App is locked"), "{error}");
    assert_eq!((count.load(Ordering::Relaxed), never.load(Ordering::Relaxed)), (1, 0));
}

#[tokio::test]
async fn one_control_plane_that_is_not_there_is_an_error_at_once() {
    let begin = Instant::now();
    let gone = nobody().await;
    let error = client(&[&gone]).apps("").await.unwrap_err();
    assert!(error.to_string().contains(&gone), "{error}");
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn a_store_given_once_is_enough_for_both_apis() {
    let store = Endpoints { address: Some("zk://a:1/x".into()), ..Endpoints::default() };
    assert_eq!((store.of(Api::Mesos), store.of(Api::Marathon)), ("zk://a:1/x", "zk://a:1/x"));
    let plain = Endpoints { address: Some("a:1".into()), ..Endpoints::default() };
    assert_eq!(plain.of(Api::Marathon), crate::args::MARATHON);
    assert_eq!(Endpoints::default().of(Api::Mesos), crate::args::MESOS);
}

#[test]
fn what_is_no_address_is_refused_with_what_would_be() {
    for wrong in ["http://", "zk://host/x", ","] {
        let error = Client::new(&Endpoints::at(wrong)).unwrap_err();
        let shown = crate::fault::show(&error);
        assert!(shown.contains("--address") && shown.contains("http://HOST:PORT"), "{shown}");
    }
}

fn candidate(id: &str, marathon: &str) -> Candidate {
    Candidate {
        id: id.into(),
        hostname: "here".into(),
        mesos: "127.0.0.1:1".into(),
        marathon: marathon.into(),
        agents: "127.0.0.1:1".into(),
    }
}

/// A store that says who leads.
struct Store {
    _server: Server,
    ensemble: Ensemble,
    stamp: Option<Stamp>,
    client: Client,
}

impl Store {
    async fn new() -> Self {
        let server = tokio::task::spawn_blocking(Server::etcd).await.unwrap();
        let address = server.address("/cluster");
        let ensemble = Ensemble::connect(&address).await.unwrap();
        let text = format!("etcd://{}/cluster", address.servers[0]);
        let endpoints = Endpoints { address: Some(text), ..Endpoints::default() };
        let client = Client::new(&endpoints).unwrap();
        Self { _server: server, ensemble, stamp: None, client }
    }

    async fn name(&mut self, term: u64, leader: Candidate) {
        let none = Leadership::none(Uuid::from_bytes([1; 16]));
        let record = Leadership { term: Term(term), leader: Some(leader), ..none };
        let stamp = self.ensemble.swap(self.stamp, &record.encode(), &[]).await.unwrap();
        self.stamp = Some(stamp);
    }
}

/// A control plane that was stopped: it takes connections and answers nothing.
async fn stopped() -> (String, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            open.push(stream);
            let _ = tell.send(());
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_store_tells_where_the_leader_is() {
    let (leader, _) = control_plane(LEADS).await;
    let mut store = Store::new().await;
    store.name(1, candidate("one", &leader)).await;
    assert!(store.client.apps("").await.unwrap().is_empty());
}

#[tokio::test]
async fn whoever_waits_for_a_leader_hears_from_the_store_that_another_one_leads() {
    let mut store = Store::new().await;
    let (old, mut asked) = stopped().await;
    let (next, count) = control_plane(LEADS).await;
    store.name(1, candidate("one", &old)).await;
    let client = store.client.clone();
    let delete = tokio::spawn(async move {
        client.send(Api::Marathon, Method::DELETE, "/v2/apps/a", None).await
    });
    asked.recv().await.unwrap();
    store.name(2, candidate("two", &next)).await;
    let error = delete.await.unwrap().unwrap_err();
    let shown = crate::fault::show(&error);
    assert!(shown.contains("what was asked may be done"), "{shown}");
    assert_eq!(count.load(Ordering::Relaxed), 0, "nothing is done twice");

    store.name(3, candidate("one", &old)).await;
    let client = store.client.clone();
    let look = tokio::spawn(async move { client.apps("").await });
    asked.recv().await.unwrap();
    store.name(4, candidate("two", &next)).await;
    assert!(look.await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn a_control_plane_that_is_stopped_is_soon_passed_over_by_a_look() {
    let (old, _asked) = stopped().await;
    let (leader, _) = control_plane(LEADS).await;
    let begin = Instant::now();
    assert!(client(&[&old, &leader]).apps("").await.unwrap().is_empty());
    assert!(begin.elapsed() < BUSY, "{:?}", begin.elapsed());
}

#[test]
fn a_round_that_would_end_too_late_is_not_begun() {
    let seconds = Duration::from_secs;
    assert!(!is_over(STORE, seconds(4), seconds(0)), "who refuses may begin yet");
    assert!(is_over(STORE, seconds(3), seconds(3)), "nobody was reached");
    assert!(is_over(STORE, seconds(5), seconds(0)));
    assert!(!is_over(PATIENCE, seconds(6), seconds(6)));
}
