//! A plugin that decides beside the allocator in force, on the same inputs: what it decides is only
//! looked at, and so is how it fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tepui_allocator::{Allocate, Input, Plan, Reason};
use tepui_types::{FrameworkId, Mono, Role};

use crate::board::Standing;
use crate::{Board, Failure, Kind, PluginAllocator, Refused, Shelf};

/// A candidate in a library. After its first failure it plans nothing more, and [`Fault`] has the
/// reason.
#[derive(Debug)]
pub struct Beside {
    plugin: PluginAllocator,
    fault: Fault,
}

/// How a candidate failed, once it did.
#[derive(Clone, Debug, Default)]
pub struct Fault(Arc<Mutex<Option<Failure>>>);

impl Fault {
    /// The first failure.
    #[must_use]
    pub fn seen(&self) -> Option<Failure> {
        self.0.lock().clone()
    }
}

impl Beside {
    /// Opens a plugin, which knows nothing yet.
    ///
    /// # Errors
    ///
    /// [`Refused`], in one line; the board knows it already.
    pub fn open(shelf: &Shelf, name: &str, seed: u64, board: &Arc<Board>) -> Result<Self, Refused> {
        board.beside(name, Kind::Allocator);
        let plugin = PluginAllocator::open_as(Standing::Beside, shelf, name, seed, board)?;
        Ok(Self { plugin, fault: Fault::default() })
    }

    /// Where its failure will be seen.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.fault.clone()
    }

    fn asked<T: Default>(&self, ask: impl FnOnce(&PluginAllocator) -> Result<T, Failure>) -> T {
        let mut fault = self.fault.0.lock();
        if fault.is_some() {
            return T::default();
        }
        ask(&self.plugin).unwrap_or_else(|failure| {
            self.plugin.condemn(&failure, "nobody");
            *fault = Some(failure);
            T::default()
        })
    }
}

impl Allocate for Beside {
    fn apply(&mut self, now: Mono, input: Input) {
        self.plugin.hear(now, input);
    }

    fn is_dirty(&self) -> bool {
        self.plugin.is_dirty()
    }

    fn next_wakeup(&self) -> Option<Mono> {
        self.plugin.next_wakeup()
    }

    fn round(&mut self, now: Mono) -> Plan {
        self.asked(|plugin| plugin.round(now))
    }

    fn explain(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        self.asked(|plugin| plugin.explain(now, framework))
    }

    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64> {
        self.asked(|plugin| plugin.refusals(now))
    }
}
