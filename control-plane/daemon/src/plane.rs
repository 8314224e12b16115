//! The driver loop as the Mesos HTTP layer sees it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::proto::MetricFamily;
use tepui_allocator::Reason;
use tepui_api::{Backlog, Plane, ShadowView, Subscription, Timings, Unavailable};
use tepui_cluster::{Cluster, Operation, Refusal, Response};
use tepui_plugin_host::Board;
use tepui_rest::AppsLook;
use tepui_standby::Standbys;
use tepui_types::{FrameworkId, Now, Role, StreamId};
use tepui_wire::v1::{master, scheduler};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::allocation::Allocation;
use crate::driver::Driver;
use crate::shadow::Watched;

/// The control plane for [`tepui_api`].
#[derive(Clone, Debug)]
pub struct MesosPlane {
    /// The loop.
    pub driver: Driver,
    /// The allocator's thread.
    pub allocation: Allocation,
    /// What the two measure of themselves.
    pub timings: Arc<Timings>,
    /// What became of plugins.
    pub board: Arc<Board>,
    /// Folder of the store.
    pub store: PathBuf,
    /// Who would take over.
    pub standbys: Standbys,
    /// The candidate beside the allocator.
    pub shadow: Option<Watched>,
}

/// Bytes that the files of a folder take.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
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

    async fn refusals(&self) -> BTreeMap<Role, u64> {
        let (answer, counts) = oneshot::channel();
        self.allocation.refusals(move |found| {
            // Whoever asked may be gone already.
            let _ = answer.send(found);
        });
        counts.await.unwrap_or_default()
    }

    fn backlog(&self) -> Backlog {
        Backlog { driver: self.driver.queued(), allocator: self.allocation.queued() }
    }

    async fn more_families(&self) -> Vec<MetricFamily> {
        let look = self.driver.read(|leader, now| AppsLook::of(leader.apps(), now)).await;
        // A driver that is stopping tells nothing more.
        let Ok(look) = look else { return Vec::new() };
        look.families().unwrap_or_else(|error| {
            error!(%error, "families of apps not made, left out");
            Vec::new()
        })
    }

    fn shadow(&self) -> Option<ShadowView> {
        self.shadow.as_ref().map(Watched::view)
    }

    fn plugins(&self) -> Option<Arc<Board>> {
        Some(self.board.clone())
    }

    fn timings(&self) -> Option<Arc<Timings>> {
        self.timings.registry_size(size_of(&self.store));
        self.timings.leadership.standing_by(self.standbys.list().len());
        Some(self.timings.clone())
    }
}
