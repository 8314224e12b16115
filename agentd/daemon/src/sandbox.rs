//! Where things of the agent are on disk, and the making and removing of sandboxes.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::unistd::{User, chown};
use tepui_types::ContainerId;

/// The agent's folders.
#[derive(Clone, Debug)]
pub struct Folders {
    work: PathBuf,
}

/// Why a sandbox could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host has no such user.
    #[error("failed to make the sandbox: user '{0}' does not exist on this host")]
    NoUser(String),
    /// A path of ours leads out of the work directory.
    #[error("sandbox path {0:?} leads out of the work directory")]
    Outside(String),
    /// The file system refused.
    #[error("failed to {verb} {path}: {source}", path = path.display())]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Folders {
    /// Everything below this absolute folder.
    pub fn new(work: PathBuf) -> Self {
        Self { work }
    }

    /// The work directory itself.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// The private part: journal and records of runs.
    pub fn meta(&self) -> PathBuf {
        self.work.join("meta")
    }

    /// Records of runs.
    pub fn runs(&self) -> PathBuf {
        self.work.join("meta/runs")
    }

    /// Records of one run.
    pub fn run(&self, run: &ContainerId) -> PathBuf {
        self.runs().join(run.as_str())
    }

    /// The fetcher's cache.
    pub fn cache(&self) -> PathBuf {
        self.work.join("meta/fetch-cache")
    }

    /// A sandbox, given relative to the work directory.
    pub fn sandbox(&self, relative: &str) -> PathBuf {
        self.work.join(relative)
    }

    /// Makes the folders that always are.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn create(&self) -> Result<(), SandboxError> {
        make(&self.work, 0o755)?;
        for private in [self.meta(), self.runs(), self.cache()] {
            make(&private, 0o700)?;
        }
        Ok(())
    }

    fn checked(&self, relative: &str) -> Result<PathBuf, SandboxError> {
        let inside = Path::new(relative).components().all(|c| matches!(c, Component::Normal(_)));
        if !inside || relative.is_empty() {
            return Err(SandboxError::Outside(relative.to_owned()));
        }
        Ok(self.work.join(relative))
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::Io { verb, path, source }
}

fn make(path: &Path, mode: u32) -> Result<(), SandboxError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("create", path))
}

/// Makes a sandbox that belongs to `user`, and points `runs/latest` at it. Making it again is no
/// error.
///
/// # Errors
/// When the user is unknown or the file system refuses.
pub fn create(
    folders: &Folders,
    relative: &str,
    user: Option<&str>,
) -> Result<PathBuf, SandboxError> {
    let path = folders.checked(relative)?;
    if let Some(parent) = path.parent() {
        make(parent, 0o755)?;
    }
    make(&path, 0o750)?;
    if let Some(name) = user {
        let owner = User::from_name(name)
            .map_err(|error| failed("look up the owner of", &path)(error.into()))?
            .ok_or_else(|| SandboxError::NoUser(name.to_owned()))?;
        if owner.uid != nix::unistd::geteuid() {
            chown(&path, Some(owner.uid), Some(owner.gid))
                .map_err(|error| failed("change the owner of", &path)(error.into()))?;
        }
    }
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        point_latest(parent, Path::new(name)).map_err(failed("link", &parent.join("latest")))?;
    }
    Ok(path)
}

fn point_latest(runs: &Path, name: &Path) -> io::Result<()> {
    let fresh = runs.join(".latest");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(name, &fresh)?;
    fs::rename(&fresh, runs.join("latest"))
}

/// Removes a sandbox and whatever of its parents is empty then. Symlinks in it are removed, not
/// followed.
///
/// # Errors
/// When the file system refuses.
pub fn remove(folders: &Folders, relative: &str) -> Result<(), SandboxError> {
    let path = folders.checked(relative)?;
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &path)(error));
        }
        _ => {}
    }
    let Some(runs) = path.parent() else { return Ok(()) };
    let latest = runs.join("latest");
    if fs::read_link(&latest).is_ok_and(|to| Some(to.as_os_str()) == path.file_name()) {
        fs::remove_file(&latest).map_err(failed("remove", &latest))?;
    }
    // The first parent that is not empty ends this: that is no error.
    for parent in path.ancestors().skip(1).take_while(|p| *p != folders.work()) {
        if fs::remove_dir(parent).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_comes_and_goes_with_its_empty_parents() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path().join("work"));
        folders.create().unwrap();
        let path = create(&folders, "slaves/a/runs/1", None).unwrap();
        assert_eq!(fs::read_link(path.with_file_name("latest")).unwrap(), Path::new("1"));
        symlink("/etc", path.join("link")).unwrap();
        remove(&folders, "slaves/a/runs/1").unwrap();
        assert!(!folders.work().join("slaves").exists());
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn a_path_that_leads_out_of_the_work_directory_is_refused() {
        let folders = Folders::new("/nowhere".into());
        for bad in ["../x", "/etc", "", "a/../../b"] {
            assert!(matches!(remove(&folders, bad), Err(SandboxError::Outside(_))), "{bad}");
        }
    }

    #[test]
    fn an_unknown_user_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path().to_owned());
        let error = create(&folders, "s/1", Some("no-such-user-here")).unwrap_err();
        assert!(error.to_string().contains("user 'no-such-user-here' does not exist"), "{error}");
    }
}
