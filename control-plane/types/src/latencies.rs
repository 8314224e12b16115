use crate::Span;

/// Upper bounds of the buckets, in milliseconds: launches take from milliseconds to minutes.
const BOUNDS_MILLIS: [u64; 15] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000];

/// How many durations were how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: [u64; BOUNDS_MILLIS.len()],
    beyond: u64,
    sum: Span,
}

impl Latencies {
    /// Counts one more.
    pub fn record(&mut self, took: Span) {
        self.sum = self.sum + took;
        let bucket = BOUNDS_MILLIS.iter().position(|bound| took <= Span::from_millis(*bound));
        let count = bucket.map_or(&mut self.beyond, |at| &mut self.buckets[at]);
        *count = count.saturating_add(1);
    }

    /// All durations together.
    pub const fn sum(&self) -> Span {
        self.sum
    }

    /// Rising upper bounds, and how many are above the former bound and not above this one.
    pub fn buckets(&self) -> impl Iterator<Item = (Span, u64)> {
        BOUNDS_MILLIS
            .iter()
            .zip(self.buckets)
            .map(|(bound, count)| (Span::from_millis(*bound), count))
    }

    /// How many are above the last bound.
    pub const fn beyond(&self) -> u64 {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let mut all = Latencies::default();
        for millis in [5, 6, 900_000, 900_001] {
            all.record(Span::from_millis(millis));
        }
        let counts: Vec<u64> = all.buckets().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[14], all.beyond()), (1, 1, 1, 1));
        assert_eq!(counts.iter().sum::<u64>(), 3);
        assert_eq!(all.sum(), Span::from_millis(1_800_012));
    }
}
