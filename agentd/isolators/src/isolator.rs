//! What every isolator can do. Plain data goes in and out, so that one could live elsewhere.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use tepui_agent::Limits;
use tepui_cgroup::Controller;
use tepui_launch::Confinement;
use tepui_types::Ranges;

/// Version of the shape of [`Isolator`]: another number is another contract.
pub const SHAPE: u32 = 4;

/// What a host is like, found out once at the start.
#[derive(Clone, Debug)]
pub struct Host {
    /// What runs are here.
    pub runs: Runs,
    /// Controllers in force for the groups of runs.
    pub controllers: Vec<Controller>,
    /// Whether the agent is root.
    pub is_root: bool,
    /// The folder that sandboxes are below; is there.
    pub work_dir: PathBuf,
    /// How disks are held to their limits.
    pub disk: DiskQuota,
    /// Whether groups of runs can be held to devices, or why not.
    pub device_rules: Result<(), String>,
}

/// How sandboxes are bounded where their file system has project quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskQuota {
    /// Ids that projects may have (`--xfs_project_range`); 0 is none.
    pub projects: Ranges,
    /// They are bounded, not only counted (`--enforce_container_disk_quota`).
    pub enforced: bool,
    /// Bytes beyond its limit that a run may write before it is refused, so that somebody sees it
    /// exceed its limit (`--xfs_kill_containers`).
    pub slack: u64,
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
    fn name(&self) -> &str;

    /// Finds out whether this host can do it.
    ///
    /// # Errors
    ///
    /// The reason why not, as the end of a sentence.
    fn probe(&self, host: &Host) -> Result<(), String>;

    /// Adds its part of what a run is held to. Asked again with other limits when they change
    /// while the run lasts; of the answer only the ceiling counts then.
    fn prepare(&self, wanted: &Limits, into: &mut Confinement);

    /// The same for whoever has to know which run it is.
    fn prepare_run(&self, _run: &str, wanted: &Limits, into: &mut Confinement) {
        self.prepare(wanted, into);
    }

    /// Holds a sandbox, which is there, to so many bytes from now on. Asked again when they change.
    ///
    /// # Errors
    ///
    /// What the file system answers, or that there is no room for another one.
    fn hold_disk(&self, _sandbox: &Path, _limit: Option<u64>) -> io::Result<()> {
        Ok(())
    }

    /// What is written below another, empty folder counts as written into the sandbox.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    fn count_disk(&self, _sandbox: &Path, _also: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Bytes that the run's sandbox holds together with what was written below `also`, which need not
    /// be there, by whoever counts them.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    fn disk_usage(&self, _sandbox: &Path, _also: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Nobody will ask for the disk usage of a sandbox any more: its run is over.
    fn let_go(&self, _sandbox: &Path) {}

    /// Takes back what it did for a sandbox that is about to be removed.
    fn clean_up(&self, _sandbox: &Path) {}
}
