//! The part of the hierarchy that belongs to one agent.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Pid;

use crate::{CgroupError, Leaf, Mount};

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
        let leaf = Leaf::at(mount.own_group().join(checked(name)?));
        leaf.ensure()?;
        let procs = leaf.path().join("cgroup.procs");
        OpenOptions::new().write(true).open(&procs).map_err(|source| CgroupError::Write {
            path: procs,
            value: String::new(),
            source,
        })?;
        Ok(Self { path: leaf.path().to_owned() })
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
