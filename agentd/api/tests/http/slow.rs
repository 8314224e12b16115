//! A host that is asked for a stream and takes its time.

use std::sync::Arc;

use axum::Router;
use tepui_agent::{Agent, Caller, ContainerCall, Response};
use tepui_agent_api::{Host, Input, KernelReport, Output, RunPlace, Unavailable, Usage, router};
use tepui_process::Connection;
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Now, StreamId};
use tepui_wire::v1::executor;
use tokio::sync::{Notify, mpsc};

use crate::rig::Rig;

#[derive(Clone)]
pub(crate) struct Slow {
    rig: Rig,
    asked: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Slow {
    pub(crate) fn new(rig: Rig) -> Self {
        Self { rig, asked: Arc::default(), go_on: Arc::default() }
    }

    pub(crate) fn router(&self) -> Router {
        router(self.clone(), self.rig.facts())
    }

    /// Returns when a subscription waits.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.go_on.notify_one();
    }
}

impl Host for Slow {
    async fn subscribe(
        &self,
        framework: FrameworkId,
        executor: ExecutorId,
        call: Box<executor::call::Subscribe>,
    ) -> Result<(Response, StreamId, mpsc::Receiver<executor::Event>), Unavailable> {
        self.asked.notify_one();
        self.go_on.notified().await;
        self.rig.subscribe(framework, executor, call).await
    }

    async fn call(&self, call: Box<executor::Call>) -> Result<Response, Unavailable> {
        self.rig.call(call).await
    }

    fn stream_closed(&self, stream: StreamId) {
        self.rig.stream_closed(stream);
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Agent, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.rig.read(look).await
    }

    fn kernel(&self) -> KernelReport {
        self.rig.kernel()
    }

    async fn caller(&self, connection: &Connection) -> Result<Caller, Unavailable> {
        self.rig.caller(connection).await
    }

    async fn container_call(&self, call: Box<ContainerCall>) -> Result<Response, Unavailable> {
        self.rig.container_call(call).await
    }

    fn take_session(&self, session: &ContainerId) -> Option<mpsc::Receiver<Output>> {
        self.rig.take_session(session)
    }

    fn attach_output(&self, session: &ContainerId) -> Option<mpsc::Receiver<Output>> {
        self.rig.attach_output(session)
    }

    fn attach_input(&self, session: &ContainerId) -> Option<mpsc::Sender<Input>> {
        self.rig.attach_input(session)
    }

    fn place(&self, run: &ContainerId) -> RunPlace {
        self.rig.place(run)
    }

    fn usage(&self, run: &ContainerId) -> Option<Usage> {
        self.rig.usage(run)
    }
}
