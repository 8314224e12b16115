//! What tasks used: counters that only grow.

use std::mem::offset_of;
use std::time::Duration;

use crate::layout::{block_use, cpu_use, net_use, running, tcp_use, u64_at};

/// Buckets of a [`Histogram`].
const BUCKETS: usize = size_of_waits() / size_of::<u64>();

const fn size_of_waits() -> usize {
    size_of::<cpu_use>() - offset_of!(cpu_use, waits)
}

/// Counts of durations by their size: bucket 0 is below 1 µs, bucket n below 2ⁿ µs, and the last
/// one everything above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Histogram {
    /// Upper bound (none for the last) and count of each bucket.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        self.counts.iter().enumerate().map(|(at, count)| {
            let bound = (at + 1 < BUCKETS).then(|| Duration::from_micros(1 << at));
            (bound, *count)
        })
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The bound below which this share of the durations is; none without durations.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let total = self.count();
        let mut seen = 0_u64;
        let last = Duration::from_micros(1 << (BUCKETS - 1));
        self.buckets().find_map(|(bound, count)| {
            seen = seen.saturating_add(count);
            #[allow(clippy::cast_precision_loss)]
            let enough = count > 0 && seen as f64 >= share * total as f64;
            enough.then(|| bound.unwrap_or(last))
        })
    }

    /// Counts a duration.
    pub(crate) fn add(&mut self, duration: Duration) {
        let micros = duration.as_micros();
        let at = (u128::BITS - micros.leading_zeros()) as usize;
        let place = &mut self.counts[at.min(BUCKETS - 1)];
        *place = place.saturating_add(1);
    }

    fn decode(record: &[u8], at: usize) -> Option<Self> {
        let mut counts = [0; BUCKETS];
        for (index, count) in counts.iter_mut().enumerate() {
            *count = word(record, at, index)?;
        }
        Some(Self { counts })
    }
}

/// Who ran after a task that still wanted to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preempted {
    /// Another task.
    pub by_other_task: u64,
    /// A process that is no task's, or the kernel.
    pub by_system: u64,
    /// The task itself, in another thread.
    pub by_itself: u64,
}

/// Use of processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuUse {
    /// Time on a processor.
    pub run: Duration,
    /// Page faults of user space.
    pub faults: u64,
    /// Switches because there was nothing to do.
    pub voluntary_switches: u64,
    /// Switches although there was.
    pub preempted: Preempted,
    /// Time waited for a processor.
    pub wait: Duration,
    /// The single waits.
    pub waits: Histogram,
}

/// Bytes, from the IP header on, and packets, as large as the network layer handles them: out
/// before they are cut up for the device, in after they were put together. What a device counts
/// differs by the headers of the pieces only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// What went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// TCP.
    pub tcp: Flow,
    /// UDP.
    pub udp: Flow,
    /// Everything else, and all where the source does not tell them apart.
    pub other: Flow,
}

impl Traffic {
    /// All protocols together.
    #[must_use]
    pub fn total(&self) -> Flow {
        let sum = |part: fn(&Flow) -> u64| {
            [self.tcp, self.udp, self.other].iter().map(part).fold(0, u64::saturating_add)
        };
        Flow { bytes: sum(|flow| flow.bytes), packets: sum(|flow| flow.packets) }
    }
}

/// Use of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetUse {
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// Packets that were thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// On the way in: for want of room at a UDP socket, or at an established TCP connection.
    pub received: u64,
    /// On the way out; none where nothing tells.
    pub sent: Option<u64>,
}

/// TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpUse {
    /// Connections that the task opened.
    pub connected: u64,
    /// Connections that others opened to it.
    pub accepted: u64,
    /// Connections that ended.
    pub ended: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// The sum of the round-trip times in [`Self::round_trips`].
    pub round_trip: Duration,
    /// The smoothed round-trip time of each connection when it ended.
    pub round_trips: Histogram,
}

/// Bytes and requests of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockFlow {
    /// Bytes.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
}

