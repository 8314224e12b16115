//! Making files in a sandbox, and only there.
//!
//! Every path is resolved by the kernel beneath the sandbox's own descriptor (openat2 with
//! `RESOLVE_BENEATH`), so neither a symbolic link of an earlier archive nor a task that swaps
//! folders meanwhile can lead a write outside. Files are always new: what was in the place is
//! unlinked and never written through.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchmod, fchown, fstat,
    mkdirat, openat, openat2, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::Hostile;

/// Most folders in a path.
const MAX_DEPTH: usize = 256;
/// Most bytes in a path; the kernel's own limit.
const MAX_PATH_BYTES: usize = 4000;

/// Who owns what is made; `None` leaves it to the agent's user.
pub(crate) type Owner = Option<(u32, u32)>;

/// An open sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    root: OwnedFd,
    owner: Owner,
}

impl Sandbox {
    /// The folder at this path below `base`, reached through no link.
    pub(crate) fn open(base: &Path, path: &Path, owner: Owner) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let base = Self { root: openat(CWD, base, flags, Mode::empty())?, owner };
        let root = base.look(path, flags, ResolveFlags::NO_SYMLINKS)?;
        Ok(Self { root, owner })
    }

    /// A new regular file in place of whatever was there, with the folders above it.
    pub(crate) fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        let (parent, name) = self.parent(path, ResolveFlags::empty())?;
        clear(&parent, name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, name, flags, Mode::from_bits_truncate(0o600))?;
        self.hand_over(&file)?;
        fchmod(&file, Mode::from_bits_truncate(plain_mode(mode) | 0o600))?;
        Ok(File::from(file))
    }

    /// Makes an existing file executable for everybody.
    pub(crate) fn make_executable(file: &File) -> io::Result<()> {
        Ok(fchmod(file, Mode::from_bits_truncate(0o755))?)
    }

    /// A folder and those above it; an existing one is kept.
    pub(crate) fn folder(&self, path: &Path, mode: u32) -> io::Result<()> {
        let existed = self.look(path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::empty());
        if existed.is_ok() {
            return Ok(());
        }
        let folder = self.ensure_folder(path, ResolveFlags::empty())?;
        Ok(fchmod(&folder, Mode::from_bits_truncate(plain_mode(mode) | 0o700))?)
    }

    /// A symbolic link. Its target must begin with as many `..` as stay inside and name only
    /// plain parts after them; the folders above the link must be real.
    pub(crate) fn symlink(&self, path: &Path, target: &Path) -> Result<(), LinkError> {
        let depth = path.components().count().saturating_sub(1);
        if !stays_inside(target, depth) {
            return Err(LinkError::Hostile(Hostile::SymlinkOut));
        }
        let (parent, name) = self.parent(path, ResolveFlags::NO_SYMLINKS).map_err(|error| {
            match error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
                true => LinkError::Hostile(Hostile::SymlinkOut),
                false => LinkError::Io(error),
            }
        })?;
        clear(&parent, name)?;
        symlinkat(target, &parent, name).map_err(io::Error::from)?;
        if let Some((user, group)) = self.owner {
            let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
            chownat(&parent, name, user, group, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// Opens a regular file of the sandbox, to copy it where an archive has a hard link.
    pub(crate) fn open_file(&self, path: &Path) -> Result<File, LinkError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = self
            .look(path, flags, ResolveFlags::NO_SYMLINKS)
            .map_err(|_| LinkError::Hostile(Hostile::HardLinkOut))?;
        let meta = fstat(&file).map_err(io::Error::from)?;
        if FileType::from_raw_mode(meta.st_mode) != FileType::RegularFile {
            return Err(LinkError::Hostile(Hostile::HardLinkOut));
        }
        Ok(File::from(file))
    }

    /// The folder that holds the path's last part.
    fn parent<'a>(&self, path: &'a Path, extra: ResolveFlags) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        Ok((self.ensure_folder(parent, extra)?, name))
    }

    fn ensure_folder(&self, path: &Path, extra: ResolveFlags) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        match self.look(path, flags, extra) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut above = self.look(Path::new(""), flags, extra)?;
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            above = match self.look(&so_far, flags, extra) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    mkdirat(&above, part.as_os_str(), Mode::from_bits_truncate(0o755))?;
                    let made = self.look(&so_far, flags, extra)?;
                    self.hand_over(&made)?;
                    fchmod(&made, Mode::from_bits_truncate(0o755))?;
                    made
                }
                other => other?,
            };
        }
        Ok(above)
    }

    fn look(&self, path: &Path, flags: OFlags, extra: ResolveFlags) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | extra;
        // EAGAIN: a rename happened during the walk; the kernel asks for another try.
        for _ in 0..32 {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn hand_over(&self, file: impl AsFd) -> io::Result<()> {
        let Some((user, group)) = self.owner else { return Ok(()) };
        Ok(fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?)
    }
}

