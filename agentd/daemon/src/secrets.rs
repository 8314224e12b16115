//! Secrets as files: in memory where the agent is root, each run's in a folder that only its user may
//! enter, until the run is over.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, chown};
use tepui_agent::SecretFile;
use tepui_types::ContainerId;
use tracing::warn;

/// Where nothing is ever written to a disk, below it a folder for each agent.
const MEMORY: &str = "/run/tepui/secrets";
/// The agent's folders may be passed, not listed: names of runs are nobody's business.
const PASSABLE: u32 = 0o711;
/// A run's folder: who runs as its user may look and nothing else.
const LOCKED: u32 = 0o550;
/// A secret: its user may read it and nothing else.
const READABLE: u32 = 0o400;

/// The secrets of an agent's runs.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    /// In memory for root; else in the agent's own folder, which only its user can enter, as whom
    /// its tasks run too. `tag` tells agents of one host apart.
    pub fn new(tag: &str, meta: &Path) -> Self {
        let folder = match nix::unistd::geteuid().is_root() {
            true => Path::new(MEMORY).join(tag),
            false => meta.join("secrets"),
        };
        Self { folder }
    }

    /// The folder of a run's secrets; there only when it has some.
    pub fn of(&self, run: &ContainerId) -> PathBuf {
        self.folder.join(run.as_str())
    }

    /// Writes a run's secrets down for this user; `None` is the agent's own.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn write(
        &self,
        run: &ContainerId,
        files: &[SecretFile],
        owner: Option<(Uid, Gid)>,
    ) -> io::Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(PASSABLE).create(&self.folder)?;
        let folder = self.of(run);
        // Made again, it is made anew.
        remove(&folder)?;
        DirBuilder::new().mode(0o700).create(&folder)?;
        for file in files {
            let path = folder.join(&file.name);
            let mut open = OpenOptions::new();
            let mut open = open.write(true).create_new(true).mode(READABLE).open(&path)?;
            open.write_all(&file.data)?;
            give(&path, owner)?;
        }
        // The folder stays the agent's, and its user's group may enter: its owner could put a link in a
        // secret's place, which root would follow on the way to the task, be it to /etc/shadow.
        if let Some((_, group)) = owner {
            chown(&folder, None, Some(group))?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(LOCKED))
    }

    /// A run is over: its secrets go.
    pub fn forget(&self, run: &ContainerId) {
        if let Err(error) = remove(&self.of(run)) {
            warn!(%run, %error, "secrets of a run not removed, left where they are");
        }
    }

    /// Removes what runs have left that nobody knows any more.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn recover(&self, known: &[ContainerId]) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let run = name.to_str().and_then(|name| ContainerId::parse(name).ok());
            if let Some(run) = run.filter(|run| !known.contains(run)) {
                self.forget(&run);
            }
        }
        Ok(())
    }
}

fn give(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    let Some((user, group)) = owner.filter(|(user, _)| *user != nix::unistd::geteuid()) else {
        return Ok(());
    };
    Ok(chown(path, Some(user), Some(group))?)
}

fn remove(folder: &Path) -> io::Result<()> {
    // Who is not root needs the right to remove what is in it.
    match fs::set_permissions(folder, fs::Permissions::from_mode(0o700)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    fs::remove_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_there_for_their_user_alone_and_until_the_run_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets { folder: dir.path().join("secrets") };
        let run = |name: &str| ContainerId::parse(name).unwrap();
        let file = SecretFile { name: "key".into(), data: b"hush".to_vec() };
        assert!(!format!("{file:?}").contains("hush"));
        secrets.write(&run("a"), std::slice::from_ref(&file), None).unwrap();
        secrets.write(&run("a"), std::slice::from_ref(&file), None).unwrap();
        secrets.write(&run("b"), &[file], None).unwrap();
        secrets.write(&run("none"), &[], None).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(fs::read(secrets.of(&run("a")).join("key")).unwrap(), b"hush");
        assert_eq!(mode(&secrets.of(&run("a"))), LOCKED);
        assert_eq!(mode(&secrets.of(&run("a")).join("key")), READABLE);
        assert!(!secrets.of(&run("none")).exists());
        secrets.recover(&[run("a")]).unwrap();
        assert!(secrets.of(&run("a")).exists() && !secrets.of(&run("b")).exists());
        secrets.forget(&run("a"));
        secrets.forget(&run("a"));
        assert!(!secrets.of(&run("a")).exists());
    }

    #[test]
    fn nobody_but_the_agent_puts_anything_in_the_place_of_a_secret() {
        use std::os::unix::fs::MetadataExt;
        // Only root has users that are not itself.
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets { folder: dir.path().join("secrets") };
        let run = ContainerId::parse("a").unwrap();
        let file = SecretFile { name: "key".into(), data: b"hush".to_vec() };
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65533));
        secrets.write(&run, &[file], Some((user, group))).unwrap();
        let folder = fs::metadata(secrets.of(&run)).unwrap();
        assert_eq!((folder.uid(), folder.gid(), folder.mode() & 0o7777), (0, 65533, LOCKED));
        let key = fs::metadata(secrets.of(&run).join("key")).unwrap();
        assert_eq!((key.uid(), key.gid(), key.mode() & 0o7777), (65534, 65533, READABLE));
        secrets.forget(&run);
        assert!(!secrets.of(&run).exists());
    }
}
