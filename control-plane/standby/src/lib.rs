//! What a control plane answers while another one leads: Mesos calls are sent to the leader,
//! Marathon calls are passed on to it (`spec/mesos-http.md` 0.5, `spec/marathon-api.md` 1.1). And what
//! the leader answers about its leadership: to those who stand by, and to an operator who drills.

mod front;
mod leading;
mod marathon;
mod mesos;
mod vigil;

use std::sync::Arc;

use tepui_election::{Candidate, Leadership};
use tokio::sync::watch;

pub use front::Front;
pub use leading::{Leader, Leads, Standbys, leading};
pub use marathon::{Own, marathon};
pub use mesos::mesos;
pub use vigil::{Met, Sign, Vigil};

/// Who leads, as this process has heard; it changes.
pub type Heard = watch::Receiver<Option<Leadership>>;

/// This process, and what it has heard.
#[derive(Clone, Debug)]
pub struct Standby {
    /// This process as others reach it.
    pub me: Arc<Candidate>,
    /// Who leads.
    pub heard: Heard,
}

impl Standby {
    /// Who leads, if it is somebody else.
    fn leader(&self) -> Option<Candidate> {
        let heard = self.heard.borrow();
        let leader = heard.as_ref()?.leader.clone()?;
        (leader.id != self.me.id).then_some(leader)
    }
}
