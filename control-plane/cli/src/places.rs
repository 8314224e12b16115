//! The control planes that may answer: one after the other until one does, also while they choose
//! a new leader.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, Response, StatusCode, Url};
use tepui_election::said;
use tepui_ensemble::{EnsembleError, TlsFiles};
use tepui_finder::{FindError, Finder, Found};

use crate::args::Endpoints;
use crate::client::{Again, Api, message, root_cause};
use crate::fault::{Fault, USAGE_OR_PLACEMENT};

/// How long the control planes may take to choose a leader: longer than its lease, by default 5 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pause before all of them are asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// The same for a store that does not tell who leads: most probably it is not there.
const STORE: Duration = Duration::from_secs(5);
/// How long one may take to begin its answer where others could give it: a process that is stopped
/// still takes connections. When all of them took that long, they are busy rather than stopped, and have
/// more time.
const ANSWER: Duration = Duration::from_secs(3);
const BUSY: Duration = Duration::from_secs(12);
/// How far apart a store is asked whether somebody else leads, while a leader does not answer.
const LOOK: Duration = Duration::from_millis(500);

/// The control planes for one of the APIs. Clones share which one answered last.
#[derive(Clone)]
pub(crate) struct Places {
    api: Api,
    /// What the operator gave, without passwords.
    given: String,
    finder: Finder<Url>,
    last: Arc<Mutex<Last>>,
}

#[derive(Debug, Default)]
struct Last {
    /// Who answered last.
    base: Option<String>,
    /// How often another one had to be asked.
    moves: u64,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A success, whose body is still to be read.
    Yes(Response),
    /// A refusal.
    No { status: StatusCode, text: String },
}

/// Why nothing came of asking a control plane.
struct Silent {
    error: anyhow::Error,
    /// It was there and said that nobody leads.
    nobody_leads: Option<(StatusCode, String)>,
    /// How long that may last before it is told.
    patience: Duration,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Places").field(&self.api).field(&self.given).finish()
    }
}

impl Places {
    /// Reads the addresses of an API.
    pub(crate) fn parse(api: Api, endpoints: &Endpoints) -> anyhow::Result<Self> {
        let files = TlsFiles {
            ca: endpoints.store_ca_file.clone(),
            certificate: endpoints.store_cert_file.clone(),
            key: endpoints.store_key_file.clone(),
        };
        let text = endpoints.of(api);
        let (flag, ..) = names(api);
        let wrong = |why: String| {
            Fault::new(format!("{flag}: {why}"))
                .fix("give addresses as http://HOST:PORT, or a store as zk://HOST:PORT/PATH")
                .code(USAGE_OR_PLACEMENT)
        };
        let listed = |text: &str| {
            base(text).ok_or_else(|| EnsembleError::Address(format!("'{text}' is no address")))
        };
        let finder = Finder::parse(&[text.to_owned()], &files, listed)
            .map_err(|error| wrong(error.to_string()))?;
        if finder.is_empty() {
            return Err(wrong("it names no control plane".to_owned()).into());
        }
        Ok(Self { api, given: finder.to_string(), finder, last: Arc::default() })
    }

