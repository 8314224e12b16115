//! What somebody else takes away comes back.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::Networks;
use crate::bell::{Bell, Topic};
use crate::bridge;
use crate::error::NetworkError;

/// Between two looks that nobody asked for: some changes are not told, and none when the kernel has
/// no room to tell them.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// From one look to the next at least: who takes away again and again gets no more than this.
const PAUSE: Duration = Duration::from_millis(50);

/// How often something was put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// The table of nftables with the mapped ports.
    pub rules: u64,
    /// The bridge, its addresses, or the cables to it.
    pub bridge: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    rules: AtomicU64,
    bridge: AtomicU64,
}

impl Networks {
    /// How often something was put back.
    #[must_use]
    pub fn repairs(&self) -> Repairs {
        let counts = &self.shared.repairs;
        Repairs {
            rules: counts.rules.load(Ordering::Relaxed),
            bridge: counts.bridge.load(Ordering::Relaxed),
        }
    }

    /// Keeps rules and bridge as they have to be, for as long as it is polled. To be called in the
    /// network namespace that they are in.
    pub async fn keep(self) {
        let rules = self.bell(Topic::Rules);
        let links = self.bell(Topic::Links);
        let mut turns = tokio::time::interval(LOOK_INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turns.tick() => {}
                () = rung(rules.as_ref()) => {}
                () = rung(links.as_ref()) => {}
            }
            self.look().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn bell(&self, topic: Topic) -> Option<Bell> {
        match Bell::hang(topic, &self.shared.settings.bridge) {
            Ok(bell) => Some(bell),
            Err(error) => {
                let seconds = LOOK_INTERVAL.as_secs();
                warn!(?topic, %error, seconds, "changes are not told, looked at from time to time");
                None
            }
        }
    }

    async fn look(&self) {
        let failed = |error: NetworkError, what: &str| {
            let error = &error as &dyn std::error::Error;
            warn!(error, what, "not put back, tried again later");
        };
        let repairs = &self.shared.repairs;
        match self.repair_bridge().await {
            Ok(false) => {}
            Ok(true) => {
                repairs.bridge.fetch_add(1, Ordering::Relaxed);
                warn!("somebody has removed or changed the bridge of containers, put back");
            }
            Err(error) => failed(error, "bridge"),
        }
        match self.shared.tables.repair().await {
            Ok(None) => {}
            Ok(Some(ports)) => {
                repairs.rules.fetch_add(1, Ordering::Relaxed);
                warn!(ports, "somebody has removed or changed our rules of nftables, put back");
            }
            Err(error) => failed(error, "rules"),
        }
    }

    async fn repair_bridge(&self) -> Result<bool, NetworkError> {
        let is_made = self.shared.bridge.lock().await;
        if !*is_made {
            return Ok(false);
        }
        bridge::repair(&self.shared.settings, &self.bridged()).await
    }
}

/// Never where there is no bell.
async fn rung(bell: Option<&Bell>) {
    match bell {
        Some(bell) => bell.rung().await,
        None => pending().await,
    }
}
