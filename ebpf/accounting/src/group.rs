//! Which control group: the kernel's id of it, and its depth.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libbpf_rs::ProgramInput;
use tepui_cgroup::Mount;

use crate::AccountingError;
use crate::catalogue::ObjectName;
use crate::object;

/// The kernel's id of a control group: the inode number of its folder.
///
/// Ids are not used again while the host is up, so a late event about a group that is gone cannot
/// be taken for one about its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u64);

impl GroupId {
    /// The id as programs report it.
    #[must_use]
    pub const fn from_raw(id: u64) -> Self {
        Self(id)
    }

    /// The id of the group with this folder.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Group`] when the folder cannot be looked at.
    pub fn of(folder: &Path) -> Result<Self, AccountingError> {
        fs::metadata(folder)
            .map(|meta| Self(meta.ino()))
            .map_err(|source| AccountingError::Group { path: folder.to_owned(), source })
    }

    /// The bare number.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }

    pub(crate) fn key(self) -> [u8; 8] {
        self.0.to_ne_bytes()
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The depth of a group in the kernel's whole hierarchy, of which a container sees only a part.
///
/// The kernel is asked for the depth of this process's own group; the rest is counting folders.
pub(crate) fn level_of(folder: &Path) -> Result<u32, AccountingError> {
    let mount = Mount::probe().map_err(AccountingError::Cgroup)?;
    let unknown = || AccountingError::Level(folder.to_owned());
    let below = |path: &Path| {
        let rest = path.strip_prefix(mount.root()).ok()?;
        i64::try_from(rest.components().count()).ok()
    };
    let own = below(mount.own_group()).ok_or_else(unknown)?;
    let wanted = below(folder).ok_or_else(unknown)?;
    let level = own_level(GroupId::of(mount.own_group())?)?.unwrap_or(own) + wanted - own;
    u32::try_from(level).map_err(|_| unknown())
}

/// Depth of this process's group as the kernel says it; `None` where programs cannot be run on
/// demand (before 5.10), and then the mount is taken for the whole hierarchy.
fn own_level(own: GroupId) -> Result<Option<i64>, AccountingError> {
    let loaded = object::load_plain(ObjectName::Level)?;
    let Some(program) = loaded.progs_mut().find(|program| program.name() == "tepui_level") else {
        return Err(AccountingError::Missing("tepui_level"));
    };
    let mut context = own.key();
    let input = ProgramInput { context_in: Some(&mut context), ..ProgramInput::default() };
    let level = program.test_run(input).ok().map(|output| output.return_value.cast_signed());
    Ok(level.filter(|level| *level >= 0).map(i64::from))
}
