//! Opening a path that must not leave a folder, whatever links and renames a task makes meanwhile.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;

/// How often a walk that a rename disturbed is begun again.
const TRIES: usize = 32;
/// Links that one path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;
/// Folders that one walk holds open: a deep tree must not use up the daemon's descriptors.
const MAX_DEPTH: usize = 128;

/// Opens what the path means below `root`: links are followed as long as they stay there, and lead
/// nowhere else (`EXDEV`).
pub(super) fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename happened during the walk.
            Err(Errno::AGAIN) => {}
            // Linux before 5.6 does not have the call; sandboxes of that time forbid what they do
            // not know.
            Err(Errno::NOSYS | Errno::PERM) => return Ok(walk(root, path, flags)?),
            other => return Ok(other?),
        }
    }
    Err(Errno::NOENT.into())
}

/// The same, one part after the other: every folder is held by its descriptor, so that a rename
/// cannot move the walk, and no open follows a link by itself.
fn walk(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut todo = Vec::new();
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    push_parts(&mut todo, path)?;
    while let Some(part) = todo.pop() {
        if part == ".." {
            folders.pop().ok_or(Errno::XDEV)?;
            continue;
        }
        let here = folders.last().unwrap_or(root);
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(here, &*part, look, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&found)?.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(&found, "", Vec::new())?;
                push_parts(&mut todo, Path::new(OsStr::from_bytes(target.as_bytes())))?;
            }
            FileType::Directory if folders.len() < MAX_DEPTH => folders.push(found),
            FileType::Directory => return Err(Errno::NAMETOOLONG),
            _ if todo.is_empty() => {
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                return openat(here, &*part, flags, Mode::empty());
            }
            _ => return Err(Errno::NOTDIR),
        }
    }
    let here = folders.last().unwrap_or(root);
    openat(here, ".", flags | OFlags::CLOEXEC, Mode::empty())
}

/// Puts the path's parts on the stack, the first on top.
fn push_parts(todo: &mut Vec<OsString>, path: &Path) -> Result<(), Errno> {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => todo.push(name.to_owned()),
            Component::ParentDir => todo.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(Errno::XDEV),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with a sandbox `s` and a secret beside it.
    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::create_dir_all(path.join("s/a/b")).unwrap();
        fs::write(path.join("secret"), "secret").unwrap();
        fs::write(path.join("s/file"), "file").unwrap();
        fs::write(path.join("s/a/b/deep"), "deep").unwrap();
        fs::hard_link(path.join("s/file"), path.join("s/hard")).unwrap();
        for (target, link) in [
            ("../../file", "a/b/up"),
            ("a/b", "folder"),
            ("folder/up", "twice"),
            ("../secret", "out"),
            ("a/../../secret", "around"),
            ("../s/file", "out-and-in"),
            ("/etc/passwd", "absolute"),
            ("/proc/self/root", "root"),
            ("loop", "loop"),
            ("nothing", "dangling"),
        ] {
            symlink(target, path.join("s").join(link)).unwrap();
        }
        let root = File::open(path.join("s")).unwrap();
        (dir, root.into())
    }

    fn text(opened: io::Result<OwnedFd>) -> Result<String, Errno> {
        let opened = opened.map_err(|e| Errno::from_raw_os_error(e.raw_os_error().unwrap()))?;
        let mut text = String::new();
        File::from(opened).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn both_ways_stay_beneath_the_folder_and_follow_what_stays_there() {
        let (_dir, root) = tree();
        for (path, expected) in [
            ("file", Ok("file")),
            ("hard", Ok("file")),
            ("./a/./b/deep", Ok("deep")),
            ("a/../file", Ok("file")),
            ("a/b/up", Ok("file")),
            ("folder/deep", Ok("deep")),
            ("twice", Ok("file")),
            ("..", Err(Errno::XDEV)),
            ("../secret", Err(Errno::XDEV)),
            ("a/../../secret", Err(Errno::XDEV)),
            ("out", Err(Errno::XDEV)),
            ("around", Err(Errno::XDEV)),
            ("out-and-in", Err(Errno::XDEV)),
            ("absolute", Err(Errno::XDEV)),
            ("root", Err(Errno::XDEV)),
            ("root/etc/passwd", Err(Errno::XDEV)),
            ("/etc/passwd", Err(Errno::XDEV)),
            ("loop", Err(Errno::LOOP)),
            ("dangling", Err(Errno::NOENT)),
            ("absent", Err(Errno::NOENT)),
            ("file/x", Err(Errno::NOTDIR)),
            ("file/../file", Err(Errno::NOTDIR)),
        ] {
            let expected = expected.map(str::to_owned);
            let walked = walk(&root, Path::new(path), OFlags::RDONLY).map_err(io::Error::from);
            assert_eq!(text(walked), expected, "walked: {path}");
            let opened = open_beneath(&root, Path::new(path), OFlags::RDONLY);
            assert_eq!(text(opened), expected, "opened: {path}");
        }
    }

    #[test]
    fn a_walk_ends_at_the_same_file_or_folder() {
        let (_dir, root) = tree();
        for path in [".", "a", "a/b/", "folder", "file", "twice"] {
            let inode = |opened: OwnedFd| fstat(&opened).unwrap().st_ino;
            let walked = walk(&root, Path::new(path), OFlags::PATH).unwrap();
            let opened = open_beneath(&root, Path::new(path), OFlags::PATH).unwrap();
            assert_eq!(inode(walked), inode(opened), "{path}");
        }
    }

    #[test]
    fn a_tree_that_is_too_deep_is_not_walked() {
        let (dir, root) = tree();
        let deep: std::path::PathBuf = std::iter::repeat_n("d", MAX_DEPTH + 1).collect();
        fs::create_dir_all(dir.path().join("s").join(&deep)).unwrap();
        let walked = walk(&root, &deep, OFlags::RDONLY);
        assert_eq!(walked.unwrap_err(), Errno::NAMETOOLONG);
    }
}
