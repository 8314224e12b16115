//! Denials as they happen.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
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

/// Tells the agent of refused ports, and keeps what is known of ends, until the process ends.
pub async fn watch(kernel: Kernel, agent: Driver) {
    let (denials, exits) = kernel.rings();
    let tell = || {
        let mut state = kernel.shared.state.lock();
        for (run, fatal) in kernel.take_denials(&mut state) {
            let denials = state.book.denials(&run);
            agent.event(Event::PortsDenied { run, denials, fatal });
        }
    };
    let keep = || kernel.take_exits(&mut kernel.shared.state.lock());
    tokio::join!(follow(denials, tell), follow(exits, keep));
}

/// Calls `take` whenever there is something to take.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for descriptors that close early; an `OwnedFd` that the \
              `AsyncFd` owns cannot"
)]
async fn follow(ring: Option<OwnedFd>, take: impl Fn()) {
    let Some(ring) = ring else { return };
    let ring = match AsyncFd::with_interest(Watched(ring), Interest::READABLE) {
        Ok(ring) => ring,
        Err(error) => {
            warn!(%error, "reports are not followed, they are told when tasks end");
            return;
        }
    };
    loop {
        let Ok(mut ready) = ring.readable().await else { return };
        ready.clear_ready();
        take();
        tokio::time::sleep(PAUSE).await;
    }
}

impl Kernel {
    /// Descriptors that are readable when there are denials, and ends of processes.
    fn rings(&self) -> (Option<OwnedFd>, Option<OwnedFd>) {
        let state = self.shared.state.lock();
        let Some(driver) = &state.driver else { return (None, None) };
        let own = |ring: Option<BorrowedFd<'_>>| ring?.try_clone_to_owned().ok();
        (own(driver.denials_fd()), own(driver.exits_fd()))
    }

    /// Takes reports of ends of processes.
    pub(super) fn take_exits(&self, state: &mut State) {
        let State { driver: Some(driver), book, .. } = state else { return };
        match driver.take_exits() {
            Ok(exits) => exits.iter().for_each(|exit| book.bury(exit)),
            Err(error) => warn!(error = chain(&error), "reports of ends not read, going on"),
        }
    }

    /// Takes what was reported since; the runs of which there is something to tell, and whether
    /// they are to be ended.
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
