//! The driver loop as Marathon's REST layer sees it.

use std::sync::Arc;
use std::time::Duration;

use tepui_apps::{Command, Origin, Reply};
use tepui_election::Candidate;
use tepui_marathon::{Event, EventPayload, Version};
use tepui_process::Clock;
use tepui_rest::{Apps, InfoConfig, Leadership, Options, ServiceError};
use tepui_types::Now;
use tokio::sync::{broadcast, watch};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::config::Config;
use crate::driver::{Driver, Unavailable};

/// The apps for [`tepui_rest`].
#[derive(Clone, Debug)]
pub struct MarathonApps {
    /// The loop.
    pub driver: Driver,
    /// Stamps events of the REST layer itself.
    pub clock: Clock,
    /// Raised when a client wants this process to give up leadership.
    pub abdicate: watch::Sender<bool>,
}

/// How long a client waits for the driver loop. It only takes so long while the store cannot make
/// anything durable; Marathon's `--zk_timeout` is the same.
const PATIENCE: Duration = Duration::from_secs(10);

fn unavailable(error: Unavailable) -> ServiceError {
    ServiceError::Unavailable(error.to_string())
}

fn too_late(_: Elapsed) -> ServiceError {
    ServiceError::Unavailable(format!(
        "nothing could be made durable for {} s, is the disk of the control plane's state full? \
         A change that was asked for may still be made",
        PATIENCE.as_secs()
    ))
}

impl Apps for MarathonApps {
    async fn command(
        &self,
        command: Command,
        origin: Option<Origin>,
    ) -> Result<Reply, ServiceError> {
        let reply =
            timeout(PATIENCE, self.driver.command(command, origin)).await.map_err(too_late)?;
        let reply = reply.map_err(unavailable)?;
        Ok(*reply?)
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&tepui_apps::Apps, Now) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let look = self.driver.read(|leader, now| look(leader.apps(), now));
        timeout(PATIENCE, look).await.map_err(too_late)?.map_err(unavailable)
    }

    fn subscribe_events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.driver.app_events()
    }

    fn publish(&self, payload: EventPayload) {
        let millis = i64::try_from(self.clock.now().wall.as_millis()).unwrap_or(i64::MAX);
        let timestamp = Version::from_millis(millis);
        self.driver.publish(Event { timestamp, payload });
    }

    fn leadership(&self) -> Leadership {
        // The only control plane: it leads as long as it serves.
        Leadership::Here
    }

    fn abdicate(&self) -> Result<(), ServiceError> {
        self.abdicate.send_replace(true);
        Ok(())
    }
}

/// What the REST layer shows of this process.
pub fn options(config: &Config, me: &Candidate, apps: &tepui_apps::Config) -> Options {
    Options {
        address: me.marathon.clone(),
        settings: apps.settings.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        info: InfoConfig {
            master: me.mesos.clone(),
            mesos_leader_ui_url: Some(format!("http://{}/", me.mesos)),
            http_port: Some(config.marathon_listen.port()),
            ..InfoConfig::default()
        },
        ..Options::default()
    }
}
