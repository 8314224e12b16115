//! The folder of a cluster for development.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::say;
use crate::confirm::confirm;
use crate::fault::{Fault, USAGE_OR_PLACEMENT};

/// Tells a folder that an earlier `tepui dev` made from any other.
const MARKER: &str = ".tepui-dev";

/// The folder, kept or not.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    kept: bool,
}

impl Place {
    /// The folder that was asked for, or a new one that goes at the end.
    pub(super) fn open(dir: Option<&Path>, yes: bool) -> anyhow::Result<Self> {
        let path = match dir {
            Some(dir) => dir.to_owned(),
            None => std::env::temp_dir().join(format!("tepui-dev-{}", std::process::id())),
        };
        if dir.is_some() {
            fs::create_dir_all(&path)
        } else {
            // Somebody else's folder of that name is an error.
            fs::create_dir(&path)
        }
        .with_context(|| format!("failed to make {}", path.display()))?;
        let path = path.canonicalize()?;
        let place = Self { path, kept: dir.is_some() };
        if !place.is_ours()? && !yes && !confirm(&place.question())? {
            return Err(Fault::new(format!("{} holds something else", place.path.display()))
                .fix("name an empty folder with --dir, or insist with --yes")
                .code(USAGE_OR_PLACEMENT)
                .into());
        }
        fs::write(place.path.join(MARKER), "")?;
        fs::create_dir_all(place.logs())?;
        Ok(place)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    fn question(&self) -> String {
        let path = self.path.display();
        format!("{path} is not empty. Put the cluster's files there all the same?")
    }

    /// Removes the folder unless it was asked for.
    pub(super) fn leave(&self) {
        if self.kept {
            say(&format!("{} is kept", self.path.display()));
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            say(&format!("failed to remove {}, ignored: {error}", self.path.display()));
        }
    }

    fn is_ours(&self) -> std::io::Result<bool> {
        let empty = fs::read_dir(&self.path)?.next().is_none();
        Ok(empty || self.path.join(MARKER).exists())
    }
}

#[cfg(test)]
mod tests {
    use std::io::IsTerminal;

    use super::*;

    #[test]
    fn a_folder_with_other_things_is_left_alone_unless_one_insists() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("x"), "x").unwrap();
        assert!(Place::open(Some(&other), true).is_ok());
        fs::remove_file(other.join(MARKER)).unwrap();
        if !std::io::stdin().is_terminal() {
            assert!(Place::open(Some(&other), false).is_err());
        }
        let ours = folder.path().join("new/deep");
        let place = Place::open(Some(&ours), false).unwrap();
        place.leave();
        assert!(ours.exists());
        assert!(Place::open(Some(&ours), false).is_ok());
    }
}
