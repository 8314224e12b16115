//! What must happen between a run's control group and the first instruction of its command.

use std::fmt::Debug;

use tepui_cgroup::Leaf;
use tepui_types::ContainerId;

/// Is asked before a run's command is executed in its group.
///
/// Port enforcement counts on it: a group that nobody admitted has no ports, so what is admitted
/// late would be refused what it was given.
pub trait Admission: Send + Sync + Debug {
    /// The command of `run` is about to be executed in `group`, where nothing of it runs yet. May
    /// block for a moment. May be asked again for a run with another group: the last one counts.
    ///
    /// # Errors
    ///
    /// Why the run must not begin, for the status of its tasks.
    fn admit(&self, run: &ContainerId, group: &Leaf) -> Result<(), String>;

    /// A run whose command would be executed in no group of its own: whoever holds runs by their
    /// groups refuses those that must be held.
    ///
    /// # Errors
    ///
    /// Why the run must not begin, for the status of its tasks.
    fn admit_without_group(&self, _run: &ContainerId) -> Result<(), String> {
        Ok(())
    }
}
