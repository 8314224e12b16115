//! The allocator's own thread: off the request path, batched (design, decision 6).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tepui_allocator::{Allocate, Input, Plan, Reason};
use tepui_api::Timings;
use tepui_plugin_host::{Live, PluginAllocator};
use tepui_types::{FrameworkId, Mono, Role};

use tepui_process::Clock;

use crate::follow::Followers;

/// How long the thread sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);
/// How long it sleeps at least before it wakes by itself, however short the batching delay is.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

enum Message {
    Inputs(Vec<Input>),
    Explain(FrameworkId, Box<dyn FnOnce(Vec<Reason>) + Send>),
    Refusals(Box<dyn FnOnce(BTreeMap<Role, u64>) + Send>),
    /// A plugin, or the one that is built in, is in force from now on.
    Swap(Option<Box<PluginAllocator>>),
}

/// The way to the allocator's thread.
#[derive(Clone)]
pub struct Allocation {
    inbox: Sender<Message>,
    queued: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Allocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Allocation")
    }
}

impl Allocation {
    /// Starts the thread; each plan goes to `planned`. The thread ends with the last handle.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        clock: Clock,
        delay: Duration,
        allocator: Live,
        timings: Arc<Timings>,
        followers: Followers,
        planned: impl Fn(Plan) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let queued = Arc::<AtomicUsize>::default();
        let taken = queued.clone();
        thread::Builder::new().name("allocator".into()).spawn(move || {
            let mut worker = Worker {
                clock,
                delay,
                allocator,
                timings,
                receiver,
                queued: taken,
                cause: None,
                followers,
            };
            while worker.turn(&planned) {}
        })?;
        Ok(Self { inbox: sender, queued })
    }

    /// Tells the allocator, in order.
    pub fn tell(&self, inputs: Vec<Input>) {
        if !inputs.is_empty() {
            self.send(Message::Inputs(inputs));
        }
    }

    /// Puts an open plugin in force, or the allocator that is built in, which happens between two
    /// rounds: nothing that is offered or runs changes.
    pub fn swap(&self, plugin: Option<PluginAllocator>) {
        self.send(Message::Swap(plugin.map(Box::new)));
    }

    fn send(&self, message: Message) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        // The thread ends only with the last handle, and this is one.
        let _ = self.inbox.send(message);
    }

    /// Messages that the thread has not taken yet.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Asks how many refusals hold in each role; `answer` runs on the allocator's thread.
    pub fn refusals(&self, answer: impl FnOnce(BTreeMap<Role, u64>) + Send + 'static) {
        self.send(Message::Refusals(Box::new(answer)));
    }

    /// Asks why a framework is offered nothing more; `answer` runs on the allocator's thread.
    pub fn explain(
        &self,
        framework: FrameworkId,
        answer: impl FnOnce(Vec<Reason>) + Send + 'static,
    ) {
        self.send(Message::Explain(framework, Box::new(answer)));
    }
}

/// How long to wait for news until the allocator wants to be woken. Never less than the batching
/// delay, whatever a plugin says: one that wants to be woken in the past, again and again, costs a
/// round now and then and not a processor.
fn pause(now: Mono, wakeup: Option<Mono>, delay: Duration) -> Duration {
    let until = wakeup.map_or(IDLE, |at| Duration::from(at.since(now)));
    until.clamp(delay.max(SHORTEST_PAUSE), IDLE)
}

struct Worker {
    clock: Clock,
    delay: Duration,
    allocator: Live,
    timings: Arc<Timings>,
    receiver: Receiver<Message>,
    queued: Arc<AtomicUsize>,
    /// When something changed that no round has looked at yet.
    cause: Option<Instant>,
    followers: Followers,
}

impl Worker {
    /// Takes news until a round is due, then plans it. `false` when nobody can send any more.
    fn turn(&mut self, planned: &impl Fn(Plan)) -> bool {
        let due = match self.allocator.is_dirty() {
            true => self.delay,
            false => pause(self.clock.now().mono, self.allocator.next_wakeup(), self.delay),
        };
        match self.receiver.recv_timeout(due) {
            Ok(message) => self.take(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        if !self.gather() {
            return false;
        }
        let now = self.clock.now().mono;
        let woken = self.allocator.next_wakeup().is_some_and(|at| at <= now);
        if self.allocator.is_dirty() || woken {
            let begin = Instant::now();
            let plan = self.allocator.round(now);
            let waited = self.cause.take().map_or(Duration::ZERO, |cause| begin - cause);
            self.timings.allocated(waited, begin.elapsed());
            self.followers.planned(now, &plan);
            if !plan.is_empty() {
                planned(plan);
            }
        }
        true
    }

    /// Once something changed, waits out the batching delay and takes whatever comes.
    fn gather(&mut self) -> bool {
        let end = Instant::now() + self.delay;
        while self.allocator.is_dirty() {
            match self.receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    fn take(&mut self, message: Message) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        let now = self.clock.now().mono;
        match message {
            Message::Inputs(inputs) => {
                self.followers.told(now, &inputs);
                for input in inputs {
                    self.allocator.apply(now, input);
                }
                if self.cause.is_none() && self.allocator.is_dirty() {
                    self.cause = Some(Instant::now());
                }
            }
            Message::Swap(Some(plugin)) => {
                // The board says what came of it.
                let _ = self.allocator.seat(now, *plugin);
            }
            Message::Swap(None) => self.allocator.unseat(),
            Message::Refusals(answer) => answer(self.allocator.refusals(now)),
            Message::Explain(framework, answer) => answer(self.allocator.explain(now, &framework)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tepui_types::Span;

    use super::*;

    #[test]
    fn who_wants_to_be_woken_in_the_past_is_woken_now_and_then() {
        let now = Mono::default() + Span::from_secs(100);
        let delay = Duration::from_millis(20);
        assert_eq!(pause(now, None, delay), IDLE);
        let soon = now + Span::from_secs(5);
        assert_eq!(pause(now, Some(soon), delay), Duration::from_secs(5));
        for past in [Mono::default(), now] {
            assert_eq!(pause(now, Some(past), delay), delay);
            assert_eq!(pause(now, Some(past), Duration::ZERO), SHORTEST_PAUSE);
        }
    }
}
