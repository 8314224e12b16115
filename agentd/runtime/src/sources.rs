//! What mounts show, made ready: paths that lead where they say.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, fchown, mkdirat, open, openat2};
use rustix::io::Errno;
use tepui_container::{Order, OrderSource, UserFacts};

use crate::fault::{Attempt, Fault};
use crate::root::mount_image;

/// Where each mount of the order is found, in its order.
pub(crate) fn sources(
    bundle: &Path,
    order: &Order,
    user: &UserFacts,
) -> Result<Vec<PathBuf>, Fault> {
    let mut all = Vec::new();
    for (at, mount) in order.mounts.iter().enumerate() {
        all.push(match &mount.source {
            OrderSource::Tmpfs(_) => PathBuf::from("tmpfs"),
            OrderSource::Layers(layers) => mount_image(bundle, &format!("v{at}"), layers)?,
            OrderSource::Below { folder, path } => sandbox_folder(folder, path, user)?,
            OrderSource::Secret(path) => secret_file(path, user)?,
            OrderSource::Host { path, create, .. } => {
                let path = host_path(path, *create)?;
                allowed(&path, order.host_folders.as_deref())?;
                path
            }
        });
    }
    Ok(all)
}

/// The file is the agent's own until the user of the container is known.
fn secret_file(path: &Path, user: &UserFacts) -> Result<PathBuf, Fault> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).on("open secret", path)?;
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    fchown(&file, Some(uid), Some(gid)).on("give its user", path)?;
    Ok(path.to_owned())
}

/// A path without links is among the folders that the operator named.
fn allowed(path: &Path, folders: Option<&[PathBuf]>) -> Result<(), Fault> {
    let Some(folders) = folders else { return Ok(()) };
    // What does not exist holds nothing.
    let mut real = folders.iter().filter_map(|folder| fs::canonicalize(folder).ok());
    if real.any(|folder| path.starts_with(folder)) {
        return Ok(());
    }
    let path = path.display();
    Err(Fault(format!("volume '{path}' of the host is not among this agent's --host-volumes")))
}

fn host_path(path: &Path, create: bool) -> Result<PathBuf, Fault> {
    match fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => {
            fs::create_dir_all(path).on("create volume", path)?;
        }
        Err(error) => return Err(error).on("find volume", path),
    }
    // Links of the host are the host's business, but they are followed here and not in between.
    fs::canonicalize(path).on("find volume", path)
}

/// A folder of the sandbox. What a fetched archive has put there leads nowhere else: a link on
/// the way is an error.
fn sandbox_folder(sandbox: &Path, below: &Path, user: &UserFacts) -> Result<PathBuf, Fault> {
    let whole = sandbox.join(below);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: OwnedFd = open(sandbox, flags, Mode::empty()).on("open", sandbox)?;
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            return Err(Fault(format!("volume '{}' leaves the sandbox", below.display())));
        };
        let straight = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let folder = OFlags::PATH | OFlags::CLOEXEC;
        let is_made = match mkdirat(at.as_fd(), name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error).on("create volume", &whole),
        };
        // Only the last may be a file.
        let flags = if parts.peek().is_some() { folder | OFlags::DIRECTORY } else { folder };
        at =
            openat2(at.as_fd(), name, flags, Mode::empty(), straight).on("enter volume", &whole)?;
        if is_made {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let open = openat2(at.as_fd(), ".", flags, Mode::empty(), straight)
                .on("open volume", &whole)?;
            let (uid, gid) =
                (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
            fchown(&open, Some(uid), Some(gid)).on("give its user", &whole)?;
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn me() -> UserFacts {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        UserFacts { uid, gid, groups: Vec::new(), home: None }
    }

    #[test]
    fn a_folder_of_the_sandbox_is_made_when_it_is_absent() {
        let sandbox = tempfile::tempdir().unwrap();
        let made = sandbox_folder(sandbox.path(), Path::new("a/b"), &me()).unwrap();
        assert!(made.is_dir() && made.starts_with(sandbox.path()));
        sandbox_folder(sandbox.path(), Path::new("a/b"), &me()).unwrap();
    }

    #[test]
    fn a_link_on_the_way_is_refused() {
        let sandbox = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", sandbox.path().join("out")).unwrap();
        assert!(sandbox_folder(sandbox.path(), Path::new("out"), &me()).is_err());
        assert!(sandbox_folder(sandbox.path(), Path::new("out/cron.d"), &me()).is_err());
        assert!(sandbox_folder(sandbox.path(), Path::new("../x"), &me()).is_err());
    }

    #[test]
    fn a_link_out_of_the_folders_that_the_operator_named_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folders = vec![place.path().to_owned()];
        std::os::unix::fs::symlink("/etc", place.path().join("out")).unwrap();
        fs::create_dir(place.path().join("in")).unwrap();
        let of = |name: &str| {
            let path = host_path(&place.path().join(name), false).unwrap();
            allowed(&path, Some(&folders)).map_err(|error| error.to_string())
        };
        of("in").unwrap();
        assert!(of("out").unwrap_err().contains("'/etc'"));
        allowed(Path::new("/etc"), None).unwrap();
    }

    #[test]
    fn a_path_of_the_host_that_is_absent_is_named() {
        let error = host_path(Path::new("/nowhere/at/all"), false).unwrap_err().to_string();
        assert!(error.contains("'/nowhere/at/all'"), "{error}");
    }
}
