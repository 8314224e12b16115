//! Folders and links in a sandbox that a running task may own: no step goes through a link, so that
//! nothing is made anywhere else.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Uid, fchown, mkdirat, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::{Owner, PUBLIC, SandboxError, failed};

/// Makes the folders of `inner` below `base`; the last one, when it is new, gets this mode and
/// owner, those before it are the agent's own.
pub(super) fn ensure_folder(
    base: &Path,
    inner: &Path,
    mode: u32,
    owner: Option<&Owner>,
) -> Result<OwnedFd, SandboxError> {
    walk(base, inner, mode, owner).map_err(|error| failed("create", &base.join(inner))(error))
}

/// Puts a link at `inner` below `base`, in place of one that is there already.
pub(super) fn link(base: &Path, inner: &Path, to: &Path) -> Result<(), SandboxError> {
    let made = || -> io::Result<()> {
        let name = inner.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = inner.parent().unwrap_or_else(|| Path::new(""));
        let folder = walk(base, parent, PUBLIC, None)?;
        match symlinkat(to, &folder, name) {
            Err(Errno::EXIST) => {
                unlinkat(&folder, name, AtFlags::empty())?;
                Ok(symlinkat(to, &folder, name)?)
            }
            other => Ok(other?),
        }
    };
    made().map_err(|error| failed("link", &base.join(inner))(error))
}

fn walk(base: &Path, inner: &Path, mode: u32, owner: Option<&Owner>) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut folder = openat(CWD, base, flags, Mode::empty())?;
    let mut parts = inner.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
        let is_last = parts.peek().is_none();
        let mode = Mode::from_bits_truncate(if is_last { mode } else { PUBLIC });
        let is_new = match mkdirat(&folder, name, mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        folder = openat(&folder, name, flags, Mode::empty())?;
        if let Some(owner) = owner.filter(|owner| is_last && is_new && !owner.is_agent()) {
            let (user, group) = (owner.user.as_raw(), owner.group.as_raw());
            fchown(&folder, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
    }
    Ok(folder)
}
