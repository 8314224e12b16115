use std::fmt;

use smallvec::SmallVec;

/// An inclusive range of unsigned numbers, `begin <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    begin: u64,
    end: u64,
}

/// A range that ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("range [{begin}-{end}] ends before it begins")]
pub struct InvalidRange {
    begin: u64,
    end: u64,
}

impl Range {
    /// The range from `begin` to `end`, both included.
    ///
    /// # Errors
    /// When `end` is below `begin`.
    pub const fn new(begin: u64, end: u64) -> Result<Self, InvalidRange> {
        if begin <= end { Ok(Self { begin, end }) } else { Err(InvalidRange { begin, end }) }
    }

    /// First number.
    pub const fn begin(self) -> u64 {
        self.begin
    }

    /// Last number.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many numbers it holds, at most `u64::MAX`.
    pub const fn len(self) -> u64 {
        (self.end - self.begin).saturating_add(1)
    }

    /// A range is never empty.
    pub const fn is_empty(self) -> bool {
        false
    }
}

/// A set of unsigned numbers as sorted, disjoint, coalesced ranges: ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ranges(SmallVec<[Range; 1]>);

impl Ranges {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The union of ranges in any order.
    pub fn from_ranges(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut list: SmallVec<[Range; 1]> = ranges.into_iter().collect();
        list.sort_unstable();
        let mut out: SmallVec<[Range; 1]> = SmallVec::new();
        for range in list {
            match out.last_mut() {
                Some(last) if range.begin <= last.end.saturating_add(1) => {
                    last.end = last.end.max(range.end);
                }
                _ => out.push(range),
            }
        }
        Self(out)
    }

    /// The set with one number.
    pub fn single(number: u64) -> Self {
        Self(SmallVec::from_buf([Range { begin: number, end: number }]))
    }

    /// True when it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers it holds, at most `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, range| sum.saturating_add(range.len()))
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range> + '_ {
        self.0.iter().copied()
    }

    /// Every number in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|range| range.begin..=range.end)
    }

    /// True when the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|range| range.begin <= number);
        after > 0 && self.0[after - 1].end >= number
    }

    /// True when every number of `other` is in the set.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|range| {
            let after = self.0.partition_point(|mine| mine.begin <= range.begin);
            after > 0 && self.0[after - 1].end >= range.end
        })
    }

    /// True when the two have a number in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut i, mut j) = (0, 0);
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            if a.end < b.begin {
                i += 1;
            } else if b.end < a.begin {
                j += 1;
            } else {
                return true;
            }
        }
        false
    }

    /// The union.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        let mut out: SmallVec<[Range; 1]> = SmallVec::with_capacity(self.0.len() + other.0.len());
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if y < x => b.next(),
                (Some(_), _) => a.next(),
                (None, _) => b.next(),
            };
            let Some(range) = next else { break };
            match out.last_mut() {
                Some(last) if range.begin <= last.end.saturating_add(1) => {
                    last.end = last.end.max(range.end);
                }
                _ => out.push(*range),
            }
        }
        Self(out)
    }

    /// The numbers that are here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out: SmallVec<[Range; 1]> = SmallVec::new();
        let mut j = 0;
        for range in &self.0 {
            let mut begin = Some(range.begin);
            while let (Some(from), Some(cut)) = (begin, other.0.get(j)) {
                if cut.end < from {
                    j += 1;
                    continue;
                }
                if cut.begin > range.end {
                    break;
                }
                if cut.begin > from {
                    out.push(Range { begin: from, end: cut.begin - 1 });
                }
                begin = if cut.end >= range.end { None } else { Some(cut.end + 1) };
            }
            if let Some(from) = begin {
                out.push(Range { begin: from, end: range.end });
            }
        }
        Self(out)
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Self {
        Self::from_ranges(numbers.into_iter().map(|n| Range { begin: n, end: n }))
    }
}

impl fmt::Display for Ranges {
    /// `[31000-32000, 33000-33000]`, as Mesos prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}-{}", range.begin, range.end)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges(numbers: &BTreeSet<u64>) -> Ranges {
        numbers.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn ranges_are_sets_of_numbers(
            a in prop::collection::btree_set(0_u64..40, 0..25),
            b in prop::collection::btree_set(0_u64..40, 0..25),
        ) {
            let (x, y) = (ranges(&a), ranges(&b));
            prop_assert_eq!(x.numbers().collect::<BTreeSet<_>>(), a.clone());
            prop_assert_eq!(x.union(&y), ranges(&(&a | &b)));
            prop_assert_eq!(x.difference(&y), ranges(&(&a - &b)));
            prop_assert_eq!(x.contains_all(&y), b.is_subset(&a));
            prop_assert_eq!(x.overlaps(&y), !a.is_disjoint(&b));
            for n in 0..40 {
                prop_assert_eq!(x.contains(n), a.contains(&n));
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let all = Ranges::from_ranges([Range::new(0, u64::MAX).unwrap()]);
        assert_eq!(all.count(), u64::MAX);
        assert!(all.difference(&all).is_empty());
        assert_eq!(all.union(&Ranges::single(u64::MAX)), all);
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        assert!(Range::new(5, 3).is_err());
    }
}
