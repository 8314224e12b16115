//! The handle to the driver loop: what everybody else in the process may ask of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use tepui_agent::{Agent, ContainerCall, Event, Response};
use tepui_types::{ExecutorId, FrameworkId, Now, RequestId, StreamId, Uuid};
use tepui_wire::v1::executor;
use tokio::sync::{mpsc, oneshot};

use crate::link::Outbox;

/// Events that may wait for a slow executor before its stream is cut.
const STREAM_BUFFER: usize = 4096;

/// A look at the state.
pub(crate) type Look = Box<dyn FnOnce(&Agent, Now) + Send>;

/// One thing for the loop to do.
pub(crate) enum Input {
    Event(Event),
    Ask { request: RequestId, event: Event, answer: oneshot::Sender<Response> },
    StreamOpened { stream: StreamId, sink: mpsc::Sender<executor::Event> },
    LinkUp(Outbox),
    Read(Look),
    Stop(oneshot::Sender<()>),
}

/// The loop is gone: the process is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Stopping;

/// A cheap handle to the loop.
#[derive(Clone)]
pub struct Driver {
    inbox: Sender<Input>,
    requests: Arc<AtomicU64>,
    streams: Arc<AtomicU64>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}

/// Whoever asked waits; dropped, it does so no more.
struct Waiting<'a> {
    driver: &'a Driver,
    request: RequestId,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.driver.event(Event::RequestGone { request: self.request });
        }
    }
}

impl Driver {
    pub(crate) fn new(inbox: Sender<Input>) -> Self {
        Self { inbox, requests: Arc::default(), streams: Arc::default() }
    }

    fn send(&self, input: Input) -> Result<(), Stopping> {
        self.inbox.send(input).map_err(|_| Stopping)
    }

    /// Tells the loop something; nobody waits for an answer.
    pub fn event(&self, event: Event) {
        // When the loop is gone the process is about to end, and nobody is left to tell.
        let _ = self.send(Input::Event(event));
    }

    pub(crate) fn link_up(&self, outbox: Outbox) {
        let _ = self.send(Input::LinkUp(outbox));
    }

    async fn ask(&self, event: impl FnOnce(RequestId) -> Event) -> Result<Response, Stopping> {
        let request = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (answer, receiver) = oneshot::channel();
        self.send(Input::Ask { request, event: event(request), answer })?;
        receiver.await.map_err(|_| Stopping)
    }

    /// An executor subscribes: the answer, and the events of its stream.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn subscribe(
        &self,
        framework: FrameworkId,
        executor: ExecutorId,
        call: Box<executor::call::Subscribe>,
    ) -> Result<(Response, StreamId, mpsc::Receiver<executor::Event>), Stopping> {
        let number = u128::from(self.streams.fetch_add(1, Ordering::Relaxed));
        let stream = StreamId(Uuid::from_bytes(number.to_be_bytes()));
        let (sink, events) = mpsc::channel(STREAM_BUFFER);
        self.send(Input::StreamOpened { stream, sink })?;
        let response = self
            .ask(|request| Event::ExecutorSubscribe { request, stream, framework, executor, call })
            .await?;
        Ok((response, stream, events))
    }

    /// Any other call of an executor.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn call(&self, call: Box<executor::Call>) -> Result<Response, Stopping> {
        self.ask(|request| Event::ExecutorCall { request, call }).await
    }

    /// A call about a container. When nobody waits for the answer any more, the loop is told.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn container_call(&self, call: Box<ContainerCall>) -> Result<Response, Stopping> {
        let request = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (answer, receiver) = oneshot::channel();
        let event = Event::ContainerCall { request, call };
        self.send(Input::Ask { request, event, answer })?;
        let mut waiting = Waiting { driver: self, request, is_answered: false };
        let response = receiver.await;
        waiting.is_answered = true;
        response.map_err(|_| Stopping)
    }

    /// Looks at the state as of now: only what is durable.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Agent, Now) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let (answer, receiver) = oneshot::channel();
        self.send(Input::Read(Box::new(move |agent, now| {
            // Whoever asked may be gone already.
            let _ = answer.send(look(agent, now));
        })))?;
        receiver.await.map_err(|_| Stopping)
    }

    /// Ends the loop after what is under way; tasks go on.
    pub async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.send(Input::Stop(done)).is_ok() {
            let _ = ended.await;
        }
    }
}
