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
    /// When counters began anew for the last time, and as they counted when they were looked at last.
    last: (u64, Packets),
    /// What counters had come to that are gone.
    gone: Packets,
    /// The look that sockets were seen in last.
    number: u64,
    /// They, by cookie.
    live: HashMap<u64, Socket>,
    /// Those that were there one look before: a list may pass over one that is still there.
    fading: HashMap<u64, Socket>,
    /// What ended ones had come to.
    ended: Ended,
    /// Connections that ended.
    connections: u64,
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
    /// Takes what is told now, by counters and by sockets, each with its time; all that there ever was.
    pub(super) fn settle<'a>(
        &mut self,
        (era, packets): (u64, Packets),
        (number, sockets): (u64, impl Iterator<Item = &'a Socket>),
    ) -> Settled {
        if self.last.0 != era {
            self.gone = self.gone.and(&self.last.1);
        }
        self.last = (era, packets);
        let packets = self.gone.and(&packets);
        if self.number != number {
            self.number = number;
            self.take_sockets(sockets);
        }
        let all = || self.live.values().chain(self.fading.values());
        let connections = || self.live.values().filter_map(|socket| socket.connection);
        let open = connections().filter(|connection| connection.is_open).count() as u64;
        let sum = |of: fn(&Socket) -> u64| all().map(of).fold(0, u64::saturating_add);
        let retransmits = sum(|one| one.connection.map_or(0, |connection| connection.retransmits));
        let drops = sum(|socket| socket.drops);
        let opened = |set| packets.traffic(set).total().packets;
        let (connected, accepted) = (opened(Set::Connected), opened(Set::Accepted));
        // A connection is asked for a moment before it is open.
        let over = connected.saturating_add(accepted).saturating_sub(open);
        self.connections = self.connections.max(over);
        Settled {
            network: NetUse {
                received: packets.traffic(Set::Received),
                sent: packets.traffic(Set::Sent),
            },
            tcp: TcpUse {
                connected,
                accepted,
                ended: self.connections,
                retransmits: self.ended.retransmits.saturating_add(retransmits),
                round_trip: self.ended.round_trip,
                round_trips: self.ended.round_trips.clone(),
            },
            drops: Drops { received: self.ended.drops.saturating_add(drops), sent: None },
        }
    }

    fn take_sockets<'a>(&mut self, sockets: impl Iterator<Item = &'a Socket>) {
        let former = std::mem::take(&mut self.live);
        self.live = sockets.map(|socket| (socket.cookie, *socket)).collect();
        for (cookie, socket) in std::mem::take(&mut self.fading) {
            if !self.live.contains_key(&cookie) {
                self.ended.add(&socket);
            }
        }
        let is_gone = |(cookie, _): &(u64, Socket)| !self.live.contains_key(cookie);
        self.fading = former.into_iter().filter(is_gone).collect();
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
        let mut look = |era: u64, counts: &[(Set, u8, u64)]| {
            let settled = former.settle((era, packets(counts)), (0, [].iter()));
            let received = settled.network.received;
            (received.tcp.packets, received.udp.packets, settled.network.sent.tcp.bytes)
        };
        let (tcp, udp) = (6, 17);
        let at_first = [(Set::Received, tcp, 10), (Set::Received, udp, 3), (Set::Sent, tcp, 1)];
        assert_eq!(look(0, &at_first), (10, 3, 100));
        assert_eq!(look(0, &at_first), (10, 3, 100), "nothing happened");
        // The rules are gone and were made again; some counters are past where they were already.
        assert_eq!(look(1, &[(Set::Received, tcp, 2), (Set::Received, udp, 9)]), (12, 12, 100));
        assert_eq!(look(1, &[(Set::Received, tcp, 5), (Set::Received, udp, 9)]), (15, 12, 100));
    }

    #[test]
    fn what_sockets_came_to_stays_counted_once_when_they_are_gone() {
        let mut former = HostFormer::default();
        let opened = packets(&[(Set::Connected, 6, 2), (Set::Accepted, 6, 1)]);
        let mut number = 0;
        let mut look = |sockets: &[Socket]| {
            number += 1;
            let all = former.settle((0, opened), (number, sockets.iter()));
            let again = former.settle((0, opened), (number, sockets.iter()));
            assert_eq!(all, again, "one look counts once, whoever asks");
            assert_eq!((all.tcp.connected, all.tcp.accepted), (2, 1));
            assert_eq!(all.drops.sent, None, "nothing tells");
            (all.tcp.retransmits, all.drops.received, all.tcp.ended, all.tcp.round_trips.count())
        };
        assert_eq!(look(&[socket(1, 5, 0), socket(2, 1, 7), socket(3, 0, 0)]), (6, 7, 0, 0));
        assert_eq!(look(&[socket(2, 2, 7), socket(3, 0, 0)]), (7, 7, 1, 0), "1 may be there yet");
        assert_eq!(look(&[socket(1, 5, 0), socket(2, 2, 7)]), (7, 7, 1, 0), "it was passed over");
        assert_eq!(look(&[socket(2, 2, 7)]), (7, 7, 2, 1), "3 is gone for good");
        assert_eq!(look(&[]), (7, 7, 3, 2));
        assert_eq!(look(&[]), (7, 7, 3, 3));
    }

    #[test]
    fn connections_that_ended_never_become_fewer() {
        let mut former = HostFormer::default();
        let asked = packets(&[(Set::Accepted, 6, 1)]);
        let ended = |settled: Settled| settled.tcp.ended;
        // Asked for, and not open yet.
        assert_eq!(ended(former.settle((0, asked), (1, [].iter()))), 1);
        assert_eq!(ended(former.settle((0, asked), (2, [socket(1, 0, 0)].iter()))), 1);
    }
}
