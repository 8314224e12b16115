//! What a layer leaves to the layers below: hard links to files of theirs, and folders that it has
//! only because something is in them.
//!
//! Overlayfs shows a folder with the attributes of the highest layer that has it. A layer that
//! brings `tmp/x` without `tmp` must not make `/tmp` unwritable.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, fstat, openat, readlinkat, statat,
};
use rustix::io::Errno;

use super::entry::copy as copy_file;
use super::meter::Meter;
use super::tree::{Attributes, Place, Tree, is_whiteout, set_modified};
use super::{Hostile, Privilege, UnpackError};

/// What one layer leaves to those below.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    /// Bytes of files that the layer has without them, as they are counted.
    pub(super) written: u64,
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

/// Something in a lower layer, or in this one.
struct Found {
    is_own: bool,
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
    meter: &Meter,
) -> Result<u64, UnpackError> {
    let mut linker = Linker { tree, meter, copies: HashMap::new(), disk_bytes: 0 };
    // An archive may also name the link before the file.
    let all: Vec<PathBuf> = std::iter::once(own.to_owned()).chain(lower.iter().cloned()).collect();
    for link in &deferred.links {
        let failed = |source| meter.explain(&shown(&link.path), source);
        let hostile = || UnpackError::Hostile { entry: shown(&link.path), what: Hostile::HardLink };
        let found = find(&all, &link.target, tree.privilege()).map_err(failed)?;
        let is_linked = linker.link(&found.ok_or_else(hostile)?, &link.path).map_err(failed)?;
        if !is_linked {
            return Err(hostile());
        }
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
    Ok(linker.disk_bytes)
}

fn shown(path: &Path) -> String {
    super::shown(path.as_os_str().as_bytes())
}

impl Found {
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// What overlayfs would show at this path, the layer itself first; links on the way are not followed.
fn find(lower: &[PathBuf], path: &Path, privilege: Privilege) -> io::Result<Option<Found>> {
    for (at, layer) in lower.iter().enumerate() {
        let is_own = at == 0;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut folder = openat(CWD, layer, flags, Mode::empty())?;
        let mut covered = is_opaque(&folder, privilege)?;
        let parts: Vec<_> = path.iter().collect();
        if parts.is_empty() {
            let stat = fstat(&folder)?;
            return Ok(Some(Found { is_own, parent: folder, name: ".".into(), stat }));
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
                let name = (*part).to_owned();
                return Ok(Some(Found { is_own, parent: folder, name, stat }));
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

/// Makes the names that a layer adds to files of lower layers. Each file is copied once, as overlayfs
/// does when it is linked; every further name is a link to the copy. Otherwise a layer of a few bytes
/// for each name would fill a disk.
struct Linker<'a> {
    tree: &'a Tree,
    meter: &'a Meter,
    /// Where in this layer the copy of a file of a lower layer is, by device and inode.
    copies: HashMap<(u64, u64), PathBuf>,
    disk_bytes: u64,
}

impl Linker<'_> {
    /// Answers whether it is something that can have links.
    fn link(&mut self, from: &Found, path: &Path) -> io::Result<bool> {
        let kind = from.kind();
        if !matches!(kind, FileType::Symlink | FileType::RegularFile) {
            return Ok(false);
        }
        let to = self.tree.place(path, &mut |_| {})?;
        Tree::remove(&to)?;
        let source = Place { parent: from.parent.try_clone()?, name: &from.name };
        if from.is_own && is_linked(Tree::hard_link(&source, &to))? {
            return Ok(true);
        }
        let which = (from.stat.st_dev, from.stat.st_ino);
        if let Some(copy) = self.copies.get(&which) {
            let copy = self.tree.place(copy, &mut |_| {})?;
            if is_linked(Tree::hard_link(&copy, &to))? {
                return Ok(true);
            }
        }
        match kind {
            FileType::Symlink => {
                let target = readlinkat(&source.parent, source.name, Vec::new())?;
                Tree::symlink(&to, Path::new(&OsString::from_vec(target.into_bytes())))?;
                self.tree.dress_special(&to, &plain(&from.stat), true)?;
            }
            _ => self.copy(&source, &to)?,
        }
        self.copies.insert(which, path.to_owned());
        Ok(true)
    }

    fn copy(&mut self, source: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let source = openat(&source.parent, source.name, flags, Mode::empty())?;
        let attributes = attributes(&source)?;
        let mut copy = Tree::create(to)?;
        let length = u64::try_from(fstat(&source)?.st_size).unwrap_or_default();
        // Blocks that both share take no room; they count as if they did, for others cannot.
        if rustix::fs::ioctl_ficlone(&copy, &source).is_ok() {
            self.meter.write(length)?;
        } else {
            let (_, dense) = copy_file(&mut File::from(source), &mut copy, self.meter)?;
            self.disk_bytes = self.disk_bytes.saturating_add(dense);
        }
        self.tree.dress(&copy, &attributes)?;
        set_modified(to, attributes.modified)
    }
}

/// Whether there is a link now. A file has only so many: then another copy begins.
fn is_linked(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::MLINK.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
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
