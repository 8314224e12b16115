//! Seeing a leader's process go: a standby keeps a connection to it on which nothing but signs of
//! life come. The kernel ends it when the process is gone, whatever it died of.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::HOST;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tepui_election::Candidate;
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, interval_at, timeout};
use tracing::debug;

use crate::leading::{Connected, Standbys};

/// Where the leader serves it, among the Mesos endpoints.
pub(crate) const PATH: &str = "/tepui/v1/vigil";
/// The header in which a standby says who it is.
pub(crate) const BY: &str = "tepui-standby";
/// How far apart the signs of life are.
const BEAT: Duration = Duration::from_secs(1);
/// How long a connection may take, and a sign of life be late, before it is made anew.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause between connections that do not tell whether the leader lives.
const PAUSE: Duration = Duration::from_millis(250);

/// What a leader says first.
#[derive(Debug, Serialize, Deserialize)]
struct Name {
    /// The life of its process.
    id: String,
}

/// The endpoint of a leader: it names itself, then beats until its process ends.
pub(crate) fn vigil(me: &Candidate, standbys: Standbys) -> Router {
    let name = serde_json::to_string(&Name { id: me.id.clone() }).unwrap_or_default();
    let name = Bytes::from(format!("{name}\n"));
    let answer = move |headers: HeaderMap| {
        std::future::ready(beating(name.clone(), standbys.connected(&headers)))
    };
    Router::new().route(PATH, get(answer))
}

/// The endpoint of everybody else.
pub(crate) async fn not_leading() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "this control plane does not lead").into_response()
}

fn beating(name: Bytes, by: Option<Connected>) -> Response {
    let beats: Interval = interval_at(Instant::now() + BEAT, BEAT);
    // The standby counts for as long as its stream is read.
    let frames = stream::unfold((Some(name), beats, by), |(name, mut beats, by)| async move {
        let frame = match name {
            Some(name) => name,
            None => {
                beats.tick().await;
                Bytes::from_static(b"\n")
            }
        };
        Some((Ok::<_, Infallible>(frame), (None, beats, by)))
    });
    Body::from_stream(frames).into_response()
}

type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// How a connection to a leader ended.
#[derive(Debug)]
enum Seen {
    /// It was the leader, and the connection broke.
    Broke,
    /// Somebody else answers at its address.
    Other,
    /// Nobody accepts connections there.
    Refused,
    /// That cannot be told: the network may be at fault.
    Unclear(Wrong),
}

/// What a vigil tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The leader's process is gone.
    Gone,
    /// Nobody accepts connections at the leader's address, and no leader was ever met there. Its
    /// process listens before it can be elected, so it is gone; unless the address is wrong, or
    /// something between the hosts refuses.
    Refused,
}

/// The addresses at which this process met a leader. Whoever leads at one of these and refuses is
/// gone: connections from here reach it, and a process listens before it can be elected.
#[derive(Clone, Debug, Default)]
pub struct Met(Arc<Mutex<BTreeSet<String>>>);

impl Met {
    fn note(&self, address: &str) {
        // An address is put in whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address.to_owned());
    }

    fn has(&self, address: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }
}

/// Stays connected to a leader.
#[derive(Debug)]
pub struct Vigil {
    leader: Candidate,
    me: Candidate,
    met: Met,
    /// This very process answered.
    known: bool,
    /// Before it connects again.
    pause: Duration,
}

impl Vigil {
    /// Over this leader, for this process, which met these.
    pub fn over(leader: Candidate, me: Candidate, met: Met) -> Self {
        Self { leader, me, met, known: false, pause: Duration::ZERO }
    }

    /// Waits for the next sign. Its process is gone when it was connected, the connection broke, and
    /// its address refuses or belongs to another process; or when it refuses at an address where a
    /// leader was met before. Where nothing can be known it never ends, and the lease decides.
    pub async fn sign(&mut self) -> Sign {
        loop {
            tokio::time::sleep(std::mem::replace(&mut self.pause, PAUSE)).await;
            match self.watch().await {
                // At once: a process that is gone refuses now.
                Seen::Broke => self.pause = Duration::ZERO,
                Seen::Refused if self.met.has(&self.leader.mesos) => return Sign::Gone,
                Seen::Refused => return Sign::Refused,
                Seen::Other if self.known => return Sign::Gone,
                // It may not have begun yet.
                Seen::Other => {}
                Seen::Unclear(error) => {
                    let leader = &self.leader.mesos;
                    debug!(leader, error = &*error, "leader not watched, trying again");
                }
            }
        }
    }

    async fn watch(&mut self) -> Seen {
        let stream = match timeout(PATIENCE, TcpStream::connect(&self.leader.mesos)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Seen::Refused;
            }
            Ok(Err(error)) => return Seen::Unclear(error.into()),
            Err(late) => return Seen::Unclear(late.into()),
        };
        match self.converse(stream).await {
            Ok(seen) => seen,
            Err(error) => Seen::Unclear(error),
        }
    }

    async fn converse(&mut self, stream: TcpStream) -> Result<Seen, Wrong> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = timeout(PATIENCE, handshake).await??;
        // It ends with the sender or the stream; what it says then the body says too.
        let connection = tokio::spawn(connection);
        let request = Request::get(PATH)
            .header(HOST, &self.leader.mesos)
            .header(BY, serde_json::to_string(&self.me)?)
            .body(Body::empty())?;
        let answer = timeout(PATIENCE, sender.send_request(request)).await??;
        if answer.status() != StatusCode::OK {
            return Ok(Seen::Other);
        }
        let mut body = answer.into_body();
        let first = timeout(PATIENCE, body.frame()).await?.ok_or("nothing was said")??;
        let name: Name = serde_json::from_slice(first.data_ref().ok_or("nothing was said")?)?;
        if name.id != self.leader.id {
            return Ok(Seen::Other);
        }
        self.known = true;
        self.met.note(&self.leader.mesos);
        while let Ok(Some(Ok(_))) = timeout(PATIENCE, body.frame()).await {}
        connection.abort();
        Ok(Seen::Broke)
    }
}
