//! The handle to the driver loop: what everybody else in the process may ask of it.
//!
//! The loop itself runs on a thread of its own ([`crate::turn`]); it is the only place that acts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tepui_api::Subscription;
use tepui_apps::{Command, Origin, Reply};
use tepui_cluster::{Operation, Refusal, RefusalKind, Response};
use tepui_leader::{Event, Leader};
use tepui_marathon::Rejection;
use tepui_process::Clock;
use tepui_types::{FrameworkId, LinkId, Now, RequestId, StreamId, Term};
use tepui_wire::v1::{master, scheduler};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot};
use tokio::time::timeout;

use crate::links::Outbox;
use crate::streams::MOST_WAITING;

/// Requests that may wait for the loop; more are answered 503.
const MAX_WAITING: usize = 100_000;

/// A look at the state.
pub(crate) type Look = Box<dyn FnOnce(&Leader, Now) + Send>;
/// A look at the state that goes on with every later event.
pub(crate) type LookAndWatch =
    Box<dyn FnOnce(&Leader, Now, mpsc::Receiver<Arc<master::Event>>) + Send>;

/// One thing for the loop to do.
pub(crate) enum Input {
    Event(Event),
    /// The room is free for others once the loop took it.
    Registration {
        event: Event,
        room: OwnedSemaphorePermit,
    },
    Ask {
        request: RequestId,
        event: Event,
        answer: Answer,
    },
    LinkOpened {
        link: LinkId,
        outbox: Outbox,
    },
    Read(Look),
    Watch(LookAndWatch),
    WatchEnded,
    Mark(oneshot::Sender<Term>),
    Stop(oneshot::Sender<()>),
}

/// Where an answer goes.
pub(crate) enum Answer {
    Cluster(oneshot::Sender<Response>),
    Stream { sink: mpsc::Sender<scheduler::Event>, answer: oneshot::Sender<Response> },
    Apps(oneshot::Sender<Result<Box<Reply>, Rejection>>),
}

/// The loop is gone, or too much waits for it: 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The process is about to end.
    #[error("the control plane is stopping")]
    Stopping,
    /// Too many requests wait already.
    #[error("the control plane is overloaded: {MAX_WAITING} requests wait, try again later")]
    Overloaded,
}

/// A thing to do, and when it came in. The loop decides as of that time: when it is behind, what
/// somebody said in time is in time, and nobody is silent who only waits to be heard.
pub(crate) type Dated = (Now, Input);

/// A cheap handle to the loop.
#[derive(Clone)]
pub struct Driver {
    clock: Clock,
    inbox: Sender<Dated>,
    requests: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
    queued: Arc<AtomicUsize>,
    app_events: broadcast::Sender<Arc<tepui_marathon::Event>>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// Counts one waiting request for as long as it lives.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Driver {
    pub(crate) fn new(
        clock: Clock,
        inbox: Sender<Dated>,
        app_events: broadcast::Sender<Arc<tepui_marathon::Event>>,
    ) -> Self {
        Self {
            clock,
            inbox,
            requests: Arc::default(),
            waiting: Arc::default(),
            queued: Arc::default(),
            app_events,
        }
    }

    fn send(&self, input: Input) -> Result<(), Unavailable> {
        self.send_dated(self.clock.now(), input)
    }

    fn send_dated(&self, at: Now, input: Input) -> Result<(), Unavailable> {
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.inbox.send((at, input)).map_err(|_| Unavailable::Stopping)
    }

