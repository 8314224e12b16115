//! The links to agents: who is connected, and what waits to be sent to them.

use std::collections::HashMap;

use tepui_link::Directive;
use tepui_types::LinkId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Directives that may wait for a slow agent before its link is cut; it then registers again
/// and nothing is lost.
pub const OUTBOX: usize = 16_384;

/// The sending half of one agent's link. What waits is boxed: a channel keeps room for dozens of
/// entries from the first one on, and there are tens of thousands of links.
pub type Outbox = mpsc::Sender<Box<Directive>>;

/// Every open link.
#[derive(Debug, Default)]
pub struct Links(HashMap<LinkId, Outbox>);

impl Links {
    /// A link is open.
    pub fn open(&mut self, link: LinkId, outbox: Outbox) {
        self.0.insert(link, outbox);
    }

    /// Ends a link after what was sent on it.
    pub fn close(&mut self, link: LinkId) {
        self.0.remove(&link);
    }

    /// Sends a directive. `false` when the agent does not keep up: the link is cut.
    pub fn send(&mut self, link: LinkId, directive: Box<Directive>) -> bool {
        let Some(outbox) = self.0.get(&link) else { return true };
        match outbox.try_send(directive) {
            Ok(()) => true,
            // The link's reader notices by itself and says so.
            Err(TrySendError::Closed(_)) => true,
            Err(TrySendError::Full(_)) => {
                self.0.remove(&link);
                false
            }
        }
    }
}
