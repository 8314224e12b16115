//! Denials as they happen.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use tepui_agent::Event;
use tepui_types::ContainerId;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::{debug, warn};

use super::{Kernel, State, chain};
use crate::driver::Driver;

/// Reports of a flood are taken together.
const PAUSE: Duration = Duration::from_millis(20);

/// The descriptor of a ring buffer, which the kernel's side keeps open.
struct Watched(OwnedFd);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Tells the agent of refused ports until the process ends.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for descriptors that close early; an `OwnedFd` that the \
              `AsyncFd` owns cannot"
)]
pub async fn watch(kernel: Kernel, agent: Driver) {
    let Some(ring) = kernel.ring() else { return };
    let ring = match AsyncFd::with_interest(Watched(ring), Interest::READABLE) {
        Ok(ring) => ring,
        Err(error) => {
            warn!(%error, "denials are not followed, they are told when tasks end");
            return;
        }
    };
    loop {
        let Ok(mut ready) = ring.readable().await else { return };
        ready.clear_ready();
        for (run, fatal) in kernel.read_denials() {
            let denials = kernel.shared.state.lock().book.denials(&run);
            agent.event(Event::PortsDenied { run, denials, fatal });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Kernel {
    /// A descriptor that is readable when there are denials.
    fn ring(&self) -> Option<OwnedFd> {
        let state = self.shared.state.lock();
        let ring = state.driver.as_ref()?.denials_fd()?;
        ring.try_clone_to_owned().ok()
    }

    /// Takes what was reported since; the runs of which there is something to tell, and whether
    /// they are to be ended.
    pub(super) fn read_denials(&self) -> Vec<(ContainerId, bool)> {
        self.take_denials(&mut self.shared.state.lock())
    }

    pub(super) fn take_denials(&self, state: &mut State) -> Vec<(ContainerId, bool)> {
        let State { driver: Some(driver), book, .. } = state else { return Vec::new() };
        let denials = match driver.take_denials() {
            Ok(denials) => denials,
            Err(error) => {
                warn!(error = chain(&error), "reports of denials not read, they stay counted");
                return Vec::new();
            }
        };
        let mut news: Vec<(ContainerId, bool)> = Vec::new();
        for denial in denials {
            debug!(?denial, "denied");
            let Some((run, fatal)) = book.deny(&denial) else { continue };
            match news.iter_mut().find(|(known, _)| *known == run) {
                Some((_, known)) => *known |= fatal,
                None => news.push((run, fatal)),
            }
        }
        news
    }
}
