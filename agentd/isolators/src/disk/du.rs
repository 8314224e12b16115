//! `disk/du`: what a sandbox holds is counted file by file, every now and then. A run may hold more
//! between two looks; a project quota would not let it.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, open, openat, statat};
use rustix::io::Errno;
use tepui_agent::Limits;
use tepui_launch::Confinement;

use crate::{Host, Isolator};

/// Unit of `st_blocks`, whatever the file system's own.
const BLOCK: u64 = 512;
/// Deepest folder that is looked into: each level costs a descriptor.
const MAX_DEPTH: usize = 64;

#[derive(Debug)]
pub(crate) struct Du;

impl Isolator for Du {
    fn name(&self) -> &str {
        tepui_agent::limits::DISK_DU
    }

    fn probe(&self, _host: &Host) -> Result<(), String> {
        Ok(())
    }

    fn prepare(&self, _wanted: &Limits, _into: &mut Confinement) {}

    fn disk_usage(&self, sandbox: &Path) -> io::Result<Option<u64>> {
        measure(sandbox).map(Some)
    }
}

/// Bytes on disk of everything below a folder, and of itself. Follows no links, leaves the file
/// system never, and counts a file with several names once. What vanishes meanwhile is not counted.
///
/// # Errors
///
/// When the folder itself cannot be read.
pub fn measure(folder: &Path) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = open(folder, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&root)?;
    let mut walk = Walk { device: stat.st_dev, seen: HashSet::new(), bytes: 0 };
    walk.add(&stat);
    walk.descend(root, 0);
    Ok(walk.bytes)
}

struct Walk {
    device: u64,
    seen: HashSet<u64>,
    bytes: u64,
}

impl Walk {
    fn add(&mut self, stat: &Stat) {
        let several_names = stat.st_nlink > 1 && !FileType::from_raw_mode(stat.st_mode).is_dir();
        if !several_names || self.seen.insert(stat.st_ino) {
            let blocks = u64::try_from(stat.st_blocks).unwrap_or_default();
            self.bytes = self.bytes.saturating_add(blocks.saturating_mul(BLOCK));
        }
    }

    fn descend(&mut self, folder: OwnedFd, depth: usize) {
        let Ok(entries) = Dir::read_from(&folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(stat) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if stat.st_dev != self.device {
                continue;
            }
            self.add(&stat);
            if FileType::from_raw_mode(stat.st_mode).is_dir()
                && depth < MAX_DEPTH
                && let Ok(below) = open_below(folder.as_fd(), name)
            {
                self.descend(below, depth + 1);
            }
        }
    }
}

fn open_below(folder: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_counts_once_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let empty = measure(folder.path()).unwrap();
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join("data"), vec![7; 100_000]).unwrap();
        std::fs::hard_link(below.join("data"), folder.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("out")).unwrap();
        let full = measure(folder.path()).unwrap();
        assert!((100_000..200_000).contains(&(full - empty)), "{full} - {empty}");
        assert!(measure(Path::new("/no/such/folder")).is_err());
    }
}
