//! The vigil of a standby: over one leader at a time.

use tepui_election::Candidate;
use tepui_standby::{Met, Sign, Vigil};
use tepui_types::Term;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// Watches whoever leads, and tells what it sees.
pub struct Vigils {
    me: Candidate,
    met: Met,
    /// Waits for the next sign of the leader's process.
    vigil: Option<JoinHandle<()>>,
    signs: mpsc::Sender<(Term, Sign)>,
}

impl Vigils {
    /// Vigils of this process, over nobody yet.
    pub fn new(me: Candidate, signs: mpsc::Sender<(Term, Sign)>) -> Self {
        Self { me, met: Met::default(), vigil: None, signs }
    }

    /// Watches this leader's process instead of any other's.
    pub fn keep(&mut self, term: Term, leader: Candidate) {
        info!(term = term.0, leader = %leader.mesos, "standing by");
        self.end();
        let vigil = Vigil::over(leader.clone(), self.me.clone(), self.met.clone());
        self.vigil = Some(tokio::spawn(tell(vigil, term, leader, self.signs.clone())));
    }

    /// Watches nobody.
    pub fn end(&mut self) {
        if let Some(vigil) = self.vigil.take() {
            vigil.abort();
        }
    }
}

impl Drop for Vigils {
    fn drop(&mut self) {
        self.end();
    }
}

async fn tell(mut vigil: Vigil, term: Term, leader: Candidate, signs: mpsc::Sender<(Term, Sign)>) {
    let mut said = false;
    loop {
        let sign = vigil.sign().await;
        if sign == Sign::Refused && !std::mem::replace(&mut said, true) {
            warn!(
                term = term.0,
                leader = %leader.mesos,
                "leader's address refuses: its process is gone, or is not reached from here"
            );
        }
        // Nobody listens when this process leads by now.
        if signs.send((term, sign)).await.is_err() || sign == Sign::Gone {
            return;
        }
    }
}
