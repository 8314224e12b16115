//! Images in files of the host. Root reads them, and tasks name them: so they are read below folders
//! that the operator named, and nowhere else. A folder is opened once, and what is in it is found from
//! its descriptor, never by a path that leads out; what was found is what is read to the end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use crate::manifest::Descriptor;

/// The folder that a path is in by its name, and where in it.
fn place<'a>(folders: &'a [PathBuf], path: &'a Path) -> Option<(&'a Path, &'a Path)> {
    let mut found = folders.iter().filter_map(|folder| {
        let inside = path.strip_prefix(folder).ok()?;
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        Some((folder.as_path(), inside))
    });
    found.next()
}

/// Whether the operator's folders have a file or folder of this name.
pub(crate) fn is_named(folders: &[PathBuf], path: &Path) -> bool {
    place(folders, path).is_some()
}

/// Opens a file or folder of the operator's.
fn enter(folders: &[PathBuf], path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let (folder, inside) = place(folders, path).ok_or(io::ErrorKind::PermissionDenied)?;
    let base = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    within(&base, inside, flags)
}

/// Opens what is below a folder; links that lead out of it are an error.
fn within(base: &OwnedFd, inside: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(base, inside, flags | OFlags::CLOEXEC, Mode::empty(), beneath).map_err(|errno| {
        match errno {
            Errno::XDEV => {
                let text = format!("a link of {} leads out of its folder", inside.display());
                io::Error::new(io::ErrorKind::PermissionDenied, text)
            }
            other => other.into(),
        }
    })
}

/// A regular file; a fifo would never be opened.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn plain(file: OwnedFd, path: &Path) -> io::Result<File> {
    let file = File::from(file);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let text = format!("{} is not a regular file", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Opens an archive among the operator's files.
pub(crate) fn open_archive(folders: &[PathBuf], path: &Path) -> io::Result<File> {
    plain(enter(folders, path, READ)?, path)
}

/// An OCI layout among the operator's folders.
#[derive(Debug)]
pub(crate) struct Layout(OwnedFd);

impl Layout {
    pub(crate) fn open(folders: &[PathBuf], path: &Path) -> io::Result<Self> {
        enter(folders, path, OFlags::PATH | OFlags::DIRECTORY).map(Self)
    }

    fn file(&self, inside: &Path) -> io::Result<File> {
        plain(within(&self.0, inside, READ)?, inside)
    }

    /// A small file of it, up to a limit.
    pub(crate) fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let name = Path::new(name);
        read_limited(self.file(name)?, limit, name)
    }

    /// A blob of it.
    pub(crate) fn blob(&self, blob: &Descriptor) -> io::Result<Part> {
        let algorithm = blob.digest.to_string();
        let algorithm = algorithm.split(':').next().unwrap_or_default().to_owned();
        let path = Path::new("blobs").join(algorithm).join(blob.digest.hex());
        let file = self.file(&path)?;
        let size = file.metadata()?.len();
        if size != blob.size {
            let path = path.display();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{path} has {size} bytes, but its manifest says {}", blob.size),
            ));
        }
        Ok(Part::new(Arc::new(file), 0, size))
    }
}

/// A part of a file that several may read at once.
#[derive(Debug)]
pub(crate) struct Part {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Part {
    pub(crate) const fn new(file: Arc<File>, offset: u64, size: u64) -> Self {
        Self { file, at: offset, left: size }
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

pub(crate) fn read_limited(from: impl Read, limit: u64, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("{} has more than {limit} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_is_in_the_operators_folders_is_opened() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(dir.path().join("in.tar"), "in").unwrap();
        fs::write(other.path().join("out.tar"), "out").unwrap();
        symlink("in.tar", dir.path().join("inward")).unwrap();
        symlink(other.path().join("out.tar"), dir.path().join("outward")).unwrap();
        symlink(other.path(), dir.path().join("folder")).unwrap();
        symlink("/proc/self/root", dir.path().join("magic")).unwrap();
        let folders = vec![dir.path().to_owned()];
        let of = |path: PathBuf| {
            let mut text = String::new();
            open_archive(&folders, &path)?.read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        for name in ["in.tar", "inward"] {
            assert_eq!(of(dir.path().join(name)).unwrap(), "in");
        }
        for bad in [
            other.path().join("out.tar"),
            dir.path().join("outward"),
            dir.path().join("folder/out.tar"),
            dir.path().join("magic/etc/passwd"),
            PathBuf::from(format!("{}-beside/in.tar", dir.path().display())),
        ] {
            assert!(of(bad.clone()).is_err(), "{}", bad.display());
        }
        assert!(open_archive(&[], &dir.path().join("in.tar")).is_err());
    }

    #[test]
    fn a_layout_that_is_exchanged_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("oci-layout"), "first").unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        symlink("../secret", path.join("index.json")).unwrap();
        let layout = Layout::open(&[dir.path().to_owned()], &path).unwrap();
        fs::rename(&path, dir.path().join("gone")).unwrap();
        symlink("/etc", &path).unwrap();
        assert_eq!(layout.read("oci-layout", 10).unwrap(), b"first");
        let error = layout.read("index.json", 10).unwrap_err();
        assert!(error.to_string().contains("leads out of its folder"), "{error}");
        assert!(Layout::open(&[dir.path().to_owned()], &path).is_err());
    }
}
