//! A plugin's file: who owns it, who can change it, what is in it.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

/// Largest file that is read.
const MOST_BYTES: u64 = 256 << 20;
const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// The user that others are, where they have no number (`user_namespaces(7)`).
const NOBODY: u32 = 65_534;

/// Why a file is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file, or the folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no file, or too large.
    #[error("{path} is {what}")]
    NoFile {
        /// What is there.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// Somebody else owns it.
    #[error("{path} is owned by {}, not by root", whom(*owner))]
    Owner {
        /// The file, or a folder above it.
        path: PathBuf,
        /// The owner.
        owner: u32,
    },
    /// Others can change it.
    #[error("{path} can be changed by others than its owner (mode {mode:04o})")]
    Writable {
        /// The file, or a folder above it.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not the file that the operator means.
    #[error("{path} has the hash {found}, and sha256 = {wanted} is configured")]
    Hash {
        /// The file.
        path: PathBuf,
        /// SHA-256 of what is there.
        found: String,
        /// What is configured.
        wanted: String,
    },
}

/// An owner in words: whoever a service with users of its own does not see (`PrivateUsers=`) is 65534
/// to it, whatever `ls` says.
fn whom(owner: u32) -> String {
    if owner == NOBODY {
        return format!("user {owner}, who stands for everybody that this service does not see");
    }
    format!("user {owner}")
}

/// A file that nobody but root, or the daemon's own user, can have made or can change.
#[derive(Debug)]
pub(crate) struct Trusted {
    /// Open, so that it is this very file that is loaded.
    pub(crate) file: File,
    /// Without symbolic links.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
}

/// Root, or whoever the daemon is: that user can do as it likes here anyway.
fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

/// `sticky` folders may be written by others, who cannot replace what is not theirs.
fn check(path: &Path, facts: &Metadata) -> Result<(), Untrusted> {
    if !is_trusted(facts.uid()) {
        return Err(Untrusted::Owner { path: path.into(), owner: facts.uid() });
    }
    let mode = facts.mode() & 0o7777;
    let sticky = facts.is_dir() && mode & STICKY != 0;
    if mode & GROUP_OR_OTHERS_WRITE != 0 && !sticky {
        return Err(Untrusted::Writable { path: path.into(), mode });
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Untrusted + use<> {
    let path = path.to_owned();
    move |source| Untrusted::Unreadable { path, source }
}

/// Opens and reads a file that is to be trusted: by its hash if there is one, and by its owner where
/// that says something.
pub(crate) fn open(
    path: &Path,
    sha256: Option<&str>,
    minds_owners: bool,
) -> Result<Trusted, Untrusted> {
    let path = path.canonicalize().map_err(unreadable(path))?;
    for folder in path.ancestors().skip(1).filter(|_| minds_owners) {
        check(folder, &folder.symlink_metadata().map_err(unreadable(folder))?)?;
    }
    // Before it is opened: whoever opens a pipe waits for somebody to write into it.
    if !path.metadata().map_err(unreadable(&path))?.is_file() {
        return Err(Untrusted::NoFile { path, what: "not a file".to_owned() });
    }
    let file = File::open(&path).map_err(unreadable(&path))?;
    let facts = file.metadata().map_err(unreadable(&path))?;
    if minds_owners {
        check(&path, &facts)?;
    }
    if facts.len() > MOST_BYTES {
        let what = format!("{} bytes large; {MOST_BYTES} is the most", facts.len());
        return Err(Untrusted::NoFile { path, what });
    }
    let mut bytes = Vec::new();
    (&file).take(MOST_BYTES).read_to_end(&mut bytes).map_err(unreadable(&path))?;
    let found = hex(digest(&SHA256, &bytes).as_ref());
    if let Some(wanted) = sha256.filter(|wanted| !wanted.eq_ignore_ascii_case(&found)) {
        return Err(Untrusted::Hash { path, found, wanted: wanted.to_owned() });
    }
    Ok(Trusted { file, path, bytes, sha256: found })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// As a daemon opens what is on its own host.
    fn open(path: &Path, sha256: Option<&str>) -> Result<Trusted, Untrusted> {
        super::open(path, sha256, true)
    }

    fn plugin() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.so");
        fs::write(&path, b"abc").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        (folder, path)
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_of_the_right_hash_that_only_its_owner_can_change_is_trusted() {
        let (_folder, path) = plugin();
        assert_eq!(open(&path, None).unwrap().sha256, ABC);
        assert_eq!(open(&path, Some(&ABC.to_uppercase())).unwrap().bytes, b"abc");
        let error = open(&path, Some(&"0".repeat(64))).unwrap_err().to_string();
        assert!(error.contains(ABC) && error.contains("000"), "{error}");
    }

    #[test]
    fn a_file_or_folder_that_others_can_change_is_not() {
        let (folder, path) = plugin();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let error = open(&path, None).unwrap_err().to_string();
        assert!(error.contains("mode 0666"), "{error}");
        assert!(super::open(&path, Some(ABC), false).is_ok(), "it becomes another host's");
        assert!(super::open(&path, Some(&"0".repeat(64)), false).is_err());
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o775)).unwrap();
        let error = open(&path, None).unwrap_err().to_string();
        assert!(error.contains("mode 0775"), "{error}");
        // What somebody else owns in a sticky folder cannot be replaced.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(open(&path, None).is_ok());
    }

    #[test]
    fn a_link_leads_to_the_file_that_is_judged() {
        let (folder, path) = plugin();
        let link = folder.path().join("link.so");
        symlink(&path, &link).unwrap();
        assert_eq!(open(&link, None).unwrap().path, path.canonicalize().unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o602)).unwrap();
        assert!(matches!(open(&link, None), Err(Untrusted::Writable { .. })));
        assert!(matches!(open(folder.path(), None), Err(Untrusted::NoFile { .. })));
        assert!(matches!(open(&folder.path().join("y"), None), Err(Untrusted::Unreadable { .. })));
    }

    #[test]
    fn nobody_waits_for_a_pipe_to_say_something() {
        let (folder, _) = plugin();
        let path = folder.path().join("pipe.so");
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(open(&path, None), Err(Untrusted::NoFile { .. })));
    }

    #[test]
    fn somebody_elses_file_is_not() {
        let (_folder, path) = plugin();
        if chown(&path, Some(4711), None).is_ok() {
            let error = open(&path, None).unwrap_err().to_string();
            assert!(error.contains("owned by user 4711, not by root"), "{error}");
            chown(&path, Some(NOBODY), None).unwrap();
            let error = open(&path, None).unwrap_err().to_string();
            assert!(error.contains("everybody that this service does not see"), "{error}");
        }
    }
}
