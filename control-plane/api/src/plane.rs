//! What the HTTP layer needs of the process behind it. The daemon implements it over its driver
//! loop, tests over a loop of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::proto::MetricFamily;
use tepui_allocator::Reason;
use tepui_cluster::{Cluster, Operation, Refusal, Response};
use tepui_plugin_host::Board;
use tepui_types::{FrameworkId, Now, Role, StreamId};
use tepui_wire::v1::{master, scheduler};
use tokio::sync::mpsc;

use crate::metrics::Timings;
use crate::shadow::ShadowView;

/// A framework's new stream.
#[derive(Debug)]
pub struct Subscription {
    /// Its id, for the `Mesos-Stream-Id` header.
    pub stream: StreamId,
    /// The events; it ends when the control plane closes the stream.
    pub events: mpsc::Receiver<scheduler::Event>,
}

/// The control plane cannot be asked now: 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// How much waits for a thread of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// For the driver loop.
    pub driver: usize,
    /// For the allocator.
    pub allocator: usize,
}

/// The control plane, as the HTTP layer sees it.
pub trait Plane: Clone + Send + Sync + Unpin + 'static {
    /// A framework subscribes. The refusal is an HTTP error; problems of the framework's
    /// description come as an ERROR event on the stream.
    fn subscribe(
        &self,
        framework: Option<FrameworkId>,
        call: Box<scheduler::call::Subscribe>,
        principal: Option<Arc<str>>,
    ) -> impl Future<Output = Result<Subscription, Refusal>> + Send;

    /// A framework's stream is gone.
    fn stream_closed(&self, stream: StreamId);

    /// Any other call of a framework; message shape already checked.
    fn call(
        &self,
        call: Box<scheduler::Call>,
        stream: Option<StreamId>,
        principal: Option<Arc<str>>,
    ) -> impl Future<Output = Result<Response, Unavailable>> + Send;

    /// An operator's change.
    fn operate(
        &self,
        operation: Operation,
    ) -> impl Future<Output = Result<Response, Unavailable>> + Send;

    /// Looks at the state: only what is durable, and everything that was answered.
    fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster, Now) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Unavailable>> + Send;

    /// Looks at the state and receives every operator event after it, without a gap.
    fn watch<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Cluster, Now) -> T + Send + 'static,
    ) -> impl Future<Output = Result<(T, mpsc::Receiver<Arc<master::Event>>), Unavailable>> + Send;

    /// An operator's event stream ended.
    fn watch_ended(&self);

    /// Why a framework is offered nothing more.
    fn explain(
        &self,
        framework: FrameworkId,
    ) -> impl Future<Output = Result<Vec<Reason>, Unavailable>> + Send;

    /// How many refusals hold in the allocator, by role.
    fn refusals(&self) -> impl Future<Output = BTreeMap<Role, u64>> + Send {
        std::future::ready(BTreeMap::new())
    }

    /// How much waits now for the loop, and for the allocator.
    fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    /// Families about what this layer does not know, such as apps.
    fn more_families(&self) -> impl Future<Output = Vec<MetricFamily>> + Send {
        std::future::ready(Vec::new())
    }

    /// The candidate that decides beside the allocator in charge, if there is one.
    fn shadow(&self) -> Option<ShadowView> {
        None
    }

    /// What became of plugins; `None` where there can be none.
    fn plugins(&self) -> Option<Arc<Board>> {
        None
    }

    /// What the process measures of itself; without it these metrics are left out.
    fn timings(&self) -> Option<Arc<Timings>> {
        None
    }
}

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Name under which clients reach this host.
    pub hostname: String,
    /// Port of this API.
    pub port: u16,
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// When the process started.
    pub started: Now,
    /// Flags in force, as `GET_FLAGS` shows them.
    pub flags: Vec<(String, String)>,
}
