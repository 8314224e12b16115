//! The part of the hierarchy that belongs to one agent.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Pid;

use crate::{CgroupError, Controller, Leaf, Mount};

/// Number of the next group that this process makes.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A group whose children are the groups of single runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtree {
    path: PathBuf,
}

impl Subtree {
    /// Makes sure that the group `name` exists below this process's own group and that groups can
    /// be created in it.
    ///
    /// # Errors
    ///
    /// [`CgroupError`] saying which step the host refused: that is the answer of the probe, and
    /// the caller then does without.
    pub fn ensure(mount: &Mount, name: &str) -> Result<Self, CgroupError> {
        Self::ensure_below(mount.own_group(), name)
    }

    /// Makes sure that the group `name` exists below the group at `parent`, which has been left to
    /// us, and that groups can be created in it.
    ///
    /// # Errors
    ///
    /// As [`Self::ensure`].
    pub fn ensure_below(parent: &Path, name: &str) -> Result<Self, CgroupError> {
        let leaf = Leaf::at(parent.join(checked(name)?));
        leaf.ensure()?;
        if is_invalid(&leaf) {
            for one in Controller::ALL {
                // What was not passed on cannot be taken back.
                let _ = change(parent, '-', one);
            }
        }
        let procs = leaf.path().join("cgroup.procs");
        OpenOptions::new().write(true).open(&procs).map_err(|source| CgroupError::Write {
            path: procs,
            value: String::new(),
            source,
        })?;
        Ok(Self { path: leaf.path().to_owned() })
    }

    /// Puts controllers in force for the groups of runs, and says for which that worked.
    ///
    /// A group with processes passes no controllers on, unless it is the root: most of them the
    /// kernel refuses, and those that know threads (`cpu`, `cpuset`, `pids`) would make every group
    /// below one that no process can enter. A process that `may_step_aside`, and is the only one in
    /// the parent, moves into a group of its own beside the subtree. It must not where somebody will
    /// want to start its successor in the parent, as systemd does.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`] when the hierarchy cannot be read.
    pub fn enable(
        &self,
        wanted: &[Controller],
        may_step_aside: bool,
    ) -> Result<Vec<Controller>, CgroupError> {
        let Some(parent) = self.path.parent() else { return Ok(Vec::new()) };
        let parent = Leaf::at(parent.to_owned());
        if !has_processes(&parent) || (may_step_aside && step_aside(&parent)) {
            for one in wanted {
                // What is refused is missing below.
                let _ = pass_on(parent.path(), *one);
            }
        }
        for one in wanted {
            let _ = pass_on(&self.path, *one);
        }
        let passed = self.path.join("cgroup.subtree_control");
        let passed = fs::read_to_string(&passed)
            .map_err(|source| CgroupError::Read { path: passed, source })?;
        let is_in_force = |one: &Controller| passed.split_whitespace().any(|n| n == one.name());
        Ok(wanted.iter().copied().filter(is_in_force).collect())
    }

    /// Directory of the group.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The group of one run; not created.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Name`] for a name that is empty, dotted or holds a slash.
    pub fn leaf(&self, name: &str) -> Result<Leaf, CgroupError> {
        Ok(Leaf::at(self.path.join(checked(name)?)))
    }

    /// Makes a group that nobody has used before, named after this process and a number.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Create`].
    pub fn fresh_leaf(&self) -> Result<Leaf, CgroupError> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = self.path.join(format!("run-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Leaf::at(path)),
                // An earlier process with this pid left it, perhaps with a run in it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(CgroupError::Create { path, source }),
            }
        }
    }

    /// Removes groups without processes that are older than `age`, and says how many they were.
    ///
    /// A group is empty for a moment between its creation and its first process: `age` must be
    /// more than that moment can last.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`] when the groups cannot be listed.
    pub fn sweep(&self, age: Duration) -> Result<usize, CgroupError> {
        let entries = fs::read_dir(&self.path)
            .map_err(|source| CgroupError::Read { path: self.path.clone(), source })?;
        let is_old = |entry: &fs::DirEntry| {
            let made = entry.metadata().and_then(|meta| meta.modified());
            made.is_ok_and(|made| made.elapsed().is_ok_and(|passed| passed >= age))
        };
        let old = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_old(entry));
        // The kernel refuses to remove a group that has processes.
        Ok(old.filter(|entry| Leaf::at(entry.path()).remove().is_ok()).count())
    }

    /// Proves with a real process that placing and killing work, at the price of that process.
    ///
    /// The caller starts a process that would wait forever, waits for it after this call, and
    /// finds it killed. The trial's group is returned for removal after that.
    ///
    /// # Errors
    ///
    /// [`CgroupError`] saying which step the host refused.
    pub fn prove(&self, pid: Pid) -> Result<Leaf, CgroupError> {
        let raw = pid.as_raw_nonzero().get();
        let leaf = self.leaf(&format!("trial-{raw}"))?;
        leaf.ensure()?;
        leaf.place(pid)?;
        if !leaf.pids()?.contains(&pid) {
            return Err(CgroupError::NotPlaced { path: leaf.path().to_owned(), pid: raw });
        }
        leaf.kill()?;
        Ok(leaf)
    }
}

/// Name of the group into which this process moves to let its former one pass controllers on.
const ASIDE: &str = "tepui-agent";

fn pass_on(group: &Path, controller: Controller) -> io::Result<()> {
    change(group, '+', controller)
}

fn change(group: &Path, sign: char, controller: Controller) -> io::Result<()> {
    let path = group.join("cgroup.subtree_control");
    let text = format!("{sign}{}", controller.name());
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Whether no process can enter a group: the one above has processes, and passes controllers on that
/// know threads, as an earlier agent may have made it do.
fn is_invalid(group: &Leaf) -> bool {
    let kind = fs::read_to_string(group.path().join("cgroup.type")).unwrap_or_default();
    kind.trim_end() == "domain invalid"
}

/// Whether a group has processes of its own; for the root that means nothing.
fn has_processes(group: &Leaf) -> bool {
    let is_root = !group.path().join("cgroup.type").exists();
    let procs = fs::read_to_string(group.path().join("cgroup.procs")).unwrap_or_default();
    !is_root && !procs.trim().is_empty()
}

/// Moves this process out of a group that holds no other; whether it did.
fn step_aside(group: &Leaf) -> bool {
    let own = rustix::process::getpid();
    let procs = fs::read_to_string(group.path().join("cgroup.procs")).unwrap_or_default();
    let alone = procs.lines().map(str::trim).eq([own.as_raw_nonzero().to_string()]);
    let aside = Leaf::at(group.path().join(ASIDE));
    alone && aside.ensure().is_ok() && aside.place_self().is_ok()
}

/// Refuses names that would leave the parent or clash with the kernel's own files.
fn checked(name: &str) -> Result<&str, CgroupError> {
    let reserved = ["cgroup.", "cpu.", "memory.", "io.", "pids.", "cpuset.", "hugetlb.", "rdma."];
    let bad = name.is_empty()
        || name.starts_with('.')
        || name.contains(['/', '\0', '\n'])
        || name.len() > 255
        || reserved.iter().any(|prefix| name.starts_with(prefix));
    if bad { Err(CgroupError::Name(name.to_owned())) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_parent_or_shadow_kernel_files_are_refused() {
        for bad in ["", ".", "..", "a/b", "cgroup.procs", "x\0", ".hidden"] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
        assert!(checked("run-1.0_x").is_ok());
    }
}
