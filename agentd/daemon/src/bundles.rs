//! Folders of containers: on the disk the order and what the container writes, in memory all that
//! its runtime needs for itself. A container is dozens of small files and mount points that nobody
//! needs once it is over: made and removed on a disk, they take a third of its start.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tepui_container::{ORDER_FILE, SANDBOX};
use tepui_types::ContainerId;
use tracing::warn;

use crate::removal::remove_tree;

/// Where nothing is ever written to a disk, below it a folder for each agent.
const MEMORY: &str = "/run/tepui/containers";
/// What every container is shown something at.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "sys", "etc", SANDBOX];
const FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// The folders of an agent's containers.
#[derive(Clone, Debug)]
pub struct Bundles {
    disk: PathBuf,
    memory: PathBuf,
    skeleton: PathBuf,
}

impl Bundles {
    /// On the disk below `disk`. `tag` tells agents of one host apart.
    pub fn new(tag: &str, disk: PathBuf, skeleton: PathBuf) -> Self {
        Self { disk, memory: Path::new(MEMORY).join(tag), skeleton }
    }

    /// Where containers' folders are on the disk.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// What a container writes outside its sandbox, and its order.
    pub fn of(&self, run: &ContainerId) -> PathBuf {
        self.disk.join(run.as_str())
    }

    /// What its runtime needs. A container that an earlier release has started has everything on the
    /// disk.
    pub fn scratch(&self, run: &ContainerId) -> PathBuf {
        let memory = self.in_memory(run);
        if memory.is_dir() { memory } else { self.of(run) }
    }

    fn in_memory(&self, run: &ContainerId) -> PathBuf {
        self.memory.join(run.as_str())
    }

    /// Whether a run is a container.
    pub fn is_container(&self, run: &ContainerId) -> bool {
        self.of(run).join(ORDER_FILE).exists()
    }

    /// Makes the folder on the disk.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn make(&self, run: &ContainerId) -> io::Result<PathBuf> {
        let folder = self.of(run);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(folder)
    }

    /// Makes the folder in memory.
    ///
    /// # Errors
    /// When there is no room.
    pub fn make_scratch(&self, run: &ContainerId) -> io::Result<PathBuf> {
        let folder = self.in_memory(run);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(folder)
    }

    /// A layer below all others, with the places that containers are shown things at: where an image
    /// has them not, they need not be made for each container. Made when absent.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn skeleton(&self) -> io::Result<&Path> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o755);
        for place in MOUNT_POINTS {
            folder.create(self.skeleton.join(place.trim_start_matches('/')))?;
        }
        for file in FILES {
            fs::OpenOptions::new().create(true).append(true).open(self.skeleton.join(file))?;
        }
        Ok(&self.skeleton)
    }

    /// Every run that has a folder.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn runs(&self) -> io::Result<Vec<ContainerId>> {
        let mut runs = Vec::new();
        for folder in [&self.disk, &self.memory] {
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for entry in entries {
                let name = entry?.file_name();
                runs.extend(name.to_str().and_then(|name| ContainerId::parse(name).ok()));
            }
        }
        runs.sort();
        runs.dedup();
        Ok(runs)
    }

    /// Removes what a container has left.
    pub fn remove(&self, run: &ContainerId) {
        // The order goes last: with it the run is no container.
        for folder in [self.in_memory(run), self.of(run)] {
            if let Err(error) = remove_tree(&folder) {
                warn!(%run, %error, "files of a container not removed, left where they are");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str) -> ContainerId {
        ContainerId::parse(name).unwrap()
    }

    fn bundles(dir: &tempfile::TempDir) -> Bundles {
        let at = |name: &str| dir.path().join(name);
        Bundles { disk: at("disk"), memory: at("memory"), skeleton: at("skeleton") }
    }

    #[test]
    fn a_container_is_known_and_removed_wherever_its_folders_are() {
        let dir = tempfile::tempdir().unwrap();
        let bundles = bundles(&dir);
        assert_eq!(bundles.runs().unwrap(), []);
        for name in ["both", "disk"] {
            let folder = bundles.make(&run(name)).unwrap();
            fs::write(folder.join(ORDER_FILE), "{}").unwrap();
        }
        for name in ["both", "memory"] {
            bundles.make_scratch(&run(name)).unwrap();
        }
        assert_eq!(bundles.runs().unwrap(), ["both", "disk", "memory"].map(run));
        assert_eq!(bundles.scratch(&run("both")), dir.path().join("memory/both"));
        assert_eq!(bundles.scratch(&run("disk")), dir.path().join("disk/disk"));
        assert!(bundles.is_container(&run("both")) && bundles.is_container(&run("disk")));
        assert!(!bundles.is_container(&run("memory")));
        for name in ["both", "disk", "memory", "never"] {
            bundles.remove(&run(name));
        }
        assert_eq!(bundles.runs().unwrap(), []);
    }

    #[test]
    fn the_skeleton_is_made_again_without_harm() {
        let dir = tempfile::tempdir().unwrap();
        let bundles = bundles(&dir);
        for _ in 0..2 {
            let skeleton = bundles.skeleton().unwrap();
            assert!(skeleton.join("mnt/mesos/sandbox").is_dir());
            assert_eq!(fs::read(skeleton.join("etc/resolv.conf")).unwrap(), b"");
        }
    }
}
