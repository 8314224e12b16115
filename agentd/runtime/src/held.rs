//! Files and folders that are held by a descriptor from the moment they are looked at until they are
//! mounted. Their paths may lie where a task can write, and such a path leads somewhere else a moment
//! after it was checked: so libcontainer is given a path in the scratch folder, which no task
//! reaches, and what it finds there was mounted from the descriptor itself.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::fault::{Attempt, Fault};

/// Folder in which they are mounted.
const SHOWN: &str = "shown";
const NOTHING: Option<&str> = None;

/// A file or folder that stays the same whatever becomes of its path.
#[derive(Debug)]
pub(crate) struct Held(OwnedFd);

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Held {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl Held {
    /// What an absolute path leads to when no link is followed, whoever made it.
    pub(crate) fn straight(path: &Path) -> Result<Self, Fault> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let straight = ResolveFlags::NO_SYMLINKS;
        match openat2(CWD, path, flags, Mode::empty(), straight) {
            Ok(found) => Ok(Self(found)),
            Err(Errno::LOOP) => Err(Fault(format!("a link is in the way to '{}'", path.display()))),
            Err(error) => Err(error).on("open", path),
        }
    }

    /// What a path leads to, links followed; `None` where nothing is.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>, Fault> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        // Only a folder that is wanted as one has a file system mounted that waits for that.
        let found = match open(path, flags | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOTDIR) => open(path, flags, Mode::empty()),
            other => other,
        };
        match found {
            Ok(found) => Ok(Some(Self(found))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).on("find volume", path),
        }
    }

    /// The folder of this name in it, made when it is absent, and whether it was. `is_last` may be a
    /// file. No link is followed.
    pub(crate) fn enter(
        &self,
        name: &std::ffi::OsStr,
        is_last: bool,
    ) -> Result<(Self, bool), Errno> {
        let is_made = match mkdirat(&self.0, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error),
        };
        let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::DIRECTORY, !is_last);
        let inside = openat2(&self.0, name, flags, Mode::empty(), straight)?;
        Ok((Self(inside), is_made))
    }

    /// The same folder, to be read and changed.
    pub(crate) fn folder(&self) -> Result<OwnedFd, Errno> {
        let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&self.0, ".", flags, Mode::empty(), straight)
    }

    /// Where it is now.
    pub(crate) fn place(&self) -> Result<PathBuf, Fault> {
        let name = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        fs::read_link(name).to("find where a volume is")
    }

    /// Mounts it, and what is mounted below it, in the scratch folder; where. Only this process's mount
    /// namespace has that mount. Later mounts of the host appear in it only when it `follows_host`.
    pub(crate) fn show(
        &self,
        scratch: &Path,
        name: &str,
        follows_host: bool,
    ) -> Result<PathBuf, Fault> {
        let all = scratch.join(SHOWN);
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&all).on("create", &all)?;
        let place = all.join(name);
        let kind = FileType::from_raw_mode(fstat(&self.0).to("look at a volume")?.st_mode);
        match kind {
            FileType::Directory => private.create(&place).on("create", &place)?,
            FileType::Symlink => return Err(Fault(format!("volume '{name}' is a link"))),
            _ => fs::write(&place, "").on("create", &place)?,
        }
        let cloned = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(&self.0, "", cloned).on("hold what is shown at", &place)?;
        move_mount(&tree, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .on("mount a volume at", &place)?;
        if !follows_host {
            let own = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(NOTHING, &place, NOTHING, own, NOTHING).on("part from the host", &place)?;
        }
        Ok(place)
    }
}
