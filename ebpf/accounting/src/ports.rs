//! The ports of one task.

use std::mem::{offset_of, size_of};
use std::ops::RangeInclusive;

use crate::layout::{port_range, put, task_ports};
use crate::mode::Mode;

/// Ranges that the kernel's record of a task holds.
const MOST_RANGES: usize =
    (size_of::<task_ports>() - offset_of!(task_ports, ranges)) / size_of::<port_range>();

/// A task has its ports in more pieces than a record holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ports are in {ranges} ranges; one task may have {most}")]
pub struct TooManyRanges {
    ranges: usize,
    most: usize,
}

/// Ports as few sorted ranges that do not touch. TCP and UDP alike, as offers have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet {
    ranges: Vec<(u16, u16)>,
}

impl PortSet {
    /// Joins ranges that overlap or touch. Port 0 is no port, so it is never in the set.
    ///
    /// # Errors
    ///
    /// [`TooManyRanges`] when more are left than the kernel's record holds.
    pub fn from_ranges(
        ranges: impl IntoIterator<Item = RangeInclusive<u16>>,
    ) -> Result<Self, TooManyRanges> {
        let mut given: Vec<(u16, u16)> = ranges
            .into_iter()
            .map(|range| (*range.start().max(&1), *range.end()))
            .filter(|(first, last)| first <= last)
            .collect();
        given.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::with_capacity(given.len());
        for (first, last) in given {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        if joined.len() > MOST_RANGES {
            return Err(TooManyRanges { ranges: joined.len(), most: MOST_RANGES });
        }
        Ok(Self { ranges: joined })
    }

    /// Every port: for a task in a network namespace of its own, where ports are its own affair.
    #[must_use]
    pub fn every_port() -> Self {
        Self { ranges: vec![(1, u16::MAX)] }
    }

    /// Whether a task with these ports may bind `port`.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    /// The ranges, sorted.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + '_ {
        self.ranges.iter().map(|(first, last)| *first..=*last)
    }

    /// The kernel's record; without a mode the host's holds.
    pub(crate) fn encode(&self, mode: Option<Mode>) -> Vec<u8> {
        let mut record = vec![0; size_of::<task_ports>()];
        let count = u32::try_from(self.ranges.len()).unwrap_or(0);
        put(&mut record, offset_of!(task_ports, mode), &mode.map_or(0, Mode::raw).to_ne_bytes());
        put(&mut record, offset_of!(task_ports, count), &count.to_ne_bytes());
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let at = offset_of!(task_ports, ranges) + index * size_of::<port_range>();
            put(&mut record, at + offset_of!(port_range, first), &first.to_ne_bytes());
            put(&mut record, at + offset_of!(port_range, last), &last.to_ne_bytes());
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_that_touch_are_one_and_port_0_is_none() {
        let set = PortSet::from_ranges([0..=0, 5..=7, 8..=9, 6..=6, 20..=20]).unwrap();
        assert_eq!(set.ranges().collect::<Vec<_>>(), vec![5..=9, 20..=20]);
        assert!(!set.contains(0));
    }

    #[test]
    fn more_pieces_than_the_kernel_holds_are_refused() {
        let scattered = |count: u16| (1..=count).map(|port| port * 2..=port * 2);
        assert!(PortSet::from_ranges(scattered(128)).is_ok());
        let error = PortSet::from_ranges(scattered(129)).unwrap_err();
        assert_eq!(error.to_string(), "the ports are in 129 ranges; one task may have 128");
    }

    proptest! {
        #[test]
        fn a_port_is_in_the_set_when_it_was_in_a_range(
            ranges in prop::collection::vec((any::<u16>(), any::<u16>()), 0..60),
            port in any::<u16>(),
        ) {
            let set = PortSet::from_ranges(ranges.iter().map(|(a, b)| *a..=*b)).unwrap();
            let given = port > 0 && ranges.iter().any(|(a, b)| (*a..=*b).contains(&port));
            prop_assert_eq!(set.contains(port), given);
            prop_assert_eq!(PortSet::from_ranges(set.ranges()).unwrap(), set);
        }
    }
}
