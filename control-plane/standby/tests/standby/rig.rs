//! Control planes in this process, and clients that see every byte.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tepui_election::{Candidate, Leadership};
use tepui_process::{Patience, serve_http};
use tepui_standby::Standby;
use tepui_types::{Term, Uuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A candidate whose APIs are at these ports of a host.
pub(crate) fn candidate(id: &str, mesos: &str, marathon: &str) -> Candidate {
    Candidate {
        id: id.into(),
        hostname: id.into(),
        mesos: mesos.into(),
        marathon: marathon.into(),
        agents: format!("{id}:5052"),
    }
}

/// A record that says who leads.
pub(crate) fn led_by(leader: Candidate) -> Option<Leadership> {
    let none = Leadership::none(Uuid::from_bytes([1; 16]));
    Some(Leadership { term: Term(3), writes: 3, leader: Some(leader), ..none })
}

/// A standby, and the means to tell it who leads.
pub(crate) fn standby(heard: Option<Leadership>) -> (Standby, watch::Sender<Option<Leadership>>) {
    let me = Arc::new(candidate("me", "me:5050", "me:8080"));
    let (hear, heard) = watch::channel(heard);
    (Standby { me, heard }, hear)
}

/// Serves a router as the daemon does, until the end of the test.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // The sender lives as long as the server: it is never told to stop.
        let (stop, stopped) = watch::channel(false);
        serve_http(listener, router, Patience::default(), stopped).await;
        drop(stop);
    });
    address
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// What comes back for these bytes, up to the end of the connection.
pub(crate) async fn say(to: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// The answer to a request that is the last of its connection.
pub(crate) async fn ask(to: SocketAddr, request: &str) -> Answer {
    let text = format!("{request} HTTP/1.1\r\nHost: standby\r\nConnection: close\r\n\r\n");
    Answer::read(&say(to, &text).await)
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap().to_owned();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    /// The only header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice: {self:?}");
        first
    }
}
