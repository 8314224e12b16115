//! The driver loop as the agent's HTTP layer sees it.

use std::sync::Arc;

use tepui_agent::{Agent, Caller, ContainerCall, Event, Response};
use tepui_agent_api::{
    Host, ImageEntry, ImageFigures, Input, KernelReport, NetworkRepairs, Output, PullEntry,
    RunPlace, Unavailable, Usage,
};
use tepui_container::ToTerminal;
use tepui_plugin_host::Board;
use tepui_process::Connection;
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Now, StreamId};
use tepui_wire::v1::executor;
use tokio::sync::mpsc;

use crate::attach;
use crate::callers::Callers;
use crate::driver::{Driver, Stopping};
use crate::images::ImageStore;
use crate::runs::Runs;

/// The agent for [`tepui_agent_api`].
#[derive(Clone, Debug)]
pub struct AgentHost {
    /// The loop.
    pub driver: Driver,
    /// What measures runs.
    pub runs: Runs,
    /// Who tells tasks from operators.
    pub callers: Callers,
    /// The host's images.
    pub images: ImageStore,
    /// What became of plugins.
    pub board: Arc<Board>,
}

pub(crate) fn unavailable(error: Stopping) -> Unavailable {
    Unavailable(error.to_string())
}

impl Host for AgentHost {
    async fn subscribe(
        &self,
        framework: FrameworkId,
        executor: ExecutorId,
        call: Box<executor::call::Subscribe>,
    ) -> Result<(Response, StreamId, mpsc::Receiver<executor::Event>), Unavailable> {
        self.driver.subscribe(framework, executor, call).await.map_err(unavailable)
    }

    fn plugins(&self) -> Option<Arc<Board>> {
        Some(self.board.clone())
    }

    async fn call(&self, call: Box<executor::Call>) -> Result<Response, Unavailable> {
        self.driver.call(call).await.map_err(unavailable)
    }

    fn stream_closed(&self, stream: StreamId) {
        self.driver.event(Event::ExecutorStreamClosed { stream });
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Agent, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.driver.read(look).await.map_err(unavailable)
    }

    async fn caller(&self, connection: &Connection) -> Result<Caller, Unavailable> {
        self.callers.tell(connection, &self.driver, &self.runs).await
    }

    async fn container_call(&self, call: Box<ContainerCall>) -> Result<Response, Unavailable> {
        self.driver.container_call(call).await.map_err(unavailable)
    }

    fn take_session(&self, session: &ContainerId) -> Option<mpsc::Receiver<Output>> {
        self.runs.sessions().take(session)
    }

    fn attach_output(&self, session: &ContainerId) -> Option<mpsc::Receiver<Output>> {
        let of_session = self.runs.sessions().attach_output(session);
        of_session
            .or_else(|| self.runs.attach(session, Some(&ToTerminal::Show)).map(attach::output))
    }

    fn attach_input(&self, session: &ContainerId) -> Option<mpsc::Sender<Input>> {
        let of_session = self.runs.sessions().attach_input(session);
        of_session.or_else(|| self.runs.attach(session, None).map(attach::input))
    }

    fn usage(&self, run: &ContainerId) -> Option<Usage> {
        self.runs.usage(run)
    }

    fn place(&self, run: &ContainerId) -> RunPlace {
        self.runs.place(run)
    }

    fn kernel(&self) -> KernelReport {
        let (callers, callers_reason) = self.callers.report();
        KernelReport { callers, callers_reason, ..self.runs.kernel() }
    }

    fn image_figures(&self) -> Option<ImageFigures> {
        Some((&self.images).into())
    }

    fn network_repairs(&self) -> NetworkRepairs {
        let repairs = self.runs.containers().networks().repairs();
        NetworkRepairs { rules: repairs.rules, bridge: repairs.bridge }
    }

    fn image_list(&self) -> (Vec<ImageEntry>, Vec<PullEntry>) {
        let (images, mut pulls) = self.images.listed();
        for pull in &mut pulls {
            pull.waiting = self.runs.containers().waiting_for(&pull.image);
        }
        (images, pulls)
    }

    async fn prune_images(&self, excluded: Vec<String>) -> Result<(), String> {
        let images = self.images.clone();
        let pruned = tokio::task::spawn_blocking(move || images.prune(excluded)).await;
        pruned.unwrap_or_else(|_| Err("the agent is stopping".to_owned()))
    }
}