/// Use of block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockUse {
    /// Reads.
    pub read: BlockFlow,
    /// Writes.
    pub written: BlockFlow,
    /// Flushes, discards and what else there is.
    pub other: BlockFlow,
    /// The sum of the times in [`Self::latencies`].
    pub latency: Duration,
    /// Time of each request in driver and device.
    pub latencies: Histogram,
}

/// Word `index` of an array that begins at `at`.
fn word(record: &[u8], at: usize, index: usize) -> Option<u64> {
    u64_at(record, at.checked_add(index.checked_mul(size_of::<u64>())?)?)
}

/// Adds the records of all processors; every member is a count.
fn sum(records: &[Vec<u8>]) -> Option<Vec<u8>> {
    let length = records.first()?.len();
    let mut total = vec![0; length];
    for at in (0..length).step_by(size_of::<u64>()) {
        let words = records.iter().filter_map(|record| u64_at(record, at));
        let sum = words.fold(0_u64, u64::wrapping_add);
        crate::layout::put(&mut total, at, &sum.to_ne_bytes());
    }
    Some(total)
}

/// A task's record of one processor, with what the processor has at hand for this task. `before` and
/// `after` are what it had when the record was read; none when it has put that away meanwhile.
pub(crate) fn with_counts_at_hand(
    record: &[u8],
    before: &[u8],
    after: &[u8],
    leaf: u64,
) -> Option<Vec<u8>> {
    let changes = u64_at(before, offset_of!(running, changes))?;
    if changes % 2 == 1 || u64_at(after, offset_of!(running, changes))? != changes {
        return None;
    }
    if u64_at(before, offset_of!(running, leaf))? != leaf {
        return Some(record.to_vec());
    }
    let counts = before.get(offset_of!(running, counts)..)?.get(..size_of::<cpu_use>())?;
    sum(&[record.to_vec(), counts.to_vec()])
}

/// Reads the use of processors from one record per processor.
#[must_use]
pub fn decode_cpu(records: &[Vec<u8>]) -> Option<CpuUse> {
    let record = sum(records)?;
    let at = |offset| u64_at(&record, offset);
    let preempted = |index| word(&record, offset_of!(cpu_use, preempted), index);
    Some(CpuUse {
        run: Duration::from_nanos(at(offset_of!(cpu_use, run_ns))?),
        faults: at(offset_of!(cpu_use, faults))?,
        voluntary_switches: at(offset_of!(cpu_use, voluntary))?,
        preempted: Preempted {
            by_other_task: preempted(0)?,
            by_system: preempted(1)?,
            by_itself: preempted(2)?,
        },
        wait: Duration::from_nanos(at(offset_of!(cpu_use, wait_ns))?),
        waits: Histogram::decode(&record, offset_of!(cpu_use, waits))?,
    })
}

/// Reads the use of the network from one record per processor.
#[must_use]
pub fn decode_net(records: &[Vec<u8>]) -> Option<NetUse> {
    let record = sum(records)?;
    let flow = |index| {
        Some(Flow {
            bytes: word(&record, offset_of!(net_use, bytes), index)?,
            packets: word(&record, offset_of!(net_use, packets), index)?,
        })
    };
    Some(NetUse {
        received: Traffic { tcp: flow(0)?, udp: flow(1)?, other: flow(2)? },
        sent: Traffic { tcp: flow(3)?, udp: flow(4)?, other: flow(5)? },
    })
}

/// Reads the thrown away packets from one record per processor.
#[must_use]
pub fn decode_drops(records: &[Vec<u8>]) -> Option<Drops> {
    let record = sum(records)?;
    let drops = |index| word(&record, offset_of!(net_use, drops), index);
    Some(Drops { received: drops(0)?, sent: Some(drops(1)?) })
}

/// Reads a task's record of TCP connections.
#[must_use]
pub fn decode_tcp(record: &[u8]) -> Option<TcpUse> {
    Some(TcpUse {
        connected: u64_at(record, offset_of!(tcp_use, connected))?,
        accepted: u64_at(record, offset_of!(tcp_use, accepted))?,
        ended: u64_at(record, offset_of!(tcp_use, ended))?,
        retransmits: u64_at(record, offset_of!(tcp_use, retransmits))?,
        round_trip: Duration::from_micros(u64_at(record, offset_of!(tcp_use, round_trip_us))?),
        round_trips: Histogram::decode(record, offset_of!(tcp_use, round_trips))?,
    })
}

