//! A plugin's instance on a thread of its own, which nobody waits for longer than its time budget.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tepui_plugin_abi::{Kind, Message, Outcome, PluginRef, RSlice, Reply, Start};

use crate::Refused;
use crate::board::{Board, Report, Standing};
use crate::config::Shelf;
use crate::library::{self, Found, Unloadable};

/// So many times a call's budget may opening take: it reads settings and probes the host.
const OPENING: u32 = 10;
/// Largest answer that is taken.
const MOST_BYTES: usize = 256 << 20;

/// How a call of a plugin failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It says no, where it may not.
    #[error("{hook} was refused: {why}")]
    Refused {
        /// Which call.
        hook: &'static str,
        /// Its words.
        why: String,
    },
    /// It panicked.
    #[error("{hook} panicked: {words}")]
    Panicked {
        /// Which call.
        hook: &'static str,
        /// Its last words.
        words: String,
    },
    /// It took too long.
    #[error("{hook} took longer than its {budget_ms} ms")]
    Late {
        /// Which call.
        hook: &'static str,
        /// Its time budget.
        budget_ms: u128,
    },
    /// Its answer makes no sense.
    #[error("{hook} answered nonsense: {why}")]
    Nonsense {
        /// Which call.
        hook: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Its thread is gone.
    #[error("{hook} found nobody: the plugin failed before")]
    Gone {
        /// Which call.
        hook: &'static str,
    },
}

struct Request {
    method: u32,
    bytes: Vec<u8>,
    answer: SyncSender<Answer>,
}

/// How a call ended, with its bytes or words.
type Answer = (Outcome, Vec<u8>);

/// An open plugin.
///
/// The thread ends with this handle, or when a call that hangs returns at last; until then it is
/// left behind.
#[derive(Debug)]
pub struct Runner {
    name: String,
    kind: Kind,
    budget: Duration,
    requests: Sender<Request>,
    board: Arc<Board>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("method", &self.method).finish_non_exhaustive()
    }
}

fn take(reply: &Reply) -> Answer {
    let bytes = reply.bytes();
    match reply.outcome() {
        _ if bytes.len() > MOST_BYTES => {
            (Outcome::Refused, format!("an answer of {} bytes", bytes.len()).into_bytes())
        }
        Some(outcome) => (outcome, bytes.to_vec()),
        None => (Outcome::Refused, b"an outcome that this daemon does not know".to_vec()),
    }
}

/// Calls into the plugin, whose sdk lets nothing unwind; what unwinds on this side is no answer.
fn guarded(call: impl FnOnce() -> Reply) -> Answer {
    catch_unwind(AssertUnwindSafe(|| take(&call())))
        .unwrap_or_else(|_| (Outcome::Panicked, b"the call unwound".to_vec()))
}

fn open(module: PluginRef, start: &Start) -> Result<u64, (Outcome, String)> {
    let bytes = start.encode_to_vec();
    match guarded(|| module.open()(RSlice::from_slice(&bytes))) {
        (Outcome::Done, number) => match number.as_slice().try_into() {
            Ok(number) => Ok(u64::from_le_bytes(number)),
            Err(_) => Err((Outcome::Refused, "its instance has no number".to_owned())),
        },
        (outcome, words) => Err((outcome, String::from_utf8_lossy(&words).into_owned())),
    }
}

/// The thread: opens, answers until nobody asks any more, closes.
fn work(
    found: Found,
    start: &Start,
    opened: &SyncSender<Result<(), Opening>>,
    inbox: &Receiver<Request>,
) {
    let instance = match found.open().map_err(Opening::Unloadable) {
        Ok(module) => match open(module, start) {
            Ok(number) => Ok((module, number)),
            Err((outcome, words)) => Err(Opening::Failed(outcome, words)),
        },
        Err(why) => Err(why),
    };
    let (module, number) = match instance {
        Ok(instance) => instance,
        Err(why) => {
            // Whoever opened it may have given up.
            let _ = opened.send(Err(why));
            return;
        }
    };
    // Whoever opened it may have given up: then nobody asks, and it is closed.
    let _ = opened.send(Ok(()));
    while let Ok(Request { method, bytes, answer }) = inbox.recv() {
        let done = guarded(|| module.call()(number, method, RSlice::from_slice(&bytes)));
        let panicked = done.0 == Outcome::Panicked;
        // Whoever asked may have given up.
        let _ = answer.send(done);
        if panicked {
            return;
        }
    }
    guarded(|| module.close()(number));
}

enum Opening {
    Unloadable(Unloadable),
    Failed(Outcome, String),
}

const OPEN: &str = "open";

