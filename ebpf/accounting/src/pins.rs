//! Names in the BPF file system: what keeps programs and counters alive without the agent.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};

use crate::{AccountingError, GroupId};

/// Raised with every change of `bpf/record.h`: maps of another version are left to whoever uses
/// them, and a fresh one is filled before its programs are attached.
const RECORD_VERSION: u32 = 2;
/// The mark of a BPF file system.
const BPF_FS_MAGIC: i128 = 0xcafe_4a11;
/// Where the BPF file system is by everyone's agreement.
const BPFFS: &str = "/sys/fs/bpf";

/// Makes sure that the folder exists, in a BPF file system, and is root's alone.
pub(crate) fn ensure_folder(folder: &Path) -> Result<(), AccountingError> {
    let wrong = |source| AccountingError::Folder { path: folder.to_owned(), source };
    if folder.starts_with(BPFFS) && !is_bpffs(Path::new(BPFFS)).map_err(wrong)? {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("bpf", BPFFS, "bpf", flags, Some(c"mode=700")).map_err(|e| wrong(e.into()))?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(wrong)?;
    if is_bpffs(folder).map_err(wrong)? {
        Ok(())
    } else {
        Err(wrong(io::Error::other("it is not in a BPF file system")))
    }
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    Ok(i128::from(rustix::fs::statfs(path)?.f_type) == BPF_FS_MAGIC)
}

/// Names of pins in one folder. A pin's name may have no dot.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    folder: PathBuf,
}

impl Pins {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.folder.join(format!("map-{name}-{RECORD_VERSION}"))
    }

    /// The link of a program at a tracepoint.
    pub(crate) fn link(&self, program: &str) -> PathBuf {
        self.folder.join(format!("link-{program}"))
    }

    /// The link of a program at a root group. An agent that comes back may have its root group
    /// elsewhere; what runs below the former one stays under the former link.
    pub(crate) fn link_at(&self, program: &str, root: GroupId) -> PathBuf {
        self.folder.join(format!("link-{program}-{root}"))
    }

    /// Every pinned link of a program at a root group.
    pub(crate) fn links_at_groups(&self, program: &str) -> Vec<PathBuf> {
        let prefix = format!("link-{program}-");
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect()
    }

    /// A name for a link that is about to take another's place.
    pub(crate) fn next_link(&self, program: &str) -> PathBuf {
        self.folder.join(format!("next-{program}"))
    }

    /// Removes maps of other versions, half-made links, and the links of `programs`.
    pub(crate) fn remove_stale(&self, programs: &[&str]) -> Result<(), AccountingError> {
        let wrong = |source| AccountingError::Folder { path: self.folder.clone(), source };
        let version = format!("-{RECORD_VERSION}");
        for entry in fs::read_dir(&self.folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let stale = (name.starts_with("map-") && !name.ends_with(&version))
                || name.starts_with("next-")
                || programs.iter().any(|program| is_link_of(&name, program));
            if stale {
                fs::remove_file(entry.path()).map_err(wrong)?;
            }
        }
        Ok(())
    }

    /// Removes everything in the folder, and the folder.
    pub(crate) fn remove_all(&self) -> Result<(), AccountingError> {
        let wrong = |source| AccountingError::Folder { path: self.folder.clone(), source };
        for entry in fs::read_dir(&self.folder).map_err(wrong)? {
            fs::remove_file(entry.map_err(wrong)?.path()).map_err(wrong)?;
        }
        fs::remove_dir(&self.folder).map_err(wrong)
    }
}

fn is_link_of(name: &str, program: &str) -> bool {
    let rest = name.strip_prefix("link-").and_then(|rest| rest.strip_prefix(program));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A digest that only has to notice changes (FNV-1a).
    fn digest(bytes: &[u8]) -> u64 {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
    }

    #[test]
    fn a_changed_record_header_has_another_version() {
        let header = include_bytes!("bpf/record.h");
        assert_eq!(
            (RECORD_VERSION, digest(header)),
            (2, 4_054_045_321_312_413_297),
            "bpf/record.h has changed: if a record has, raise RECORD_VERSION; then adapt this line"
        );
    }

    #[test]
    fn pins_of_links_and_maps_differ() {
        let pins = Pins::new(Path::new("/sys/fs/bpf/x"));
        assert_eq!(pins.map("a"), Path::new("/sys/fs/bpf/x/map-a-2"));
        assert_eq!(pins.link("a"), Path::new("/sys/fs/bpf/x/link-a"));
        let group = GroupId::from_raw(7);
        assert_eq!(pins.link_at("a", group), Path::new("/sys/fs/bpf/x/link-a-7"));
        assert!(is_link_of("link-a-7", "a") && is_link_of("link-a", "a"));
        assert!(!is_link_of("link-ab", "a") && !is_link_of("map-a", "a"));
    }
}
