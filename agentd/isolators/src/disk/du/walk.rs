//! A look at every file below some folders, in as many steps as it takes.
//!
//! It needs neither a descriptor nor memory for each level: of the deeper ones it only remembers where
//! it was, and comes back by `..` if that is still the same folder. A folder that is moved away
//! meanwhile is counted at the next look.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Unit of `st_blocks`, whatever the file system's own.
const BLOCK: u64 = 512;
/// Levels that are held open.
const HELD: usize = 8;
/// Files with several names that are told apart; each further name counts as a file, so that
/// nobody hides one behind others.
const MOST_LINKED: usize = 1 << 20;

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOATIME)
    .union(OFlags::CLOEXEC);

/// A count that is under way.
pub(super) struct Walk {
    /// Folders that are still to be looked at.
    roots: Vec<OwnedFd>,
    /// From the root to where it is.
    levels: Vec<Level>,
    /// The file system that it stays on.
    device: u64,
    linked: HashSet<u64>,
    bytes: u64,
}

/// A folder that is half read.
struct Level {
    inode: u64,
    /// `None` where only the place is known.
    open: Option<Dir>,
    /// After which entry it goes on.
    offset: i64,
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let depth = self.levels.len();
        f.debug_struct("Walk").field("depth", &depth).field("bytes", &self.bytes).finish()
    }
}

/// Only the owner may leave no trace.
fn open_folder(at: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    match openat(&at, name, FOLDER, Mode::empty()) {
        Err(Errno::PERM) => openat(&at, name, FOLDER - OFlags::NOATIME, Mode::empty()),
        other => other,
    }
}

impl Walk {
    /// Of these folders, which are on one file system; the first must be there.
    pub(super) fn begin(folders: &[&Path]) -> io::Result<Self> {
        let mut roots = Vec::new();
        for (at, folder) in folders.iter().enumerate() {
            match open(*folder, FOLDER - OFlags::NOATIME, Mode::empty()) {
                Ok(found) => roots.push(found),
                Err(Errno::NOENT) if at > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { roots, levels: Vec::new(), device: 0, linked: HashSet::new(), bytes: 0 })
    }

    /// What was counted so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Looks at so many entries at most; whether all were.
    pub(super) fn go_on(&mut self, entries: usize) -> bool {
        let mut left = entries;
        while left > 0 {
            let Some(level) = self.levels.last_mut() else {
                let Some(root) = self.roots.pop() else { return true };
                if let Ok(stat) = fstat(&root) {
                    self.device = stat.st_dev;
                    self.add(&stat);
                    self.enter(root, stat.st_ino);
                }
                continue;
            };
            left -= 1;
            match level.open.as_mut().and_then(Dir::read) {
                Some(Ok(entry)) => {
                    level.offset = entry.offset();
                    self.look_at(entry.file_name());
                }
                Some(Err(_)) | None => self.leave(),
            }
        }
        self.levels.is_empty() && self.roots.is_empty()
    }

    fn add(&mut self, stat: &Stat) {
        let several_names = stat.st_nlink > 1 && !FileType::from_raw_mode(stat.st_mode).is_dir();
        if several_names && self.linked.contains(&stat.st_ino) {
            return;
        }
        if several_names && self.linked.len() < MOST_LINKED {
            self.linked.insert(stat.st_ino);
        }
        let blocks = u64::try_from(stat.st_blocks).unwrap_or_default();
        self.bytes = self.bytes.saturating_add(blocks.saturating_mul(BLOCK));
    }

    /// Follows no links, leaves the file system never. What vanishes meanwhile is not counted.
    fn look_at(&mut self, name: &std::ffi::CStr) {
        if name == c"." || name == c".." {
            return;
        }
        let Some(Ok(folder)) = self.levels.last().and_then(|one| one.open.as_ref()).map(Dir::fd)
        else {
            return;
        };
        let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        if stat.st_dev != self.device {
            return;
        }
        let below = match FileType::from_raw_mode(stat.st_mode).is_dir() {
            true => open_folder(folder, name).ok(),
            false => None,
        };
        self.add(&stat);
        // Another one may have taken its name, and another file system its place.
        if let Some(below) = below
            && let Ok(now) = fstat(&below)
            && (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino)
        {
            self.enter(below, stat.st_ino);
        }
    }

    fn enter(&mut self, folder: OwnedFd, inode: u64) {
        let Ok(open) = Dir::new(folder) else { return };
        if self.levels.len() > HELD
            && let Some(above) = self.levels.last_mut()
        {
            above.open = None;
        }
        self.levels.push(Level { inode, open: Some(open), offset: 0 });
    }

    /// The deepest folder is done with: back to the one above.
    fn leave(&mut self) {
        let done = self.levels.pop();
        let Some(above) = self.levels.last_mut() else { return };
        if above.open.is_some() {
            return;
        }
        let back = done.and_then(|done| above.return_from(&done));
        match back {
            Some(open) => above.open = Some(open),
            // It is another's folder now: go on where the way is known.
            None => self.levels.truncate(HELD + 1),
        }
        while self.levels.last().is_some_and(|level| level.open.is_none()) {
            self.levels.pop();
        }
    }
}

impl Level {
    fn return_from(&self, below: &Self) -> Option<Dir> {
        let above = open_folder(below.open.as_ref()?.fd().ok()?, c"..").ok()?;
        if fstat(&above).ok()?.st_ino != self.inode {
            return None;
        }
        let mut open = Dir::new(above).ok()?;
        open.seek(self.offset).ok()?;
        Some(open)
    }
}
