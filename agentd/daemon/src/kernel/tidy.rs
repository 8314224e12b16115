//! Nothing stays in the kernel that holds nobody to anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tepui_cgroup::Leaf;
use tracing::{debug, info, warn};

use super::{Kernel, chain};

/// Names the work directory of the agent whose pins are beside it.
const MARK: &str = "work-dir";
/// What folders of pins begin with; their agent's tag follows.
const FOLDER: &str = "agent-";
/// What groups of tasks begin with; their agent's tag follows.
const GROUP: &str = "tepui-tasks-";
/// What groups of processes and slices of units begin with.
const GROUPS: &str = "tepui-tasks";

/// Folder of an agent's pins.
pub fn pins(all: &Path, tag: &str) -> PathBuf {
    all.join(format!("{FOLDER}{tag}"))
}

/// Name of the group of an agent's processes.
pub fn group(tag: &str) -> String {
    format!("{GROUP}{tag}")
}

/// Whether a group of that name holds tasks, of this agent or another one, as processes or as units.
pub fn is_name_of_groups(name: &str) -> bool {
    name.starts_with(GROUPS)
}

impl Kernel {
    /// Takes programs and rules out of the kernel when nothing runs that they would be for. With live
    /// tasks they stay at work without an agent.
    /// True when no program is left that would miss the groups it is attached to.
    pub async fn stop(&self) -> bool {
        if !self.shared.state.lock().book.is_empty() {
            return false;
        }
        self.stop_counting().await;
        let mut state = self.shared.state.lock();
        if !state.book.is_empty() {
            return false;
        }
        state.cost = None;
        let Some(driver) = state.driver.take() else { return true };
        match driver.remove() {
            Ok(()) => {
                info!("no task is left, programs taken out of the kernel");
                true
            }
            Err(error) => {
                warn!(error = chain(&error), "programs stay in the kernel");
                false
            }
        }
    }

    /// Writes down whose pins these are, so that they can be removed when nobody comes back.
    pub(super) fn mark(&self) {
        let mark = self.shared.pins.join(MARK);
        match std::os::unix::fs::symlink(&self.shared.work_dir, &mark) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                debug!(%error, path = %mark.display(), "pins not marked");
            }
            _ => {}
        }
    }
}

/// Removes what agents left behind whose work directories are gone, as far as nothing of theirs
/// runs.
pub(super) fn sweep(own: &Path, groups: &Path) {
    let (Some(all), Some(groups)) = (own.parent(), groups.parent()) else { return };
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.flatten().filter(|entry| entry.path() != own) {
        let name = entry.file_name();
        let tag = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        let (Some(tag), Ok(work)) = (tag, fs::read_link(entry.path().join(MARK))) else { continue };
        if work.exists() || Leaf::at(groups.join(group(tag))).remove().is_err() {
            continue;
        }
        match remove(&entry.path()) {
            Ok(()) => info!(work = %work.display(), "programs of an agent that is gone removed"),
            Err(error) => debug!(%error, work = %work.display(), "programs of another agent stay"),
        }
    }
}

/// Removes a folder of pins, and so what is only kept by them.
pub(super) fn remove(pins: &Path) -> io::Result<()> {
    for pin in fs::read_dir(pins)? {
        fs::remove_file(pin?.path())?;
    }
    fs::remove_dir(pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_a_work_directory_that_is_gone_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let (all, groups) = (folder.path().join("pins"), folder.path().join("groups"));
        let own = pins(&all, "own");
        let make = |tag: &str, work: &Path| {
            fs::create_dir_all(pins(&all, tag)).unwrap();
            fs::create_dir_all(groups.join(group(tag))).unwrap();
            std::os::unix::fs::symlink(work, pins(&all, tag).join(MARK)).unwrap();
        };
        make("own", Path::new("/no/such"));
        make("lives", folder.path());
        make("gone", Path::new("/no/such"));
        make("busy", Path::new("/no/such"));
        // A folder that cannot be removed, as a group with processes.
        fs::write(groups.join(group("busy")).join("process"), "").unwrap();
        fs::create_dir(all.join("other")).unwrap();
        sweep(&own, &groups.join(group("own")));
        let mut left: Vec<_> =
            fs::read_dir(&all).unwrap().map(|one| one.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["agent-busy", "agent-lives", "agent-own", "other"]);
    }
}
