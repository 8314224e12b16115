//! Where things of the agent are on disk, and the making and removing of sandboxes.

mod beneath;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Uid, User, chown};
use tepui_agent::{Link, LinkTarget, Setting};
use tepui_types::ContainerId;

use crate::removal::remove_beneath;

/// Mode of folders that anybody may look into.
const PUBLIC: u32 = 0o755;
/// Mode of a sandbox.
const PRIVATE: u32 = 0o750;

/// The agent's folders.
#[derive(Clone, Debug)]
pub struct Folders {
    work: PathBuf,
}

/// Why a sandbox could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host has no such user.
    #[error("user '{0}' does not exist on this host")]
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

    /// Files of containers, a folder for each.
    pub fn containers(&self) -> PathBuf {
        self.work.join("meta/containers")
    }

    /// What every container of an image has below the image's own layers.
    pub fn skeleton(&self) -> PathBuf {
        self.work.join("meta/skeleton")
    }

    /// Filters of system calls that were made for containers.
    pub fn filters(&self) -> PathBuf {
        self.work.join("meta/filters")
    }

    /// Records of networks.
    pub fn networks(&self) -> PathBuf {
        self.work.join("meta/networks")
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
        for private in [self.meta(), self.runs(), self.cache(), self.containers(), self.networks()]
        {
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
/// A sandbox below another one is in a folder whose owner may be a task that runs: nothing there is
/// reached through a link.
///
/// # Errors
/// When the user is unknown or the file system refuses.
pub fn create(
    folders: &Folders,
    relative: &str,
    user: Option<&str>,
    setting: &Setting,
    secrets: Option<&Path>,
) -> Result<PathBuf, SandboxError> {
    let path = folders.checked(relative)?;
    let owner = user.map(|name| Owner::look_up(name, &path)).transpose()?;
    match &setting.below {
        Some((above, known_as)) => {
            let above = folders.checked(above)?;
            let name = path.strip_prefix(&above).map_err(|_| outside(relative))?;
            beneath::ensure_folder(&above, name, PRIVATE, owner.as_ref())?;
            if let Some(task) = known_as {
                beneath::ensure_folder(&above, Path::new("tasks"), PUBLIC, None)?;
                beneath::link(&above, &Path::new("tasks").join(task), &path)?;
            }
        }
        None => {
            if let Some(parent) = path.parent() {
                make(parent, PUBLIC)?;
                // Who has a sandbox of its own beside others, or tasks of several users in it, is not
                // alone below this folder.
                if !setting.is_alone && !setting.is_pod {
                    close_to_strangers(parent, owner.as_ref())?;
                }
            }
            make(&path, PRIVATE)?;
            if let Some(owner) = &owner {
                owner.take(&path)?;
            }
            if let (Some(parent), Some(name), false) =
                (path.parent(), path.file_name(), setting.is_alone)
            {
                point_latest(parent, Path::new(name))
                    .map_err(failed("link", &parent.join("latest")))?;
            }
        }
    }
    if setting.is_pod {
        open_to_tasks(&path, owner.as_ref())?;
    }
    for volume in &setting.links {
        mount(folders, &path, volume, setting, secrets, owner.as_ref())?;
    }
    Ok(path)
}

/// Root of a container may open its sandbox to everybody, and leave a setuid program there: others
/// do not get as far.
fn close_to_strangers(runs: &Path, owner: Option<&Owner>) -> Result<(), SandboxError> {
    if let Some(owner) = owner.filter(|owner| !owner.is_agent()) {
        chown(runs, Some(nix::unistd::geteuid()), Some(owner.group))
            .map_err(|error| failed("change the group of", runs)(error.into()))?;
    }
    fs::set_permissions(runs, fs::Permissions::from_mode(PRIVATE)).map_err(failed("close", runs))
}

/// Tasks of several users may pass a pod's sandbox. Its own user may write there and not take away
/// what is the agent's: the folders of the tasks.
fn open_to_tasks(path: &Path, owner: Option<&Owner>) -> Result<(), SandboxError> {
    if let Some(owner) = owner.filter(|owner| !owner.is_agent()) {
        chown(path, Some(nix::unistd::geteuid()), Some(owner.group))
            .map_err(|error| failed("change the owner of", path)(error.into()))?;
    }
    let mode = fs::Permissions::from_mode(0o1771);
    fs::set_permissions(path, mode).map_err(failed("open", path))
}

/// Makes a volume: a link in the sandbox.
fn mount(
    folders: &Folders,
    sandbox: &Path,
    volume: &Link,
    setting: &Setting,
    secrets: Option<&Path>,
    owner: Option<&Owner>,
) -> Result<(), SandboxError> {
    let to = match &volume.to {
        LinkTarget::Host(path) => PathBuf::from(path),
        LinkTarget::Secret(name) => match secrets {
            Some(folder) => folder.join(name),
            None => return Err(outside(name)),
        },
        LinkTarget::Own(inner) => {
            beneath::ensure_folder(sandbox, Path::new(inner), PUBLIC, owner)?;
            sandbox.join(inner)
        }
        LinkTarget::Above(inner) => {
            let (above, _) = setting.below.as_ref().ok_or_else(|| outside(inner))?;
            let above = folders.checked(above)?;
            beneath::ensure_folder(&above, Path::new(inner), PUBLIC, owner)?;
            above.join(inner)
        }
    };
    let name = Path::new(&volume.name);
    if let Some(parent) = name.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        beneath::ensure_folder(sandbox, parent, PUBLIC, owner)?;
    }
    beneath::link(sandbox, name, &to)
}

/// Who a sandbox belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    user: Uid,
    group: Gid,
}

