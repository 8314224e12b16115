//! What every isolator can do. Plain data goes in and out, so that one could live elsewhere.

use std::fmt::Debug;
use std::path::Path;

use tepui_agent::Limits;
use tepui_cgroup::Controller;
use tepui_launch::Confinement;

/// Version of the shape of [`Isolator`]: another number is another contract.
pub const SHAPE: u32 = 1;

/// What a host is like, found out once at the start.
#[derive(Clone, Debug)]
pub struct Host {
    /// What runs are here.
    pub runs: Runs,
    /// Controllers in force for the groups of runs.
    pub controllers: Vec<Controller>,
    /// Whether the agent is root.
    pub is_root: bool,
}

/// What runs are on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Units of systemd.
    Units,
    /// Processes with a shim.
    Processes,
}

/// One way of holding runs to limits.
pub trait Isolator: Send + Sync + Debug {
    /// Its name in `--isolation`.
    fn name(&self) -> &'static str;

    /// Finds out whether this host can do it.
    ///
    /// # Errors
    ///
    /// The reason why not, as the end of a sentence.
    fn probe(&self, host: &Host) -> Result<(), String>;

    /// Adds its part of what a run is held to. Asked again with other limits when they change
    /// while the run lasts; of the answer only the ceiling counts then.
    fn prepare(&self, wanted: &Limits, into: &mut Confinement);

    /// Bytes that the run's sandbox holds, by whoever counts them.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    fn disk_usage(&self, _sandbox: &Path) -> std::io::Result<Option<u64>> {
        Ok(None)
    }

    /// Takes back what it did for a sandbox that is about to be removed.
    fn clean_up(&self, _sandbox: &Path) {}
}
