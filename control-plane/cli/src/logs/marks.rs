//! When bytes of a stream were written, as far as the agent recorded it (`.stdout.times` beside
//! `stdout`; `agentd/launch/src/shim/logs/times.rs` writes it).

use super::when::Instant;

/// What was written behind the newest mark is at most so much newer.
const STEP_MILLIS: u64 = 1_000;

/// One record: from this byte of this file on, what was written since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    millis: u64,
    file: u64,
    at: u64,
}

/// Reads the records; a line that was being written is left out, and so is what an older text left
/// behind a newer, shorter one.
pub(super) fn parse(text: &str) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break };
        let mut numbers = line.split(' ').map(str::parse);
        let (Some(Ok(millis)), Some(Ok(file)), Some(Ok(at)), None) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            continue;
        };
        let mark = Mark { millis, file, at };
        let follows = |last: &Mark| {
            mark.millis >= last.millis && (mark.file, mark.at) >= (last.file, last.at)
        };
        if marks.last().is_none_or(follows) {
            marks.push(mark);
        }
    }
    marks
}

/// The records of files that were put one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Times(Vec<(u64, Instant)>);

impl Times {
    /// For files of these sizes, oldest first.
    pub(super) fn new(marks: &[Mark], sizes: &[u64]) -> Self {
        let Some(current) = marks.last().map(|mark| mark.file) else { return Self::default() };
        let mut times: Vec<(u64, Instant)> = Vec::new();
        for mark in marks {
            let Ok(back) = usize::try_from(current - mark.file) else { continue };
            let instant = Instant(mark.millis);
            // Of files that are rotated away only the latest time is worth something: what is left
            // was written later.
            let Some(index) = sizes.len().checked_sub(back + 1) else {
                times = vec![(0, instant)];
                continue;
            };
            let base: u64 = sizes[..index].iter().sum();
            let at = base + mark.at.min(sizes[index]);
            match times.last_mut() {
                Some(last) if last.0 == at => last.1 = instant,
                _ => times.push((at, instant)),
            }
        }
        Self(times)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The byte from which on everything written since `instant` is found, and little else.
    pub(super) fn since(&self, instant: Instant, size: u64) -> u64 {
        if let Some((_, last)) = self.0.last()
            && instant.0 >= last.0.saturating_add(STEP_MILLIS)
        {
            return size;
        }
        let before = self.0.iter().rev().find(|(_, time)| *time <= instant);
        before.map_or(0, |(at, _)| *at)
    }

    /// When the byte was written, at the earliest.
    pub(super) fn of(&self, at: u64) -> Option<Instant> {
        let behind = self.0.partition_point(|(begin, _)| *begin <= at);
        Some(self.0.get(behind.checked_sub(1)?)?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        let marks = parse("1000 0 0\n3000 0 50\n4000 1 0\n5000 2 0\n7000 2 30\n");
        Times::new(&marks, &[100, 40])
    }

    #[test]
    fn bytes_have_the_time_of_the_mark_before_them() {
        let times = times();
        assert_eq!(times.0[0], (0, Instant(4000)), "the first file is rotated away");
        assert_eq!(times.of(99), Some(Instant(4000)));
        assert_eq!(times.of(100), Some(Instant(5000)));
        assert_eq!(times.of(139), Some(Instant(7000)));
        assert_eq!(Times::default().of(0), None);
    }

    #[test]
    fn nothing_that_was_written_since_is_left_out() {
        let since = |millis| times().since(Instant(millis), 140);
        assert_eq!(since(0), 0);
        assert_eq!(since(4500), 0);
        assert_eq!(since(5000), 100);
        assert_eq!(since(7500), 130);
        assert_eq!(since(8000), 140, "a later byte would have a mark of its own");
    }

    #[test]
    fn broken_lines_are_passed_over() {
        assert_eq!(parse("1 0 0\nx\n2 0\n\n5 0 9 9\n3 0 7\n2 0 3\n9 0 1").len(), 2);
        assert!(parse("").is_empty());
        assert_eq!(Times::new(&parse("5 0 0\n"), &[]), Times(vec![(0, Instant(5))]));
    }
}
