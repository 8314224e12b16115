//! `disk/xfs` and `disk/ext4`: the file system counts what a sandbox holds, and refuses more than it
//! may. Every sandbox is a project of its own.
//!
//! The sandbox itself carries the id of its project, and the file system knows what each project
//! holds: so nothing else is written down. An id is free when no file carries it, which is only
//! after the last file of its sandbox was removed.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tepui_accounting::{FileSystem, Held, ProjectLimit, Projects, project_of, put_in_project};
use tepui_agent::Limits;
use tepui_agent::limits::{DISK_EXT4, DISK_XFS};
use tepui_launch::Confinement;
use tepui_types::Ranges;

use crate::{DiskQuota, Host, Isolator};

/// A sandbox may have a file for so many bytes of its limit: files without content cost as well.
const BYTES_PER_FILE: u64 = 4096;
/// However small its limit, it may have so many.
const LEAST_FILES: u64 = 1000;

#[derive(Debug)]
pub(crate) struct Quota {
    name: &'static str,
    file_system: FileSystem,
    found: OnceLock<Found>,
}

/// What the probe found, for later.
#[derive(Debug)]
struct Found {
    projects: Projects,
    ids: Ids,
    policy: DiskQuota,
}

/// Which ids there are, and where to look next.
#[derive(Debug)]
struct Ids {
    all: Vec<u32>,
    next: Mutex<usize>,
}

impl Quota {
    pub(crate) fn xfs() -> Self {
        Self { name: DISK_XFS, file_system: FileSystem::Xfs, found: OnceLock::new() }
    }

    pub(crate) fn ext4() -> Self {
        Self { name: DISK_EXT4, file_system: FileSystem::Ext4, found: OnceLock::new() }
    }
}

impl Isolator for Quota {
    fn name(&self) -> &str {
        self.name
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        let projects = Projects::probe(&host.work_dir, self.file_system);
        let projects = projects.map_err(|error| error.to_string())?;
        if !host.is_root {
            return Err("the agent is not root".to_owned());
        }
        // Who may look may also set; the kernel has the same rule for both.
        projects.held(0).map_err(|error| format!("quotas cannot be read: {error}"))?;
        let ids = Ids { all: ids(&host.disk.projects), next: Mutex::new(0) };
        // It is asked once.
        let _ = self.found.set(Found { projects, ids, policy: host.disk.clone() });
        Ok(())
    }

    fn prepare(&self, _wanted: &Limits, _into: &mut Confinement) {}

    fn hold_disk(&self, sandbox: &Path, limit: Option<u64>) -> io::Result<()> {
        self.found.get().map_or(Ok(()), |found| found.hold(sandbox, limit))
    }

    fn count_disk(&self, sandbox: &Path, also: &Path) -> io::Result<()> {
        let Some(found) = self.found.get() else { return Ok(()) };
        match found.own_project(sandbox)? {
            Some(project) => put_in_project(also, project),
            None => Ok(()),
        }
    }

    fn disk_usage(&self, sandbox: &Path, _also: &Path) -> io::Result<Option<u64>> {
        let Some(found) = self.found.get() else { return Ok(None) };
        // Sandboxes from before there were quotas here are looked at by others.
        let Some(project) = found.own_project(sandbox)? else { return Ok(None) };
        found.projects.held(project).map(|held| Some(held.bytes))
    }

    fn clean_up(&self, sandbox: &Path) {
        let Some(found) = self.found.get() else { return };
        // The next one that gets the id sets its own limit: this one is for whoever looks.
        if let Ok(Some(project)) = found.own_project(sandbox) {
            let _ = found.projects.limit(project, ProjectLimit::default());
        }
    }
}

impl Found {
    /// The project of a sandbox, unless it has none or only that of the folder it is in.
    fn own_project(&self, sandbox: &Path) -> io::Result<Option<u32>> {
        let own = project_of(sandbox)?;
        let above = sandbox.parent().map(project_of).transpose()?.unwrap_or(0);
        Ok((own != 0 && own != above && self.ids.all.binary_search(&own).is_ok()).then_some(own))
    }

    fn hold(&self, sandbox: &Path, limit: Option<u64>) -> io::Result<()> {
        let limit = limit_of(limit, &self.policy);
        if let Some(project) = self.own_project(sandbox)? {
            return self.projects.limit(project, limit);
        }
        // Held until the folder carries the id: two sandboxes shall not find the same one free.
        let mut next = self.ids.next.lock();
        let project = self.ids.free(*next, |id| self.projects.held(id))?;
        *next = project.1;
        self.projects.limit(project.0, limit)?;
        put_in_project(sandbox, project.0)
    }
}

impl Ids {
    /// The first free id from a place on, and the place after it.
    fn free(
        &self,
        from: usize,
        held: impl Fn(u32) -> io::Result<Held>,
    ) -> io::Result<(u32, usize)> {
        for step in 0..self.all.len() {
            let at = (from + step) % self.all.len();
            if held(self.all[at])?.files == 0 {
                return Ok((self.all[at], at + 1));
            }
        }
        let count = self.all.len();
        Err(io::Error::other(format!("all {count} project ids of xfs_project_range are in use")))
    }
}

/// All ids of some ranges, in order; a file system has 32 bits for one, and 0 is none.
fn ids(ranges: &Ranges) -> Vec<u32> {
    ranges.numbers().filter_map(|id| u32::try_from(id).ok()).filter(|id| *id != 0).collect()
}

fn limit_of(limit: Option<u64>, policy: &DiskQuota) -> ProjectLimit {
    let Some(bytes) = limit.filter(|_| policy.enforced) else { return ProjectLimit::default() };
    ProjectLimit {
        bytes: bytes.saturating_add(policy.slack),
        files: (bytes / BYTES_PER_FILE).max(LEAST_FILES),
    }
}

#[cfg(test)]
mod tests {
    use tepui_types::Range;

    use super::*;

    #[test]
    fn an_id_is_used_again_only_when_no_file_carries_it() {
        let range = Range::new(5, 7).unwrap();
        let ids = Ids { all: ids(&Ranges::from_ranges([range])), next: Mutex::new(0) };
        let used = |used: &'static [u32]| {
            move |id| Ok(Held { bytes: 0, files: u64::from(used.contains(&id)) })
        };
        assert_eq!(ids.free(0, used(&[])).unwrap(), (5, 1));
        assert_eq!(ids.free(1, used(&[6, 7])).unwrap(), (5, 1));
        let error = ids.free(3, used(&[5, 6, 7])).unwrap_err().to_string();
        assert!(error.contains("xfs_project_range"), "{error}");
    }

    #[test]
    fn what_is_only_counted_has_no_limit_and_who_is_ended_may_exceed_his() {
        let range = Ranges::new();
        let counted = DiskQuota { projects: range.clone(), enforced: false, slack: 0 };
        assert_eq!(limit_of(Some(1 << 30), &counted), ProjectLimit::default());
        let enforced = DiskQuota { projects: range, enforced: true, slack: 10 };
        let limit = ProjectLimit { bytes: (1 << 30) + 10, files: 1 << 18 };
        assert_eq!(limit_of(Some(1 << 30), &enforced), limit);
        assert_eq!(limit_of(Some(1), &enforced).files, LEAST_FILES);
        assert_eq!(limit_of(None, &enforced), ProjectLimit::default());
    }
}