impl Runner {
    /// Loads and opens a plugin. Its standing is told to the board either way.
    ///
    /// # Errors
    ///
    /// [`Refused`], in one line.
    pub fn start(
        shelf: &Shelf,
        name: &str,
        kind: Kind,
        seed: u64,
        board: &Arc<Board>,
    ) -> Result<Self, Refused> {
        Self::start_as(Standing::InUse, shelf, name, kind, seed, board)
    }

    /// As [`Runner::start`], for a plugin that stands so once it is open.
    pub(crate) fn start_as(
        standing: Standing,
        shelf: &Shelf,
        name: &str,
        kind: Kind,
        seed: u64,
        board: &Arc<Board>,
    ) -> Result<Self, Refused> {
        let outcome = Self::opened(shelf, name, kind, seed, board);
        if outcome.is_ok() {
            board.stand(name, kind, standing);
        }
        if let Err(why) = &outcome {
            board.refused(name, kind, why);
        }
        outcome
    }

    fn opened(
        shelf: &Shelf,
        name: &str,
        kind: Kind,
        seed: u64,
        board: &Arc<Board>,
    ) -> Result<Self, Refused> {
        let found = library::find(shelf, name, kind)?;
        board.list(Report {
            kind: kind.name().to_owned(),
            name: name.to_owned(),
            version: found.facts.version.clone(),
            sdk: found.facts.sdk.clone(),
            path: found.path(),
            sha256: found.sha256().to_owned(),
            pinned: found.settings.sha256.is_some(),
            standing: Standing::Opening,
        });
        let budget = found.settings.budget();
        let start = Start { name: name.to_owned(), settings: found.settings.json(), seed };
        let (requests, inbox) = channel();
        let (told, opened) = sync_channel(1);
        let begin = Instant::now();
        let spawned = thread::Builder::new()
            .name(format!("plugin {name}").chars().take(15).collect())
            .spawn(move || work(found, &start, &told, &inbox));
        let named = || name.to_owned();
        if let Err(error) = spawned {
            let why = Unloadable::Loader(format!("no thread for it: {error}"));
            return Err(Refused::Unloadable { name: named(), why });
        }
        let outcome = opened.recv_timeout(budget * OPENING);
        board.called(name, OPEN, begin.elapsed());
        let failed = |why| Err(Refused::Failed { name: named(), why });
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(Opening::Unloadable(why))) => {
                return Err(Refused::Unloadable { name: named(), why });
            }
            Ok(Err(Opening::Failed(Outcome::Panicked, words))) => {
                return failed(Failure::Panicked { hook: OPEN, words });
            }
            Ok(Err(Opening::Failed(_, why))) => {
                return failed(Failure::Refused { hook: OPEN, why });
            }
            Err(RecvTimeoutError::Timeout) => {
                let why = Unloadable::Late((budget * OPENING).as_millis());
                return Err(Refused::Unloadable { name: named(), why });
            }
            Err(RecvTimeoutError::Disconnected) => return failed(Failure::Gone { hook: OPEN }),
        }
        Ok(Self { name: named(), kind, budget, requests, board: board.clone() })
    }

    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls a method and waits for the answer, within the time budget.
    ///
    /// # Errors
    ///
    /// [`Failure`], which is counted; the caller decides whether it can go on with the plugin.
    pub fn call(
        &self,
        hook: &'static str,
        method: u32,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let begin = Instant::now();
        let (answer, answered) = sync_channel(1);
        let sent = self.requests.send(Request { method, bytes, answer });
        let outcome = match sent {
            Ok(()) => answered.recv_timeout(self.budget),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        self.board.called(&self.name, hook, begin.elapsed());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let failure = match outcome {
            Ok((Outcome::Done, bytes)) => return Ok(bytes),
            Ok((Outcome::Refused, bytes)) => Failure::Refused { hook, why: text(bytes) },
            Ok((Outcome::Panicked, bytes)) => Failure::Panicked { hook, words: text(bytes) },
            Err(RecvTimeoutError::Timeout) => {
                Failure::Late { hook, budget_ms: self.budget.as_millis() }
            }
            Err(RecvTimeoutError::Disconnected) => Failure::Gone { hook },
        };
        self.board.erred(&self.name);
        Err(failure)
    }

    /// An answer that makes no sense, which only the caller can see.
    #[must_use]
    pub fn nonsense(&self, hook: &'static str, why: impl ToString) -> Failure {
        self.board.erred(&self.name);
        Failure::Nonsense { hook, why: why.to_string() }
    }

    /// Puts the plugin out of use: somebody else does its work from now on.
    pub fn condemn(&self, failure: &Failure, instead: &str) {
        self.board.failed(&self.name, self.kind, failure, instead);
    }

    /// The operator wants another one.
    pub fn retire(self) {
        self.board.stand(&self.name, self.kind, Standing::Retired);
    }
}
