//! The sandbox files `stdout` and `stderr`, with rotation by size.
//!
//! The sandbox belongs to the task, which may swap its files for links, pipes or folders at any
//! moment. So files are opened relative to the sandbox's own descriptor, never through a link,
//! and only a regular file with one name is written to. Output that cannot be written is dropped
//! and counted: a full disk must not block the task.

mod times;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, ftruncate, openat,
    renameat, unlinkat,
};
use tepui_launch::LogPolicy;

use times::Times;

/// One stream's file.
#[derive(Debug)]
pub(crate) struct Log {
    sandbox: OwnedFd,
    owner: (u32, u32),
    name: &'static str,
    policy: LogPolicy,
    file: Option<File>,
    size: u64,
    lost: u64,
    times: Option<Times>,
    /// Files of this stream so far, this one not counted.
    former: u64,
    /// Where the next byte of the file goes.
    at: u64,
}

impl Log {
    /// Opens or creates the file in the sandbox, which gives it its owner.
    pub(crate) fn open(sandbox: &Path, name: &'static str, policy: LogPolicy) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let sandbox = openat(CWD, sandbox, flags, Mode::empty())?;
        let owner = fstat(&sandbox)?;
        let owner = (owner.st_uid, owner.st_gid);
        let times = Times::open(sandbox.as_fd(), name);
        let mut log = Self {
            sandbox,
            owner,
            name,
            policy,
            file: None,
            size: 0,
            lost: 0,
            times,
            former: 0,
            at: 0,
        };
        log.reopen(OFlags::empty())?;
        Ok(log)
    }

    /// Bytes that could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends, rotating where the policy says so.
    pub(crate) fn write(&mut self, mut data: &[u8]) {
        let limit = self.policy.max_bytes.max(1);
        while !data.is_empty() {
            if self.size >= limit {
                self.rotate();
            }
            let room = usize::try_from(limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let (now, later) = data.split_at(room.min(data.len()));
            self.note_time();
            let written = match &mut self.file {
                Some(file) => file.write_all(now).is_ok(),
                None => false,
            };
            if written {
                self.at += now.len() as u64;
            } else {
                self.lost += now.len() as u64;
                // Part of it may be there.
                let there = self.file.as_ref().and_then(|file| fstat(file).ok());
                self.at = there.map_or(self.at, |meta| length(&meta));
            }
            // Lost bytes count too, so that the next rotation tries with a new file.
            self.size += now.len() as u64;
            data = later;
        }
    }

    fn note_time(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.ok().and_then(|since| u64::try_from(since.as_millis()).ok());
        if let (Some(times), Some(millis)) = (&mut self.times, millis) {
            times.note(millis, self.former, self.at);
        }
    }

    fn rotate(&mut self) {
        self.size = 0;
        self.at = 0;
        self.former += 1;
        if self.policy.keep == 0
            && let Some(file) = &self.file
            && ftruncate(file, 0).is_ok()
        {
            return;
        }
        for number in (1..self.policy.keep).rev() {
            // A number that is not there yet, or that the task made a folder, is passed over.
            let _ = self.rename(&self.numbered(number), &self.numbered(number + 1));
        }
        let aside = self.policy.keep > 0 && self.rename(self.name, &self.numbered(1)).is_ok();
        if !aside {
            let _ = unlinkat(&self.sandbox, self.name, AtFlags::empty());
        }
        self.file = None;
        // Without a file the output is dropped and counted until the next rotation.
        let _ = self.reopen(OFlags::EXCL);
    }

    fn numbered(&self, number: u32) -> String {
        format!("{}.{number}", self.name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.sandbox, from, &self.sandbox, to)?)
    }

    fn reopen(&mut self, extra: OFlags) -> io::Result<()> {
        // Not blocking: a pipe in this place would otherwise wait for a reader.
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC
            | extra;
        let mode = Mode::from_bits_truncate(0o644);
        let file = openat(&self.sandbox, self.name, flags, mode)?;
        let meta = fstat(&file)?;
        if !is_plain(&meta) {
            return Err(io::Error::other(format!("'{}' is not a plain file", self.name)));
        }
        if meta.st_uid != self.owner.0 {
            hand_over(file.as_fd(), self.owner)?;
        }
        self.size = length(&meta);
        self.at = self.size;
        self.file = Some(File::from(file));
        Ok(())
    }
}

fn length(meta: &Stat) -> u64 {
    u64::try_from(meta.st_size).unwrap_or_default()
}

/// A regular file with one name: a second one could be outside the sandbox.
fn is_plain(meta: &Stat) -> bool {
    FileType::from_raw_mode(meta.st_mode) == FileType::RegularFile && meta.st_nlink == 1
}

/// The task's user owns its output; a no-op where the agent is not root.
fn hand_over(file: impl AsFd, (user, group): (u32, u32)) -> io::Result<()> {
    match fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))) {
        Err(rustix::io::Errno::PERM) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn small(keep: u32) -> LogPolicy {
        LogPolicy { max_bytes: 4, keep }
    }

    fn text(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).unwrap_or_else(|_| "-".to_owned())
    }

    #[test]
    fn output_is_spread_over_numbered_files_and_the_oldest_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), "stdout", small(2)).unwrap();
        log.write(b"aaaabbbbccccdd");
        let found = ["stdout", "stdout.1", "stdout.2", "stdout.3"].map(|n| text(dir.path(), n));
        assert_eq!(found, ["dd", "cccc", "bbbb", "-"]);
        assert_eq!(log.lost(), 0);
    }

    #[test]
    fn a_policy_without_old_files_starts_over_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(dir.path(), "stdout", small(0)).unwrap();
        log.write(b"aaaabb");
        assert_eq!(text(dir.path(), "stdout"), "bb");
        assert_eq!(text(dir.path(), "stdout.1"), "-");
    }

    #[test]
    fn what_is_in_the_file_already_stays_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("stdout"), "abc").unwrap();
        let mut log = Log::open(dir.path(), "stdout", small(1)).unwrap();
        log.write(b"de");
        assert_eq!(text(dir.path(), "stdout.1"), "abcd");
        assert_eq!(text(dir.path(), "stdout"), "e");
    }

    #[test]
    fn a_link_in_place_of_the_file_is_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        symlink(&victim, dir.path().join("stdout")).unwrap();
        assert!(Log::open(dir.path(), "stdout", small(1)).is_err());
        fs::remove_file(dir.path().join("stdout")).unwrap();
        fs::hard_link(&victim, dir.path().join("stdout")).unwrap();
        assert!(Log::open(dir.path(), "stdout", small(1)).is_err());
        assert_eq!(fs::read_to_string(victim).unwrap(), "kept");
    }

    #[test]
    fn swaps_between_rotations_lose_output_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        let mut log = Log::open(dir.path(), "stdout", small(1)).unwrap();
        log.write(b"aaaa");
        fs::remove_file(dir.path().join("stdout")).unwrap();
        symlink(&victim, dir.path().join("stdout")).unwrap();
        log.write(b"bbbb");
        assert_eq!(text(dir.path(), "stdout"), "bbbb");
        fs::remove_file(dir.path().join("stdout")).unwrap();
        fs::create_dir_all(dir.path().join("stdout/full")).unwrap();
        fs::create_dir_all(dir.path().join("stdout.1/full")).ok();
        log.write(b"cccc");
        log.write(b"dddd");
        assert_eq!(fs::read_to_string(victim).unwrap(), "kept");
    }
}