/// A link that was not made.
#[derive(Debug)]
pub(crate) enum LinkError {
    Hostile(Hostile),
    Io(io::Error),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Removes what is in the place of a new file; folders stay, and then the new file is refused.
fn clear(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Without setuid, setgid, sticky, and writing by others.
fn plain_mode(mode: u32) -> u32 {
    mode & 0o755
}

/// Whether a link in a folder this deep, with this target, cannot lead out. `..` after a plain
/// part is refused: that part may be a link itself, and then nobody knows where `..` leads.
fn stays_inside(target: &Path, depth: usize) -> bool {
    let mut ups = 0;
    let mut plain = false;
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if !plain => ups += 1,
            Component::Normal(_) => plain = true,
            _ => return false,
        }
    }
    ups <= depth && !target.as_os_str().is_empty()
}

/// The path of an archive entry, cleaned of `.` parts. Empty for the sandbox itself.
pub(crate) fn entry_path(bytes: &[u8]) -> Result<PathBuf, Hostile> {
    use std::os::unix::ffi::OsStrExt;
    if bytes.len() > MAX_PATH_BYTES || bytes.contains(&0) {
        return Err(Hostile::BadPath);
    }
    let mut clean = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(bytes)).components() {
        match part {
            Component::Normal(name) if name.len() <= 255 => clean.push(name),
            Component::Normal(_) => return Err(Hostile::BadPath),
            Component::CurDir => {}
            Component::ParentDir => return Err(Hostile::Traversal),
            Component::RootDir | Component::Prefix(_) => return Err(Hostile::Absolute),
        }
    }
    if clean.components().count() > MAX_DEPTH { Err(Hostile::BadPath) } else { Ok(clean) }
}

/// Copies everything; the reader's own limits apply.
pub(crate) fn copy(from: &mut impl Read, to: &mut File) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        to.write_all(&buffer[..length])?;
        total += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn links_may_go_up_only_as_far_as_they_are_deep() {
        for (target, depth, inside) in [
            ("a", 0, true),
            ("../a", 1, true),
            ("../a", 0, false),
            ("../../a", 1, false),
            ("a/../b", 3, false),
            ("/etc", 9, false),
            ("..", 1, true),
            ("", 1, false),
            ("./x", 0, true),
        ] {
            assert_eq!(stays_inside(Path::new(target), depth), inside, "{target} at {depth}");
        }
    }

    #[test]
    fn entry_paths_are_cleaned_or_refused() {
        assert_eq!(entry_path(b"./a//b/."), Ok(PathBuf::from("a/b")));
        assert_eq!(entry_path(b"./"), Ok(PathBuf::new()));
        assert_eq!(entry_path(b"a/../b"), Err(Hostile::Traversal));
        assert_eq!(entry_path(b"/a"), Err(Hostile::Absolute));
        assert_eq!(entry_path(&[b'a'; 300]), Err(Hostile::BadPath));
        assert_eq!(entry_path(&b"a/".repeat(300)), Err(Hostile::BadPath));
        assert_eq!(entry_path(b"a\0b"), Err(Hostile::BadPath));
    }

    #[test]
    fn a_folder_that_is_a_link_out_is_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        let sandbox = Sandbox::open(dir.path(), Path::new(""), None).unwrap();
        assert!(sandbox.create(Path::new("out/file"), 0o644).is_err());
        assert!(sandbox.folder(Path::new("out/folder"), 0o755).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_link_is_followed_on_the_way_to_a_sandbox() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("real/containers/c")).unwrap();
        symlink("real", dir.path().join("task")).unwrap();
        symlink("c", dir.path().join("real/containers/link")).unwrap();
        let open = |path| Sandbox::open(dir.path(), Path::new(path), None);
        assert!(open("real/containers/c").is_ok());
        for path in ["task/containers/c", "real/containers/link", "real/../../outside", "/etc"] {
            assert!(open(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_file_is_new_even_where_a_link_was() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        symlink(&victim, dir.path().join("soft")).unwrap();
        fs::hard_link(&victim, dir.path().join("hard")).unwrap();
        let sandbox = Sandbox::open(dir.path(), Path::new(""), None).unwrap();
        for name in ["soft", "hard"] {
            sandbox.create(Path::new(name), 0o644).unwrap().write_all(b"new").unwrap();
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert_eq!(fs::read_to_string(dir.path().join("hard")).unwrap(), "new");
    }

    #[test]
    fn modes_lose_what_is_dangerous() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::open(dir.path(), Path::new(""), None).unwrap();
        sandbox.create(Path::new("deep/down/file"), 0o7777).unwrap();
        sandbox.folder(Path::new("folder"), 0o7777).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("deep/down/file"), mode("deep"), mode("folder")), (0o755, 0o755, 0o755));
    }
}
