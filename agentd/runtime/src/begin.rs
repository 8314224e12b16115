//! The folder that a container's task begins in. As with Docker and runc it is made where the image
//! has none; the library that makes the container only enters it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2};
use rustix::io::Errno;

use crate::fault::Fault;

/// Makes what is missing of the folder, inside the root, whatever links of the image lead to. Nothing
/// runs there yet. What cannot be made is told when the task is to enter it: a volume may be in the way.
pub(crate) fn make_folder(root: &Path, folder: &str) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = open(root, flags, Mode::empty()) else { return };
    let mut at = PathBuf::new();
    for part in Path::new(folder).components() {
        let Component::Normal(name) = part else { continue };
        let above = at.clone();
        at.push(name);
        if enter(&root, &at) == Err(Errno::NOENT) {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { &above };
            let Ok(above) = openat2(&root, above, flags, Mode::empty(), inside()) else { return };
            let mode = Mode::from_raw_mode(0o755);
            if mkdirat(above.as_fd(), name, mode).is_err() {
                return;
            }
        }
    }
}

fn enter(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), inside()).map(drop)
}

fn inside() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
}

/// The library does not say which folder it failed to enter.
pub(crate) fn named(fault: Fault, folder: &str) -> Fault {
    match fault.0.split_once("failed to chdir e=") {
        Some((_, error)) => {
            Fault(format!("failed to enter the working directory '{folder}': {error}"))
        }
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_made_in_the_image_and_nowhere_else() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink("/real", root.path().join("link")).unwrap();
        fs::create_dir(root.path().join("real")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for folder in ["/a/b/c", "/link/x", "/out/y", "/file/z", "/../../up", "/a/b/c"] {
            make_folder(root.path(), folder);
        }
        for made in ["a/b/c", "real/x", "up"] {
            assert!(root.path().join(made).is_dir(), "{made}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(root.path().join("file").is_file());
    }

    #[test]
    fn a_folder_that_cannot_be_entered_is_named() {
        let fault = Fault::new("failed to unix syscall: failed to chdir e=ENOTDIR");
        let text = named(fault, "/etc/passwd").to_string();
        assert_eq!(text, "failed to enter the working directory '/etc/passwd': ENOTDIR");
        assert_eq!(named(Fault::new("else"), "/x").to_string(), "else");
    }
}
