//! When output was written: marks beside `stdout` and `stderr`, for those who ask for the lines
//! since a time.
//!
//! The files of a sandbox are the task's own bytes, without times. So a hidden file beside each
//! (`.stdout.times`) says from which byte on what was written since when: one line for each mark,
//! `MILLISECONDS FILE OFFSET`, where FILE counts the files of this stream (the last one is the
//! stream's own name, the one before it ends in `.1`, and so on). A mark is made at most once in
//! [`STEP_MILLIS`], and old ones are thinned to [`SHARE`] of their age, so that the file stays below
//! what an agent gives at once, however long the task runs. Whatever cannot be written is left out:
//! times are a help, and nobody waits for them.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, fstat, ftruncate, openat};

use super::is_plain;

/// Shortest time between two marks of one file.
const STEP_MILLIS: u64 = 1_000;
/// Marks are kept as far apart as this share of their age.
const SHARE: u64 = 128;
/// Most marks at a time; a line has at most some thirty bytes.
const MAX_MARKS: usize = 2_048;

/// From here on, what was written since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    millis: u64,
    file: u64,
    at: u64,
}

/// The marks of one stream.
#[derive(Debug)]
pub(super) struct Times {
    file: File,
    length: u64,
    marks: Vec<Mark>,
}

impl Times {
    /// Opens the file of marks for the stream of this name, and empties it.
    pub(super) fn open(sandbox: BorrowedFd<'_>, name: &str) -> Option<Self> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let file = openat(sandbox, format!(".{name}.times"), flags, mode).ok()?;
        if !fstat(&file).is_ok_and(|meta| is_plain(&meta)) {
            return None;
        }
        ftruncate(&file, 0).ok()?;
        Some(Self { file: File::from(file), length: 0, marks: Vec::new() })
    }

    /// Something is about to be written at this byte of this file.
    pub(super) fn note(&mut self, millis: u64, file: u64, at: u64) {
        if let Some(last) = self.marks.last()
            && last.file == file
            && (millis < last.millis.saturating_add(STEP_MILLIS) || at <= last.at)
        {
            return;
        }
        // A clock that was set back must not make later bytes older than earlier ones.
        let millis = self.marks.last().map_or(millis, |last| millis.max(last.millis));
        let mark = Mark { millis, file, at };
        self.marks.push(mark);
        if self.marks.len() < MAX_MARKS {
            self.write(&line(mark), self.length);
            return;
        }
        self.marks = thinned(&self.marks);
        let text: String = self.marks.iter().copied().map(line).collect();
        self.length = 0;
        self.write(&text, 0);
        // What a shorter text leaves behind it is older than its last mark; readers leave it out.
        let _ = ftruncate(&self.file, self.length);
    }

    fn write(&mut self, text: &str, at: u64) {
        if self.file.write_all_at(text.as_bytes(), at).is_ok() {
            self.length = at + text.len() as u64;
        }
    }
}

fn line(mark: Mark) -> String {
    format!("{} {} {}\n", mark.millis, mark.file, mark.at)
}

/// The marks without those that lie closer to their neighbours than their age asks for; at most
/// half of what is allowed.
fn thinned(marks: &[Mark]) -> Vec<Mark> {
    let newest = marks.last().map_or(0, |mark| mark.millis);
    let mut kept: Vec<Mark> = Vec::new();
    for (index, mark) in marks.iter().enumerate() {
        let gap = (newest - mark.millis) / SHARE;
        let next = marks.get(index + 1);
        let needed = kept.last().is_none_or(|last| {
            last.file != mark.file || next.is_none_or(|next| next.millis - last.millis > gap)
        });
        if needed {
            kept.push(*mark);
        }
    }
    // Many small files, each with its first mark: the oldest are rotated away by now.
    let surplus = kept.len().saturating_sub(MAX_MARKS / 2);
    kept.split_off(surplus)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    fn times() -> (tempfile::TempDir, Times) {
        let dir = tempfile::tempdir().unwrap();
        let folder = File::open(dir.path()).unwrap();
        let times = Times::open(folder.as_fd(), "stdout").unwrap();
        (dir, times)
    }

    fn text(dir: &tempfile::TempDir) -> String {
        fs::read_to_string(dir.path().join(".stdout.times")).unwrap()
    }

    #[test]
    fn a_mark_is_made_once_a_second_and_for_each_file() {
        let (dir, mut times) = times();
        for (millis, file, at) in [
            (5_000, 0, 0),
            (5_400, 0, 10),
            (6_000, 0, 20),
            (6_100, 1, 0),
            // The clock was set back.
            (3_000, 1, 9),
            (7_200, 1, 12),
        ] {
            times.note(millis, file, at);
        }
        assert_eq!(text(&dir), "5000 0 0\n6000 0 20\n6100 1 0\n7200 1 12\n");
    }

    #[test]
    fn a_task_that_writes_for_months_has_few_marks_that_are_as_exact_as_their_age_allows() {
        let (dir, mut times) = times();
        let end = 90 * 86_400;
        for second in 0..end {
            times.note(second * 1_000, 0, second);
        }
        let text = text(&dir);
        assert!(text.len() < 64 << 10, "{} bytes", text.len());
        let seconds: Vec<u64> =
            text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(seconds.last(), Some(&((end - 1) * 1_000)));
        for pair in seconds.windows(2) {
            let (gap, age) = (pair[1] - pair[0], end * 1_000 - pair[0]);
            assert!(gap <= age / 64 + 1_000, "{gap} ms at an age of {age} ms");
        }
    }

    #[test]
    fn many_small_files_do_not_make_it_grow() {
        let (dir, mut times) = times();
        for file in 0..100_000 {
            times.note(file * 10, file, 0);
        }
        assert!(text(&dir).len() < 64 << 10);
        assert!(text(&dir).ends_with("999990 99999 0\n"));
    }
}
