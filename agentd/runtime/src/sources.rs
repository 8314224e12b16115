//! What mounts show, made ready: paths that lead where they say, whatever tasks do meanwhile.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, open};
use tepui_container::{Order, OrderSource, UserFacts};

use crate::fault::{Attempt, Fault};
use crate::held::Held;
use crate::root::mount_image;

/// Where each mount of the order is found, in its order.
pub(crate) fn sources(
    scratch: &Path,
    order: &Order,
    user: &UserFacts,
) -> Result<Vec<PathBuf>, Fault> {
    let mut all = Vec::new();
    for (at, mount) in order.mounts.iter().enumerate() {
        let name = format!("v{at}");
        all.push(match &mount.source {
            OrderSource::Tmpfs(_) => PathBuf::from("tmpfs"),
            OrderSource::Layers(layers) => mount_image(scratch, &name, layers)?,
            OrderSource::Below { folder, path } => {
                sandbox_folder(folder, path, user)?.show(scratch, &name, false)?
            }
            OrderSource::Secret(path) => secret_file(path, user)?.show(scratch, &name, false)?,
            OrderSource::Host { path, create, follows_host } => {
                let held = host_volume(path, *create, order.host_folders.as_deref())?;
                held.show(scratch, &name, *follows_host)?
            }
        });
    }
    Ok(all)
}

/// The file is the agent's own until the user of the container is known.
fn secret_file(path: &Path, user: &UserFacts) -> Result<Held, Fault> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).on("open secret", path)?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    fchown(&file, Some(uid), Some(gid)).on("give its user", path)?;
    Ok(file.into())
}

/// A file or folder of the host; a folder is made when it is absent and `create` says so. Links are
/// the host's business and followed, but only once: what they have led to then is what is looked at
/// and what is mounted. Nothing is made outside of the folders that the operator named.
fn host_volume(path: &Path, create: bool, folders: Option<&[PathBuf]>) -> Result<Held, Fault> {
    if let Some(found) = Held::find(path)? {
        allowed(&found.place()?, path, folders)?;
        return Ok(found);
    }
    let absent = || Fault(format!("failed to find volume '{}': nothing is there", path.display()));
    if !create {
        return Err(absent());
    }
    let mut missing: Vec<&OsStr> = Vec::new();
    for above in path.ancestors() {
        let Some(mut at) = Held::find(above)? else {
            let last = above.components().next_back();
            let Some(Component::Normal(name)) = last else { return Err(absent()) };
            missing.push(name);
            continue;
        };
        allowed(&at.place()?, path, folders)?;
        for name in missing.into_iter().rev() {
            at = at.enter(name, false).on("create volume", path)?.0;
        }
        return Ok(at);
    }
    Err(absent())
}

/// What a volume has led to is among the folders that the operator named.
fn allowed(found: &Path, wished: &Path, folders: Option<&[PathBuf]>) -> Result<(), Fault> {
    let Some(folders) = folders else { return Ok(()) };
    // What does not exist holds nothing.
    let mut real = folders.iter().filter_map(|folder| fs::canonicalize(folder).ok());
    if real.any(|folder| found.starts_with(folder)) {
        return Ok(());
    }
    let (found, wished) = (found.display(), wished.display());
    Err(Fault(format!(
        "volume '{wished}' of the host, which leads to '{found}', is not among this agent's \
         --host-volumes"
    )))
}

/// A file or folder of a sandbox, the last made when it is absent. What a task or a fetched archive
/// has put there leads nowhere else: a link on the way is an error.
fn sandbox_folder(sandbox: &Path, below: &Path, user: &UserFacts) -> Result<Held, Fault> {
    let whole = sandbox.join(below);
    let mut at = Held::straight(sandbox)?;
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            return Err(Fault(format!("volume '{}' leaves the sandbox", below.display())));
        };
        let (inside, is_made) =
            at.enter(name, parts.peek().is_none()).on("enter volume", &whole)?;
        if is_made {
            let folder = inside.folder().on("open volume", &whole)?;
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            fchown(&folder, Some(uid), Some(gid)).on("give its user", &whole)?;
        }
        at = inside;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    fn me() -> UserFacts {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        UserFacts { uid, gid, groups: Vec::new(), home: None }
    }

    #[test]
    fn a_folder_of_the_sandbox_is_made_when_it_is_absent() {
        let sandbox = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let held = sandbox_folder(sandbox.path(), Path::new("a/b"), &me()).unwrap();
            assert_eq!(held.place().unwrap(), sandbox.path().join("a/b"));
        }
    }

    #[test]
    fn a_link_on_the_way_is_refused() {
        let sandbox = tempfile::tempdir().unwrap();
        symlink("/etc", sandbox.path().join("out")).unwrap();
        assert!(sandbox_folder(sandbox.path(), Path::new("out"), &me()).is_err());
        assert!(sandbox_folder(sandbox.path(), Path::new("out/cron.d"), &me()).is_err());
        assert!(sandbox_folder(sandbox.path(), Path::new("../x"), &me()).is_err());
        let error = sandbox_folder(&sandbox.path().join("out"), Path::new("x"), &me()).unwrap_err();
        assert!(error.to_string().contains("a link is in the way to"), "{error}");
    }

    #[test]
    fn what_is_held_stays_what_it_was_when_its_path_leads_elsewhere() {
        let sandbox = tempfile::tempdir().unwrap();
        let held = sandbox_folder(sandbox.path(), Path::new("a"), &me()).unwrap();
        fs::rename(sandbox.path().join("a"), sandbox.path().join("b")).unwrap();
        symlink("/etc", sandbox.path().join("a")).unwrap();
        assert_eq!(held.place().unwrap(), sandbox.path().join("b"));
    }

    #[test]
    fn a_link_out_of_the_folders_that_the_operator_named_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folders = vec![place.path().to_owned()];
        symlink("/etc", place.path().join("out")).unwrap();
        fs::create_dir(place.path().join("in")).unwrap();
        let of = |name: &str| {
            let held = host_volume(&place.path().join(name), false, Some(&folders));
            held.map(drop).map_err(|error| error.to_string())
        };
        of("in").unwrap();
        assert!(of("out").unwrap_err().contains("'/etc'"));
        host_volume(Path::new("/etc"), false, None).unwrap();
    }

    #[test]
    fn no_folder_is_made_outside_of_those_that_the_operator_named() {
        let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = vec![place.path().to_owned()];
        symlink(outside.path(), place.path().join("out")).unwrap();
        symlink(outside.path().join("dangling"), place.path().join("loose")).unwrap();
        for bad in [
            place.path().join("out/a/b"),
            place.path().join("loose"),
            place.path().join("loose/a"),
            outside.path().join("a"),
            place.path().join("../escaped-by-dots/a"),
            place.path().join("a/../../x/y"),
        ] {
            assert!(host_volume(&bad, true, Some(&folders)).is_err(), "{}", bad.display());
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(!place.path().join("a").exists());
        let made = host_volume(&place.path().join("a/b"), true, Some(&folders)).unwrap();
        assert_eq!(made.place().unwrap(), place.path().join("a/b"));
        let made = host_volume(&outside.path().join("a/b"), true, None).unwrap();
        assert_eq!(made.place().unwrap(), outside.path().join("a/b"));
    }

    #[test]
    fn a_path_of_the_host_that_is_absent_is_named() {
        let error = host_volume(Path::new("/nowhere/at/all"), false, None).unwrap_err().to_string();
        assert!(error.contains("'/nowhere/at/all'"), "{error}");
    }
}