    /// The time as the loop counts it.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The loop took one input.
    pub(crate) fn taken(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    /// Inputs that the loop has not taken yet.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn admit(&self) -> Result<Waiting, Unavailable> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Unavailable::Overloaded);
        }
        Ok(Waiting(self.waiting.clone()))
    }

    async fn ask<T>(
        &self,
        event: impl FnOnce(RequestId) -> Event,
        answer: impl FnOnce(oneshot::Sender<T>) -> Answer,
    ) -> Result<T, Unavailable> {
        let _waiting = self.admit()?;
        let request = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        self.send(Input::Ask { request, event: event(request), answer: answer(sender) })?;
        receiver.await.map_err(|_| Unavailable::Stopping)
    }

    /// Tells the loop something about the cluster; nobody waits for an answer.
    pub fn event(&self, event: tepui_cluster::Event) {
        // When the loop is gone the process is about to end, and nobody is left to tell.
        let _ = self.send(Input::Event(Event::Cluster(event)));
    }

    /// Tells the loop of an agent's registration that came in at that time and waited for room.
    pub(crate) fn registration(
        &self,
        at: Now,
        event: tepui_cluster::Event,
        room: OwnedSemaphorePermit,
    ) {
        let event = Event::Cluster(event);
        let _ = self.send_dated(at, Input::Registration { event, room });
    }

    /// Tells the loop something about the apps; nobody waits for an answer.
    pub fn apps_event(&self, event: tepui_apps::Event) {
        let _ = self.send(Input::Event(Event::Apps(event)));
    }

    pub(crate) fn link_opened(&self, link: LinkId, outbox: Outbox) {
        let _ = self.send(Input::LinkOpened { link, outbox });
    }

    pub(crate) fn watch_ended(&self) {
        let _ = self.send(Input::WatchEnded);
    }

    /// Has the store take a write of this term, also when there is nothing to write.
    ///
    /// # Errors
    /// When the loop cannot be asked, or ended before the write was durable.
    pub async fn mark(&self) -> Result<Term, Unavailable> {
        let _waiting = self.admit()?;
        let (answer, receiver) = oneshot::channel();
        self.send(Input::Mark(answer))?;
        receiver.await.map_err(|_| Unavailable::Stopping)
    }

    /// A framework's call other than SUBSCRIBE.
    ///
    /// # Errors
    /// When the loop cannot be asked.
    pub async fn call(
        &self,
        call: Box<scheduler::Call>,
        stream: Option<StreamId>,
        principal: Option<Arc<str>>,
    ) -> Result<Response, Unavailable> {
        self.ask(
            |request| {
                Event::Cluster(tepui_cluster::Event::Call { request, stream, call, principal })
            },
            Answer::Cluster,
        )
        .await
    }

    /// A framework subscribes.
    ///
    /// # Errors
    /// A refusal, also when the loop cannot be asked.
    pub async fn subscribe(
        &self,
        framework: Option<FrameworkId>,
        call: Box<scheduler::call::Subscribe>,
        principal: Option<Arc<str>>,
    ) -> Result<Subscription, Refusal> {
        let (sink, events) = mpsc::channel(MOST_WAITING);
        let response = self
            .ask(
                |request| {
                    Event::Cluster(tepui_cluster::Event::Subscribe {
                        request,
                        framework,
                        call,
                        principal,
                    })
                },
                |answer| Answer::Stream { sink, answer },
            )
            .await
            .map_err(|error| refuse(RefusalKind::Unavailable, error.to_string()))?;
        match response {
            Response::Streaming { stream } => Ok(Subscription { stream, events }),
            Response::Refused(refusal) => Err(refusal),
            Response::Accepted | Response::Done => {
                Err(refuse(RefusalKind::Unavailable, "subscription gave no stream".into()))
            }
        }
    }

    /// An operator's change.
    ///
    /// # Errors
    /// When the loop cannot be asked.
    pub async fn operate(&self, operation: Operation) -> Result<Response, Unavailable> {
        self.ask(
            |request| Event::Cluster(tepui_cluster::Event::Operate { request, operation }),
            Answer::Cluster,
        )
        .await
    }

    /// A change of the apps.
    ///
    /// # Errors
    /// When the loop cannot be asked; the inner error is the apps' own refusal.
    pub async fn command(
        &self,
        command: Command,
        origin: Option<Origin>,
    ) -> Result<Result<Box<Reply>, Rejection>, Unavailable> {
        let command = Box::new(command);
        self.ask(
            |request| Event::Apps(tepui_apps::Event::Command { request, command, origin }),
            Answer::Apps,
        )
        .await
    }

    /// Looks at the state as of now: only what is durable, and everything that was answered.
    ///
    /// # Errors
    /// When the loop cannot be asked.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Leader, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let _waiting = self.admit()?;
        let (answer, receiver) = oneshot::channel();
        self.send(Input::Read(Box::new(move |leader, now| {
            // Whoever asked may be gone already.
            let _ = answer.send(look(leader, now));
        })))?;
        receiver.await.map_err(|_| Unavailable::Stopping)
    }

    /// Looks at the state and receives every operator event after it, without a gap.
    ///
    /// # Errors
    /// When the loop cannot be asked.
    pub async fn watch<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Leader, Now) -> T + Send + 'static,
    ) -> Result<(T, mpsc::Receiver<Arc<master::Event>>), Unavailable> {
        let (answer, receiver) = oneshot::channel();
        self.send(Input::Watch(Box::new(move |leader, now, events| {
            let _ = answer.send((look(leader, now), events));
        })))?;
        receiver.await.map_err(|_| Unavailable::Stopping)
    }

    /// Every event of the apps from now on; a receiver that lags is told so.
    pub fn app_events(&self) -> broadcast::Receiver<Arc<tepui_marathon::Event>> {
        self.app_events.subscribe()
    }

    /// Sends an event that is not the apps' own to every reader of the apps' events.
    pub fn publish(&self, event: tepui_marathon::Event) {
        // No receiver is no error: nobody listens.
        let _ = self.app_events.send(Arc::new(event));
    }

    /// Ends the loop after what is under way; everything acknowledged is durable. `false` when it did
    /// not end in time: then it waits for a store that takes nothing, with what nobody was told.
    pub async fn stop(&self, limit: Duration) -> bool {
        let (done, ended) = oneshot::channel();
        match self.send(Input::Stop(done)) {
            Ok(()) => timeout(limit, ended).await.is_ok(),
            // It is gone.
            Err(Unavailable::Stopping | Unavailable::Overloaded) => true,
        }
    }
}

fn refuse(kind: RefusalKind, message: String) -> Refusal {
    Refusal { kind, message }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_loop_that_waits_for_its_store_keeps_nobody_from_stopping() {
        let (sender, inbox) = channel();
        let driver = Driver::new(Clock::start(), sender, broadcast::channel(1).0);
        assert!(!driver.stop(Duration::from_millis(10)).await, "nobody takes it");
        let taking = std::thread::spawn(move || {
            while let Ok((_, input)) = inbox.recv() {
                if let Input::Stop(done) = input
                    && done.send(()).is_ok()
                {
                    return;
                }
            }
        });
        assert!(driver.stop(Duration::from_secs(60)).await);
        taking.join().unwrap();
        assert!(driver.stop(Duration::from_secs(60)).await, "it is gone");
    }
}
