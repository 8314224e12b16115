//! What a control plane answers about its leadership while it leads, and how an operator ends it
//! on purpose.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tepui_election::Candidate;
use tepui_types::Term;
use tracing::warn;

use crate::vigil::{self, BY};

/// From the answer to a drill to the end of the process, so that the answer leaves.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What a leader can be made to do.
pub trait Leader: Clone + Send + Sync + 'static {
    /// Makes nothing durable, but durably: the store takes a write of this term.
    fn write(&self) -> impl Future<Output = Result<Term, String>> + Send;

    /// Ends the process as `kill -9` does, with no farewell to anybody.
    fn die(&self);
}

/// Who stands by: whoever keeps a connection to the leader and said who it is.
#[derive(Clone, Debug, Default)]
pub struct Standbys {
    next: Arc<AtomicU64>,
    connected: Arc<Mutex<BTreeMap<u64, Candidate>>>,
}

impl Standbys {
    /// They, each once.
    pub fn list(&self) -> Vec<Candidate> {
        // A standby is put in and taken out whole.
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let by_life: BTreeMap<&str, &Candidate> =
            connected.values().map(|standby| (standby.id.as_str(), standby)).collect();
        by_life.into_values().cloned().collect()
    }

    /// Counts the one that these headers name for as long as what is returned lives.
    pub(crate) fn connected(&self, headers: &HeaderMap) -> Option<Connected> {
        let standby = serde_json::from_slice(headers.get(BY)?.as_bytes()).ok()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).insert(number, standby);
        Some(Connected { standbys: self.clone(), number })
    }
}

/// A standby that is connected.
#[derive(Debug)]
pub(crate) struct Connected {
    standbys: Standbys,
    number: u64,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut connected = self.standbys.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.remove(&self.number);
    }
}

/// What a leader says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leads {
    /// The term in which it leads.
    pub term: u64,
    /// Where it is.
    pub leader: Candidate,
    /// Who would take over.
    pub standbys: Vec<Candidate>,
}

#[derive(Clone, Debug)]
struct App<L> {
    me: Arc<Candidate>,
    term: Term,
    standbys: Standbys,
    leader: L,
}

/// The endpoints of a leader beside those of the two APIs.
pub fn leading<L: Leader>(me: &Candidate, term: Term, standbys: Standbys, leader: L) -> Router {
    let app = App { me: Arc::new(me.clone()), term, standbys: standbys.clone(), leader };
    Router::new()
        .route("/tepui/v1/leadership", get(leadership::<L>))
        .route("/tepui/v1/drill/write", post(write::<L>))
        .route("/tepui/v1/drill/failover", post(failover::<L>))
        .with_state(app)
        .merge(vigil::vigil(me, standbys))
}

impl<L> App<L> {
    fn state(&self) -> Leads {
        let leader = Candidate::clone(&self.me);
        Leads { term: self.term.0, leader, standbys: self.standbys.list() }
    }
}

async fn leadership<L: Leader>(State(app): State<App<L>>) -> Json<Leads> {
    Json(app.state())
}

#[derive(Serialize)]
struct Written {
    term: u64,
}

async fn write<L: Leader>(State(app): State<App<L>>) -> Response {
    match app.leader.write().await {
        Ok(term) => Json(Written { term: term.0 }).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct Failover {
    /// The term that is to end: nobody ends one that they did not see.
    term: u64,
    #[serde(default)]
    force: bool,
}

/// Says who is about to end, and ends: the answer's body breaks off with the process.
async fn failover<L: Leader>(State(app): State<App<L>>, Query(asked): Query<Failover>) -> Response {
    let state = app.state();
    let refuse = |why: String| (StatusCode::CONFLICT, why).into_response();
    if asked.term != app.term.0 {
        return refuse(format!("term {} is over, this is term {}", asked.term, app.term.0));
    }
    if state.standbys.is_empty() && !asked.force {
        return refuse(
            "no other control plane stands by: nobody would lead until this one is started \
             again; force=true ends it all the same"
                .to_owned(),
        );
    }
    let Ok(mut first) = serde_json::to_string(&state) else {
        return refuse("the leader cannot say who it is".to_owned());
    };
    first.push('\n');
    warn!(term = app.term.0, "leader ends on an operator's request, as a drill");
    let leader = app.leader;
    let frames = stream::unfold(Some(first), move |first| {
        let leader = leader.clone();
        async move {
            let Some(first) = first else {
                return std::future::pending().await;
            };
            tokio::spawn(async move {
                tokio::time::sleep(LAST_WORDS).await;
                leader.die();
            });
            Some((Ok::<_, Infallible>(Bytes::from(first)), None))
        }
    });
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(frames)).into_response()
}
