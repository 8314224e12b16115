//! Removing what tasks have left. A tree may be as deep as its task liked: this needs neither stack nor
//! a descriptor for each level, only its name. It follows no links and stays on its file system.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Which folder it is, wherever it is: file system and number.
type Identity = (u64, u64);

/// Removes a folder with all that is in it. What is not there is removed already.
///
/// # Errors
/// What the file system answers; `EXDEV` for what is mounted in it, and `EBUSY` when somebody moves
/// folders meanwhile. The rest stays then.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    absent_is_done(|| {
        let parent = openat(CWD, parent, FOLDER - OFlags::NOFOLLOW, Mode::empty())?;
        remove_in(&parent, name)
    })
}

/// As [`remove_tree`], for a folder that tasks may have folders above of: from `base`, which the
/// operator chose, no step goes through a link.
///
/// # Errors
/// As [`remove_tree`]; `ENOTDIR` or `ELOOP` where a link is in the way.
pub fn remove_beneath(base: &Path, folder: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    absent_is_done(|| {
        let mut parent = openat(CWD, base, FOLDER - OFlags::NOFOLLOW, Mode::empty())?;
        for part in above.components() {
            let Component::Normal(part) = part else { return Err(Errno::INVAL) };
            parent = openat(&parent, part, FOLDER, Mode::empty())?;
        }
        remove_in(&parent, name)
    })
}

fn absent_is_done(remove: impl FnOnce() -> Result<(), Errno>) -> io::Result<()> {
    match remove() {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn remove_in(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let mut here = openat(parent, name, FOLDER, Mode::empty())?;
    let top = identity(&here)?;
    // The way down from the top, by what each folder is called in the one before.
    let mut way: Vec<(CString, Identity)> = Vec::new();
    loop {
        if let Some(below) = clear(&here)? {
            let inside = openat(&here, &below, FOLDER, Mode::empty())?;
            let found = identity(&inside)?;
            if found.0 != top.0 {
                return Err(Errno::XDEV);
            }
            way.push((below, found));
            here = inside;
            continue;
        }
        let Some((done, _)) = way.pop() else { break };
        let above = openat(&here, c"..", FOLDER, Mode::empty())?;
        let expected = way.last().map_or(top, |(_, identity)| *identity);
        if identity(&above)? != expected {
            // It was moved: what is above it now is not for us to empty.
            return Err(Errno::BUSY);
        }
        gone(unlinkat(&above, &done, AtFlags::REMOVEDIR))?;
        here = above;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes what a folder holds, up to the first folder in it that is not empty.
fn clear(folder: &OwnedFd) -> Result<Option<CString>, Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match unlinkat(folder, name, AtFlags::empty()) {
                // Not every file system says in its lists what is a folder.
                Err(Errno::ISDIR) => {}
                other => {
                    gone(other)?;
                    continue;
                }
            }
        }
        match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(name.to_owned())),
            other => gone(other)?,
        }
    }
    Ok(None)
}

fn gone(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn identity(folder: impl AsFd) -> Result<Identity, Errno> {
    let stat = fstat(folder)?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::mkdirat;

    use super::*;

    #[test]
    fn a_tree_that_is_deeper_than_any_stack_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut here = openat(CWD, &tree, FOLDER, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            mkdirat(&here, "d", Mode::from_bits_truncate(0o755)).unwrap();
            here = openat(&here, "d", FOLDER, Mode::empty()).unwrap();
        }
        // A frame for each level would need more.
        let small = std::thread::Builder::new().stack_size(64 << 10);
        small.spawn(move || remove_tree(&tree)).unwrap().join().unwrap().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_broad_tree_is_removed_and_what_its_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "kept").unwrap();
        let tree = dir.path().join("tree");
        for number in 0..40 {
            let folder = tree.join(format!("a{}/b{number}/c", number % 3));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("file"), "").unwrap();
            symlink(&kept, folder.join("link")).unwrap();
            symlink("..", folder.join("up")).unwrap();
            fs::create_dir(folder.join("empty")).unwrap();
        }
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&dir.path().join("never/was")).unwrap();
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_above_what_is_to_be_removed_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("elsewhere/name");
        fs::create_dir_all(&victim).unwrap();
        fs::create_dir_all(dir.path().join("work/sandbox")).unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join("work/sandbox/containers")).unwrap();
        let work = dir.path().join("work");
        remove_beneath(&work, Path::new("sandbox/containers/name")).unwrap_err();
        remove_beneath(&work, Path::new("sandbox/containers")).unwrap_err();
        assert!(victim.is_dir());
        remove_beneath(&work, Path::new("sandbox")).unwrap();
        remove_beneath(&work, Path::new("sandbox/containers/name")).unwrap();
        assert!(victim.is_dir() && !work.join("sandbox").exists());
    }
}