    /// How often another control plane had to be asked than the one before.
    pub(crate) fn moves(&self) -> u64 {
        self.last().moves
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        // It is set whole or not at all.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a request of the address of a control plane and sends it, until one answers or none
    /// did for [`PATIENCE`].
    pub(crate) async fn ask(
        &self,
        again: Again,
        make: impl Fn(&str) -> RequestBuilder,
    ) -> anyhow::Result<Heard> {
        let begin = Instant::now();
        let mut moved = false;
        let mut patience = ANSWER;
        // Whoever answered last is asked alone at first.
        let mut round: Vec<String> = self.last().base.clone().into_iter().collect();
        loop {
            let everybody = round.is_empty();
            let mut silent = None;
            let round_begin = Instant::now();
            if everybody {
                (round, silent) = self.look().await;
            }
            for base in std::mem::take(&mut round) {
                match self.try_one(&base, make(&base), again, patience).await? {
                    Ok(heard) => {
                        self.note(base, moved);
                        return Ok(heard);
                    }
                    Err(why) => silent = Some(why),
                }
                moved = true;
            }
            let Some(Silent { error, nobody_leads, patience: limit }) =
                silent.filter(|_| everybody)
            else {
                continue;
            };
            patience = BUSY;
            let alone = self.finder.is_single() && nobody_leads.is_none();
            if alone || is_over(limit, begin.elapsed(), round_begin.elapsed()) {
                return match nobody_leads {
                    Some((status, text)) => Ok(Heard::No { status, text }),
                    None => Err(error),
                };
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until everybody is known whom there is to ask, and this one is not among them: the store
    /// names another leader.
    async fn replaced(&self, base: &str) {
        loop {
            tokio::time::sleep(LOOK).await;
            let (bases, silent) = self.look().await;
            if silent.is_none() && !bases.iter().any(|named| named == base) {
                return;
            }
        }
    }

    /// Everybody there is to ask, and why there may be more.
    async fn look(&self) -> (Vec<String>, Option<Silent>) {
        let (mut bases, mut silent) = (Vec::new(), None);
        for found in self.finder.look().await {
            match found {
                Ok(Found::Listed(url)) => bases.push(url.as_str().trim_end_matches('/').to_owned()),
                Ok(Found::Leader(leader)) => bases.push(match self.api {
                    Api::Mesos => format!("http://{}", leader.mesos),
                    Api::Marathon => format!("http://{}", leader.marathon),
                }),
                Err(error) => {
                    let away = matches!(error, FindError::Store { .. });
                    let patience = if away { STORE } else { PATIENCE };
                    let error = self.unreachable(anyhow::Error::new(error));
                    silent = Some(Silent { error, nobody_leads: None, patience });
                }
            }
        }
        (bases, silent)
    }

    /// The inner error is a reason to ask somebody else; the outer one ends it.
    async fn try_one(
        &self,
        base: &str,
        request: RequestBuilder,
        again: Again,
        patience: Duration,
    ) -> anyhow::Result<Result<Heard, Silent>> {
        let silent = |error| {
            let error = self.unreachable(error);
            Ok(Err(Silent { error, nobody_leads: None, patience: PATIENCE }))
        };
        let elsewhere = again == Again::Harmless && !self.finder.is_single();
        let late = async {
            match elsewhere {
                true => tokio::time::sleep(patience).await,
                false => std::future::pending().await,
            }
        };
        let sent = tokio::select! {
            biased;
            sent = request.send() => sent,
            () = late => return silent(anyhow::anyhow!("{base} does not answer in time")),
            () = self.replaced(base) => {
                let why = format!("another one leads since, and {base} did not answer before");
                if elsewhere {
                    return silent(anyhow::Error::msg(why));
                }
                let why = anyhow::anyhow!("{why}; what was asked may be done");
                return Err(self.unreachable(why));
            }
        };
        let response = match sent {
            Ok(response) => response,
            Err(error) if error.is_connect() || elsewhere => return silent(root_cause(&error)),
            Err(error) => return Err(self.unreachable(root_cause(&error))),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(Ok(Heard::Yes(response)));
        }
        let text = response.text().await.unwrap_or_default();
        let why = message(&text).unwrap_or_default();
        // Who can ask again need not know whether it was heard.
        let lost = elsewhere
            && (said::may_be_done(&why)
                || matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE));
        if lost || said::nobody_leads(&why) {
            let error = anyhow::anyhow!("nobody leads");
            let nobody_leads = Some((status, text));
            return Ok(Err(Silent { error, nobody_leads, patience: PATIENCE }));
        }
        Ok(Ok(Heard::No { status, text }))
    }

    fn note(&self, base: String, moved: bool) {
        let mut last = self.last();
        let other = last.base.as_ref().is_some_and(|former| *former != base);
        last.moves += u64::from(moved || other);
        last.base = Some(base);
    }

    /// The error for control planes that do not answer.
    fn unreachable(&self, cause: anyhow::Error) -> anyhow::Error {
        let (flag, variable, what) = names(self.api);
        let fault = Fault::new(format!("failed to reach the {what} endpoint at {}", self.given))
            .fix(format!(
                "is the control plane running there? `tepui dev` starts one here, {flag} or \
                 {variable} names another"
            ));
        cause.context(fault)
    }
}

/// Whether there is no time for another round, as long as the last one, within the limit.
fn is_over(limit: Duration, since: Duration, round: Duration) -> bool {
    since + round >= limit
}

/// The flag, the variable, and whose API it is.
fn names(api: Api) -> (&'static str, &'static str, &'static str) {
    match api {
        Api::Mesos => ("--address", "TEPUI_ADDR", "Mesos"),
        Api::Marathon => ("--marathon", "TEPUI_MARATHON", "Marathon"),
    }
}

fn base(text: &str) -> Option<Url> {
    let absolute = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&absolute).ok().filter(Url::has_host)
}

#[cfg(test)]
mod tests;
