//! `disk/du`: what a run can write is counted file by file, every now and then. A run may hold more
//! between two looks; a project quota would not let it.

mod walk;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator};
use walk::Walk;

/// Entries of a run's folders that are looked at in one turn; the next turn goes on from there. So a
/// run of ten million files keeps nobody else's from being counted.
const ENTRIES_PER_TURN: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Du {
    /// By sandbox.
    counts: Mutex<HashMap<PathBuf, Count>>,
}

#[derive(Debug, Default)]
struct Count {
    /// At the end of the last whole count.
    last: u64,
    /// A count that is not over yet.
    unfinished: Option<Walk>,
}

impl Count {
    /// Goes on, or begins anew; the most that is known by now. Of two folders the second may not be
    /// there.
    fn go_on(&mut self, sandbox: &Path, also: &Path, entries: usize) -> io::Result<u64> {
        let mut walk = match self.unfinished.take() {
            Some(walk) => walk,
            None => Walk::begin(&[sandbox, also])?,
        };
        if walk.go_on(entries) {
            self.last = walk.bytes();
            return Ok(self.last);
        }
        let known = walk.bytes().max(self.last);
        self.unfinished = Some(walk);
        Ok(known)
    }
}

impl Isolator for Du {
    fn name(&self) -> &str {
        tepui_agent::limits::DISK_DU
    }

    fn probe(&self, _host: &Host) -> Result<(), String> {
        Ok(())
    }

    fn prepare(&self, _wanted: &Limits, _into: &mut Confinement) {}

    fn disk_usage(&self, sandbox: &Path, also: &Path) -> io::Result<Option<u64>> {
        let mut count = self.counts.lock().remove(sandbox).unwrap_or_default();
        let known = count.go_on(sandbox, also, ENTRIES_PER_TURN)?;
        self.counts.lock().insert(sandbox.to_owned(), count);
        Ok(Some(known))
    }

    fn let_go(&self, sandbox: &Path) {
        self.counts.lock().remove(sandbox);
    }
}

#[cfg(test)]
mod tests;
