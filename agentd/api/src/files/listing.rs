//! What is in a folder.

use std::collections::HashMap;

use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use serde::Serialize;

use super::locate::Found;
use super::open::FilesError;

/// Most entries of one list.
const MAX_ENTRIES: usize = 100_000;

/// One entry, as `ls -l` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FileInfo {
    pub(crate) gid: String,
    pub(crate) mode: String,
    pub(crate) mtime: f64,
    pub(crate) nlink: u64,
    pub(crate) path: String,
    pub(crate) size: i64,
    pub(crate) uid: String,
    /// For the v1 form.
    #[serde(skip)]
    pub(crate) raw_mode: u32,
    #[serde(skip)]
    pub(crate) mtime_nanos: i64,
}

/// Entries of the folder, sorted by path; each path begins with `shown`.
pub(crate) fn list(found: &Found, shown: &str) -> Result<Vec<FileInfo>, FilesError> {
    let opened = found.open()?;
    if FileType::from_raw_mode(opened.meta.st_mode) != FileType::Directory {
        return Err(FilesError::IsNoFolder(shown.to_owned()));
    }
    let mut names = Names::default();
    let mut infos = Vec::new();
    let entries = Dir::read_from(&opened.descriptor).map_err(|e| found.error(e.into()))?;
    for entry in entries {
        let entry = entry.map_err(|e| found.error(e.into()))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // Gone meanwhile: the list is of what is there.
        let Ok(meta) = statat(&opened.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        if infos.len() == MAX_ENTRIES {
            return Err(FilesError::TooMany { path: shown.to_owned(), limit: MAX_ENTRIES });
        }
        infos.push(info(format!("{shown}/{}", name.to_string_lossy()), &meta, &mut names));
    }
    infos.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(infos)
}

#[allow(clippy::cast_precision_loss)]
fn info(path: String, meta: &Stat, names: &mut Names) -> FileInfo {
    FileInfo {
        gid: names.group(meta.st_gid),
        mode: mode_text(meta.st_mode),
        mtime: meta.st_mtime as f64,
        nlink: meta.st_nlink,
        path,
        size: meta.st_size,
        uid: names.user(meta.st_uid),
        raw_mode: meta.st_mode,
        mtime_nanos: meta.st_mtime.saturating_mul(1_000_000_000),
    }
}

/// Names of users and groups, each looked up once per list.
#[derive(Default)]
struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    fn user(&mut self, id: u32) -> String {
        let look_up = || {
            let user = User::from_uid(Uid::from_raw(id)).ok().flatten();
            user.map_or_else(|| id.to_string(), |user| user.name)
        };
        self.users.entry(id).or_insert_with(look_up).clone()
    }

    fn group(&mut self, id: u32) -> String {
        let look_up = || {
            let group = Group::from_gid(Gid::from_raw(id)).ok().flatten();
            group.map_or_else(|| id.to_string(), |group| group.name)
        };
        self.groups.entry(id).or_insert_with(look_up).clone()
    }
}

/// `drwxr-xr-x`.
fn mode_text(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_like_ls() {
        for (mode, text) in [
            (0o040_755, "drwxr-xr-x"),
            (0o100_644, "-rw-r--r--"),
            (0o104_755, "-rwsr-xr-x"),
            (0o041_777, "drwxrwxrwt"),
            (0o102_644, "-rw-r-Sr--"),
            (0o120_777, "lrwxrwxrwx"),
        ] {
            assert_eq!(mode_text(mode), text);
        }
    }
}
