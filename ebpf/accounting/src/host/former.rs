//! What was counted before, so that no count falls. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::packets::Packets;
use super::rules::Set;
use super::sockets::{Connection, Socket};
use crate::decode::{Drops, Histogram, NetUse, TcpUse};
use crate::sample::{Figure, Sample, Source};

/// What was seen of one task so far.
#[derive(Debug, Default)]
pub(crate) struct HostFormer {
    /// As the rules counted when they were looked at last.
    last: Packets,
    /// What rules counted that are gone.
    gone: Packets,
    /// Sockets when they were looked at last, by cookie.
    live: HashMap<u64, Socket>,
    /// What ended ones had come to.
    ended: Ended,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ended {
    drops: u64,
    retransmits: u64,
    round_trip: Duration,
    round_trips: Histogram,
}

/// The figures of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    network: NetUse,
    tcp: TcpUse,
    drops: Drops,
}

impl HostFormer {
    /// Takes what is told now; all that there ever was.
    pub(super) fn settle<'a>(
        &mut self,
        packets: Packets,
        sockets: impl Iterator<Item = &'a Socket>,
    ) -> Settled {
        self.gone.add_fallen(&self.last, &packets);
        self.last = packets;
        let packets = self.gone.and(&packets);
        let former = std::mem::take(&mut self.live);
        self.live = sockets.map(|socket| (socket.cookie, *socket)).collect();
        for (cookie, socket) in former {
            if !self.live.contains_key(&cookie) {
                self.ended.add(&socket);
            }
        }
        let connections = || self.live.values().filter_map(|socket| socket.connection);
        let open = connections().filter(|connection| connection.is_open).count() as u64;
        let sum = |of: fn(&Socket) -> u64| self.live.values().map(of).fold(0, u64::saturating_add);
        let retransmits = sum(|one| one.connection.map_or(0, |connection| connection.retransmits));
        let opened = |set| packets.traffic(set).total().packets;
        let (connected, accepted) = (opened(Set::Connected), opened(Set::Accepted));
        Settled {
            network: NetUse {
                received: packets.traffic(Set::Received),
                sent: packets.traffic(Set::Sent),
            },
            tcp: TcpUse {
                connected,
                accepted,
                ended: connected.saturating_add(accepted).saturating_sub(open),
                retransmits: self.ended.retransmits.saturating_add(retransmits),
                round_trip: self.ended.round_trip,
                round_trips: self.ended.round_trips.clone(),
            },
            drops: Drops {
                received: self.ended.drops.saturating_add(sum(|socket| socket.drops)),
                sent: None,
            },
        }
    }
}

impl Ended {
    fn add(&mut self, socket: &Socket) {
        self.drops = self.drops.saturating_add(socket.drops);
        let Some(Connection { retransmits, round_trip, .. }) = socket.connection else { return };
        self.retransmits = self.retransmits.saturating_add(retransmits);
        if let Some(round_trip) = round_trip {
            self.round_trip = self.round_trip.saturating_add(round_trip);
            self.round_trips.add(round_trip);
        }
    }
}

impl Settled {
    pub(super) fn put(self, sample: &mut Sample) {
        sample.network = Some(Figure::of(Source::Netlink)(self.network));
        sample.tcp = Some(Figure::of(Source::Netlink)(self.tcp));
        sample.drops = Some(Figure::of(Source::Netlink)(self.drops));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Flow;

    fn socket(cookie: u64, retransmits: u64, drops: u64) -> Socket {
        let round_trip = Some(Duration::from_micros(100));
        let connection = Some(Connection { is_open: true, retransmits, round_trip });
        Socket { cookie, drops, connection }
    }

    fn packets(counts: &[(Set, u8, u64)]) -> Packets {
        let mut packets = Packets::default();
        for (set, protocol, count) in counts {
            packets.add(*set, *protocol, Flow { bytes: count * 100, packets: *count });
        }
        packets
    }

    #[test]
    fn counts_that_begin_anew_are_added_to_what_was_counted_before() {
        let mut former = HostFormer::default();
        let mut look = |counts: &[(Set, u8, u64)]| {
            let settled = former.settle(packets(counts), std::iter::empty());
            let received = settled.network.received;
            (received.tcp.packets, received.udp.packets, settled.network.sent.tcp.bytes)
        };
        let (tcp, udp) = (6, 17);
        let at_first = [(Set::Received, tcp, 10), (Set::Received, udp, 3), (Set::Sent, tcp, 1)];
        assert_eq!(look(&at_first), (10, 3, 100));
        assert_eq!(look(&at_first), (10, 3, 100), "nothing happened");
        // The rules are gone and were made again.
        assert_eq!(look(&[(Set::Received, tcp, 2)]), (12, 3, 100));
        assert_eq!(look(&[(Set::Received, tcp, 5), (Set::Received, udp, 1)]), (15, 4, 100));
        // Only one of them was forgotten.
        assert_eq!(look(&[(Set::Received, tcp, 6)]), (16, 4, 100));
    }

    #[test]
    fn what_sockets_came_to_stays_counted_once_when_they_are_gone() {
        let mut former = HostFormer::default();
        let opened = packets(&[(Set::Connected, 6, 2), (Set::Accepted, 6, 1)]);
        let mut look = |sockets: &[Socket]| former.settle(opened, sockets.iter());
        let all = look(&[socket(1, 5, 0), socket(2, 1, 7), socket(3, 0, 0)]);
        assert_eq!((all.tcp.retransmits, all.drops.received, all.tcp.ended), (6, 7, 0));
        assert_eq!((all.tcp.connected, all.tcp.accepted), (2, 1));
        assert_eq!(all.drops.sent, None, "nothing tells");
        let all = look(&[socket(2, 2, 7)]);
        assert_eq!((all.tcp.retransmits, all.drops.received, all.tcp.ended), (7, 7, 2));
        assert_eq!(all.tcp.round_trips.count(), 2);
        let all = look(&[]);
        assert_eq!((all.tcp.retransmits, all.drops.received, all.tcp.ended), (7, 7, 3));
        assert_eq!(all.tcp.round_trip, Duration::from_micros(300));
    }
}