/// Reads a task's record of block i/o.
#[must_use]
pub fn decode_block(record: &[u8]) -> Option<BlockUse> {
    let flow = |index| {
        Some(BlockFlow {
            bytes: word(record, offset_of!(block_use, bytes), index)?,
            requests: word(record, offset_of!(block_use, requests), index)?,
        })
    };
    Some(BlockUse {
        read: flow(0)?,
        written: flow(1)?,
        other: flow(2)?,
        latency: Duration::from_nanos(u64_at(record, offset_of!(block_use, latency_ns))?),
        latencies: Histogram::decode(record, offset_of!(block_use, latencies))?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::put;

    #[test]
    fn processors_are_added_up() {
        let record = |run: u64, faults: u64| {
            let mut record = vec![0; size_of::<cpu_use>()];
            put(&mut record, offset_of!(cpu_use, run_ns), &run.to_ne_bytes());
            put(&mut record, offset_of!(cpu_use, faults), &faults.to_ne_bytes());
            record
        };
        let cpu = decode_cpu(&[record(5, 1), record(7, 0), record(0, 2)]).unwrap();
        assert_eq!((cpu.run, cpu.faults), (Duration::from_nanos(12), 3));
        assert_eq!(decode_cpu(&[]), None);
    }

    #[test]
    fn what_a_processor_has_at_hand_counts_once_whenever_it_is_read() {
        let counts = |run: u64| {
            let mut record = vec![0; size_of::<cpu_use>()];
            put(&mut record, offset_of!(cpu_use, run_ns), &run.to_ne_bytes());
            record
        };
        let hand = |changes: u64, leaf: u64, run: u64| {
            let mut hand = vec![0; size_of::<running>()];
            put(&mut hand, offset_of!(running, changes), &changes.to_ne_bytes());
            put(&mut hand, offset_of!(running, leaf), &leaf.to_ne_bytes());
            put(&mut hand, offset_of!(running, counts), &counts(run));
            hand
        };
        let read = |before: &[u8], after: &[u8]| {
            with_counts_at_hand(&counts(100), before, after, 7).map(|record| u64_at(&record, 0))
        };
        assert_eq!(read(&hand(4, 7, 5), &hand(4, 7, 9)), Some(Some(105)));
        assert_eq!(read(&hand(4, 8, 5), &hand(4, 8, 9)), Some(Some(100)));
        // Put away in between, or just then: nobody knows whether the record has it.
        assert_eq!(read(&hand(4, 7, 5), &hand(6, 7, 0)), None);
        assert_eq!(read(&hand(5, 7, 2), &hand(5, 7, 0)), None);
        assert_eq!(read(&[], &hand(5, 7, 0)), None);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.counts[0] = 50;
        histogram.counts[4] = 49;
        histogram.counts[BUCKETS - 1] = 1;
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(1)));
        assert_eq!(histogram.quantile(0.99), Some(Duration::from_micros(16)));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_micros(1 << 25)));
    }

    #[test]
    fn a_duration_is_counted_below_the_bound_of_its_bucket() {
        let mut histogram = Histogram::default();
        for micros in [0, 1, 15, 16, u64::MAX] {
            histogram.add(Duration::from_micros(micros));
        }
        let counted: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        let below = |micros| Some(Duration::from_micros(micros));
        assert_eq!(
            counted,
            [(below(1), 1), (below(2), 1), (below(16), 1), (below(32), 1), (None, 1)],
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..4),
        ) {
            if let Some(cpu) = decode_cpu(&records) {
                let _ = (cpu.waits.quantile(0.9), cpu.waits.count());
            }
            if let Some(net) = decode_net(&records) {
                let _ = (net.sent.total(), net.received.total());
            }
            let _ = decode_drops(&records);
            for record in &records {
                let _ = (decode_tcp(record), decode_block(record));
            }
        }
    }
}