impl Owner {
    /// As the system calls take it.
    pub(crate) fn numbers(self) -> (Uid, Gid) {
        (self.user, self.group)
    }

    pub(crate) fn look_up(name: &str, path: &Path) -> Result<Self, SandboxError> {
        let user = User::from_name(name)
            .map_err(|error| failed("look up the owner of", path)(error.into()))?
            .ok_or_else(|| SandboxError::NoUser(name.to_owned()))?;
        Ok(Self { user: user.uid, group: user.gid })
    }

    fn is_agent(&self) -> bool {
        self.user == nix::unistd::geteuid()
    }

    fn take(&self, path: &Path) -> Result<(), SandboxError> {
        if self.is_agent() {
            return Ok(());
        }
        chown(path, Some(self.user), Some(self.group))
            .map_err(|error| failed("change the owner of", path)(error.into()))
    }
}

fn outside(path: &str) -> SandboxError {
    SandboxError::Outside(path.to_owned())
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

/// Removes a sandbox and whatever of its parents is empty then. Symlinks in it are removed, and none is
/// followed, on the way to it neither.
///
/// # Errors
/// When the file system refuses.
pub fn remove(folders: &Folders, relative: &str) -> Result<(), SandboxError> {
    let path = folders.checked(relative)?;
    remove_beneath(folders.work(), Path::new(relative)).map_err(failed("remove", &path))?;
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
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_sandbox_comes_and_goes_with_its_empty_parents() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path().join("work"));
        folders.create().unwrap();
        let path = create(&folders, "slaves/a/runs/1", None, &Setting::default(), None).unwrap();
        assert_eq!(fs::read_link(path.with_file_name("latest")).unwrap(), Path::new("1"));
        symlink("/etc", path.join("link")).unwrap();
        remove(&folders, "slaves/a/runs/1").unwrap();
        assert!(!folders.work().join("slaves").exists());
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn what_a_sandbox_is_in_is_passed_by_its_users_group_and_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path().join("work"));
        let seen = |path: &Path| {
            let meta = fs::metadata(path.parent().unwrap()).unwrap();
            (meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777)
        };
        let us = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let own = create(&folders, "own/runs/1", None, &Setting::default(), None).unwrap();
        assert_eq!(seen(&own), (us.0, us.1, 0o750));
        assert_eq!(seen(&pod(&folders)).2, 0o755, "its tasks may have several users");
        if us.0 != 0 {
            eprintln!("skipped the rest: only root gives folders away");
            return;
        }
        let nobody = User::from_name("nobody").unwrap().unwrap();
        for _ in 0..2 {
            let setting = Setting::default();
            let other = create(&folders, "other/runs/1", Some("nobody"), &setting, None).unwrap();
            assert_eq!(seen(&other), (0, nobody.gid.as_raw(), 0o750));
        }
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
        let error = create(&folders, "s/1", Some("no-such-user-here"), &Setting::default(), None)
            .unwrap_err();
        assert!(error.to_string().contains("user 'no-such-user-here' does not exist"), "{error}");
    }

    #[test]
    fn a_sandbox_of_its_own_may_have_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path().join("work"));
        let setting = Setting { is_alone: true, ..Setting::default() };
        for name in ["containers/latest", "containers/other"] {
            let made = create(&folders, name, None, &setting, None).unwrap();
            assert!(fs::symlink_metadata(made).unwrap().is_dir(), "{name}");
        }
    }

    fn pod(folders: &Folders) -> PathBuf {
        let setting = Setting { is_pod: true, ..Setting::default() };
        create(folders, "runs/p", None, &setting, None).unwrap()
    }

    fn task(links: Vec<Link>) -> Setting {
        let below = Some(("runs/p".into(), Some("t1".into())));
        Setting { below, links, ..Setting::default() }
    }

    #[test]
    fn a_task_of_a_pod_is_below_it_and_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path().join("work"));
        let above = pod(&folders);
        assert_eq!(fs::metadata(&above).unwrap().permissions().mode() & 0o7777, 0o1771);
        let own = create(&folders, "runs/p/containers/c", None, &task(Vec::new()), None).unwrap();
        assert_eq!(fs::read_link(above.join("tasks/t1")).unwrap(), own);
        assert!(own.is_dir());
    }

    #[test]
    fn volumes_lead_to_the_host_to_the_pod_and_to_the_sandbox_itself() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path().join("work"));
        let above = pod(&folders);
        let link = |name: &str, to| Link { name: name.to_owned(), to };
        let setting = task(vec![
            link("host", LinkTarget::Host("/etc".into())),
            link("a/shared", LinkTarget::Above("data/x".into())),
            link("again", LinkTarget::Own("own".into())),
        ]);
        let own = create(&folders, "runs/p/containers/c", None, &setting, None).unwrap();
        assert_eq!(fs::read_link(own.join("host")).unwrap(), Path::new("/etc"));
        fs::write(own.join("a/shared/file"), "x").unwrap();
        assert!(above.join("data/x/file").is_file());
        fs::write(own.join("again/file"), "x").unwrap();
        assert!(own.join("own/file").is_file());
    }

    #[test]
    fn a_link_that_a_task_put_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path().join("work"));
        let above = pod(&folders);
        let elsewhere = dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, above.join("containers")).unwrap();
        let setting = task(Vec::new());
        assert!(create(&folders, "runs/p/containers/c", None, &setting, None).is_err());
        fs::remove_file(above.join("containers")).unwrap();
        symlink(&elsewhere, above.join("data")).unwrap();
        let to = LinkTarget::Above("data/inner".into());
        let setting = task(vec![Link { name: "v".into(), to }]);
        assert!(create(&folders, "runs/p/containers/c", None, &setting, None).is_err());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }
}
