//! The driver loop as the Mesos HTTP layer sees it.

use std::sync::Arc;

use tepui_allocator::Reason;
use tepui_api::{Plane, Subscription, Timings, Unavailable};
use tepui_cluster::{Cluster, Operation, Refusal, Response};
use tepui_types::{FrameworkId, Now, StreamId};
use tepui_wire::v1::{master, scheduler};
use tokio::sync::{mpsc, oneshot};

use crate::allocation::Allocation;
use crate::driver::Driver;

/// The control plane for [`tepui_api`].
#[derive(Clone, Debug)]
pub struct MesosPlane {
    /// The loop.
    pub driver: Driver,
    /// The allocator's thread.
    pub allocation: Allocation,
    /// What the two measure of themselves.
    pub timings: Arc<Timings>,
}

fn unavailable(error: crate::driver::Unavailable) -> Unavailable {
    Unavailable(error.to_string())
}

impl Plane for MesosPlane {
    async fn subscribe(
        &self,
        framework: Option<FrameworkId>,
        call: Box<scheduler::call::Subscribe>,
        principal: Option<Arc<str>>,
    ) -> Result<Subscription, Refusal> {
        self.driver.subscribe(framework, call, principal).await
    }

    fn stream_closed(&self, stream: StreamId) {
        self.driver.event(tepui_cluster::Event::StreamClosed { stream });
    }

    async fn call(
        &self,
        call: Box<scheduler::Call>,
        stream: Option<StreamId>,
        principal: Option<Arc<str>>,
    ) -> Result<Response, Unavailable> {
        self.driver.call(call, stream, principal).await.map_err(unavailable)
    }

    async fn operate(&self, operation: Operation) -> Result<Response, Unavailable> {
        self.driver.operate(operation).await.map_err(unavailable)
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster, Now) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.driver.read(|leader, now| look(leader.cluster(), now)).await.map_err(unavailable)
    }

    async fn watch<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster, Now) -> T + Send + 'static,
    ) -> Result<(T, mpsc::Receiver<Arc<master::Event>>), Unavailable> {
        self.driver.watch(|leader, now| look(leader.cluster(), now)).await.map_err(unavailable)
    }

    fn watch_ended(&self) {
        self.driver.watch_ended();
    }

    async fn explain(&self, framework: FrameworkId) -> Result<Vec<Reason>, Unavailable> {
        let (answer, reasons) = oneshot::channel();
        self.allocation.explain(framework, move |found| {
            // Whoever asked may be gone already.
            let _ = answer.send(found);
        });
        reasons.await.map_err(|_| Unavailable("the allocator is stopping".into()))
    }

    fn timings(&self) -> Option<Arc<Timings>> {
        Some(self.timings.clone())
    }
}
