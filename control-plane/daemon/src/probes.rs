//! The leader's own health and readiness probes of apps.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tepui_apps::{Event, Probe, ProbeId, ProbeKind, ProbeOutcome};
use tepui_probe::Prober;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::driver::Driver;

/// Probes under way.
#[derive(Clone, Debug)]
pub struct Probes {
    tokio: Handle,
    driver: Driver,
    prober: Prober,
    running: Arc<Mutex<HashMap<ProbeId, AbortHandle>>>,
}

impl Probes {
    /// No probe yet; outcomes go to the driver.
    pub fn new(tokio: Handle, driver: Driver) -> Self {
        Self { tokio, driver, prober: Prober::default(), running: Arc::default() }
    }

    /// Begins a probe; its outcome becomes an event.
    pub fn start(&self, probe: Probe) {
        let id = probe.id;
        let mut running = self.running.lock();
        let this = self.clone();
        let task = self.tokio.spawn(async move {
            let outcome = this.outcome(&probe).await;
            this.running.lock().remove(&id);
            this.driver.apps_event(Event::Probed { probe: id, outcome });
        });
        running.insert(id, task.abort_handle());
    }

    /// Gives up a probe.
    pub fn cancel(&self, probe: ProbeId) {
        if let Some(task) = self.running.lock().remove(&probe) {
            task.abort();
        }
    }

    async fn outcome(&self, probe: &Probe) -> ProbeOutcome {
        let timeout = Duration::from(probe.timeout);
        let peer = (probe.host.as_str(), probe.port);
        match &probe.kind {
            ProbeKind::Tcp => match self.prober.tcp(peer, timeout).await {
                Ok(()) => ProbeOutcome::Connected,
                Err(error) => ProbeOutcome::Failed { reason: error.to_string() },
            },
            ProbeKind::Http { tls, path, keep_body_bytes } => {
                let answer = self.prober.http(*tls, peer, path, timeout, *keep_body_bytes).await;
                match answer {
                    Ok(answer) => ProbeOutcome::Answered {
                        status: answer.status,
                        content_type: answer.content_type.unwrap_or_else(|| "text/plain".into()),
                        body: String::from_utf8_lossy(&answer.body).into_owned(),
                    },
                    Err(error) => ProbeOutcome::Failed { reason: error.to_string() },
                }
            }
        }
    }
}
