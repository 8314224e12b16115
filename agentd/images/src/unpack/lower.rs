//! What a layer leaves to the layers below: hard links to files of theirs, and folders that it has
//! only because something is in them.
//!
//! Overlayfs shows a folder with the attributes of the highest layer that has it. A layer that
//! brings `tmp/x` without `tmp` must not make `/tmp` unwritable.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, fstat, openat, readlinkat, statat,
};
use rustix::io::Errno;

use super::tree::{Attributes, Place, Tree, is_whiteout, set_modified};
use super::{Hostile, Privilege, UnpackError};

/// What one layer leaves to those below.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    pub(super) links: Vec<DeferredLink>,
    /// Folders that no entry described, parents first; the root is the empty path.
    pub(super) implied: Vec<PathBuf>,
}

impl Deferred {
    /// Whether the layer depends on what is below it. The root of every image is alike.
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.implied.iter().all(|path| path.as_os_str().is_empty())
    }
}

/// A hard link to something that is not in this layer.
#[derive(Debug)]
pub(super) struct DeferredLink {
    pub(super) path: PathBuf,
    pub(super) target: PathBuf,
}

/// Something in a lower layer.
struct Found {
    parent: OwnedFd,
    name: OsString,
    stat: Stat,
}

/// Settles what was left; `lower` has the nearest layer first. Answers the bytes that it took.
pub(super) fn settle(
    tree: &Tree,
    own: &Path,
    lower: &[PathBuf],
    deferred: Deferred,
) -> Result<u64, UnpackError> {
    let mut bytes = 0;
    // An archive may also name the link before the file.
    let all: Vec<PathBuf> = std::iter::once(own.to_owned()).chain(lower.iter().cloned()).collect();
    for link in deferred.links {
        let failed = |source| UnpackError::Io { entry: shown(&link.path), source };
        let hostile = || UnpackError::Hostile { entry: shown(&link.path), what: Hostile::HardLink };
        let found = find(&all, &link.target, tree.privilege()).map_err(failed)?;
        bytes += copy_up(tree, &found.ok_or_else(hostile)?, &link.path)
            .map_err(failed)?
            .ok_or_else(hostile)?;
    }
    for path in deferred.implied {
        let failed = |source| UnpackError::Io { entry: shown(&path), source };
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if tree.folder(&path).as_ref().is_err_and(gone) {
            continue;
        }
        let found = find(lower, &path, tree.privilege()).map_err(failed)?;
        let Some(found) = found.filter(|found| found.kind() == FileType::Directory) else {
            continue;
        };
        let source = Tree::enter(&Place { parent: found.parent, name: &found.name });
        let attributes = source.and_then(|folder| attributes(&folder)).map_err(failed)?;
        let folder = tree.folder(&path).map_err(failed)?;
        tree.dress(&folder, &attributes).map_err(failed)?;
        let place = Place { parent: folder, name: ".".as_ref() };
        set_modified(&place, attributes.modified).map_err(failed)?;
    }
    Ok(bytes)
}

fn shown(path: &Path) -> String {
    super::shown(path.as_os_str().as_bytes())
}

impl Found {
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// What overlayfs would show at this path; links on the way are not followed.
fn find(lower: &[PathBuf], path: &Path, privilege: Privilege) -> io::Result<Option<Found>> {
    for layer in lower {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut folder = openat(CWD, layer, flags, Mode::empty())?;
        let mut covered = is_opaque(&folder, privilege)?;
        let parts: Vec<_> = path.iter().collect();
        if parts.is_empty() {
            let stat = fstat(&folder)?;
            return Ok(Some(Found { parent: folder, name: ".".into(), stat }));
        }
        for (index, part) in parts.iter().enumerate() {
            let stat = match statat(&folder, *part, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            };
            if is_whiteout(&stat) {
                return Ok(None);
            }
            if index + 1 == parts.len() {
                return Ok(Some(Found { parent: folder, name: (*part).to_owned(), stat }));
            }
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Ok(None);
            }
            folder = openat(&folder, *part, flags, Mode::empty())?;
            covered |= is_opaque(&folder, privilege)?;
        }
        if covered {
            return Ok(None);
        }
    }
    Ok(None)
}

fn is_opaque(folder: &OwnedFd, privilege: Privilege) -> io::Result<bool> {
    let mut value = [0; 8];
    match fgetxattr(folder, privilege.opaque_attribute(), &mut value[..]) {
        Ok(length) => Ok(length == 1 && value[0] == b'y'),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A copy in this layer, as overlayfs makes one of what is linked. `None` for what has no links.
fn copy_up(tree: &Tree, from: &Found, path: &Path) -> io::Result<Option<u64>> {
    let to = tree.place(path, &mut |_| {})?;
    Tree::remove(&to)?;
    let source = Place { parent: from.parent.try_clone()?, name: &from.name };
    match from.kind() {
        FileType::Symlink => {
            let target = readlinkat(&source.parent, source.name, Vec::new())?;
            Tree::symlink(&to, Path::new(&OsString::from_vec(target.into_bytes())))?;
            tree.dress_special(&to, &plain(&from.stat), true)?;
            Ok(Some(0))
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let source = openat(&source.parent, source.name, flags, Mode::empty())?;
            let attributes = attributes(&source)?;
            let mut copy = Tree::create(&to)?;
            let bytes = io::copy(&mut std::fs::File::from(source), &mut copy)?;
            tree.dress(&copy, &attributes)?;
            set_modified(&to, attributes.modified)?;
            Ok(Some(bytes))
        }
        _ => Ok(None),
    }
}

fn plain(stat: &Stat) -> Attributes {
    Attributes {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        extended: Vec::new(),
    }
}

/// What an open file carries, without overlayfs's marks.
fn attributes(file: &OwnedFd) -> io::Result<Attributes> {
    let mut found = plain(&fstat(file)?);
    let mut names = vec![0; 64 * 1024];
    let length = match flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if !name.starts_with(b"user.") && name != b"security.capability"
            || name.starts_with(b"user.overlay.")
        {
            continue;
        }
        let name = OsString::from_vec(name.to_vec());
        let mut value = vec![0; 64 * 1024];
        let length = fgetxattr(file, name.as_os_str(), &mut value[..])?;
        value.truncate(length);
        found.extended.push((name, value));
    }
    Ok(found)
}
