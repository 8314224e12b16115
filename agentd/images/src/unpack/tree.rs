//! Making files in a layer's folder, and only there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags, chownat, fchmod, fchown, fsetxattr, linkat, lsetxattr, makedev, mkdirat, mknodat,
    openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::path::Arg;

use super::Privilege;
use super::path::MAX_PATH_BYTES;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// What a file, folder or link carries beside its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(super) modified: (i64, u32),
    pub(super) extended: Vec<(OsString, Vec<u8>)>,
}

/// A layer's folder.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    privilege: Privilege,
    root_length: usize,
}

/// The folder that holds a path's last part, and that part.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) parent: OwnedFd,
    pub(super) name: &'a OsStr,
}

impl Tree {
    pub(super) fn open(path: &Path, privilege: Privilege) -> io::Result<Self> {
        let root = openat(CWD, path, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        let root_length = real_path(&root)?.as_os_str().len();
        Ok(Self { root, privilege, root_length })
    }

    pub(super) fn privilege(&self) -> Privilege {
        self.privilege
    }

    /// An existing folder, by way of links inside the tree.
    pub(super) fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match self.resolve(path, straight) {
            Err(Errno::LOOP) => {}
            other => return Ok(other?),
        }
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let folder = self.resolve(path, inside)?;
        // Links shorten paths: without a limit folders could become deeper than anything can
        // remove.
        let length = real_path(&folder)?.as_os_str().len();
        if length.saturating_sub(self.root_length) > MAX_PATH_BYTES {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(folder)
    }

    fn resolve(&self, path: &Path, how: ResolveFlags) -> Result<OwnedFd, Errno> {
        // EAGAIN: a rename happened during the walk; the kernel asks for another try.
        for _ in 0..32 {
            match openat2(&self.root, path, FOLDER, Mode::empty(), how) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The place of a path. Folders that are missing are made and told to `made`.
    pub(super) fn place<'a>(
        &self,
        path: &'a Path,
        made: &mut dyn FnMut(PathBuf),
    ) -> io::Result<Place<'a>> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        let parent = match self.folder(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(parent, made)?,
            other => other?,
        };
        Ok(Place { parent, name })
    }

    fn make(&self, path: &Path, made: &mut dyn FnMut(PathBuf)) -> io::Result<OwnedFd> {
        let mut above = self.folder(Path::new(""))?;
        let mut so_far = PathBuf::new();
        for part in path.iter() {
            so_far.push(part);
            above = match self.folder(&so_far) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match mkdirat(&above, part, Mode::from_bits_truncate(0o755)) {
                        Ok(()) => {}
                        // A link that leads nowhere yet: where it leads stays unmade.
                        Err(Errno::EXIST) => return Err(Errno::LOOP.into()),
                        Err(error) => return Err(error.into()),
                    }
                    let folder = self.folder(&so_far)?;
                    fchmod(&folder, Mode::from_bits_truncate(0o755))?;
                    made(so_far.clone());
                    folder
                }
                other => other?,
            };
        }
        Ok(above)
    }

    /// What the file, folder or link of this name is; a link is not followed.
    pub(super) fn look(place: &Place<'_>) -> io::Result<Option<Stat>> {
        match statat(&place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A new file for writing, in place of whatever was there.
    pub(super) fn create(place: &Place<'_>) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&place.parent, place.name, flags, Mode::from_bits_truncate(0o600))?))
    }

    pub(super) fn symlink(place: &Place<'_>, target: &Path) -> io::Result<()> {
        Ok(symlinkat(target, &place.parent, place.name)?)
    }

    pub(super) fn hard_link(from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
        Ok(linkat(&from.parent, from.name, &to.parent, to.name, AtFlags::empty())?)
    }

    pub(super) fn fifo(place: &Place<'_>) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(0o600);
        Ok(mknodat(&place.parent, place.name, FileType::Fifo, mode, 0)?)
    }

    /// What overlayfs reads as "gone": a character device 0:0.
    pub(super) fn whiteout(place: &Place<'_>) -> io::Result<()> {
        let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
        Ok(mknodat(&place.parent, place.name, kind, mode, makedev(0, 0))?)
    }

    pub(super) fn new_folder(place: &Place<'_>) -> io::Result<()> {
        Ok(mkdirat(&place.parent, place.name, Mode::from_bits_truncate(0o700))?)
    }

    /// Marks a folder so that overlayfs shows nothing of it from below.
    pub(super) fn make_opaque(&self, folder: impl AsFd) -> io::Result<()> {
        let name = self.privilege.opaque_attribute();
        Ok(fsetxattr(folder, name, b"y", XattrFlags::empty())?)
    }

    /// A folder of this place, for its attributes.
    pub(super) fn enter(place: &Place<'_>) -> io::Result<OwnedFd> {
        Ok(openat(&place.parent, place.name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?)
    }

    /// Owner, attributes and mode, in the order in which the kernel keeps them.
    pub(super) fn dress(&self, file: impl AsFd, attributes: &Attributes) -> io::Result<()> {
        let file = file.as_fd();
        if self.privilege == Privilege::Root {
            let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
            fchown(file, Some(uid), Some(gid))?;
        }
        for (name, value) in &attributes.extended {
            tolerate(fsetxattr(file, name.as_os_str(), value, XattrFlags::empty()))?;
        }
        Ok(fchmod(file, Mode::from_bits_truncate(attributes.mode & 0o7777))?)
    }

    /// The same for what cannot be opened: links and fifos.
    pub(super) fn dress_special(
        &self,
        place: &Place<'_>,
        attributes: &Attributes,
        is_link: bool,
    ) -> io::Result<()> {
        if self.privilege == Privilege::Root {
            let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            chownat(&place.parent, place.name, Some(uid), Some(gid), flags)?;
        }
        if !is_link {
            let mode = Mode::from_bits_truncate(attributes.mode & 0o7777);
            rustix::fs::chmodat(&place.parent, place.name, mode, AtFlags::empty())?;
        }
        set_modified(place, attributes.modified)
    }

    /// Attributes of a link, which only a path reaches.
    pub(super) fn dress_link(place: &Place<'_>, attributes: &Attributes) -> io::Result<()> {
        if attributes.extended.is_empty() {
            return Ok(());
        }
        let path = real_path(&place.parent)?.join(place.name);
        for (name, value) in &attributes.extended {
            tolerate(lsetxattr(path.as_path(), name.as_os_str(), value, XattrFlags::empty()))?;
        }
        Ok(())
    }

    /// Removes what is there, whatever it is.
    pub(super) fn remove(place: &Place<'_>) -> io::Result<()> {
        match unlinkat(&place.parent, place.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => remove_folder(&place.parent, place.name),
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn set_modified(place: &Place<'_>, modified: (i64, u32)) -> io::Result<()> {
    let time = Timespec { tv_sec: modified.0, tv_nsec: modified.1.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(&place.parent, place.name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Attributes that the file system cannot keep are left out, as by Docker.
fn tolerate(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        // Without privilege `security.*` is not ours to set.
        Err(Errno::PERM) if Privilege::of_process() == Privilege::User => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn real_path(file: impl AsFd) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let path = rustix::fs::readlinkat(CWD, link.as_str(), Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(path.as_bytes())))
}

/// Depth first; paths are limited, and so is the recursion.
fn remove_folder(parent: &OwnedFd, name: impl Arg + Copy) -> io::Result<()> {
    let folder = openat(parent, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let inner = entry.file_name();
        if inner.to_bytes() == b"." || inner.to_bytes() == b".." {
            continue;
        }
        match unlinkat(&folder, inner, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => remove_folder(&folder, inner)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
