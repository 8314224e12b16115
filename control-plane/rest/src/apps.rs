//! What the REST layer needs of the process behind it. The daemon implements it over its driver
//! loop, tests over a machine of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_apps::{Command, Origin, Reply};
use tepui_marathon::{Event, EventPayload, Rejection};
use tepui_types::Now;
use tokio::sync::broadcast;

/// The apps, as the REST layer sees them. Cloning is cheap.
pub trait Apps: Clone + Send + Sync + 'static {
    /// Changes something. The answer comes after the change is durable.
    fn command(
        &self,
        command: Command,
        origin: Option<Origin>,
    ) -> impl Future<Output = Result<Reply, ServiceError>> + Send;

    /// Looks at the state: only what is durable, and everything that was answered.
    fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&tepui_apps::Apps, Now) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, ServiceError>> + Send;

    /// Every event from now on. A receiver that lags behind the channel's capacity is cut off, so
    /// the capacity is the buffer of each client (1024 events by default).
    fn subscribe_events(&self) -> broadcast::Receiver<Arc<Event>>;

    /// Sends an event of the REST layer itself to every stream, stamped with the time.
    fn publish(&self, payload: EventPayload);

    /// Who leads.
    fn leadership(&self) -> Leadership;

    /// Gives up leadership, shortly after returning.
    ///
    /// # Errors
    /// When the process cannot give it up.
    fn abdicate(&self) -> Result<(), ServiceError>;

    /// Measurements of the process beyond those of the apps and of the REST layer.
    fn more_metrics(&self) -> Metrics {
        Metrics::default()
    }

    /// Loggers with their levels; empty when they cannot be listed.
    fn loggers(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Sets the level of a logger, for a while if a duration is given.
    ///
    /// # Errors
    /// When levels cannot be changed, which is the default.
    fn set_logger(
        &self,
        _logger: &str,
        _level: &str,
        _duration_seconds: Option<u32>,
    ) -> Result<(), ServiceError> {
        Err(Rejection::new(501, "log levels of this process cannot be changed").into())
    }
}

/// Who leads the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This process, and it is ready.
    Here,
    /// Another process, reachable at this `host:port`.
    Elsewhere(String),
    /// Nobody, or a process that is not ready yet.
    Nobody,
}

/// Why a request got no answer from the apps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The apps refused it and changed nothing.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The apps cannot be asked now: stopping, overloaded, or not leading any more.
    #[error("{0}")]
    Unavailable(String),
}

/// Measurements by name. Names have dots; the Prometheus form has underscores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Values that go up and down.
    pub gauges: BTreeMap<String, f64>,
    /// Values that only grow.
    pub counters: BTreeMap<String, u64>,
}

impl Metrics {
    /// Puts everything of `other` in.
    pub fn merge(&mut self, other: Self) {
        self.gauges.extend(other.gauges);
        self.counters.extend(other.counters);
    }
}
